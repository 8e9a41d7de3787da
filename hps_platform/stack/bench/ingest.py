"""`hps bench ingest`: how fast landing is, beside the fastest that PostgreSQL takes the same rows by itself.

A real broker and server. The ceiling is a server-side COPY BINARY from a file into the same partitioned table with its
key, in the better of two orders; the landing runs' clock goes from before the first fetch to after the last commit.
Ceiling and landing take turns; the medians count. Then a steady load on one run: how old rows are at their commit.
"""

import json
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from hps_platform import landing, stream
from hps_platform.errors import KafkaUnavailable, StackError
from hps_platform.stack.bench import Report, Tell, fleetrows, report
from hps_platform.stack.bench.ground import Ground, Part, ground
from hps_platform.store import copy, partitions
from hps_platform.store.database import session
from hps_platform.store.landing import table_columns

PARTITIONS = 12
STEADY_RATE = 1000
SHAPES = (10, 1)
_BULK_INTERVAL_S = 0.25
"""Batches of a bulk are full long before; this only bounds how long the last, smaller one waits."""
_STEADY_INTERVAL_S = 2.0
_TOPIC = fleetrows.FAMILY.topic
_TABLE = fleetrows.FAMILY.table


def run(*, rows: int, servers: int, preload: int, rounds: int, groups: int, steady_s: float, tell: Tell) -> Report:
    """`groups` runs land `rows` of `servers` in both shapes beside `preload` rows of others; then a steady load."""
    started = time.monotonic()
    ticks = max(10, rows // servers // 10 * 10)
    parameters = {
        "rows": servers * ticks,
        "servers": servers,
        "preload": preload,
        "steady_s": steady_s,
        "rounds": rounds,
        "groups": groups,
    }
    with ground() as base:
        tell("PostgreSQL and Kafka are started")
        base.postgres()
        broker = base.kafka()
        stream.ensure_topics(base.bootstrap, partitions=PARTITIONS, replication=1, retention_hours=168)
        bench = _Ingest(base, broker, servers, ticks, preload, rounds, groups, tell)
        measured = bench.bulk()
        if steady_s > 0:
            measured["steady"] = bench.steady(steady_s)
    return report("ingest", parameters, started, {"rows": rows, **measured})


@dataclass
class _Usage:
    """CPU seconds by process since `began`, and the share of a core that others used."""

    server: psutil.Process
    broker: psutil.Process
    before: dict[str, float] = field(default_factory=dict)
    began: float = 0.0

    def start(self) -> None:
        self.before, self.began = self._now(), time.monotonic()

    def since(self, lander_s: float) -> tuple[dict[str, float], float]:
        now, wall = self._now(), time.monotonic() - self.began
        used = {name: now[name] - self.before[name] for name in now}
        machine = used.pop("machine")
        used["lander"] = lander_s
        return used, max(0.0, machine - sum(used.values())) / wall

    def _now(self) -> dict[str, float]:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "guest", 0.0)
        own = psutil.Process().cpu_times()
        return {
            "postgres": _tree_s(self.server),
            "kafka": _tree_s(self.broker),
            "bench": own.user + own.system,
            "machine": sum(times) - idle,
        }


def _tree_s(process: psutil.Process) -> float:
    """Of a process and its children, those that have ended included."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:  # its parent has its time now
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


@dataclass
class _Ingest:
    base: Ground
    broker: psutil.Process
    servers: int
    ticks: int
    preload: int
    rounds: int
    groups: int
    tell: Tell
    start: datetime = field(default_factory=fleetrows.yesterday)

    @property
    def rows(self) -> int:
        return self.servers * self.ticks

    def _directory(self) -> Path:
        """Where PostgreSQL keeps its data."""
        with session(self.base.dsn, application_name="hps bench") as conn:
            row = conn.execute("SHOW data_directory").fetchone()
        return Path(row[0] if row else "")

    def _server(self) -> psutil.Process:
        return psutil.Process(int((self._directory() / "postmaster.pid").read_text().splitlines()[0]))

    # The ceiling

    def _write(self, name: str, *, by_key: bool) -> str:
        """The rows as a file of COPY BINARY where the server can read it."""
        path = self._directory() / f"bench_{name}.bin"
        with path.open("wb") as file:
            header, trailer = b"", b""
            for servers, ticks in fleetrows.chunks(self.servers, self.ticks, by_key=by_key):
                header, *pieces, trailer = map(bytes, copy.encode(fleetrows.table_rows(servers, ticks, self.start)))
                if not file.tell():
                    file.write(header)
                file.writelines(pieces)
            file.write(trailer)
        path.chmod(0o644)
        return str(path)

    def _copied(self, table: str, path: str) -> float:
        """Rows a second of a server-side COPY, its commit included."""
        self._empty()
        with session(self.base.dsn, application_name="hps bench", statement_timeout_s=3600) as conn:
            conn.execute("CHECKPOINT")
            began = time.monotonic()
            copy.from_file(conn, table, table_columns(fleetrows.FAMILY), path)
            return self.rows / (time.monotonic() - began)

    def _empty(self, marks: Mapping[stream.Position, int] | None = None) -> None:
        """Takes the rows away, but those that were loaded before; the ledger then begins at `marks`."""
        with session(self.base.dsn, application_name="hps bench", statement_timeout_s=3600) as conn:
            with conn.transaction():
                if self.preload:
                    conn.execute("DELETE FROM vmstat_metrics WHERE server_id <= %s", (self.servers,))
                else:
                    conn.execute("TRUNCATE vmstat_metrics")
                conn.execute(
                    "TRUNCATE flat, completeness_log, dirty_hours, dead_letters,"
                    " landing_offsets, landing_gaps, landing_leases"
                )
                with conn.cursor() as cursor:
                    cursor.executemany(
                        "INSERT INTO landing_offsets (topic, partition, next_offset) VALUES (%s, %s, %s)",
                        [(topic, number, offset) for (topic, number), offset in (marks or {}).items()],
                    )
            if self.preload:  # or each key would be looked up among those that were deleted
                conn.execute("VACUUM vmstat_metrics")

    def _prepare(self) -> None:
        with session(self.base.dsn, application_name="hps bench", statement_timeout_s=3600) as conn:
            partitions.ensure(conn, [fleetrows.FAMILY], [self.start.date()])
            conn.execute("CREATE TABLE flat (LIKE vmstat_metrics)")
            if self.preload:
                day = partitions.name_of(_TABLE, self.start.date())
                copy.refill(conn, day, table_columns(fleetrows.FAMILY), self._of_others())

    def _of_others(self) -> Iterator[list[bytes | memoryview]]:
        """The rows that are there beforehand, in streams of COPY."""
        day_ticks = 86_400 // fleetrows.TICK_S
        for begin in range(0, self.preload, 500_000):
            number = np.arange(begin, min(begin + 500_000, self.preload), dtype=np.int64)
            yield copy.encode(
                fleetrows.table_rows(self.servers + 1 + number // day_ticks, number % day_ticks, self.start)
            )
            self.tell(f"{begin + len(number)} rows were loaded before")

    # Landing

    def _marks(self) -> dict[stream.Position, int]:
        """Where the topics end now."""
        return {place: high for place, (_, high) in stream.watermarks(self.base.bootstrap, stream.topics()).items()}

    def _produce(self, per_message: int) -> dict[stream.Position, int]:
        """Sends every row; returns where the topics ended before."""
        marks = self._marks()
        producer = stream.Producer(self.base.bootstrap, "bench", linger_ms=50)
        for key, value, headers in fleetrows.messages(self.servers, self.ticks, per_message, self.start):
            _send(producer, key, value, headers)
        producer.close(120.0)
        return marks

    def _lander(self, messages: int, seconds: float, interval_s: float, group: landing.Group) -> Part:
        arguments = (messages, seconds, interval_s, group.number, group.of)
        return self.base.run_module(
            f"lander {group.name}", "hps_platform.stack.bench.lander", *(str(value) for value in arguments)
        )

    def _landed(self, per_message: int, marks: dict[stream.Position, int]) -> dict[str, Any]:
        self._empty(marks)
        with session(self.base.dsn, application_name="hps bench") as conn:
            conn.execute("CHECKPOINT")
        sent = {place: end - marks[place] for place, end in self._marks().items()}
        usage = _Usage(self._server(), self.broker)
        usage.start()
        parts = [
            self._lander(
                sum(count for (_, number), count in sent.items() if group.owns(number)), 600.0, _BULK_INTERVAL_S, group
            )
            for group in landing.groups(self.groups)
        ]
        said: list[dict[str, Any]] = [json.loads(part.output(660.0)) for part in parts]
        cpu_s, foreign = usage.since(sum(one["cpu_s"] for one in said))
        rows, rejected = (sum(one[name] for one in said) for name in ("rows", "rejected"))
        if rows != self.rows or rejected:
            raise StackError(f"{self.rows} rows were sent and {rows} landed, {rejected} rejected")
        wall_s = (max(one["ended_ms"] for one in said) - min(one["began_ms"] for one in said)) / 1000
        return {
            "rows_per_s": self.rows / wall_s,
            "process_s": cpu_s,
            "foreign": foreign,
            "rss_mb": sum(one["rss_mb"] for one in said),
        }

    def bulk(self) -> dict[str, Any]:
        self.tell(f"{self.rows} rows are written as files")
        self._prepare()
        files = {name: self._write(name, by_key=name == "sorted") for name in ("sorted", "arrival")}
        orders = {name: self._copied(_TABLE, path) for name, path in files.items()}
        better = max(orders, key=lambda name: orders[name])
        flat = statistics.median(self._copied("flat", files[better]) for _ in range(self.rounds))
        shapes, cpu_s, foreign, rss, ceilings = [], {}, [], 0.0, [orders[better]]
        for per_message in SHAPES:
            self.tell(f"{self.rows // per_message} messages are sent")
            marks = self._produce(per_message)
            pairs = []
            for number in range(self.rounds):
                ceiling, landed = self._copied(_TABLE, files[better]), self._landed(per_message, marks)
                ceilings.append(ceiling)
                pairs.append((landed["rows_per_s"], landed["rows_per_s"] / ceiling, landed))
                self.tell(
                    f"{per_message} a message, round {number + 1}: ceiling {ceiling:.0f}, landing"
                    f" {landed['rows_per_s']:.0f} rows/s, others used {landed['foreign']:.2f} of a core"
                )
            landed = sorted(pairs, key=lambda pair: pair[0])[self.rounds // 2][2]
            own = {name: seconds for name, seconds in landed["process_s"].items() if name != "bench"}
            shapes.append(
                {
                    "rows_per_message": per_message,
                    "rows_per_s": round(statistics.median(pair[0] for pair in pairs)),
                    "ratio": round(statistics.median(pair[1] for pair in pairs), 3),
                    "cpu_us_per_row": round(sum(own.values()) / self.rows * 1e6, 2),
                }
            )
            cpu_s[f"{per_message} rows a message"] = {name: round(value, 2) for name, value in own.items()}
            foreign += [pair[2]["foreign"] for pair in pairs]
            rss = max(rss, *(pair[2]["rss_mb"] for pair in pairs))
        return {
            "ceiling_rows_per_s": round(statistics.median(ceilings)),
            "ceiling_order": better,
            "flat_ceiling_rows_per_s": round(flat),
            "shapes": shapes,
            "peak_rss_mb": round(rss, 1),
            "cpu_s": cpu_s,
            "foreign_cpu_share": round(statistics.median(foreign), 3),
            "bytes_per_row": self._bytes_per_row(),
        }

    def _bytes_per_row(self) -> float:
        with session(self.base.dsn, application_name="hps bench") as conn:
            [table] = [one for one in partitions.listing(conn) if one.table == _TABLE]
        return round(table.size_bytes / (self.rows + self.preload), 1)

    def steady(self, seconds: float) -> dict[str, Any]:
        self.tell(f"{STEADY_RATE} rows a second for {seconds:.0f} s")
        marks = self._marks()
        self._empty(marks)
        usage = _Usage(self._server(), self.broker)
        with _sending(self.base.bootstrap, self.servers, seconds) as sender:
            usage.start()
            part = self._lander(2**62, seconds, _STEADY_INTERVAL_S, landing.EVERYTHING)
            said = json.loads(part.output(seconds + 120))
            cpu_s, foreign = usage.since(said["cpu_s"])
        ages = _ages(self.base.bootstrap, marks, said["commits"])
        return {
            "rate": round(said["rows"] / said["lived_s"], 1),
            "sent": sender.sent,
            "age_p50_ms": round(float(np.percentile(ages, 50))),
            "age_p95_ms": round(float(np.percentile(ages, 95))),
            "cpu_share": round(said["cpu_s"] / said["lived_s"], 4),
            "postgres_cpu_share": round(cpu_s["postgres"] / said["lived_s"], 4),
            "kafka_cpu_share": round(cpu_s["kafka"] / said["lived_s"], 4),
            "foreign_cpu_share": round(foreign, 3),
        }


def _send(producer: stream.Producer, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> None:
    while True:
        try:
            producer.send(_TOPIC, key, value, headers)
        except KafkaUnavailable:  # its queue is full
            producer.poll(0.05)
        else:
            producer.poll()
            return


class _Sender(threading.Thread):
    """`STEADY_RATE` messages of one row a second, in small steps."""

    def __init__(self, bootstrap: str, servers: int) -> None:
        super().__init__(name="bench sender", daemon=True)
        self._broker = bootstrap
        self._servers = servers
        self.ending = threading.Event()
        self.sent = 0

    def run(self) -> None:
        producer = stream.Producer(self._broker, "bench")
        endless = fleetrows.messages(self._servers, 43_200, 1, fleetrows.yesterday())
        began = time.monotonic()
        while not self.ending.wait(0.02):
            due = int((time.monotonic() - began) * STEADY_RATE)
            for key, value, headers in (next(endless) for _ in range(due - self.sent)):
                _send(producer, key, value, headers)
            self.sent = due
        producer.close()


@contextmanager
def _sending(bootstrap: str, servers: int, seconds: float) -> Iterator[_Sender]:
    sender = _Sender(bootstrap, servers)
    sender.start()
    try:
        yield sender
    finally:
        sender.ending.set()
        sender.join(seconds)


def _ages(bootstrap: str, marks: dict[stream.Position, int], commits: list[dict[str, Any]]) -> list[float]:
    """How old each message was when its commit had come back, in milliseconds."""
    ends: dict[int, list[tuple[int, float]]] = {}
    for commit in commits:
        for place, (_, following) in commit["spans"].items():
            topic, _, number = place.rpartition("/")
            if topic == _TOPIC:
                ends.setdefault(int(number), []).append((following, commit["at_ms"]))
    starts = {place: offset for place, offset in marks.items() if place[0] == _TOPIC and place[1] in ends}
    last = {(_TOPIC, number): steps[-1][0] for number, steps in ends.items()}
    ages: list[float] = []
    with stream.RangeReader(bootstrap, starts) as reader:
        while any(position < last[place] for place, position in reader.positions().items()):
            for record in reader.read(10_000, 1.0):
                steps = ends[record.partition]
                while steps and steps[0][0] <= record.offset:
                    steps.pop(0)
                if steps:
                    ages.append(steps[0][1] - record.timestamp_ms)
    if not ages:
        raise StackError("nothing was landed under the steady load")
    return ages
