"""A history for `bench query`, made inside PostgreSQL: rows as landing leaves them, rollups as the refresh does.

Raw rows lie in the order of time, as they arrive; rollups hour by hour, server by server. What is not printed by a
Linux host is null. Tables are unlogged: what is written ahead is no part of what is measured.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from hps_platform.metrics import FAMILIES
from hps_platform.metrics.family import Family, Kind
from hps_platform.stack.bench import Tell
from hps_platform.store import landing, partitions, rollups
from hps_platform.store.database import session
from hps_platform.store.rollups import summary_columns
from hps_platform.store.schema import Grain, rollup_table

T = TypeVar("T")

VMSTAT = FAMILIES["vmstat"]
_PRINTED = {"r", "b", "fre", "swpd", "buff", "cache", "pi", "po", "bi", "bo", "interrupts", "cs"} | {
    *("us", "sy", "idle", "wa", "st"),
}
_OTHERS = {"iostat": (None, 4), "netstat": (60.0, 2), "memory": (60.0, 1), "filesystem": (600.0, 4)}
"""For the overview: each how often (`None`: as vmstat), and how many rows a sample."""
_OTHERS_FOR = timedelta(hours=2)
_WORKERS = 2


@dataclass(slots=True)
class History:
    """Servers 1 to `servers`, sampled each `interval_s`, from some day on until `until`."""

    dsn: str
    servers: int
    interval_s: float
    since: datetime
    until: datetime
    rollup_days: int

    def begin(self, tell: Tell) -> None:
        """Servers, the rollups of `rollup_days`, and the other families' last hours."""
        names = f"SELECT 'bench-' || n, 'monitor' FROM generate_series(1, {self.servers}) AS n"  # noqa: S608
        self._execute(f"INSERT INTO servers (hostname, ssh_username) {names}")  # a number
        first = _day(self.until) - timedelta(days=self.rollup_days)
        tell(f"{self.rollup_days} days of rollups")
        _parallel(
            [(day, table, grain) for day in _days(first, self.until) for table, grain in _rollups()], self._rolled_up
        )
        for name, (interval_s, keys) in _OTHERS.items():
            family = FAMILIES[name]
            tell(f"the last hours of {name}")
            start = self.until - _OTHERS_FOR
            self._partitions(family, start, self.until)
            self._raw(family, start, self.until, interval_s or self.interval_s, keys)

    def extend(self, days: float, tell: Tell) -> int:
        """Raw rows of so many days before `until`; returns how many there are. The newest are made last."""
        since = self.until - timedelta(days=days)
        self._partitions(VMSTAT, since, self.since)
        step = timedelta(hours=6)
        spans = [
            (start, min(start + step, self.since))
            for start in (since + step * n for n in range(round((self.since - since) / step) + 1))
            if start < self.since
        ]
        tell(f"raw rows of {days:g} days")
        _parallel(spans, lambda span: self._raw(VMSTAT, *span, self.interval_s, 1))
        self.since = since
        return self._rows()

    def go_on(self) -> None:
        """What came since: raw rows until now, rolled up, and the current hour marked dirty as landing keeps it."""
        now = datetime.now(UTC).replace(microsecond=0)
        for name, (interval_s, keys) in {"vmstat": (self.interval_s, 1), **_OTHERS}.items():
            self._partitions(FAMILIES[name], self.until, now)
            self._raw(FAMILIES[name], self.until, now, interval_s or self.interval_s, keys)
        hours = {
            (name, hour, server)
            for name in ("vmstat", *_OTHERS)
            for hour in _hours(min(self.until, now - timedelta(hours=1)), now)
            for server in range(1, self.servers + 1)
        }
        self.until = now
        with session(self.dsn, application_name="hps bench", statement_timeout_s=600) as conn:
            landing.mark_dirty(conn, hours)
            while rollups.refresh(conn):
                pass
            landing.mark_dirty(conn, {one for one in hours if one[1] + timedelta(hours=1) > now})

    def settle(self) -> None:
        """Statistics and visibility, as autovacuum leaves them."""
        tables = ", ".join(table for family in FAMILIES.values() for table in partitions.tables(family))
        self._execute(f"VACUUM (ANALYZE) {tables}")
        self._execute("CHECKPOINT")

    def _rows(self) -> int:
        with session(self.dsn, application_name="hps bench", statement_timeout_s=0) as conn:
            found = conn.execute("SELECT count(*) FROM vmstat_metrics").fetchone()
        return int(found[0]) if found else 0

    def _partitions(self, family: Family, start: datetime, end: datetime) -> None:
        with session(self.dsn, application_name="hps bench") as conn, conn.transaction():
            for name in partitions.ensure(conn, [family], [day.date() for day in _days(start, end)]):
                conn.execute(f"ALTER TABLE {name} SET UNLOGGED".encode())

    def _rolled_up(self, task: tuple[datetime, str, Grain]) -> None:
        day, table, grain = task
        self._partitions(VMSTAT, day, day + timedelta(hours=1))
        names = summary_columns(VMSTAT, grain)
        listed = ", ".join(f'"{name}"' for name in names)
        values = ", ".join(_rolled_value(name, grain, self.interval_s) for name in names)
        end = min(day + timedelta(days=1), _hours(self.until, self.until)[0])
        step_s = max(grain.seconds, 3600)
        self._execute(
            f"""
            INSERT INTO {table} ({listed})
            SELECT {values}
            FROM generate_series({_at(day)}, {_at(end)} - interval '1 second', '{step_s} seconds') AS begin
            CROSS JOIN generate_series(1, {self.servers}) AS server
            CROSS JOIN generate_series(0, {step_s // grain.seconds - 1}) AS bucket
            """  # noqa: S608  # names of the families
        )

    def _raw(self, family: Family, start: datetime, end: datetime, interval_s: float, keys: int) -> None:
        columns = landing.table_columns(family)
        listed = ", ".join(f'"{name}"' for name in columns)
        values = ", ".join(_raw_value(family, name) for name in columns)
        self._execute(
            f"""
            INSERT INTO {family.table} ({listed})
            SELECT {values}
            FROM generate_series({_at(start)}, {_at(end)} - interval '1 millisecond', '{interval_s} seconds') AS at
            CROSS JOIN generate_series(1, {self.servers}) AS server
            CROSS JOIN generate_series(1, {keys}) AS key
            ON CONFLICT DO NOTHING
            """  # noqa: S608  # names of the families
        )

    def _execute(self, statement: str) -> None:
        with session(self.dsn, application_name="hps bench", statement_timeout_s=0) as conn:
            conn.execute("SET synchronous_commit = off")
            conn.execute(statement.encode())


def _parallel(tasks: Sequence[T], work: Callable[[T], None]) -> None:
    with ThreadPoolExecutor(_WORKERS) as pool:
        for _ in pool.map(work, tasks):
            pass


def _rollups() -> list[tuple[str, Grain]]:
    return [(rollup_table(VMSTAT, grain), grain) for grain in Grain]


def _rolled_value(name: str, grain: Grain, interval_s: float) -> str:
    if name == "server_id":
        return "server"
    if name == "timestamp":
        return f"begin + bucket * interval '{grain.seconds} seconds'"
    if name == "samples":
        return str(max(1, round(grain.seconds / interval_s)))
    # <column>_<mean, min, max or whatever else a rollup keeps>
    return "(random() * 100)::real" if name.rpartition("_")[0] in _PRINTED else "NULL"


def _raw_value(family: Family, name: str) -> str:
    fixed = {"server_id": "server", "timestamp": "at", "kafka_partition": "server % 12"}
    fixed["kafka_offset"] = "(extract(epoch FROM at) * 1000)::bigint"
    if name in fixed:
        return fixed[name]
    column = family.by_name[name]
    if column.kind is Kind.TEXT:
        return "'part' || key"
    if family is VMSTAT and name not in _PRINTED:
        return "NULL"
    return "random() * 100" if column.kind is Kind.REAL else "(random() * 1000000)::bigint"


def _at(moment: datetime) -> str:
    return f"timestamptz '{moment.isoformat()}'"


def _day(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _days(start: datetime, end: datetime) -> list[datetime]:
    """Midnights of the days that [`start`, `end`) touches, in order."""
    first = _day(start)
    return [first + timedelta(days=n) for n in range((_day(end) - first).days + 1)]


def _hours(start: datetime, end: datetime) -> list[datetime]:
    first = start.replace(minute=0, second=0, microsecond=0)
    return [first + timedelta(hours=n) for n in range(int((end - first) / timedelta(hours=1)) + 1)]
