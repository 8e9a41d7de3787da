"""filesystem: sizes and inodes; one row per mount point and sample."""

from hps_platform.metrics.family import CAPACITY, Column, Family, Kind

FAMILY = Family(
    name="filesystem",
    title="File systems",
    help="Sizes and inodes, one row per mount point and sample.",
    key="mount",
    interval_s=60.0,
    headline="used_pct",
    columns=(
        Column("mount", "", "The mount point.", Kind.TEXT, "Mount point"),
        Column("device", "", "What is mounted there.", Kind.TEXT, "Device"),
        Column("size_kb", "KiB", "Size.", Kind.WHOLE, "Size", rollup=CAPACITY),
        Column("used_kb", "KiB", "In use.", Kind.WHOLE, "Used"),
        Column("avail_kb", "KiB", "Available to ordinary accounts; may be negative on BSD.", Kind.WHOLE, "Available"),
        Column("used_pct", "%", "Share in use as printed; may exceed 100.", label="Used"),
        Column("inodes", "inodes", "Inodes in all.", Kind.WHOLE, "Inodes", rollup=CAPACITY),
        Column("iused", "inodes", "Inodes in use.", Kind.WHOLE, "Inodes used"),
        Column("iused_pct", "%", "Share of inodes in use.", label="Inodes used"),
    ),
)
