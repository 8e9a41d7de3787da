"""iostat: transfers, throughput, busy time and service time; one row per disk and sample."""

from hps_platform.metrics.family import PEAKS, Column, Family, Kind

FAMILY = Family(
    name="iostat",
    title="Disks",
    help="Transfers, throughput, busy time and service time, one row per disk and sample.",
    key="disk",
    interval_s=2.0,
    headline="busy_pct",
    columns=(
        Column("disk", "", "The disk's name.", Kind.TEXT, "Disk"),
        Column("tps", "1/s", "Transfers, reads and writes together.", label="Transfers"),
        Column("kb_s", "KiB/s", "Throughput of both directions together.", label="Throughput", rollup=PEAKS),
        Column("kb_read_s", "KiB/s", "Read throughput.", label="Read"),
        Column("kb_wrtn_s", "KiB/s", "Write throughput.", label="Written"),
        Column("kb_read", "KiB", "Read within the interval.", Kind.WHOLE, "Read in interval"),
        Column("kb_wrtn", "KiB", "Written within the interval.", Kind.WHOLE, "Written in interval"),
        Column("busy_pct", "%", "Share of time with at least one request under way.", label="Disk busy", rollup=PEAKS),
        Column("service_time_ms", "ms", "Mean time a request took.", label="Service time", rollup=PEAKS),
        Column("queue_length", "requests", "Mean number of outstanding requests.", label="Queue length", rollup=PEAKS),
    ),
)
