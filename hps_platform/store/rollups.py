"""Rollups of a minute and of an hour, recomputed from raw rows wherever landing marked an hour dirty.

Both come from raw, so a mean is the mean of the samples, not of means. Late and replayed rows mark their hours again
and heal them.
"""

import logging
from typing import Any

from psycopg import Connection, sql

from hps_platform.metrics import FAMILIES
from hps_platform.metrics.family import Family
from hps_platform.store.schema import Grain, rollup_table

logger = logging.getLogger(__name__)

_LOCK = 0x687073_03
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


def summaries(family: Family) -> sql.Composable:
    """`count(*)` and each column's mean, minimum and maximum over raw rows `r`, in the rollup tables' order."""
    parts: list[sql.Composable] = [sql.SQL("count(*)::integer")]
    for column in family.rollup_columns:
        value = sql.SQL("r.{}").format(sql.Identifier(column.name))
        # Much quicker than avg(), which also keeps squares, and divides integers as numerics.
        parts.append(sql.SQL("(sum({v}::float8) / nullif(count({v}), 0))::real").format(v=value))
        parts += [sql.SQL("{}({})::real").format(sql.SQL(function), value) for function in ("min", "max")]
    return sql.SQL(", ").join(parts)


def summary_columns(family: Family) -> list[str]:
    """Columns of a rollup table."""
    key = [family.summary_key] if family.summary_key else []
    parts = [f"{column.name}_{part}" for column in family.rollup_columns for part in ("mean", "min", "max")]
    return ["server_id", "timestamp", *key, "samples", *parts]


def _recompute(conn: Connection[Any], family: Family, grain: Grain) -> int:
    """Replaces the rollup rows of every mark in `rollup_marks`; an index range of raw rows per mark."""
    table = sql.Identifier(rollup_table(family, grain))
    conn.execute(
        sql.SQL(
            "DELETE FROM {} AS old USING rollup_marks AS mark WHERE mark.family = {} AND old.server_id = mark.server_id"
            " AND old.timestamp >= mark.hour AND old.timestamp < mark.hour + interval '1 hour'"
        ).format(table, family.name)
    )
    key = summary_key(family)
    bucket = sql.SQL("date_bin({}, r.timestamp, timestamptz '2000-01-01 00:00Z')").format(f"{grain.seconds} seconds")
    statement = sql.SQL("""
        INSERT INTO {table} ({columns})
        SELECT mark.server_id, bucket.* FROM rollup_marks AS mark CROSS JOIN LATERAL (
            SELECT {bucket}{key}, {summaries} FROM {raw} AS r
            WHERE r.server_id = mark.server_id
              AND r.timestamp >= mark.hour AND r.timestamp < mark.hour + interval '1 hour'
            GROUP BY 1{group}
        ) AS bucket
        WHERE mark.family = {family}
    """).format(
        table=table,
        family=family.name,
        columns=sql.SQL(", ").join(map(sql.Identifier, summary_columns(family))),
        bucket=bucket,
        key=sql.SQL(", {}").format(key) if key else sql.SQL(""),
        summaries=summaries(family),
        raw=sql.Identifier(family.table),
        group=sql.SQL(", 2") if key else sql.SQL(""),
    )
    return conn.execute(statement).rowcount


def _refresh_family(conn: Connection[Any], family: Family, max_hours: int) -> int:
    """Rows of the minute rollup that were written; newest hours first."""
    marks = conn.execute(
        """
        INSERT INTO rollup_marks
        SELECT family, hour, server_id, marked_at FROM dirty_hours
        WHERE family = %(family)s AND hour IN (
            SELECT DISTINCT hour FROM dirty_hours WHERE family = %(family)s ORDER BY hour DESC LIMIT %(hours)s)
        ORDER BY server_id, hour
        """,
        {"family": family.name, "hours": max_hours},
    ).rowcount
    if not marks:
        return 0
    conn.execute("ANALYZE rollup_marks")
    rows = _recompute(conn, family, Grain.MINUTE)
    _recompute(conn, family, Grain.HOUR)
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
