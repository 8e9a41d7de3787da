"""Rollups of a minute, an hour and six hours, recomputed wherever landing marked an hour dirty.

What they hold of a column, it declares itself. Minutes and hours come from raw, so a mean is the mean of the samples,
not of means. Six hours come from their hours, weighed by their samples; there is no percentile of them.
Late and replayed rows mark their hours again and heal them; those of a day that is only in the archive wait until it
is restored, for what is there are not all of its rows.
"""

import logging
from typing import Any

from psycopg import Connection, sql

from hps_platform.metrics import FAMILIES
from hps_platform.metrics.family import Column, Family, Summary
from hps_platform.store.schema import Grain, rollup_table

logger = logging.getLogger(__name__)

_LOCK = 0x687073_03
_SIX_HOURS = f"{Grain.SIX_HOURS.seconds} seconds"
ORIGIN = sql.SQL("timestamptz '2000-01-01 00:00Z'")
"""Where buckets of every width are counted from."""
MAX_KEY_CHARACTERS = 200
"""A command line longer than this is cut in the rollups: it is part of their key."""


def summary_key(family: Family) -> sql.Composable | None:
    """The expression over a raw row (`r`) that its rollup row's key is; `None` for families of one row a sample."""
    name = family.summary_key
    if name is None:
        return None
    column = sql.SQL("r.{}").format(sql.Identifier(name))
    if name == family.key:
        return column
    return sql.SQL("left(coalesce({}, ''), {})").format(column, MAX_KEY_CHARACTERS)


def _summary(column: Column, summary: Summary) -> sql.Composable:
    """One summary of a column over raw rows `r`."""
    value = sql.SQL("r.{}").format(sql.Identifier(column.name))
    if summary is Summary.MEAN:
        # Much quicker than avg(), which also keeps squares, and divides integers as numerics.
        return sql.SQL("(sum({v}::float8) / nullif(count({v}), 0))::real").format(v=value)
    if summary is Summary.P95:
        return sql.SQL("(percentile_cont(0.95) WITHIN GROUP (ORDER BY {}::float8))::real").format(value)
    if summary is Summary.LAST:
        return sql.SQL("(array_agg({v} ORDER BY r.timestamp DESC) FILTER (WHERE {v} IS NOT NULL))[1]").format(v=value)
    return sql.SQL("{}({})::real").format(sql.SQL(summary.value), value)


def summary_columns(family: Family, grain: Grain) -> list[str]:
    """Columns of a rollup table."""
    key = [family.summary_key] if family.summary_key else []
    parts = [f"{column.name}_{part}" for column in family.rollup_columns for part in grain.summaries(column)]
    return ["server_id", "timestamp", *key, "samples", *parts]


def _buckets(family: Family, grain: Grain) -> sql.Composable:
    """Rollup rows of every mark of the family in `rollup_marks`: an index range of raw rows per mark."""
    key = summary_key(family)
    parts = [_summary(column, part) for column in family.rollup_columns for part in grain.summaries(column)]
    names = [name for name in summary_columns(family, grain) if name != "server_id"]
    return sql.SQL("""
        SELECT mark.server_id, bucket.* FROM rollup_marks AS mark CROSS JOIN LATERAL (
            SELECT date_bin({width}, r.timestamp, {origin}){key}, count(*)::integer, {parts}
            FROM {raw} AS r
            WHERE r.server_id = mark.server_id
              AND r.timestamp >= mark.hour AND r.timestamp < mark.hour + interval '1 hour'
            GROUP BY 1{group}
        ) AS bucket ({names})
        WHERE mark.family = {family}
    """).format(
        width=f"{grain.seconds} seconds",
        origin=ORIGIN,
        key=sql.SQL(", {}").format(key) if key else sql.SQL(""),
        parts=sql.SQL(", ").join(parts),
        raw=sql.Identifier(family.table),
        group=sql.SQL(", 2") if key else sql.SQL(""),
        names=sql.SQL(", ").join(map(sql.Identifier, names)),
        family=family.name,
    )


def _foremost(family: Family, grain: Grain, buckets: sql.Composable) -> sql.Composable:
    """The first `rollup_top` rows of each bucket and server, in turn by each of `rollup_by`; ties by the key."""
    places = [sql.Identifier(f"by {name}") for name in family.rollup_by]
    ranks = [
        sql.SQL(
            "row_number() OVER (PARTITION BY server_id, timestamp ORDER BY samples * {} DESC NULLS LAST, {}) AS {}"
        ).format(sql.Identifier(f"{name}_mean"), sql.Identifier(family.summary_key or ""), place)
        for name, place in zip(family.rollup_by, places, strict=True)
    ]
    return sql.SQL("""
        SELECT {columns} FROM (
            SELECT *, row_number() OVER (PARTITION BY server_id, timestamp ORDER BY least({places}), {places}) AS place
            FROM (SELECT *, {ranks} FROM ({buckets}) AS bucket) AS ranked
        ) AS placed WHERE place <= {top}
    """).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, summary_columns(family, grain))),
        places=sql.SQL(", ").join(places),
        ranks=sql.SQL(", ").join(ranks),
        buckets=buckets,
        top=family.rollup_top,
    )


def _recompute(conn: Connection[Any], family: Family, grain: Grain) -> int:
    """Replaces the rollup rows of every mark in `rollup_marks`; returns how many are there now."""
    table = sql.Identifier(rollup_table(family, grain))
    conn.execute(
        sql.SQL(
            "DELETE FROM {} AS old USING rollup_marks AS mark WHERE mark.family = {} AND old.server_id = mark.server_id"
            " AND old.timestamp >= mark.hour AND old.timestamp < mark.hour + interval '1 hour'"
        ).format(table, family.name)
    )
    buckets = _buckets(family, grain)
    statement = sql.SQL("INSERT INTO {table} ({columns}) {rows}").format(
        table=table,
        columns=sql.SQL(", ").join(map(sql.Identifier, summary_columns(family, grain))),
        rows=_foremost(family, grain, buckets) if family.rollup_top else buckets,
    )
    return conn.execute(statement).rowcount


def _of_hours(column: Column, summary: Summary) -> sql.Composable:
    """One summary of a column over hour rows `r`."""
    value = sql.SQL("r.{}").format(sql.Identifier(f"{column.name}_{summary}"))
    if summary is Summary.MEAN:
        return sql.SQL(
            "(sum({v}::float8 * r.samples) / nullif(sum(r.samples) FILTER (WHERE {v} IS NOT NULL), 0))::real"
        ).format(v=value)
    if summary is Summary.LAST:
        return sql.SQL("(array_agg({v} ORDER BY r.timestamp DESC) FILTER (WHERE {v} IS NOT NULL))[1]").format(v=value)
    return sql.SQL("{}({})").format(sql.SQL(summary.value), value)


def _recompute_six_hours(conn: Connection[Any], family: Family) -> None:
    """Replaces the rows of every six hours with a mark in `rollup_marks` by what their hours say now.

    Of processes there are all commands that one of the hours has.
    """
    grain = Grain.SIX_HOURS
    marked = sql.SQL(
        "(SELECT DISTINCT server_id, date_bin({width}, hour, {origin}) AS bucket FROM rollup_marks"
        " WHERE family = {family}) AS mark"
    ).format(width=_SIX_HOURS, origin=ORIGIN, family=family.name)
    table = sql.Identifier(rollup_table(family, grain))
    conn.execute(
        sql.SQL(
            "DELETE FROM {} AS old USING {} WHERE old.server_id = mark.server_id AND old.timestamp = mark.bucket"
        ).format(table, marked)
    )
    parts = [_of_hours(column, part) for column in family.rollup_columns for part in grain.summaries(column)]
    key = sql.SQL(", r.{}").format(sql.Identifier(family.summary_key)) if family.summary_key else sql.SQL("")
    conn.execute(
        sql.SQL("""
            INSERT INTO {table} ({columns})
            SELECT mark.server_id, mark.bucket{key}, sum(r.samples)::integer, {parts}
            FROM {marked} JOIN {hours} AS r ON r.server_id = mark.server_id
             AND r.timestamp >= mark.bucket AND r.timestamp < mark.bucket + {width}::interval
            GROUP BY mark.server_id, mark.bucket{key}
        """).format(
            table=table,
            columns=sql.SQL(", ").join(map(sql.Identifier, summary_columns(family, grain))),
            key=key,
            parts=sql.SQL(", ").join(parts),
            marked=marked,
            hours=sql.Identifier(rollup_table(family, Grain.HOUR)),
            width=_SIX_HOURS,
        )
    )


def _refresh_family(conn: Connection[Any], family: Family, max_hours: int) -> int:
    """Rows of the minute rollup that were written; newest hours first."""
    marks = conn.execute(
        """
        INSERT INTO rollup_marks
        SELECT family, hour, server_id, marked_at FROM dirty_hours
        WHERE family = %(family)s AND hour IN (
            SELECT DISTINCT hour FROM dirty_hours AS d WHERE family = %(family)s AND NOT EXISTS (
                SELECT FROM archived_days AS a
                WHERE a.family = d.family AND a.day = (d.hour AT TIME ZONE 'UTC')::date AND a.dropped_at IS NOT NULL)
            ORDER BY hour DESC LIMIT %(hours)s)
        ORDER BY server_id, hour
        """,
        {"family": family.name, "hours": max_hours},
    ).rowcount
    if not marks:
        return 0
    conn.execute("ANALYZE rollup_marks")
    rows = _recompute(conn, family, Grain.MINUTE)
    _recompute(conn, family, Grain.HOUR)
    _recompute_six_hours(conn, family)
    return rows


def _clear(conn: Connection[Any]) -> None:
    """Clears the marks that were seen, unless landing has renewed them since.

    Landing waits for these locks: they are taken last, and in its order.
    """
    conn.execute(
        """
        SELECT FROM dirty_hours AS d JOIN rollup_marks AS m USING (family, hour, server_id)
        WHERE d.marked_at = m.marked_at ORDER BY d.family, d.hour, d.server_id FOR UPDATE OF d
        """
    )
    conn.execute(
        """
        DELETE FROM dirty_hours AS d USING rollup_marks AS m
        WHERE (d.family, d.hour, d.server_id, d.marked_at) = (m.family, m.hour, m.server_id, m.marked_at)
        """
    )


def refresh(conn: Connection[Any], *, max_hours: int = 400) -> dict[str, int]:
    """Recomputes the rollups of up to `max_hours` dirty hours of each family, of all their servers.

    Returns the rows of the minute rollups that were written, per family that had dirty hours: call it again until that
    is empty to be up to date. One refresh works at a time, others wait for its transaction. Landing is not held up.
    """
    with conn.transaction():
        conn.execute("SET LOCAL statement_timeout = '10min'")
        conn.execute("SET LOCAL jit = off")
        # One index range per mark is right for one dirty hour as for a thousand; a hash join would read whole days.
        conn.execute("SET LOCAL enable_hashjoin = off")
        conn.execute("SET LOCAL enable_mergejoin = off")
        conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        conn.execute(
            "CREATE TEMPORARY TABLE IF NOT EXISTS rollup_marks (family text, hour timestamptz, server_id bigint,"
            " marked_at timestamptz) ON COMMIT DELETE ROWS"
        )
        written = {name: _refresh_family(conn, family, max_hours) for name, family in FAMILIES.items()}
        _clear(conn)
        return {name: rows for name, rows in written.items() if rows}


def pending(conn: Connection[Any]) -> int:
    """How many family × hour × server wait to be rolled up."""
    row = conn.execute("SELECT count(*) FROM dirty_hours").fetchone()
    return int(row[0]) if row else 0
