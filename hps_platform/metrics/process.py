"""process: the busiest processes by CPU and by memory; one row per process and sample."""

from hps_platform.metrics.family import PEAKS, Column, Family, Kind

FAMILY = Family(
    name="process",
    title="Processes",
    help="The busiest processes by CPU and by memory, one row per process and sample.",
    key="pid",
    rollup_key="command",
    rollup_top=20,
    rollup_by=("cpu_pct", "rss_kb"),
    interval_s=60.0,
    headline="cpu_pct",
    columns=(
        Column("pid", "", "Process id.", Kind.ID, "PID"),
        Column("ppid", "", "Process id of the parent.", Kind.ID, "Parent PID"),
        Column("user", "", "The account it runs under.", Kind.TEXT, "User"),
        Column("cpu_pct", "%", "Share of one CPU; may exceed 100.", label="CPU", rollup=PEAKS),
        Column("mem_pct", "%", "Share of real memory.", label="Memory"),
        Column("vsz_kb", "KiB", "Virtual size.", Kind.WHOLE, "Virtual size"),
        Column("rss_kb", "KiB", "Resident size.", Kind.WHOLE, "Resident size", rollup=PEAKS),
        Column("state", "", "State as the system prints it.", Kind.TEXT, "State"),
        Column("cpu_time_s", "s", "CPU time used since it started.", label="CPU time"),
        Column("elapsed_s", "s", "Time since it started.", label="Elapsed"),
        Column("command", "", "Command line.", Kind.TEXT, "Command"),
    ),
)
