"""What is forecast, and its past hour by hour: the detector's features and how full each file system is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from hps_platform.analysis import words
from hps_platform.analysis.forecasting import Floats
from hps_platform.analysis.minutes import FAMILIES as SOURCES
from hps_platform.analysis.minutes import minutes
from hps_platform.metrics import FAMILIES
from hps_platform.store import series
from hps_platform.store.database import Connection
from hps_platform.store.series import Aggregate, Scope, Value, Width

HOUR = timedelta(hours=1)
HISTORY = timedelta(days=84)
"""How far back is looked: twelve weeks, some 2,000 hours."""


@dataclass(frozen=True, slots=True)
class Metric:
    """`limit` is where a runway ends; None for what has none. Values lie between `low` and `high`."""

    name: str
    title: str
    unit: str
    limit: float | None = None
    high: float = np.inf
    low: float = 0.0


BY_MOUNT = "fs_used_pct"
"""The metric that has a series for each mount point; all others have one."""


def _feature(name: str, **bounds: float) -> Metric:
    """One of what the detector looks at, called as it is everywhere."""
    return Metric(name, words.label(name), words.unit(name), **bounds)


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        _feature("cpu_busy_pct", limit=90),
        _feature("run_queue"),
        _feature("mem_used_pct", limit=95, high=100),
        _feature("disk_busy_pct", high=100),
        _feature("disk_kb_s"),
        _feature("net_pkts_s"),
        Metric(BY_MOUNT, "File system used", "%", limit=100),
    )
}


def read(conn: Connection, server_id: int, end: datetime) -> dict[tuple[str, str], Floats]:
    """Hourly means by metric and key (the mount point, else empty), each up to `end`, a full hour; NaN for no samples.

    Every metric is there, one that the server never prints with no value at all.
    """
    frames = {name: _hourly(conn, server_id, name, end) for name in SOURCES}
    features = minutes(frames)
    found = {(name, ""): _laid(features, name, end) for name in METRICS if name != BY_MOUNT}
    mounts = frames["filesystem"].drop_nulls("used_pct")
    for (mount,), frame in mounts.group_by("mount", maintain_order=True):
        found[BY_MOUNT, str(mount)] = _laid(frame, "used_pct", end)
    if mounts.is_empty():
        found[BY_MOUNT, ""] = np.full(1, np.nan)
    return found


_COLUMNS: Mapping[str, Sequence[str]] = {
    "vmstat": ("us", "sy", "idle", "ec", "r", "pi", "po"),
    "iostat": ("busy_pct", "kb_s"),
    "netstat": ("ipkts_s", "opkts_s", "ierrs_s", "oerrs_s"),
    "memory": ("used_pct",),
    "filesystem": ("used_pct", "used_kb"),
}


def _hourly(conn: Connection, server_id: int, family: str, end: datetime) -> pl.DataFrame:
    scope = Scope(FAMILIES[family], [server_id], end - HISTORY, end)
    values = [Value(name, name, Aggregate.MEAN) for name in _COLUMNS[family]]
    return series.buckets(conn, scope, values, Width(int(HOUR.total_seconds())))


def _laid(frame: pl.DataFrame, column: str, end: datetime) -> Floats:
    """The column on all hours of the history."""
    hours = int(HISTORY / HOUR)
    known = frame.drop_nulls(column)
    values = np.full(hours, np.nan)
    back = (pl.lit(end) - pl.col("timestamp")).dt.total_hours()
    values[hours - known.select(back).to_series().to_numpy()] = known[column].to_numpy()
    return values
