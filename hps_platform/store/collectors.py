"""Collectors that are alive, and the servers that are leased to each: tables `collectors`, `collector_leases`.

A lease lasts as long as its collector says in time that it is alive. All of it happens under one lock, so that what a
collector sees is true until its transaction ends; times are the database server's. Which collector should have a
server is up to `hps_platform.collector.leases`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

_LOCK = 0x687073_02


@dataclass(frozen=True, slots=True)
class Member:
    """A collector; `id` outlives its `session`. `only`: the one server that it collects from."""

    id: UUID
    session: str
    name: str
    only: int | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Of a server, with what was last known of it.

    `holder` is the collector whose lease is valid, or was the last one; `None`: given back, or never held.
    """

    server_id: int
    holder: UUID | None
    holder_name: str
    fence: int
    valid: bool
    state: str
    last_seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class Presence:
    """A collector as it last told of itself; `alive` while its leases are valid."""

    id: UUID
    name: str
    session: str
    started_at: datetime
    expires_at: datetime
    alive: bool
    servers: int
    figures: dict[str, Any]


def lock(conn: Connection[Any]) -> None:
    """Until the end of the transaction no other collector changes anything here.

    One that is frozen meanwhile must not hold up the others for as long as their leases last.
    """
    conn.execute("SET LOCAL idle_in_transaction_session_timeout = '2s'")
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


def register(conn: Connection[Any], member: Member, lease_s: float) -> None:
    """Says that a new session is alive; it takes over the leases of the one before it, with higher fences."""
    conn.execute(
        """
        INSERT INTO collectors (id, session, name, only_server, started_at, expires_at)
        VALUES (%s, %s, %s, %s, clock_timestamp(), clock_timestamp() + make_interval(secs => %s))
        ON CONFLICT (id) DO UPDATE SET session = excluded.session, name = excluded.name,
            only_server = excluded.only_server, started_at = excluded.started_at, expires_at = excluded.expires_at
        """,
        (member.id, member.session, member.name, member.only, lease_s),
    )
    conn.execute("UPDATE collector_leases SET fence = fence + 1 WHERE collector_id = %s", (member.id,))


def renew(conn: Connection[Any], member: Member, lease_s: float, figures: Mapping[str, Any]) -> bool:
    """Says that it is still alive. False when another session has its id: somebody copied the data directory."""
    renewed = conn.execute(
        "UPDATE collectors SET expires_at = clock_timestamp() + make_interval(secs => %s), figures = %s"
        " WHERE id = %s AND session = %s",
        (lease_s, Jsonb(dict(figures)), member.id, member.session),
    )
    return renewed.rowcount == 1


def alive(conn: Connection[Any]) -> list[Member]:
    with conn.cursor(row_factory=class_row(Member)) as cursor:
        cursor.execute(
            "SELECT id, session, name, only_server AS only FROM collectors"
            " WHERE expires_at > clock_timestamp() ORDER BY id"
        )
        return cursor.fetchall()


def leases(conn: Connection[Any]) -> list[Lease]:
    """One for each active server, also where nobody ever held one.

    Those that were switched off keep theirs: their collector has yet to hear of it.
    """
    rows = conn.execute(
        """
        SELECT servers.id, collectors.id, coalesce(collectors.name, ''), coalesce(fence, 0),
               coalesce(collectors.expires_at > clock_timestamp(), false), state, last_seen_at
        FROM servers LEFT JOIN collector_leases ON server_id = servers.id
             LEFT JOIN collectors ON collectors.id = collector_id
        WHERE is_active OR collector_id IS NOT NULL
        """
    )
    return [Lease(*row) for row in rows]


def take(conn: Connection[Any], member: Member, server_ids: Collection[int]) -> dict[int, int]:
    """Leases servers, which must be free, and returns their fences."""
    if not server_ids:
        return {}
    rows = conn.execute(
        """
        INSERT INTO collector_leases AS old (server_id, collector_id, fence, taken_at)
        SELECT id, %s, 1, clock_timestamp() FROM servers WHERE id = ANY(%s) FOR KEY SHARE
        ON CONFLICT (server_id) DO UPDATE SET collector_id = excluded.collector_id, fence = old.fence + 1,
            taken_at = excluded.taken_at
        RETURNING server_id, fence
        """,
        (member.id, list(server_ids)),
    )
    return dict(rows.fetchall())


def give_back(conn: Connection[Any], member: Member, server_ids: Collection[int]) -> None:
    """Ends leases of this collector, of which it must not make use any more; others' are left alone."""
    if server_ids:
        conn.execute(
            "UPDATE collector_leases SET collector_id = NULL WHERE collector_id = %s AND server_id = ANY(%s)",
            (member.id, list(server_ids)),
        )


def leave(conn: Connection[Any], member: Member) -> None:
    """Ends all leases of a collector that stops; nothing happens when another session has its id."""
    left = conn.execute(
        "UPDATE collectors SET expires_at = clock_timestamp() WHERE id = %s AND session = %s",
        (member.id, member.session),
    )
    if left.rowcount:
        conn.execute("UPDATE collector_leases SET collector_id = NULL WHERE collector_id = %s", (member.id,))


def presences(conn: Connection[Any]) -> list[Presence]:
    """All collectors of the last day, in the order of their names."""
    with conn.cursor(row_factory=class_row(Presence)) as cursor:
        cursor.execute(
            """
            SELECT id, name, session, started_at, expires_at, expires_at > clock_timestamp() AS alive,
                   (SELECT count(*) FROM collector_leases WHERE collector_id = collectors.id) AS servers, figures
            FROM collectors WHERE expires_at > clock_timestamp() - interval '1 day' ORDER BY name, id
            """
        )
        return cursor.fetchall()
