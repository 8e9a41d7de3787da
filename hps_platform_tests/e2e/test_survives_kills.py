"""kill -9 of the landing run, the collector, Kafka, PostgreSQL and the app under load: nothing lost, nothing twice.

How long each recovery took is logged: `pytest -o log_cli_level=INFO -o log_cli=true` shows it.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psutil
import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from hps_platform import stream
from hps_platform.errors import KafkaUnavailable
from hps_platform.metrics import FAMILIES, wire
from hps_platform.metrics.sample import Sample
from hps_platform_tests.e2e.demo import DemoApp
from hps_platform_tests.waiting import until

log = logging.getLogger(__name__)

ROWS_PER_S = 600
FIRST_SERVER, SERVERS = 900_001, 20
RECOVERY_S = 60.0

Place = tuple[str, int]  # family, server
Marks = dict[tuple[str, int], tuple[int, int]]  # topic and partition: low and high watermark


class Load(threading.Thread):
    """A producer that nobody kills: one vmstat row a message, `ROWS_PER_S` of them, with times of its own."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(name="load", daemon=True)
        self._broker = bootstrap
        self._stop_asked = threading.Event()
        self.sent = 0
        self.refused: list[Exception] = []
        self.left = 0

    def run(self) -> None:
        start_ms = time.time_ns() // 1_000_000
        began = time.monotonic()
        with closing(stream.Producer(self._broker, "load")) as producer:
            while not self._stop_asked.is_set():
                due = int((time.monotonic() - began) * ROWS_PER_S)
                while self.sent < due:
                    self._send(producer, start_ms)
                producer.poll(0.02)
            self.left = producer.flush(60.0)

    def _send(self, producer: stream.Producer, start_ms: int) -> None:
        number = self.sent
        server_id = FIRST_SERVER + number % SERVERS
        sample = Sample(
            family="vmstat",
            server_id=server_id,
            timestamp_ms=start_ms + number // SERVERS,
            rows=[{"r": number % 7, "us": float(number % 100)}],
            command="vmstat 1",
            raw="",
            parser="linux/1;stream",
            collector="load",
            session="load",
            seq=number // SERVERS + 1,
        )
        value, headers = wire.encode(FAMILIES["vmstat"], sample)
        try:
            producer.send(
                "hps.vmstat",
                wire.key(server_id),
                value,
                headers,
                on_delivery=lambda error: self.refused.append(error) if error else None,
            )
        except KafkaUnavailable:
            producer.poll(0.1)  # its queue is full: the same row again
            return
        self.sent += 1

    def stop(self) -> None:
        self._stop_asked.set()
        self.join(90.0)


@contextmanager
def load(bootstrap: str) -> Iterator[Load]:
    running = Load(bootstrap)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def landing_process(demo: DemoApp) -> psutil.Process:
    """The worker of the run that holds the lease: the one at the other end of the lease's database session."""
    with psycopg.connect(demo.settings().dsn()) as conn:
        row = conn.execute(
            "SELECT client_port FROM pg_stat_activity JOIN landing_leases ON backend_pid = pid WHERE group_id = 'all'"
        ).fetchone()
    assert row is not None, "nobody holds the lease"
    for process in psutil.Process(demo.status()["dagster-code"]["pid"]).children(recursive=True):
        try:
            if any(connection.laddr.port == row[0] for connection in process.net_connections("tcp")):
                return process
        except psutil.NoSuchProcess:  # ended meanwhile
            continue
    raise AssertionError(f"no process of the landing run has port {row[0]}")


def landed_of_load(demo: DemoApp) -> int:
    """How many rows of the load are in PostgreSQL; 0 while it does not answer."""
    try:
        with psycopg.connect(demo.settings().dsn(), connect_timeout=2) as conn:
            row = conn.execute("SELECT count(*) FROM vmstat_metrics WHERE server_id >= %s", (FIRST_SERVER,)).fetchone()
    except psycopg.OperationalError:
        return 0
    return int(row[0]) if row else 0


def well(demo: DemoApp) -> bool:
    return demo.hps("status", "--json").returncode == 0


def caught_up(demo: DemoApp, marks: Marks) -> bool:
    """Whether the ledger has reached every one of these watermarks."""
    with psycopg.connect(demo.settings().dsn()) as conn:
        rows = conn.execute("SELECT topic, partition, next_offset FROM landing_offsets").fetchall()
    ledger = {(topic, partition): offset for topic, partition, offset in rows}
    return all(ledger.get(place, 0) >= high for place, (_, high) in marks.items())


def on_topics(demo: DemoApp, marks: Marks) -> dict[Place, tuple[int, int]]:
    """Rows and messages on the topics below the watermarks, by family and server.

    A collector that was killed sends again what may not have arrived: such a message counts once.
    """
    rows: Counter[Place] = Counter()
    messages: Counter[Place] = Counter()
    seen: set[tuple[Place, bytes, bytes]] = set()
    families = {family.topic: family.name for family in FAMILIES.values()}
    left = {place: high for place, (low, high) in marks.items() if high > low}
    with stream.RangeReader(demo.settings().bootstrap, {place: marks[place][0] for place in left}) as reader:
        while left:
            for record in reader.read(20_000, 1.0):
                if record.offset < marks[record.topic, record.partition][1] and record.key is not None:
                    place = families[record.topic], int(record.key)
                    numbered = place, record.headers["session"], record.headers["seq"]
                    if numbered not in seen:
                        seen.add(numbered)
                        rows[place] += record.value.count(b"\n") + 1
                        messages[place] += 1
            reached = reader.positions()
            left = {place: end for place, end in left.items() if reached.get(place, 0) < end}
    return {place: (count, messages[place]) for place, count in rows.items()}


def in_tables(demo: DemoApp, marks: Marks) -> dict[Place, tuple[int, int]]:
    """The same of the tables: rows, and distinct messages that they came from."""
    found: dict[Place, tuple[int, int]] = {}
    with psycopg.connect(demo.settings().dsn()) as conn:
        for family in FAMILIES.values():
            ends = {str(partition): high for (topic, partition), (_, high) in marks.items() if topic == family.topic}
            query = sql.SQL(
                """
                SELECT server_id, count(*), count(DISTINCT (kafka_partition, kafka_offset)) FROM {}
                WHERE kafka_offset < (%s ->> kafka_partition::text)::bigint GROUP BY server_id
                """
            ).format(sql.Identifier(family.table))
            for server_id, rows, messages in conn.execute(query, (Jsonb(ends),)):
                found[family.name, server_id] = rows, messages
    return found


def kill_in_turn(demo: DemoApp, loaded: Load) -> None:
    """Kills each with rows under way, and waits until rows go in again and all is well."""

    def kill(name: str, process: psutil.Process) -> None:
        before = landed_of_load(demo)
        until(
            lambda: landed_of_load(demo) > before, RECOVERY_S, f"rows are landing before {name} is killed", every_s=0.25
        )
        process.kill()
        at, killed_at = loaded.sent, time.monotonic()
        until(
            lambda: landed_of_load(demo) > at,
            RECOVERY_S,
            f"rows sent after the kill of {name} are landed",
            every_s=0.25,
        )
        log.info("%s killed: rows land again after %.1f s", name, time.monotonic() - killed_at)
        until(lambda: well(demo), RECOVERY_S, f"all services are well after the kill of {name}")
        log.info("%s killed: all is well after %.1f s", name, time.monotonic() - killed_at)

    kill("landing", landing_process(demo))
    for name in ("collector", "kafka", "postgres", "app"):
        kill(name, psutil.Process(demo.status()[name]["pid"]))


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled(demo_app: DemoApp) -> None:
    with load(demo_app.settings().bootstrap) as loaded:
        until(lambda: landed_of_load(demo_app) > ROWS_PER_S, RECOVERY_S, "the load lands", every_s=0.25)
        kill_in_turn(demo_app, loaded)
    assert loaded.left == 0
    assert loaded.refused == []
    assert loaded.sent > 10 * ROWS_PER_S
    # The collector goes on: what was on the topics at this moment is compared.
    marks = stream.watermarks(demo_app.settings().bootstrap, [family.topic for family in FAMILIES.values()])
    until(lambda: caught_up(demo_app, marks), RECOVERY_S, "everything that was on the topics is landed", every_s=0.25)
    produced, landed = on_topics(demo_app, marks), in_tables(demo_app, marks)
    with psycopg.connect(demo_app.settings().dsn()) as conn:
        rejected = conn.execute(
            "SELECT family, server_id, reason, count(*) FROM dead_letters GROUP BY 1, 2, 3"
        ).fetchall()
    assert rejected == [], "nothing here is unreadable"
    assert sum(rows for (_, server_id), (rows, _) in produced.items() if server_id >= FIRST_SERVER) == loaded.sent
    assert {family for family, _ in produced} == set(FAMILIES)
    assert landed == produced
