"""What happened to a server or to the collector itself: table `collector_events`.

Metrics never come here; the state a server is in now is a column of `servers`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb


@dataclass(frozen=True, slots=True)
class Event:
    """`server_id` is None for what concerns the collector itself; `kind` is a word such as `state` or `recognised`."""

    server_id: int | None
    at: datetime
    kind: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)
    id: int | None = None


def record(conn: Connection[Any], events: Sequence[Event]) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO collector_events (server_id, at, kind, message, details) VALUES (%s, %s, %s, %s, %s)",
            [(event.server_id, event.at, event.kind, event.message, Jsonb(dict(event.details))) for event in events],
        )


def list_events(
    conn: Connection[Any],
    *,
    server_id: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    limit: int = 100,
) -> list[Event]:
    """Newest first; `start` inclusive, `end` exclusive."""
    with conn.cursor(row_factory=class_row(Event)) as cursor:
        cursor.execute(
            """
            SELECT server_id, at, kind, message, details, id FROM collector_events
            WHERE (%(server_id)s::bigint IS NULL OR server_id = %(server_id)s)
              AND (%(start)s::timestamptz IS NULL OR at >= %(start)s)
              AND (%(end)s::timestamptz IS NULL OR at < %(end)s)
            ORDER BY at DESC, id DESC LIMIT %(limit)s
            """,
            {"server_id": server_id, "start": start, "end": end, "limit": limit},
        )
        return cursor.fetchall()


def states(conn: Connection[Any], server_id: int, start: datetime, end: datetime) -> list[tuple[datetime, str]]:
    """A server's states by the moment each began, ascending: the one that held at `start`, and all until `end`."""
    rows = conn.execute(
        """
        SELECT at, details ->> 'state' FROM collector_events
        WHERE server_id = %(server_id)s AND kind = 'state' AND at < %(end)s AND at >= coalesce((
            SELECT max(at) FROM collector_events
            WHERE server_id = %(server_id)s AND kind = 'state' AND at <= %(start)s), %(start)s)
        ORDER BY at, id
        """,
        {"server_id": server_id, "start": start, "end": end},
    )
    return rows.fetchall()


def gaps(conn: Connection[Any], server_id: int, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """When no collector was running for a server, as far as it touches `start` to `end`; in order."""
    rows = conn.execute(
        """
        SELECT (details ->> 'from')::timestamptz AS since, (details ->> 'until')::timestamptz FROM collector_events
        WHERE server_id = %s AND kind = 'gap' AND at >= %s AND (details ->> 'from')::timestamptz < %s ORDER BY since
        """,
        (server_id, start, end),
    )
    return rows.fetchall()


def prune(conn: Connection[Any], before: datetime) -> int:
    """Deletes events older than `before`, but of each server the state that held then; returns how many."""
    deleted = conn.execute(
        """
        DELETE FROM collector_events AS old WHERE at < %(before)s AND NOT (kind = 'state' AND id = (
            SELECT id FROM collector_events
            WHERE server_id = old.server_id AND kind = 'state' AND at < %(before)s ORDER BY at DESC, id DESC LIMIT 1))
        """,
        {"before": before},
    )
    return deleted.rowcount
