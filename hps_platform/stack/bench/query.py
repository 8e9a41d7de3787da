"""`hps bench query`: how long the questions of the app take, over a history that grows.

The real services ask a PostgreSQL with the stack's configuration; the result cache is off. Warm: many runs over
different servers and ranges. Cold: PostgreSQL restarted and its files put out of the page cache before each run.
Beside each, the same question put to the raw table.
"""

import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from hps_platform import history, stream
from hps_platform.history import Sources
from hps_platform.metrics import FAMILIES, wire
from hps_platform.metrics.sample import Sample
from hps_platform.stack.bench import Report, Tell, report
from hps_platform.stack.bench.generated import VMSTAT, History
from hps_platform.stack.bench.ground import Ground, ground
from hps_platform.stack.postgres import Postgres
from hps_platform.store.database import Connection, Database, session

POINTS = 1200
LONG_DAYS = 90
COLUMN = "us"
_DAY = timedelta(days=1)
_TRACED = 200
_RAW_TEXT = """\
procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu-----
 r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa st
 2  0      0 815204  31996 764128    0    0     4    11   52   97  7  2 90  1  0
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """One run's choice: a server, the whole fleet, and where the range ends."""

    server: int
    fleet: Sequence[int]
    end: datetime


@dataclass(frozen=True, slots=True)
class Query:
    """A question, through the services; and the same to the raw table."""

    name: str
    ask: Callable[[Database, Asked], object]
    raw: Callable[[Connection, Asked], object]


@dataclass
class Bench:
    """One history and the runs over it."""

    base: Ground
    server: Postgres
    made: History
    runs: int
    cold_runs: int
    raw_runs: int
    tell: Tell
    traced: list[tuple[int, datetime]] = field(default_factory=list)
    _chance: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311  # choices of a benchmark

    def at_scale(self, scale: int, rows: int) -> list[dict[str, Any]]:
        found = []
        for query in self._queries():
            self.made.go_on()
            entry: dict[str, Any] = {"name": query.name, "scale": scale, "history_rows": rows, **self._read(query)}
            with Database(self.base.dsn, max_size=2, application_name="hps bench") as db:
                query.ask(db, self._choice())
                entry |= _figures("warm", [self._timed(query, db) for _ in range(self.runs)])
            entry |= _figures("cold", [self._cold(query) for _ in range(self.cold_runs)])
            entry |= _figures("raw", [self._raw(query) for _ in range(self.raw_runs)])
            self.tell(
                f"×{scale} {query.name}: warm {entry['warm_p95_ms']} ms, cold {entry['cold_p95_ms']} ms,"
                f" raw {entry['raw_p95_ms']} ms"
            )
            found.append(entry)
        return found

    def _choice(self) -> Asked:
        """Any server; a range that ends within the smallest history's reach, half of them at this moment."""
        back = self._chance.choice((0.0, self._chance.random()))
        span = max((self.made.until - self.made.since) - _DAY, timedelta())
        fleet = range(1, self.made.servers + 1)
        return Asked(self._chance.choice(fleet), fleet, self.made.until - span * back)

    def _timed(self, query: Query, db: Database) -> float:
        choice = self._choice()
        began = time.perf_counter()
        query.ask(db, choice)
        return (time.perf_counter() - began) * 1000

    def _cold(self, query: Query) -> float:
        self.server.stop()
        evict(self.server.data_dir)
        self.server.start()
        with Database(self.base.dsn, max_size=2, application_name="hps bench") as db:
            db.ping()
            return self._timed(query, db)

    def _raw(self, query: Query) -> float:
        choice = self._choice()
        with session(self.base.dsn, application_name="hps bench", statement_timeout_s=0) as conn:
            began = time.perf_counter()
            query.raw(conn, choice)
            return (time.perf_counter() - began) * 1000

    def _read(self, query: Query) -> dict[str, Any]:
        """Rows that PostgreSQL read for one run, and from which tables."""
        before = self._fetched()
        # A single connection, so that it is the one which is told to count at once.
        with Database(self.base.dsn, max_size=1, application_name="hps bench") as db:
            query.ask(db, self._choice())
            with db.connection() as conn:
                conn.execute("SELECT pg_stat_force_next_flush()")
        tables = {name: rows - before.get(name, 0) for name, rows in self._fetched().items()}
        plan = {name: rows for name, rows in sorted(tables.items()) if rows > 0}
        return {"rows_read": sum(plan.values()), "plan": plan}

    def _fetched(self) -> dict[str, int]:
        """Rows fetched so far, by table; partitions count for their table."""
        with session(self.base.dsn, application_name="hps bench") as conn:
            rows = conn.execute(
                "SELECT regexp_replace(relname, '_p\\d+$', ''), sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint"
                " FROM pg_stat_user_tables GROUP BY 1"
            ).fetchall()
        return dict(rows)

    def _queries(self) -> list[Query]:
        sources = Sources(self.base.bootstrap, "", "")

        def chart(days: int, *, fleet: bool) -> Callable[[Database, Asked], object]:
            def ask(db: Database, choice: Asked) -> object:
                ids = choice.fleet if fleet else [choice.server]
                start = choice.end - timedelta(days=days)
                return history.query(
                    db, "vmstat", ids, start, choice.end, columns=[COLUMN], max_points=POINTS, envelope=not fleet
                )

            return ask

        def raw_chart(days: int, width: str, *, fleet: bool) -> Callable[[Connection, Asked], object]:
            return lambda conn, choice: conn.execute(
                _RAW_CHART,
                {
                    "width": width,
                    "ids": list(choice.fleet) if fleet else [choice.server],
                    "start": choice.end - timedelta(days=days),
                    "end": choice.end,
                },
                prepare=False,
            ).fetchall()

        def point() -> tuple[int, datetime]:
            return self._chance.choice(self.traced)

        def trace(db: Database, _: Asked) -> object:
            return history.trace(db, sources, "vmstat", *point())

        return [
            Query("chart_24h", chart(1, fleet=False), raw_chart(1, "1 minute", fleet=False)),
            Query("chart_90d_one", chart(LONG_DAYS, fleet=False), raw_chart(LONG_DAYS, "1 hour", fleet=False)),
            Query("chart_90d_fleet", chart(LONG_DAYS, fleet=True), raw_chart(LONG_DAYS, "12 hours", fleet=True)),
            Query(
                "fleet_overview",
                lambda db, choice: history.overview(db, choice.fleet),
                lambda conn, choice: conn.execute(_RAW_OVERVIEW, {"ids": list(choice.fleet)}).fetchall(),
            ),
            Query(
                "top10_p95",
                lambda db, choice: history.top(db, "vmstat", COLUMN, choice.fleet, choice.end - _DAY, choice.end),
                lambda conn, choice: conn.execute(_RAW_TOP, {"start": choice.end - _DAY, "end": choice.end}).fetchall(),
            ),
            Query(
                "provenance",
                trace,
                lambda conn, _: conn.execute(
                    "SELECT * FROM vmstat_metrics WHERE server_id = %s AND timestamp = %s", point(), prepare=False
                ).fetchall(),
            ),
        ]

    def send_messages(self) -> None:
        """For some points the messages that they would have come from, and the points' new places."""
        stream.ensure_topics(self.base.bootstrap, partitions=12, replication=1, retention_hours=168)
        first = {place: low for place, (low, _) in stream.watermarks(self.base.bootstrap, [VMSTAT.topic]).items()}
        with session(self.base.dsn, application_name="hps bench") as conn:
            start = self.made.until - timedelta(hours=1)
            rows = conn.execute(
                "SELECT DISTINCT ON (server_id) server_id, timestamp FROM vmstat_metrics"
                " WHERE timestamp >= %s AND server_id <= %s ORDER BY server_id, timestamp",
                (start, _TRACED),
            ).fetchall()
            with closing(stream.Producer(self.base.bootstrap, "bench")) as producer:
                for server_id, at in rows:
                    sample = Sample(
                        "vmstat",
                        server_id,
                        round(at.timestamp() * 1000),
                        [{COLUMN: 1}],
                        "vmstat -n 2",
                        _RAW_TEXT,
                        "linux/1;stream",
                        "bench",
                        "bench",
                        1,
                    )
                    value, headers = wire.encode(FAMILIES["vmstat"], sample)
                    producer.send(VMSTAT.topic, wire.key(server_id), value, headers)
                producer.flush(30)
            with stream.RangeReader(self.base.bootstrap, first) as reader:
                left = dict(rows)
                while left:
                    for record in reader.read(1000, 1.0):
                        server_id = int(record.key or b"0")
                        at = left.pop(server_id)
                        conn.execute(
                            "UPDATE vmstat_metrics SET kafka_partition = %s, kafka_offset = %s"
                            " WHERE server_id = %s AND timestamp = %s",
                            (record.partition, record.offset, server_id, at),
                        )
                        self.traced.append((server_id, at))


_RAW_CHART = """
    SELECT server_id, date_bin(%(width)s, timestamp, timestamptz '2000-01-01 00:00Z'), avg(us), min(us), max(us)
    FROM vmstat_metrics WHERE server_id = ANY(%(ids)s) AND timestamp >= %(start)s AND timestamp < %(end)s GROUP BY 1, 2
"""
_RAW_OVERVIEW = """
    SELECT server_id, date_bin('1 minute', timestamp, timestamptz '2000-01-01 00:00Z'), avg(us + sy)
    FROM vmstat_metrics WHERE server_id = ANY(%(ids)s) AND timestamp >= now() - interval '1 hour' GROUP BY 1, 2
"""
_RAW_TOP = """
    SELECT server_id, percentile_cont(0.95) WITHIN GROUP (ORDER BY us) AS reached
    FROM vmstat_metrics WHERE timestamp >= %(start)s AND timestamp < %(end)s
    GROUP BY server_id ORDER BY reached DESC LIMIT 10
"""


def _figures(name: str, times_ms: Sequence[float]) -> dict[str, float]:
    return {
        f"{name}_p50_ms": round(float(np.percentile(times_ms, 50)), 2),
        f"{name}_p95_ms": round(float(np.percentile(times_ms, 95)), 2),
    }


def evict(folder: Path) -> None:
    """Puts the files below a folder out of the page cache."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(handle)


def run(
    *,
    servers: int,
    interval_s: float,
    days: float,
    scales: Sequence[int],
    rollup_days: int,
    runs: int,
    cold_runs: int,
    tell: Tell,
) -> Report:
    """Makes the history, `days` of raw rows times each of `scales`, and asks at each; a list of entries by scale."""
    started = time.monotonic()
    parameters = {"servers": servers, "interval_s": interval_s, "days": days, "scales": list(scales), "runs": runs}
    parameters |= {"cold_runs": cold_runs, "rollup_days": rollup_days, "points": POINTS}
    entries: list[dict[str, Any]] = []
    rows = 0
    with ground() as base:
        server = base.postgres()
        base.kafka()
        now = datetime.now(UTC).replace(microsecond=0)
        made = History(base.dsn, servers, interval_s, now, now, rollup_days)
        made.begin(tell)
        bench = Bench(base, server, made, runs, cold_runs, max(2, cold_runs), tell)
        for scale in scales:
            rows = made.extend(days * scale, tell)
            if not bench.traced:
                bench.send_messages()
            made.settle()
            tell(f"×{scale}: {rows:,} raw rows")
            entries += bench.at_scale(scale, rows)
        size = sum(path.stat().st_size for path in server.data_dir.rglob("*") if path.is_file())
    measured = {"history_rows": rows, "history_gb": round(size / 1e9, 2), "queries": entries}
    return report("query", parameters, started, measured)
