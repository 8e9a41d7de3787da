"""Time partitions of the sample tables: creating them ahead or on demand, listing them, dropping those of rollups.

Raw tables and minute rollups are cut by day, rollups of an hour and more by month; bounds are midnights UTC. Raw rows
are dropped by `store.archive`, which keeps them.
"""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
from psycopg import Connection, sql

from hps_platform.errors import Conflict
from hps_platform.metrics import FAMILIES
from hps_platform.metrics.family import Family
from hps_platform.store.schema import Grain, rollup_table

_LOCK = 0x687073_02
_DROP_TRIES = 20
# Shorter than PostgreSQL's deadlock_timeout: whoever waits for us goes on, and we try again.
_DROP_WAIT = "500ms"
_NAME = re.compile(r"^(?P<table>.+)_p(?P<stamp>\d{6}|\d{8})$")


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition; `start` inclusive, `end` exclusive, as midnights UTC. `rows` is the planner's estimate."""

    table: str
    name: str
    start: datetime
    end: datetime
    rows: int
    size_bytes: int


def _span(table: str, day: date) -> tuple[str, date, date]:
    """Name and bounds of the partition of `table` that holds `day`."""
    if table.endswith((f"_{Grain.HOUR}", f"_{Grain.SIX_HOURS}")):
        first = day.replace(day=1)
        return f"{table}_p{first:%Y%m}", first, (first + timedelta(days=32)).replace(day=1)
    return f"{table}_p{day:%Y%m%d}", day, day + timedelta(days=1)


def tables(family: Family) -> tuple[str, ...]:
    """The partitioned tables of a family: raw, and its rollups from the finest on."""
    return (family.table, *(rollup_table(family, grain) for grain in Grain))


def name_of(table: str, day: date) -> str:
    """The name of the partition of `table` that holds `day`."""
    return _span(table, day)[0]


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _there(conn: Connection[Any], names: list[str]) -> set[str]:
    """Which of the names are attached as partitions."""
    rows = conn.execute(
        "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND relispartition"
        " AND relnamespace = current_schema()::regnamespace",
        (names,),
    )
    return {name for (name,) in rows}


# Rows that only ever come: frozen when they are first vacuumed, so that no old day is ever rewritten for it; and seen
# by the planner soon, for a day begins empty.
_FOR_INSERTS = "autovacuum_freeze_min_age = 0, autovacuum_analyze_scale_factor = 0.02"
# Rollups replace the rows of an hour each time that it changes: what is dead is to be used again within the hour.
_FOR_REPLACING = "autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05"


def _storage(table: str) -> str:
    """Partitions carry the settings of autovacuum: a partitioned table itself can't."""
    rollup = any(table.endswith(f"_{grain}") for grain in Grain)
    return _FOR_REPLACING if rollup else _FOR_INSERTS


def _create(conn: Connection[Any], table: str, name: str, start: date, end: date) -> None:
    """Creates apart and attaches: unlike `PARTITION OF`, that does not wait for, nor hold up, readers and writers."""
    parts = {"table": sql.Identifier(table), "name": sql.Identifier(name), "storage": sql.SQL(_storage(table))}
    conn.execute(sql.SQL("CREATE TABLE {name} (LIKE {table} INCLUDING ALL) WITH ({storage})").format(**parts))
    conn.execute(
        sql.SQL("ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})").format(
            **parts, start=sql.Literal(_midnight(start)), end=sql.Literal(_midnight(end))
        )
    )


def ensure(conn: Connection[Any], families: Iterable[Family], days: Iterable[date]) -> list[str]:
    """Makes sure that raw and rollup tables have partitions for those days (UTC); returns the names it created.

    Idempotent. Several processes may ask at once: one at a time creates, until its transaction ends.
    """
    return ensure_days(conn, [table for family in families for table in tables(family)], days)


def ensure_days(conn: Connection[Any], parents: Iterable[str], days: Iterable[date]) -> list[str]:
    """The same for tables by name."""
    chosen = list(days)
    wanted = {
        name: (table, start, end) for table in parents for name, start, end in (_span(table, day) for day in chosen)
    }
    missing = sorted(wanted.keys() - _there(conn, list(wanted)))
    if not missing:
        return []
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    missing = sorted(set(missing) - _there(conn, missing))
    for name in missing:
        table, start, end = wanted[name]
        _create(conn, table, name, start, end)
    return missing


def ensure_ahead(conn: Connection[Any], today: date, days: int = 7) -> list[str]:
    """Partitions of every family from yesterday to `days` ahead; returns the names it created."""
    return ensure(conn, FAMILIES.values(), [today + timedelta(days=offset) for offset in range(-1, days + 1)])


def listing(conn: Connection[Any], parents: Iterable[str] | None = None) -> list[Partition]:
    """Every partition of those tables, by table and time; `None`: of every family's tables."""
    chosen = list(parents) if parents is not None else [name for one in FAMILIES.values() for name in tables(one)]
    rows = conn.execute(
        """
        SELECT parent.relname, child.relname, greatest(child.reltuples, 0)::bigint, pg_total_relation_size(child.oid)
        FROM pg_inherits
        JOIN pg_class parent ON parent.oid = inhparent
        JOIN pg_class child ON child.oid = inhrelid
        WHERE parent.relname = ANY(%s) AND parent.relnamespace = current_schema()::regnamespace
          AND child.relkind = 'r'
        ORDER BY 1, 2
        """,
        (chosen,),
    )
    found = []
    for table, name, estimate, size in rows:
        match = _NAME.match(name)
        if match is None:
            continue  # attached by somebody else under a name of their own
        stamp = match["stamp"]
        day = datetime.strptime(stamp if len(stamp) == 8 else f"{stamp}01", "%Y%m%d").replace(tzinfo=UTC).date()
        _, start, end = _span(table, day)
        found.append(Partition(table, name, _midnight(start), _midnight(end), estimate, size))
    return found


def dirty(conn: Connection[Any], family: Family, start: date, end: date | None = None) -> int:
    """How many of the family's hours from `start` to before `end`, or of that day, wait to be rolled up."""
    row = conn.execute(
        "SELECT count(*) FROM dirty_hours WHERE family = %s AND hour >= %s AND hour < %s",
        (family.name, _midnight(start), _midnight(end or start + timedelta(days=1))),
    ).fetchone()
    return int(row[0]) if row else 0


def mark_day(conn: Connection[Any], family: Family, day: date) -> None:
    """Marks every hour of a day that has raw rows, so that its rollups are computed again."""
    conn.execute(
        sql.SQL("""
            INSERT INTO dirty_hours (family, hour, server_id, marked_at)
            SELECT DISTINCT {family}, date_trunc('hour', timestamp), server_id, now() FROM {table}
            ON CONFLICT (family, hour, server_id) DO UPDATE SET marked_at = excluded.marked_at
        """).format(family=family.name, table=sql.Identifier(name_of(family.table, day)))
    )


def drop_before(conn: Connection[Any], table: str, before: date) -> list[str]:
    """Drops the partitions of a table that end by then; returns their names. Nothing of them is kept."""
    due = [one.name for one in listing(conn, [table]) if one.end <= _midnight(before)]
    for name in due:
        drop(conn, name)
    return due


def drop(conn: Connection[Any], name: str) -> None:
    """Drops a partition, within or without a transaction; `Conflict` when the table is in use all the time.

    Whoever uses other partitions waits for half a second at most.
    """
    for left in reversed(range(_DROP_TRIES)):
        try:
            with conn.transaction():
                conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_DROP_WAIT)))
                conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            if not left:
                raise Conflict(f"{name} is in use all the time: not dropped") from error
            time.sleep(0.5)
        else:
            return
