"""Samples as time series: raw rows, and buckets of any width.

Buckets come from the rollups where these are up to date and from raw rows for hours still marked dirty, so an answer
never lacks what has been landed. Wide buckets come from six hours at a time, but for those of which an hour is dirty:
these are put together of the hours. Which width suits a question is decided in `hps_platform.history`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import polars as pl
from psycopg import Connection, sql

from hps_platform.metrics.family import PEAKS, Family, Kind, Summary
from hps_platform.store import reading
from hps_platform.store.rollups import ORIGIN, summary_key
from hps_platform.store.schema import Grain, rollup_table

_HOUR, _SIX_HOURS = timedelta(hours=1), timedelta(hours=6)
_ORIGIN_AT = datetime(2000, 1, 1, tzinfo=UTC)
_MANY_RANGES = 6


class Aggregate(StrEnum):
    """What becomes of the samples in a bucket. `RATE` is the growth per second of a counter."""

    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    P95 = "p95"
    SUM = "sum"
    RATE = "rate"


@dataclass(frozen=True, slots=True)
class Value:
    """One column of an answer: an aggregate of a family's column."""

    name: str
    column: str
    agg: Aggregate


@dataclass(frozen=True, slots=True)
class Scope:
    """Which samples: of these servers in [`start`, `end`). With `tags` (by server), lines are tags, not servers."""

    family: Family
    server_ids: Sequence[int]
    start: datetime
    end: datetime
    tags: Mapping[int, Sequence[str]] | None = None

    @property
    def line(self) -> str:
        return "server_id" if self.tags is None else "tag"

    @property
    def asked(self) -> dict[str, Any]:
        pairs = [(server, tag) for server, tags in (self.tags or {}).items() for tag in dict.fromkeys(tags)]
        return {
            "family": self.family.name,
            "ids": list(self.server_ids),
            "start": self.start,
            "end": self.end,
            "tagged": [server for server, _ in pairs],
            "tags": [tag for _, tag in pairs],
        }


@dataclass(frozen=True, slots=True)
class Width:
    """The width of buckets. Whole days may begin at midnight of a time zone, all others are aligned to UTC."""

    seconds: int
    zone: str = "UTC"
    whole_hours: bool = True
    """Whether midnights of that zone are full hours in UTC, so that rollups by hour can be put into such days."""

    def of(self, moment: sql.Composable) -> sql.Composable:
        """The begin of the bucket that a moment is in."""
        if self.zone == "UTC":
            return sql.SQL("date_bin({}, {}, {})").format(f"{self.seconds} seconds", moment, ORIGIN)
        local = sql.SQL("{} AT TIME ZONE {}").format(moment, self.zone)
        days = f"{self.seconds // 86_400} days"
        return sql.SQL("date_bin({}, {}, timestamp '2000-01-01') AT TIME ZONE {}").format(days, local, self.zone)

    @property
    def sql(self) -> sql.Composable:
        """The begin of the bucket that a row `r` is in."""
        return self.of(sql.SQL("r.timestamp"))


# Of rollup rows a value and, for means, how many samples it stands for; of raw rows the same two.
_ROLLED = {
    Aggregate.MEAN: ("r.{mean}::float8 * r.samples", "CASE WHEN r.{mean} IS NOT NULL THEN r.samples END"),
    Aggregate.SUM: ("r.{mean}::float8 * r.samples", "0"),
    Aggregate.MIN: ("r.{min}", "0"),
    Aggregate.MAX: ("r.{max}", "0"),
    Aggregate.P95: ("r.{p95}", "0"),
}
_RAW = {
    Aggregate.MEAN: ("sum(r.{column}::float8)", "count(r.{column})"),
    Aggregate.SUM: ("sum(r.{column}::float8)", "0"),
    Aggregate.MIN: ("min(r.{column})", "0"),
    Aggregate.MAX: ("max(r.{column})", "0"),
    Aggregate.P95: ("percentile_cont(0.95) WITHIN GROUP (ORDER BY r.{column}::float8)", "0"),
}
_FINAL = {
    Aggregate.MEAN: "sum({value}) / nullif(sum({weight}), 0)",
    Aggregate.SUM: "sum({value})",
    Aggregate.MIN: "min({value})",
    Aggregate.MAX: "max({value})",
    Aggregate.P95: "max({value})",  # there is but one
}


_OF_SIX_HOURS = frozenset((Aggregate.MEAN, Aggregate.MIN, Aggregate.MAX))
"""What six hours answer for. Not sums: these would count a column for the hours in which it was not printed."""


def raw_schema(family: Family, columns: Sequence[str]) -> dict[str, pl.DataType]:
    names = ["server_id", "timestamp", *([family.key] if family.key else []), *columns]
    return {name: family.frame_schema[name] for name in names}


def raw_query(family: Family, columns: Sequence[str]) -> sql.Composed:
    """Samples of a scope, in no order; `scope.asked` are its parameters."""
    return sql.SQL(
        "SELECT {columns} FROM {table}"
        " WHERE server_id = ANY(%(ids)s) AND timestamp >= %(start)s AND timestamp < %(end)s"
    ).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, raw_schema(family, columns))),
        table=sql.Identifier(family.table),
    )


def raw(conn: Connection[Any], scope: Scope, columns: Sequence[str], limit: int) -> pl.DataFrame:
    """`server_id, timestamp, <key>, <columns>`, ascending by time; at most `limit` rows."""
    family = scope.family
    query = raw_query(family, columns) + sql.SQL(" LIMIT %(limit)s")
    frame = reading.frame(conn, query, {**scope.asked, "limit": limit}, raw_schema(family, columns))
    return frame.sort("timestamp", "server_id", *([family.key] if family.key else []))


def grain_for(scope: Scope, values: Sequence[Value], width: Width) -> Grain | None:
    """The coarsest rollup that such buckets can be made from; `None`: only raw rows can.

    Days of a time zone are made from hours: their midnights lie anywhere within six hours of UTC.
    """
    if any(value.agg is Aggregate.P95 for value in values):
        return _grain_of_percentiles(scope, values, width)
    if any(value.agg not in _FINAL for value in values) or width.seconds % Grain.MINUTE.seconds:
        return None
    if width.seconds % Grain.HOUR.seconds or not width.whole_hours:
        return Grain.MINUTE
    wide = width.seconds % Grain.SIX_HOURS.seconds == 0 and width.zone == "UTC"
    return Grain.SIX_HOURS if wide and all(value.agg in _OF_SIX_HOURS for value in values) else Grain.HOUR


def _grain_of_percentiles(scope: Scope, values: Sequence[Value], width: Width) -> Grain | None:
    """Percentiles can't be put together: a rollup has them for its own buckets, of columns that it keeps them of."""
    kept = all(Summary.P95 in scope.family.by_name[value.column].summaries for value in values)
    if not kept or scope.tags is not None or any(value.agg not in _FINAL for value in values):
        return None
    return next((grain for grain in (Grain.MINUTE, Grain.HOUR) if grain.seconds == width.seconds), None)


def bucket_schema(scope: Scope, values: Sequence[Value]) -> dict[str, pl.DataType]:
    key = scope.family.summary_key
    line: dict[str, pl.DataType] = {scope.line: pl.Int64() if scope.tags is None else pl.String()}
    return {
        **line,
        "timestamp": pl.Datetime("ms", "UTC"),
        **({key: scope.family.frame_schema[key]} if key else {}),
        **{value.name: pl.Float64() for value in values},
    }


def buckets(
    conn: Connection[Any], scope: Scope, values: Sequence[Value], width: Width, limit: int | None = None
) -> pl.DataFrame:
    """`server_id` or `tag`, `timestamp, <summary key>, <values>` per bucket that has samples; at most `limit`.

    `timestamp` is the bucket's begin; the scope's `start` and `end` are bounds of buckets. Ascending by time.
    """
    grain = grain_for(scope, values, width)
    asked: dict[str, Any] = {**scope.asked, "limit": limit}
    if grain is None:
        query = _from_raw(scope, values, width)
    else:
        dirty = _dirty(conn, scope, grain)
        asked |= dirty.asked
        query = _from_rollups(scope, values, width, dirty)
    query += sql.SQL(" LIMIT %(limit)s")
    frame = reading.frame(conn, query, asked, bucket_schema(scope, values))
    key = scope.family.summary_key
    return frame.sort("timestamp", scope.line, *([key] if key else []))


def top(
    conn: Connection[Any], scope: Scope, column: str, count: int, *, quantile: float = 0.95
) -> list[tuple[int, float]]:
    """The servers whose minutes' means reach highest, at that quantile, the highest first; with what they reach."""
    minute = Width(Grain.MINUTE.seconds)
    values = [Value("value", column, Aggregate.MEAN)]
    dirty = _dirty(conn, scope, Grain.MINUTE)
    key = scope.family.summary_key
    query = sql.SQL("""
        SELECT server_id, percentile_cont({}) WITHIN GROUP (ORDER BY value) AS reached
        FROM ({}) AS minutes (server_id, bucket{}, value) WHERE value IS NOT NULL GROUP BY server_id
        ORDER BY reached DESC, server_id LIMIT {}
    """).format(
        sql.Literal(quantile),
        _from_rollups(scope, values, minute, dirty),
        sql.SQL(", {}").format(sql.Identifier(key)) if key else sql.SQL(""),
        sql.Literal(count),
    )
    return conn.execute(query, {**scope.asked, **dirty.asked}, prepare=False).fetchall()


@dataclass(frozen=True, slots=True)
class _Dirty:
    """What the rollup `grain` can't be asked for, and where that is instead.

    `gaps` are begins of its buckets that have an hour marked dirty, of an hour at least: all servers leave them out.
    Of these, `marked` hours of servers are read from raw rows; those that are `clean` from the rollup `finer`.
    """

    grain: Grain
    gaps: list[datetime]
    marked: list[tuple[int, datetime]]
    clean: list[tuple[int, datetime]]

    @property
    def length(self) -> timedelta:
        """Of a gap."""
        return _SIX_HOURS if self.grain is Grain.SIX_HOURS else _HOUR

    @property
    def finer(self) -> Grain:
        """The rollup of what is clean within gaps."""
        return Grain.HOUR if self.grain is Grain.SIX_HOURS else self.grain

    @property
    def asked(self) -> dict[str, Any]:
        return {
            "gaps": self.gaps,
            "marked_ids": [server for server, _ in self.marked],
            "marked_hours": [hour for _, hour in self.marked],
            "clean_ids": [server for server, _ in self.clean],
            "clean_hours": [hour for _, hour in self.clean],
            "first_gap": self.gaps[0] if self.gaps else None,
            "last_gap": self.gaps[-1] + self.length if self.gaps else None,
        }

    def ranges(self, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        """[`start`, `end`) without the gaps."""
        found = []
        for gap in self.gaps:
            if start < gap:
                found.append((start, gap))
            start = max(start, gap + self.length)
        return [*found, (start, end)] if start < end else found


def _dirty(conn: Connection[Any], scope: Scope, grain: Grain) -> _Dirty:
    """For questions to a rollup; to that by hour where too many six hours have a dirty one."""
    rows = conn.execute(
        """
        SELECT server_id, hour FROM dirty_hours
        WHERE family = %(family)s AND server_id = ANY(%(ids)s)
          AND hour >= date_trunc('hour', %(start)s::timestamptz) AND hour < %(end)s
        """,
        {name: scope.asked[name] for name in ("family", "ids", "start", "end")},
    ).fetchall()
    marked = set(rows)
    hours = gaps = sorted({hour for _, hour in marked})
    if grain is Grain.SIX_HOURS:
        wide = sorted({hour - (hour - _ORIGIN_AT) % _SIX_HOURS for hour in hours})
        if len(wide) < _MANY_RANGES:
            gaps, hours = wide, [gap + number * _HOUR for gap in wide for number in range(6)]
        else:
            grain = Grain.HOUR
    clean = [(server, hour) for hour in hours for server in scope.server_ids if (server, hour) not in marked]
    return _Dirty(grain, gaps, rows, clean)


def _keys(family: Family) -> tuple[sql.Composable, sql.Composable]:
    """The key as an item of a select list over raw rows `r`, and over anything that has it by name."""
    key = summary_key(family)
    if key is None:
        return sql.SQL(""), sql.SQL("")
    name = sql.Identifier(family.summary_key or "")
    return sql.SQL(", {} AS {}").format(key, name), sql.SQL(", {}").format(name)


def _listed(family: Family, values: Sequence[Value], parts: Mapping[Aggregate, tuple[str, str]]) -> sql.Composed:
    listed: list[sql.Composable] = []
    for number, value in enumerate(values):
        column = family.by_name[value.column]
        names = {part.value: sql.Identifier(f"{column.name}_{column.summary_for(part)}") for part in PEAKS}
        for kind, text in zip("vw", parts[value.agg], strict=True):
            expression = sql.SQL(text).format(column=sql.Identifier(value.column), **names)
            listed.append(sql.SQL("{} AS {}").format(expression, sql.Identifier(f"{kind}{number}")))
    return sql.SQL(", ").join(listed)


def _within(dirty: _Dirty, scope: Scope) -> sql.Composable:
    """Rows `r` of the scope outside of gaps."""
    whole = sql.SQL("r.timestamp >= %(start)s AND r.timestamp < %(end)s")
    ranges = dirty.ranges(scope.start, scope.end)
    if len(ranges) > _MANY_RANGES:
        return whole + sql.SQL(" AND date_trunc('hour', r.timestamp) <> ALL(%(gaps)s::timestamptz[])")
    each = [sql.SQL("r.timestamp >= {} AND r.timestamp < {}").format(start, end) for start, end in ranges]
    return sql.SQL("({})").format(sql.SQL(" OR ").join(each)) if each else sql.SQL("false")


def _rolled(scope: Scope, values: Sequence[Value], width: Width, grain: Grain) -> sql.Composed:
    """Rows `r` of a rollup, without a condition."""
    return sql.SQL("SELECT r.server_id, {bucket} AS bucket{key}, {listed} FROM {table} AS r").format(
        bucket=width.sql,
        key=_keys(scope.family)[1],
        listed=_listed(scope.family, values, _ROLLED),
        table=sql.Identifier(rollup_table(scope.family, grain)),
    )


# The outermost gaps as moments: they let the planner leave the other days' partitions out.
_IN_GAP = sql.SQL("""r.server_id = d.server_id
    AND r.timestamp >= %(first_gap)s::timestamptz AND r.timestamp < %(last_gap)s::timestamptz
""")
_WITHIN_HOUR = sql.SQL(
    " AND r.timestamp >= greatest(d.hour, %(start)s) AND r.timestamp < least(d.hour + interval '1 hour', %(end)s)"
)
_AT_HOUR = sql.SQL(" AND r.timestamp = d.hour")


def _clean(scope: Scope, values: Sequence[Value], width: Width, dirty: _Dirty) -> sql.Composable:
    """What is not dirty within gaps."""
    place = _WITHIN_HOUR if dirty.finer is Grain.MINUTE else _AT_HOUR
    return sql.SQL("""
        SELECT s.* FROM unnest(%(clean_ids)s::bigint[], %(clean_hours)s::timestamptz[]) AS d (server_id, hour)
        CROSS JOIN LATERAL ({rolled} WHERE {in_gap}) AS s
    """).format(rolled=_rolled(scope, values, width, dirty.finer), in_gap=_IN_GAP + place)


def _marked(scope: Scope, values: Sequence[Value], width: Width, dirty: _Dirty) -> sql.Composable:
    """What is dirty, from raw rows."""
    raw_key, _ = _keys(scope.family)
    # Of an hour that is in one bucket as a whole, the bucket is known beforehand, and there is nothing to sort.
    bucket = width.sql if dirty.grain is Grain.MINUTE else width.of(sql.SQL("d.hour"))
    return sql.SQL("""
        SELECT d.server_id, s.* FROM unnest(%(marked_ids)s::bigint[], %(marked_hours)s::timestamptz[])
            AS d (server_id, hour)
        CROSS JOIN LATERAL (
            SELECT {bucket} AS bucket{raw_key}, {listed} FROM {raw} AS r WHERE {in_gap} GROUP BY {group}
        ) AS s
    """).format(
        bucket=bucket,
        raw_key=raw_key,
        listed=_listed(scope.family, values, _RAW),
        raw=sql.Identifier(scope.family.table),
        in_gap=_IN_GAP + _WITHIN_HOUR,
        group=sql.SQL("1, 2") if scope.family.summary_key else sql.SQL("1"),
    )


def _from_rollups(scope: Scope, values: Sequence[Value], width: Width, dirty: _Dirty) -> sql.Composed:
    _, key = _keys(scope.family)
    rolled = _rolled(scope, values, width, dirty.grain)
    parts: list[sql.Composable] = [
        rolled + sql.SQL(" WHERE r.server_id = ANY(%(ids)s) AND ") + _within(dirty, scope),
    ]
    if dirty.clean:
        parts.append(_clean(scope, values, width, dirty))
    if dirty.marked:
        parts.append(_marked(scope, values, width, dirty))
    final = [
        sql.SQL(_FINAL[value.agg]).format(value=sql.Identifier(f"v{number}"), weight=sql.Identifier(f"w{number}"))
        for number, value in enumerate(values)
    ]
    tagged = sql.SQL(" JOIN unnest(%(tagged)s::bigint[], %(tags)s::text[]) AS g (server_id, tag) USING (server_id)")
    return sql.SQL(
        "SELECT {line}, bucket{key}, {final} FROM ({parts}) AS part{tagged} GROUP BY {line}, bucket{key}"
    ).format(
        line=sql.Identifier(scope.line),
        key=key,
        final=sql.SQL(", ").join(final),
        parts=sql.SQL(" UNION ALL ").join(parts),
        tagged=tagged if scope.tags is not None else sql.SQL(""),
    )


_DIRECT = {
    Aggregate.MEAN: "avg({c})::float8",
    Aggregate.MIN: "min({c})::float8",
    Aggregate.MAX: "max({c})::float8",
    Aggregate.SUM: "sum({c})::float8",
    Aggregate.P95: "percentile_cont(0.95) WITHIN GROUP (ORDER BY {c}::float8)",
    Aggregate.RATE: "sum(greatest({c} - {p}, 0))::float8 / nullif(sum(CASE WHEN {c} >= {p} THEN step END), 0)",
}


def _from_raw(scope: Scope, values: Sequence[Value], width: Width) -> sql.Composed:
    family = scope.family
    listed = [
        sql.SQL(_DIRECT[value.agg]).format(
            c=sql.SQL("r.{}").format(sql.Identifier(value.column)),
            p=sql.SQL("r.{}").format(sql.Identifier(f"{value.column} before")),
        )
        for value in values
    ]
    source: sql.Composable = sql.Identifier(family.table)
    if any(value.agg is Aggregate.RATE for value in values):
        source = _with_predecessors(family, list(dict.fromkeys(value.column for value in values)))
    raw_key, _ = _keys(family)
    tagged = sql.SQL(" JOIN unnest(%(tagged)s::bigint[], %(tags)s::text[]) AS g (server_id, tag) USING (server_id)")
    return sql.SQL("""
        SELECT {line}, {bucket} AS bucket{raw_key}, {values}
        FROM {source} AS r{tagged}
        WHERE r.server_id = ANY(%(ids)s) AND r.timestamp >= %(start)s AND r.timestamp < %(end)s
        GROUP BY 1, 2{group}
    """).format(
        line=sql.Identifier("r", "server_id") if scope.tags is None else sql.Identifier("g", "tag"),
        bucket=width.sql,
        raw_key=raw_key,
        values=sql.SQL(", ").join(listed),
        source=source,
        tagged=tagged if scope.tags is not None else sql.SQL(""),
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


def may_bucket(family: Family, name: str, agg: Aggregate) -> bool:
    """Whether a column can be aggregated so: rates need counters, everything else needs measured numbers."""
    kind = family.by_name[name].kind
    return kind is Kind.COUNTER if agg is Aggregate.RATE else kind in (Kind.REAL, Kind.WHOLE)


def finest(conn: Connection[Any], scope: Scope) -> Grain | None:
    """The finest source that has kept all of the scope: raw (`None`), or the rollup that reaches further back."""
    family = scope.family
    coarsest: Grain | None = None
    finer = family.table
    for grain in Grain:
        table = rollup_table(family, grain)
        begin = _kept_since(conn, finer)
        if begin is not None and scope.start < begin:
            older = sql.SQL(
                "SELECT EXISTS (SELECT FROM {} WHERE server_id = ANY(%s) AND timestamp >= %s AND timestamp < %s)"
            ).format(sql.Identifier(table))
            row = conn.execute(older, (list(scope.server_ids), scope.start, min(begin, scope.end))).fetchone()
            if row and row[0]:
                coarsest = grain
        finer = table
    return coarsest


def _kept_since(conn: Connection[Any], table: str) -> datetime | None:
    """The begin of the oldest partition. Names end in its day, or its month."""
    row = conn.execute(
        """
        SELECT to_timestamp(rpad(min(substring(child.relname FROM '_p(\\d{6,8})$')), 8, '01'), 'YYYYMMDD')
        FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
        WHERE inhparent = to_regclass(quote_ident(%s))
        """,
        (table,),
    ).fetchone()
    return row[0] if row else None
