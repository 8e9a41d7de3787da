"""Who may land: one lease per group of Kafka partitions, with a fence number that rises at each change of hands.

A holder renews its lease at each commit and between them; it is lost when that stops for `STALE_S`, or sooner when
the holder's database session is gone as well. Near the end of its time a successor may take it over at once. Times
are the database server's.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection, sql

from hps_platform.errors import FencedOut

STALE_S = 10.0
ORPHANED_S = 4.0
"""So long a holder whose session is gone may take to come back: PostgreSQL may have been restarted."""
HANDOVER_S = 20.0
"""So long before its end a lease may change hands."""
WAITING_S = 15.0
"""So long a successor that warms up keeps others from being started; it says so again while it waits."""

# Whether nobody holds the lease any more. A session's id may be used again, so its name is compared too.
_STALE = sql.SQL("""(
    renewed_at < clock_timestamp() - make_interval(secs => {stale})
    OR renewed_at < clock_timestamp() - make_interval(secs => {orphaned}) AND NOT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE pid = landing_leases.backend_pid AND application_name = landing_leases.session_name)
)""").format(stale=STALE_S, orphaned=ORPHANED_S)
_ENDING = sql.SQL("(ends_at <= clock_timestamp() + make_interval(secs => {}))").format(HANDOVER_S)


@dataclass(frozen=True, slots=True)
class Lease:
    """A group's lease. `stale`: nobody lands any more; `ending`: a successor may take over; `awaited`: one is there."""

    group: str
    run_id: str
    fence: int
    renewed_at: datetime
    ends_at: datetime
    stale: bool
    ending: bool
    awaited: bool


def session_name(group: str, run_id: str) -> str:
    """Name of a holder's database sessions; PostgreSQL keeps 63 bytes of it."""
    return f"hps landing {group} {run_id}"[:63]


def state(conn: Connection[Any], group: str) -> Lease | None:
    """The group's lease as it stands now; `None` before the first run."""
    query = sql.SQL("""
        SELECT group_id, run_id, fence, renewed_at, ends_at, {stale}, {ending},
               coalesce(successor_at > clock_timestamp() - make_interval(secs => %s), false)
        FROM landing_leases WHERE group_id = %s
    """).format(stale=_STALE, ending=_ENDING)
    row = conn.execute(query, (WAITING_S, group)).fetchone()
    return Lease(*row) if row else None


def announce(conn: Connection[Any], group: str, run_id: str) -> None:
    """Says that a successor is warming up, so that no second one is started."""
    _create(conn, group)
    conn.execute(
        "UPDATE landing_leases SET successor_run_id = %s, successor_at = clock_timestamp()"
        " WHERE group_id = %s AND run_id <> %s",
        (run_id, group, run_id),
    )


def _create(conn: Connection[Any], group: str) -> None:
    """A group's first lease is born stale."""
    conn.execute(
        "INSERT INTO landing_leases (group_id, run_id, fence, renewed_at, ends_at)"
        " VALUES (%s, '', 0, 'epoch', 'epoch') ON CONFLICT (group_id) DO NOTHING",
        (group,),
    )


def take(conn: Connection[Any], group: str, run_id: str, window_s: float) -> int | None:
    """Takes the lease if it is free, stale or ending, and returns the new fence number; `None` when it is held.

    From its commit on, every commit of the predecessor fails.
    """
    _create(conn, group)
    query = sql.SQL("""
        UPDATE landing_leases SET
            run_id = %(run)s, fence = fence + 1, renewed_at = clock_timestamp(),
            ends_at = clock_timestamp() + make_interval(secs => %(window)s),
            backend_pid = pg_backend_pid(), session_name = %(session)s, successor_run_id = NULL, successor_at = NULL
        WHERE group_id = %(group)s AND ({stale} OR {ending})
        RETURNING fence
    """).format(stale=_STALE, ending=_ENDING)
    session = session_name(group, run_id)
    row = conn.execute(query, {"group": group, "run": run_id, "window": window_s, "session": session}).fetchone()
    return int(row[0]) if row else None


def end_sessions(conn: Connection[Any], lease: Lease) -> int:
    """Ends the database sessions of a stale holder that hangs, so that nothing waits for its locks; how many."""
    rows = conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = %s AND datname = current_database() AND pid <> pg_backend_pid()",
        (session_name(lease.group, lease.run_id),),
    )
    return len(rows.fetchall())


def hold(conn: Connection[Any], group: str, run_id: str, fence: int, *, register: bool = False) -> None:
    """Renews the lease; raises `FencedOut` when it is no longer this run's.

    `register` names this session as the one whose end shows that the holder is gone.
    """
    changed = conn.execute(
        "UPDATE landing_leases SET renewed_at = clock_timestamp(),"
        " backend_pid = CASE WHEN %s THEN pg_backend_pid() ELSE backend_pid END"
        " WHERE group_id = %s AND run_id = %s AND fence = %s",
        (register, group, run_id, fence),
    ).rowcount
    if changed != 1:
        raise FencedOut(f"another run lands {group} now: fence {fence} of run {run_id} is over")


def release(conn: Connection[Any], group: str, run_id: str, fence: int) -> None:
    """Gives the lease back at once; nothing happens when it is somebody else's already."""
    conn.execute(
        "UPDATE landing_leases SET renewed_at = 'epoch', ends_at = least(ends_at, clock_timestamp())"
        " WHERE group_id = %s AND run_id = %s AND fence = %s",
        (group, run_id, fence),
    )
