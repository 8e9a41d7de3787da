"""Series that reach beyond the tables: the answers of `store.series`, with archived rows where the tables end.

Whoever asks about history asks here. Rows of days that are only in the archive are put into buckets by polars, by the
same rules; whatever the tables still have of such a range (days that were restored, rows that came late) goes in too.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from psycopg import Connection

from hps_platform.errors import QueryTimeout
from hps_platform.metrics.family import Family
from hps_platform.store import reading as tables
from hps_platform.store import series
from hps_platform.store.archive import reading as archive
from hps_platform.store.rollups import MAX_KEY_CHARACTERS
from hps_platform.store.schema import Grain
from hps_platform.store.series import Aggregate, Scope, Value, Width

MOST_ROWS = 300_000_000
"""Rows of the archived days that one question may look through; row groups of other servers count, but cost little."""
_ORIGIN = datetime(2000, 1, 1)  # noqa: DTZ001  # a wall clock's, in whatever zone
_MIDNIGHT = datetime.min.time()


def finest(conn: Connection[Any], scope: Scope) -> Grain | None:
    """The finest source that has kept all of the scope, the archive counting as raw rows (`None`)."""
    first = archive.days(conn, scope.family, scope.start, scope.end)
    if first and datetime.combine(first[0].day, _MIDNIGHT, UTC) <= scope.start:
        return None
    return series.finest(conn, scope)


def raw(conn: Connection[Any], scope: Scope, columns: Sequence[str], limit: int) -> pl.DataFrame:
    """`server_id, timestamp, <key>, <columns>`, ascending by time; at most `limit` rows."""
    found = series.raw(conn, scope, columns, limit)
    if not archive.days(conn, scope.family, scope.start, scope.end):
        return found
    _within_reason(conn, scope)
    with archive.explained(scope.family):
        old = archive.read(conn, scope.family, scope.server_ids, columns, scope.start, scope.end).head(limit).collect()
    united = _united(scope.family, found, old.lazy()).collect()
    return united.sort(_order(scope.family, "server_id", scope.family.key)).head(limit)


def buckets(
    conn: Connection[Any], scope: Scope, values: Sequence[Value], width: Width, limit: int | None = None
) -> pl.DataFrame:
    """`server_id` or `tag`, `timestamp, <summary key>, <values>` per bucket that has samples; at most `limit`.

    `timestamp` is the bucket's begin; the scope's `start` and `end` are bounds of buckets. Ascending by time.
    """
    reach = _reach(conn, scope, series.grain_for(scope, values, width))
    if reach is None:
        return series.buckets(conn, scope, values, width, limit)
    rates = any(value.agg is Aggregate.RATE for value in values)  # they need the row before
    cut = scope.end if rates else min(_bound_after(reach, width), scope.end)
    found = _bucketed(conn, replace(scope, end=cut), values, width)
    if cut < scope.end:
        found = pl.concat([found, series.buckets(conn, replace(scope, start=cut), values, width, limit)])
    ordered = found.sort(_order(scope.family, scope.line, scope.family.summary_key))
    return ordered if limit is None else ordered.head(limit)


def _order(family: Family, line: str, key: str | None) -> list[str]:
    return ["timestamp", line, *([key] if key else [])]


def _reach(conn: Connection[Any], scope: Scope, grain: Grain | None) -> datetime | None:
    """Until when archived rows are needed: where raw rows or that rollup are no longer in the tables; `None`: not."""
    found = [one.day for one in archive.days(conn, scope.family, scope.start, scope.end) if one.lacks(grain)]
    return datetime.combine(found[-1] + timedelta(days=1), _MIDNIGHT, UTC) if found else None


def _within_reason(conn: Connection[Any], scope: Scope) -> None:
    rows = sum(one.rows for one in archive.days(conn, scope.family, scope.start, scope.end))
    if rows > MOST_ROWS:
        raise QueryTimeout(f"{rows:,} archived rows would have to be looked through, more than {MOST_ROWS:,}")


def _bound_after(moment: datetime, width: Width) -> datetime:
    """The first bound of buckets at or after a moment."""
    zone, step = ZoneInfo(width.zone), timedelta(seconds=width.seconds)
    wall = moment.astimezone(zone).replace(tzinfo=None)
    return (wall + (_ORIGIN - wall) % step).replace(tzinfo=zone).astimezone(UTC)


def _united(family: Family, found: pl.DataFrame, old: pl.LazyFrame) -> pl.LazyFrame:
    """Archived rows and those of the tables; these win, for a replay may have mended them."""
    if found.is_empty():
        return old
    key = list(family.primary_key)
    return pl.concat([found.lazy(), old.join(found.lazy().select(key), on=key, how="anti")])


def _bucket(width: Width) -> pl.Expr:
    """The begin of a row's bucket."""
    wall = pl.col("timestamp").dt.convert_time_zone(width.zone).dt.replace_time_zone(None)
    step = width.seconds * 1000
    since = (wall - pl.lit(_ORIGIN).cast(pl.Datetime("ms"))).dt.total_milliseconds()
    begin = pl.lit(_ORIGIN).cast(pl.Datetime("ms")) + pl.duration(milliseconds=since // step * step, time_unit="ms")
    return begin.dt.replace_time_zone(width.zone, ambiguous="earliest").dt.convert_time_zone("UTC")


_STEP = "seconds before"


def _before(column: str) -> str:
    """The name of a column's value in the row before."""
    return f"{column} before"


def _value(value: Value) -> pl.Expr:
    column = pl.col(value.column).cast(pl.Float64)
    found: pl.Expr
    if value.agg is Aggregate.RATE:
        before = pl.col(_before(value.column)).cast(pl.Float64)
        grown = (column - before).clip(0).sum()
        elapsed = pl.col(_STEP).filter(column >= before).sum()
        found = pl.when(elapsed > 0).then(grown / elapsed)
    elif value.agg is Aggregate.SUM:
        found = pl.when(column.count() > 0).then(column.sum())
    elif value.agg is Aggregate.P95:
        found = column.quantile(0.95, "linear")
    else:
        plain = {Aggregate.MEAN: column.mean, Aggregate.MIN: column.min, Aggregate.MAX: column.max}
        found = plain[value.agg]()
    return found.alias(value.name)


def _with_predecessors(rows: pl.LazyFrame, family: Family, columns: Sequence[str]) -> pl.LazyFrame:
    line = ["server_id", *([family.key] if family.key else [])]
    ordered = rows.sort(*line, "timestamp")
    step = pl.col("timestamp").diff().over(line).dt.total_milliseconds() / 1000
    return ordered.with_columns(
        step.alias(_STEP), *(pl.col(name).shift(1).over(line).alias(_before(name)) for name in columns)
    )


def _bucketed(conn: Connection[Any], scope: Scope, values: Sequence[Value], width: Width) -> pl.DataFrame:
    """`series.buckets` by polars, of archived rows and of raw rows in the tables."""
    _within_reason(conn, scope)
    family = scope.family
    needed = list(dict.fromkeys(value.column for value in values))
    if family.summary_key and family.summary_key not in (family.key, *needed):
        needed.append(family.summary_key)
    schema = series.raw_schema(family, needed)
    found = tables.frame(conn, series.raw_query(family, needed), scope.asked, schema)
    rows = archive.read(conn, family, scope.server_ids, needed, scope.start, scope.end)
    rows = _united(family, found.select(*schema), rows.select(*schema))
    if any(value.agg is Aggregate.RATE for value in values):
        rows = _with_predecessors(rows, family, [value.column for value in values])
    if family.summary_key and family.summary_key != family.key:
        rows = rows.with_columns(pl.col(family.summary_key).fill_null("").str.slice(0, MAX_KEY_CHARACTERS))
    if scope.tags is not None:
        pairs = [(server, tag) for server, tags in scope.tags.items() for tag in dict.fromkeys(tags)]
        tagged = pl.LazyFrame(pairs, schema={"server_id": pl.Int64(), "tag": pl.String()}, orient="row")
        rows = rows.join(tagged, on="server_id")
    wanted = series.bucket_schema(scope, values)
    lines = [name for name in wanted if name not in {value.name for value in values}]
    grouped = rows.with_columns(_bucket(width).alias("timestamp")).group_by(lines).agg(map(_value, values))
    with archive.explained(family):
        return grouped.select(pl.col(name).cast(kind) for name, kind in wanted.items()).collect(engine="streaming")
