"""vmstat: run queue, virtual memory, paging, interrupts and CPU shares; one row per sample."""

from hps_platform.metrics.family import PEAKS, Column, Family, Kind

FAMILY = Family(
    name="vmstat",
    title="CPU and virtual memory",
    help="Run queue, virtual memory, paging, interrupts and CPU shares, one row per sample.",
    interval_s=2.0,
    headline="us",
    columns=(
        Column(
            "r",
            "threads",
            "Threads running or waiting for a processor.",
            Kind.WHOLE,
            "Run queue",
            rollup=PEAKS,
        ),
        Column("b", "threads", "Threads blocked, waiting for I/O or paging.", Kind.WHOLE, "Blocked"),
        Column("avm", "KiB", "Active virtual memory; may exceed real memory.", Kind.WHOLE, "Active virtual memory"),
        Column("fre", "KiB", "Memory on the free list.", Kind.WHOLE, "Free memory"),
        Column("swpd", "KiB", "Swap space in use.", Kind.WHOLE, "Swapped"),
        Column("buff", "KiB", "Memory used as buffers.", Kind.WHOLE, "Buffers"),
        Column("cache", "KiB", "Memory used as page cache.", Kind.WHOLE, "Cache"),
        Column("pi", "KiB/s", "Read from paging space.", label="Paged in"),
        Column("po", "KiB/s", "Written to paging space.", label="Paged out"),
        Column("fr", "pages/s", "Pages freed by page replacement.", label="Pages freed"),
        Column("sr", "pages/s", "Pages scanned by page replacement.", label="Pages scanned"),
        Column("bi", "KiB/s", "Read from block devices.", label="Blocks in"),
        Column("bo", "KiB/s", "Written to block devices.", label="Blocks out"),
        Column("interrupts", "1/s", "Device interrupts.", label="Interrupts"),
        Column("syscalls", "1/s", "System calls.", label="System calls"),
        Column("cs", "1/s", "Context switches.", label="Context switches"),
        Column("us", "%", "CPU time in user mode.", label="CPU user", rollup=PEAKS),
        Column("sy", "%", "CPU time in system mode.", label="CPU system", rollup=PEAKS),
        Column("idle", "%", "CPU time idle.", label="CPU idle"),
        Column("wa", "%", "CPU time idle while waiting for I/O.", label="CPU I/O wait", rollup=PEAKS),
        Column("st", "%", "CPU time stolen by the hypervisor.", label="CPU stolen"),
        Column("pc", "processors", "Physical processors consumed by the partition.", label="Processors consumed"),
        Column("ec", "%", "Share of the entitled capacity consumed; may exceed 100.", label="Entitlement consumed"),
    ),
)
