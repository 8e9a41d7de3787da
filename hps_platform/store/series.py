"""Samples as time series: raw rows, buckets of any width, and the latest values of the fleet.

Buckets come from the rollups where these are up to date and from raw rows for hours still marked dirty, so an answer
never lacks what has been landed. Which width suits a question is decided in `hps_platform.history`.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import polars as pl
from psycopg import Connection, sql

from hps_platform.metrics.family import Family, Kind
from hps_platform.store.rollups import summary_key
from hps_platform.store.schema import Grain, rollup_table


class Aggregate(StrEnum):
    """What becomes of the samples in a bucket. `RATE` is the growth per second of a counter."""

    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    P95 = "p95"
    SUM = "sum"
    RATE = "rate"


_ORIGIN = sql.SQL("timestamptz '2000-01-01 00:00Z'")
# From partial results (p: rollup rows, or raw rows of a dirty hour summed up) to the bucket's value.
_FINAL = {
    Aggregate.MEAN: "sum({value} * {weight}) / nullif(sum({weight}), 0)",
    Aggregate.MIN: "min({value})",
    Aggregate.MAX: "max({value})",
    Aggregate.SUM: "sum({value} * {weight})",
}
_STORED = {Aggregate.MEAN: "mean", Aggregate.MIN: "min", Aggregate.MAX: "max", Aggregate.SUM: "mean"}
_FROM_RAW = {Aggregate.MEAN: "avg", Aggregate.MIN: "min", Aggregate.MAX: "max", Aggregate.SUM: "avg"}


def _frame(cursor: Any, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    rows = cursor.fetchall()
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
    return pl.DataFrame(
        [pl.Series(name, values, dtype=dtype) for (name, dtype), values in zip(schema.items(), columns, strict=True)]
    )


def raw(
    conn: Connection[Any],
    family: Family,
    server_ids: Sequence[int],
    start: datetime,
    end: datetime,
    columns: Sequence[str],
    limit: int,
) -> pl.DataFrame:
    """Samples in [`start`, `end`): `server_id, timestamp, <key>, <columns>`, ascending by time; at most `limit`."""
    names = ["server_id", "timestamp", *([family.key] if family.key else []), *columns]
    query = sql.SQL(
        "SELECT {columns} FROM {table} WHERE server_id = ANY(%s) AND timestamp >= %s AND timestamp < %s LIMIT %s"
    ).format(columns=sql.SQL(", ").join(map(sql.Identifier, names)), table=sql.Identifier(family.table))
    with conn.cursor(binary=True) as cursor:
        cursor.execute(query, (list(server_ids), start, end, limit))
        frame = _frame(cursor, {name: family.frame_schema[name] for name in names})
    return frame.sort("timestamp", "server_id", *([family.key] if family.key else []))


def _grain(interval_s: int, agg: Aggregate) -> Grain | None:
    """The coarsest rollup that buckets of that width can be made from; `None`: only raw rows can."""
    if agg not in _FINAL or interval_s % Grain.MINUTE.seconds:
        return None
    return Grain.MINUTE if interval_s % Grain.HOUR.seconds else Grain.HOUR


def _keys(family: Family) -> tuple[sql.Composable, sql.Composable]:
    """The key as an item of a select list over raw rows `r`, and over anything that has it by name."""
    key = summary_key(family)
    if key is None:
        return sql.SQL(""), sql.SQL("")
    name = sql.Identifier(family.summary_key or "")
    return sql.SQL(", {} AS {}").format(key, name), sql.SQL(", {}").format(name)


def _from_rollups(family: Family, columns: Sequence[str], agg: Aggregate, grain: Grain) -> sql.Composed:
    rolled, partial, final = [], [], []
    for number, name in enumerate(columns):
        value, weight = sql.Identifier(f"v{number}"), sql.Identifier(f"w{number}")
        stored = sql.Identifier(f"{name}_{_STORED[agg]}")
        rolled.append(
            sql.SQL("r.{s}::float8 AS {v}, CASE WHEN r.{s} IS NULL THEN 0 ELSE r.samples END AS {w}").format(
                s=stored, v=value, w=weight
            )
        )
        partial.append(
            sql.SQL("{f}(r.{c})::float8, count(r.{c})").format(f=sql.SQL(_FROM_RAW[agg]), c=sql.Identifier(name))
        )
        final.append(sql.SQL(_FINAL[agg]).format(value=value, weight=weight))
    raw_key, key = _keys(family)
    return sql.SQL("""
        WITH dirty AS MATERIALIZED (
            SELECT hour, server_id FROM dirty_hours
            WHERE family = %(family)s AND server_id = ANY(%(ids)s)
              AND hour >= date_trunc('hour', %(start)s::timestamptz) AND hour < %(end)s
        ), part AS (
            SELECT r.server_id, date_bin(%(width)s, r.timestamp, {origin}) AS bucket{key}, {rolled}
            FROM {rollup} AS r
            WHERE r.server_id = ANY(%(ids)s) AND r.timestamp >= %(start)s AND r.timestamp < %(end)s
              AND NOT EXISTS (SELECT FROM dirty AS d
                              WHERE d.server_id = r.server_id AND d.hour = date_trunc('hour', r.timestamp))
            UNION ALL
            SELECT d.server_id, s.* FROM dirty AS d CROSS JOIN LATERAL (
                SELECT date_bin(%(width)s, r.timestamp, {origin}) AS bucket{raw_key}, {partial}
                FROM {raw} AS r
                WHERE r.server_id = d.server_id
                  AND r.timestamp >= greatest(d.hour, %(start)s)
                  AND r.timestamp < least(d.hour + interval '1 hour', %(end)s)
                GROUP BY {group}
            ) AS s
        )
        SELECT server_id, bucket{key}, {final} FROM part GROUP BY server_id, bucket{key} LIMIT %(limit)s
    """).format(
        origin=_ORIGIN,
        key=key,
        raw_key=raw_key,
        rolled=sql.SQL(", ").join(rolled),
        partial=sql.SQL(", ").join(partial),
        final=sql.SQL(", ").join(final),
        rollup=sql.Identifier(rollup_table(family, grain)),
        raw=sql.Identifier(family.table),
        group=sql.SQL("1, 2") if family.summary_key else sql.SQL("1"),
    )


def _from_raw(family: Family, columns: Sequence[str], agg: Aggregate) -> sql.Composed:
    functions = {**_FROM_RAW, Aggregate.SUM: "sum"}
    source: sql.Composable = sql.Identifier(family.table)
    values: list[sql.Composable] = []
    for name in columns:
        column = sql.SQL("r.{}").format(sql.Identifier(name))
        if agg is Aggregate.P95:
            values.append(sql.SQL("percentile_cont(0.95) WITHIN GROUP (ORDER BY {}::float8)").format(column))
        elif agg is Aggregate.RATE:
            values.append(
                sql.SQL(
                    "sum(greatest({c} - {p}, 0))::float8 / nullif(sum(CASE WHEN {c} >= {p} THEN step END), 0)"
                ).format(c=column, p=sql.SQL("r.{}").format(sql.Identifier(f"{name} before")))
            )
        else:
            values.append(sql.SQL("{}({})::float8").format(sql.SQL(functions[agg]), column))
    raw_key, _ = _keys(family)
    if agg is Aggregate.RATE:
        source = _with_predecessors(family, columns)
    return sql.SQL("""
        SELECT r.server_id, date_bin(%(width)s, r.timestamp, {origin}) AS bucket{raw_key}, {values}
        FROM {source} AS r
        WHERE r.server_id = ANY(%(ids)s) AND r.timestamp >= %(start)s AND r.timestamp < %(end)s
        GROUP BY 1, 2{group} LIMIT %(limit)s
    """).format(
        origin=_ORIGIN,
        raw_key=raw_key,
        values=sql.SQL(", ").join(values),
        source=source,
        group=sql.SQL(", 3") if family.summary_key else sql.SQL(""),
    )


def _with_predecessors(family: Family, columns: Sequence[str]) -> sql.Composable:
    """Raw rows, each with its predecessor's counters and the seconds since then."""
    window = sql.SQL("(PARTITION BY server_id{} ORDER BY timestamp)").format(
        sql.SQL(", {}").format(sql.Identifier(family.key)) if family.key else sql.SQL("")
    )
    before = [
        sql.SQL("lag({}) OVER {} AS {}").format(sql.Identifier(name), window, sql.Identifier(f"{name} before"))
        for name in columns
    ]
    return sql.SQL("""(
        SELECT *, extract(epoch FROM timestamp - lag(timestamp) OVER {window})::float8 AS step, {before}
        FROM {table} WHERE server_id = ANY(%(ids)s) AND timestamp >= %(start)s AND timestamp < %(end)s
    )""").format(window=window, before=sql.SQL(", ").join(before), table=sql.Identifier(family.table))


def buckets(
    conn: Connection[Any],
    family: Family,
    server_ids: Sequence[int],
    start: datetime,
    end: datetime,
    columns: Sequence[str],
    *,
    interval_s: int,
    agg: Aggregate,
    limit: int,
) -> pl.DataFrame:
    """`server_id, timestamp, <summary key>, <columns>` per bucket of `interval_s` that has samples; at most `limit`.

    `timestamp` is the bucket's begin; buckets are aligned to midnight UTC. `start` and `end` are bounds of buckets.
    Ascending by time.
    """
    grain = _grain(interval_s, agg)
    query = _from_rollups(family, columns, agg, grain) if grain else _from_raw(family, columns, agg)
    key = family.summary_key
    schema: dict[str, pl.DataType] = {"server_id": pl.Int64(), "timestamp": pl.Datetime("ms", "UTC")}
    schema |= {key: family.frame_schema[key]} if key else {}
    schema |= dict.fromkeys(columns, pl.Float64())
    asked = {"family": family.name, "ids": list(server_ids), "start": start, "end": end, "limit": limit}
    with conn.cursor(binary=True) as cursor:
        cursor.execute(query, {**asked, "width": f"{interval_s} seconds"})
        frame = _frame(cursor, schema)
    return frame.sort("timestamp", "server_id", *([key] if key else []))


def may_bucket(family: Family, name: str, agg: Aggregate) -> bool:
    """Whether a column can be aggregated so: rates need counters, everything else needs measured numbers."""
    kind = family.by_name[name].kind
    return kind is Kind.COUNTER if agg is Aggregate.RATE else kind in (Kind.REAL, Kind.WHOLE)
