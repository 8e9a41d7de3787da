"""memory: real memory and paging space; one row per sample."""

from hps_platform.metrics.family import CAPACITY, PEAKS, Column, Family, Kind

FAMILY = Family(
    name="memory",
    title="Memory",
    help="Real memory and paging space, one row per sample.",
    interval_s=10.0,
    headline="used_pct",
    columns=(
        Column("total_kb", "KiB", "Real memory.", Kind.WHOLE, "Total", rollup=CAPACITY),
        Column("used_kb", "KiB", "In use: total less available where the system prints that.", Kind.WHOLE, "Used"),
        Column("available_kb", "KiB", "Available without paging.", Kind.WHOLE, "Available"),
        Column("cached_kb", "KiB", "File cache.", Kind.WHOLE, "Cached"),
        Column("paging_total_kb", "KiB", "Paging space.", Kind.WHOLE, "Paging space", rollup=CAPACITY),
        Column("paging_used_kb", "KiB", "Paging space in use.", Kind.WHOLE, "Paging space used"),
        Column("used_pct", "%", "Share of real memory in use.", label="Memory used", rollup=PEAKS),
        Column("paging_used_pct", "%", "Share of paging space in use.", label="Paging space used", rollup=PEAKS),
    ),
)
