"""Rows of samples -> the lines of a chart: one a server, or one a server and disk, interface, mount point, command.

A family with a key has many rows a sample. Unless somebody asks for single keys they are put together: the busiest
counts where adding up means nothing (shares, times, queues), the sum everywhere else. Pure functions.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from hps_platform.history.thinning import HOLE
from hps_platform.metrics import Column, Family

_BUSIEST = {"%", "ms", "s", "requests"}
_LOOPBACK = r"^lo\d*$"
MAX_SERIES = 24
"""Lines in one chart beyond which nobody can tell them apart."""


@dataclass(frozen=True, slots=True)
class Series:
    """`frame` is `timestamp, value`, ascending; `step_s` about the distance of its samples when none is missing."""

    name: str
    server_id: int
    frame: pl.DataFrame
    step_s: float

    @property
    def peak(self) -> float | None:
        value = self.frame["value"].max()
        return float(value) if isinstance(value, int | float) else None

    def with_gaps(self) -> pl.DataFrame:
        """The frame with an empty point in each hole, so that no line bridges it.

        A hole is wider than `HOLE` times the steps before and after it: how often a server is asked may change.
        """
        after = pl.col("timestamp").shift(-1) - pl.col("timestamp")
        step = pl.duration(milliseconds=int(self.step_s * 1000))
        around = pl.max_horizontal(step, after.shift(1).fill_null(step), after.shift(-1).fill_null(step))
        holes = self.frame.filter(after > around * HOLE)
        if holes.is_empty():
            return self.frame
        empty = holes.select(
            (pl.col("timestamp") + pl.duration(milliseconds=int(self.step_s * 1000))).alias("timestamp"),
            pl.lit(None, dtype=self.frame.schema["value"]).alias("value"),
        )
        return pl.concat([self.frame, empty.cast(dict(self.frame.schema))]).sort("timestamp")  # type: ignore[arg-type]


def how_combined(column: Column, family: Family) -> str:
    """ "busiest disk" or "all interfaces" as a chart's subtitle says it; empty for a family without a key."""
    if family.key is None:
        return ""
    noun = family.by_name[family.summary_key or family.key].label.lower()
    return f"highest {noun}" if column.unit in _BUSIEST else f"sum over {noun}s"


def key_of(frame: pl.DataFrame, family: Family) -> str | None:
    """The column that tells rows of one sample apart: its own in raw rows, the summary's in rollups."""
    for name in (family.summary_key, family.key):
        if name is not None and name in frame.columns:
            return name
    return None


def combine(frame: pl.DataFrame, column: Column, family: Family) -> pl.DataFrame:
    """`server_id, timestamp, value`: one row a sample, all keys put together; loopbacks do not count."""
    key = key_of(frame, family)
    if key is None:
        return frame.select("server_id", "timestamp", value=column.name)
    if key == "interface":
        frame = frame.filter(~pl.col(key).str.contains(_LOOPBACK))
    value = pl.col(column.name)
    together = value.max() if column.unit in _BUSIEST else value.sum()
    # A sum over nothing but nulls is 0 in polars: here it is "not printed".
    kept = pl.when(value.is_not_null().any()).then(together).otherwise(None)
    return frame.group_by("server_id", "timestamp").agg(kept.alias("value")).sort("server_id", "timestamp")


def joined(older: pl.DataFrame, newer: pl.DataFrame) -> pl.DataFrame:
    """Combined rows of two sources: each server's from the older one up to where the newer one begins."""
    begin = newer.group_by("server_id").agg(begin=pl.col("timestamp").min())
    before = older.join(begin, on="server_id", how="left").filter(
        pl.col("begin").is_null() | (pl.col("timestamp") < pl.col("begin"))
    )
    value = pl.col("value").cast(pl.Float64)
    names = ("server_id", "timestamp")
    return pl.concat([before.select(*names, value), newer.select(*names, value)]).sort("server_id", "timestamp")


def sample_value(rows: Sequence[Mapping[str, Any]], column: Column, family: Family) -> float | None:
    """`combine` for the rows of one sample of one server, as they come off the live tail."""
    if family.key == "interface":
        rows = [row for row in rows if not re.match(_LOOPBACK, str(row.get(family.key)))]
    values = [value for row in rows if (value := row.get(column.name)) is not None]
    if not values:
        return None
    return float(max(values) if family.key is None or column.unit in _BUSIEST else sum(values))


def series_of(
    frame: pl.DataFrame,
    column: Column,
    family: Family,
    names: Mapping[int, str],
    *,
    keys: Collection[str] = (),
    step_s: float | None = None,
) -> list[Series]:
    """The lines of one column, by server in the order of `names`. `keys`: a line for each of them instead.

    `step_s`: the width of buckets; without it samples are as far apart as they mostly are on each line.
    """
    step = step_s or family.interval_s
    key = key_of(frame, family)
    if keys and key is not None:
        wanted = frame.filter(pl.col(key).cast(pl.String).is_in(list(keys)))
        return [
            Series(f"{names.get(server, server)} · {one}", server, part, step_of(part, step))
            for server in names
            for one in sorted(keys)
            if (part := _part(wanted, column.name, server, key, one)).height
        ]
    together = combine(frame, column, family)
    return [
        Series(name, server, part, step_of(part, step))
        for server, name in names.items()
        if (part := together.filter(pl.col("server_id") == server).select("timestamp", "value").drop_nulls()).height
    ]


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A time of which something that was collected is not there; `share` is the least of its steps."""

    start: datetime
    end: datetime
    share: float


_WHOLE = 0.9995


def incomplete(frame: pl.DataFrame, step_s: float | None) -> list[Incomplete]:
    """The times of an answer that are not complete, ascending; neighbours are one. Without the column: none."""
    if "completeness" not in frame.columns:
        return []
    least = frame.group_by("timestamp").agg(pl.col("completeness").min()).filter(pl.col("completeness") < _WHOLE)
    step = timedelta(seconds=max(step_s or 0.0, 60.0))
    found: list[Incomplete] = []
    for at, share in least.sort("timestamp").iter_rows():
        if found and at <= found[-1].end + step:
            found[-1] = replace(found[-1], end=at + step, share=min(share, found[-1].share))
        else:
            found.append(Incomplete(at, at + step, share))
    return found


def step_of(frame: pl.DataFrame, at_least_s: float) -> float:
    """Seconds that two samples of a line mostly lie apart, at least `at_least_s`: a server may be asked less often."""
    middle = frame["timestamp"].diff().dt.total_milliseconds().median()
    return max(at_least_s, middle / 1000) if isinstance(middle, int | float) else at_least_s


def _part(frame: pl.DataFrame, column: str, server: int, key: str, one: str) -> pl.DataFrame:
    rows = frame.filter((pl.col("server_id") == server) & (pl.col(key).cast(pl.String) == one))
    # Several processes can share a command: the highest of a moment stands for it.
    return rows.group_by("timestamp").agg(pl.col(column).max().alias("value")).sort("timestamp").drop_nulls()


def rows_to_frame(rows: Sequence[Mapping[str, Any]], family: Family, columns: Collection[str]) -> pl.DataFrame:
    """Rows of the live tail (epoch milliseconds) as a frame of samples with the given columns."""
    wanted = ["server_id", "timestamp", *([family.key] if family.key else []), *sorted(set(columns) - {family.key})]
    schema = {name: family.wire_schema[name] for name in wanted}
    frame = pl.DataFrame([{name: row.get(name) for name in wanted} for row in rows], schema=schema, strict=False)
    return frame.with_columns(pl.from_epoch("timestamp", time_unit="ms").dt.replace_time_zone("UTC")).cast(
        {"timestamp": pl.Datetime("ms", "UTC")}
    )
