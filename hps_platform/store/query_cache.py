"""Answers about closed ranges, kept for five minutes in an unlogged table that all processes share.

A range is closed when it has ended and none of its hours is marked dirty. What is landed late or again marks hours, so
no answer from before is given while they are marked, and it is deleted as they are unmarked (a trigger of the table
`dirty_hours`). What an answer is made of belongs to `hps_platform.history`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection

KEPT = timedelta(minutes=5)
MAX_BYTES = 64 * 1024 * 1024
_MAX_ENTRIES = 2_000

_CLOSED = """
    NOT EXISTS (
        SELECT FROM dirty_hours AS d
        WHERE d.family = c.family AND d.server_id = ANY(c.server_ids)
          AND d.hour >= date_trunc('hour', c.start_at) AND d.hour < c.end_at
    )"""
_FIND = f"SELECT answer FROM query_cache AS c WHERE key = %s AND made_at > now() - %s AND {_CLOSED}"  # noqa: S608
_KEEP = f"""
    INSERT INTO query_cache (key, family, server_ids, start_at, end_at, answer)
    SELECT c.* FROM (VALUES (%s::bytea, %s::text, %s::bigint[], %s::timestamptz, %s::timestamptz, %s::bytea))
        AS c (key, family, server_ids, start_at, end_at, answer)
    WHERE c.end_at <= now() AND {_CLOSED}
    ON CONFLICT (key) DO UPDATE SET made_at = excluded.made_at, answer = excluded.answer,
        start_at = excluded.start_at, end_at = excluded.end_at
"""  # noqa: S608  # both are put together from literals of this module
_BOUND = """
    DELETE FROM query_cache WHERE key IN (
        SELECT key FROM (
            SELECT key, made_at, row_number() OVER newest AS entries, sum(length(answer)) OVER newest AS bytes
            FROM query_cache WINDOW newest AS (ORDER BY made_at DESC, key)
        ) AS kept WHERE made_at <= now() - %s OR entries > %s OR bytes > %s
    )
"""


def find(conn: Connection[Any], key: bytes) -> bytes | None:
    """The answer, unless it is too old or something has been landed into its range."""
    row = conn.execute(_FIND, (key, KEPT)).fetchone()
    return row[0] if row else None


def keep(
    conn: Connection[Any],
    key: bytes,
    answer: bytes,
    *,
    family: str,
    server_ids: Sequence[int],
    start: datetime,
    end: datetime,
) -> bool:
    """Keeps the answer if its range is closed; whether it is. The oldest make room for it."""
    if len(answer) > MAX_BYTES // 4:
        return False
    kept = conn.execute(_KEEP, (key, family, list(server_ids), start, end, answer)).rowcount > 0
    if kept:
        conn.execute(_BOUND, (KEPT, _MAX_ENTRIES, MAX_BYTES))
    return kept
