"""Time partitions of the sample tables: creating them ahead or on demand, and listing them.

Raw tables and minute rollups are cut by day, hour rollups by month; bounds are midnights UTC. Dropping by retention
belongs beside this once there is an archive.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from psycopg import Connection, sql

from hps_platform.metrics import FAMILIES
from hps_platform.metrics.family import Family
from hps_platform.store.schema import Grain, rollup_table

_LOCK = 0x687073_02
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
    if table.endswith(f"_{Grain.HOUR}"):
        first = day.replace(day=1)
        return f"{table}_p{first:%Y%m}", first, (first + timedelta(days=32)).replace(day=1)
    return f"{table}_p{day:%Y%m%d}", day, day + timedelta(days=1)


def tables(family: Family) -> tuple[str, ...]:
    """The partitioned tables of a family: raw, minutes, hours."""
    return (family.table, *(rollup_table(family, grain) for grain in Grain))


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


def _create(conn: Connection[Any], table: str, name: str, start: date, end: date) -> None:
    """Creates apart and attaches: unlike `PARTITION OF`, that does not wait for, nor hold up, readers and writers."""
    parts = {"table": sql.Identifier(table), "name": sql.Identifier(name)}
    conn.execute(sql.SQL("CREATE TABLE {name} (LIKE {table} INCLUDING ALL)").format(**parts))
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


def listing(conn: Connection[Any]) -> list[Partition]:
    """Every partition of every family's tables, by table and time."""
    parents = [table for family in FAMILIES.values() for table in tables(family)]
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
        (parents,),
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
