"""lpar: what an AIX partition takes of its processors and of its entitlement; one row per sample."""

from hps_platform.metrics.family import PEAKS, Column, Family

FAMILY = Family(
    name="lpar",
    title="Partition",
    help="Processors and entitlement that an AIX partition consumes, one row per sample.",
    interval_s=10.0,
    headline="entc_pct",
    everywhere=False,
    columns=(
        Column("user_pct", "%", "Time in user mode, of the entitlement on shared processors.", label="User"),
        Column("sys_pct", "%", "Time in system mode, of the entitlement on shared processors.", label="System"),
        Column("wait_pct", "%", "Time idle while waiting for I/O.", label="I/O wait"),
        Column("idle_pct", "%", "Time idle.", label="Idle"),
        Column("physc", "processors", "Physical processors consumed.", label="Processors consumed", rollup=PEAKS),
        Column(
            "entc_pct",
            "%",
            "Share of the entitlement consumed; may exceed 100.",
            label="Entitlement consumed",
            rollup=PEAKS,
        ),
        Column("lbusy_pct", "%", "How busy the logical processors were.", label="Logical processors busy"),
        Column("app", "processors", "Processors free in the shared pool, where it may be seen.", label="Free in pool"),
        Column("vcsw", "switches", "Virtual context switches in the report's interval.", label="Context switches"),
        Column("phint", "interrupts", "Phantom interrupts in the report's interval.", label="Phantom interrupts"),
    ),
)
