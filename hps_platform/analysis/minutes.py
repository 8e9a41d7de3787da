"""What the detector looks at, minute by minute, from a server's own samples.

The same nine features that `hps_platform.store.minutes` reads from the rollups, for samples at hand as frames:
offline scoring of the simulated fleet, and the test that holds the two against each other.
"""

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

FAMILIES = ("vmstat", "iostat", "netstat", "memory", "filesystem")
"""Which the features come from."""
LOOPBACKS = ("lo", "lo0")
GROWTH_HOLDS = timedelta(hours=1)
"""File systems are asked for seldom: until the next sample the last growth counts, but no longer than this."""


def _by_minute(frame: pl.DataFrame, *aggregates: pl.Expr) -> pl.DataFrame:
    return frame.group_by(pl.col("timestamp").dt.truncate("1m")).agg(*aggregates)


def _per_key(frame: pl.DataFrame, key: str, *means: str) -> pl.DataFrame:
    """Means of each disk or interface in each minute, before they are joined over disks or interfaces."""
    return frame.group_by(pl.col("timestamp").dt.truncate("1m"), key).agg(pl.col(name).mean() for name in means)


def _sum_or_null(expression: pl.Expr) -> pl.Expr:
    """A sum that is null where there was nothing to add up, rather than 0."""
    return pl.when(expression.is_not_null().any()).then(expression.sum()).otherwise(None)


def _growth(filesystem: pl.DataFrame) -> pl.DataFrame:
    """What was written to all file systems and stayed, from each one's minute before; none after a longer silence."""
    sizes = _per_key(filesystem, "mount", "used_kb").sort("mount", "timestamp")
    since = pl.col("timestamp").diff().over("mount")
    grown = pl.col("used_kb").diff().over("mount").clip(lower_bound=0) / since.dt.total_seconds()
    rates = sizes.select("timestamp", grown=pl.when(since <= GROWTH_HOLDS).then(grown)).drop_nulls()
    return rates.group_by("timestamp").agg(fs_growth_kb_s=pl.col("grown").sum()).sort("timestamp")


def minutes(frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """One row a minute, ascending: `timestamp`, the nine features, and `us`, `sy`, `idle`.

    `frames` holds one server's rows of each of `FAMILIES` in their `frame_schema`. A feature is null where nothing was
    printed that it could come from.
    """
    cpu = _by_minute(
        frames["vmstat"],
        (pl.coalesce(pl.col("ec").mean(), (pl.col("us") + pl.col("sy")).mean())).alias("cpu_busy_pct"),
        pl.col("r").mean().alias("run_queue"),
        (pl.col("pi") + pl.col("po")).mean().alias("paging_kb_s"),
        pl.col("us", "sy", "idle").mean(),
    )
    memory = _by_minute(frames["memory"], pl.col("used_pct").mean().alias("mem_used_pct"))
    disks = _per_key(frames["iostat"], "disk", "busy_pct", "kb_s")
    disk = _by_minute(
        disks,
        pl.col("busy_pct").max().alias("disk_busy_pct"),
        _sum_or_null(pl.col("kb_s")).alias("disk_kb_s"),
    )
    interfaces = _per_key(
        frames["netstat"].filter(~pl.col("interface").is_in(LOOPBACKS)),
        "interface",
        *("ipkts_s", "opkts_s", "ierrs_s", "oerrs_s"),
    )
    network = _by_minute(
        interfaces,
        (_sum_or_null(pl.col("ipkts_s")) + _sum_or_null(pl.col("opkts_s"))).alias("net_pkts_s"),
        (_sum_or_null(pl.col("ierrs_s")) + _sum_or_null(pl.col("oerrs_s"))).alias("net_errs_s"),
    )
    joined = cpu
    for other in (memory, disk, network):
        joined = joined.join(other, on="timestamp", how="full", coalesce=True)
    held = joined.sort("timestamp").join_asof(_growth(frames["filesystem"]), on="timestamp", tolerance=GROWTH_HOLDS)
    return held.select(
        "timestamp",
        "cpu_busy_pct",
        "run_queue",
        "mem_used_pct",
        "paging_kb_s",
        "disk_busy_pct",
        "disk_kb_s",
        "net_pkts_s",
        "net_errs_s",
        "fs_growth_kb_s",
        "us",
        "sy",
        "idle",
    )
