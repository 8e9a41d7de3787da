"""Killing parts of a running demo at random moments under load, and comparing topics with tables row by row.

The test kills ten times, `scripts/kill_at_random.py` as often as it is told.
"""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import polars as pl
import psutil
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from hps_platform import stream
from hps_platform.errors import KafkaUnavailable
from hps_platform.metrics import FAMILIES, wire
from hps_platform.metrics.family import Family
from hps_platform.metrics.sample import Sample
from hps_platform_tests.e2e.demo import DemoApp
from hps_platform_tests.waiting import until

log = logging.getLogger(__name__)

ROWS_PER_S = 2000
FIRST_SERVER, SERVERS = 900_001, 20
RECOVERY_S = 90.0
LOOK_S = 0.25
VICTIMS = ("landing", "dagster-daemon", "postgres", "kafka", "collector", "app")
PAUSE_S = 1.0, 6.0

Marks = dict[tuple[str, int], tuple[int, int]]  # topic and partition: low and high watermark


class Load(threading.Thread):
    """A producer that nobody kills: one vmstat row a message, so many a second, with times of its own."""

    def __init__(self, bootstrap: str, rows_per_s: int) -> None:
        super().__init__(name="load", daemon=True)
        self.rows_per_s = rows_per_s
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
                due = int((time.monotonic() - began) * self.rows_per_s)
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
def load(bootstrap: str, rows_per_s: int = ROWS_PER_S) -> Iterator[Load]:
    running = Load(bootstrap, rows_per_s)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def landing_process(demo: DemoApp) -> psutil.Process | None:
    """The worker of the run that holds the lease: the one at the other end of the lease's database session."""
    with psycopg.connect(demo.settings().dsn()) as conn:
        row = conn.execute(
            "SELECT client_port FROM pg_stat_activity JOIN landing_leases ON backend_pid = pid WHERE group_id = 'all'"
        ).fetchone()
    if row is None:
        return None
    for process in psutil.Process(demo.status()["dagster-code"]["pid"]).children(recursive=True):
        try:
            if any(connection.laddr.port == row[0] for connection in process.net_connections("tcp")):
                return process
        except psutil.NoSuchProcess:  # ended meanwhile
            continue
    return None


def landed_of_load(demo: DemoApp) -> int:
    """The newest of the load's rows in PostgreSQL, as its number a server; 0 while it does not answer."""
    try:
        with psycopg.connect(demo.settings().dsn(), connect_timeout=2) as conn:
            row = conn.execute(
                "SELECT extract(epoch FROM max(timestamp)) * 1000 FROM vmstat_metrics WHERE server_id = %s",
                (FIRST_SERVER,),
            ).fetchone()
    except psycopg.OperationalError:
        return 0
    return int(row[0]) if row and row[0] else 0


def _victims(chance: random.Random) -> Iterator[str]:
    """Each of them once, in any order; then any of them."""
    yield from chance.sample(VICTIMS, len(VICTIMS))
    while True:
        yield chance.choice(VICTIMS)


def kill_at_random(demo: DemoApp, kills: int, chance: random.Random, ends_at: float | None = None) -> Counter[str]:
    """Kills what chance chooses, each time after rows have landed again; whom and how often.

    The moment is random as well: a victim may be at work or on its way up.
    """
    done: Counter[str] = Counter()
    victims = _victims(chance)
    name = next(victims)
    while done.total() < kills:
        before = landed_of_load(demo)
        until(lambda before=before: landed_of_load(demo) > before, RECOVERY_S, "rows land again", every_s=LOOK_S)  # type: ignore[misc]
        time.sleep(chance.uniform(*PAUSE_S))  # the random moment
        process = _victim(demo, name)
        if process is None:
            continue  # it is just being started again
        with suppress(psutil.NoSuchProcess):
            process.kill()
            done[name] += 1
            log.info("kill %d: %s", done.total(), name)
            name = next(victims)
        assert ends_at is None or time.monotonic() < ends_at, f"only {done.total()} of {kills} kills in the time given"
    return done


def _victim(demo: DemoApp, name: str) -> psutil.Process | None:
    with suppress(psycopg.OperationalError, psutil.NoSuchProcess):
        if name == "landing":
            return landing_process(demo)
        pid = demo.status()[name]["pid"]
        return psutil.Process(pid) if pid else None
    return None


def caught_up(demo: DemoApp, marks: Marks) -> bool:
    """Whether the ledger has reached every one of these watermarks."""
    with psycopg.connect(demo.settings().dsn()) as conn:
        rows = conn.execute("SELECT topic, partition, next_offset FROM landing_offsets").fetchall()
    ledger = {(topic, partition): offset for topic, partition, offset in rows}
    return all(ledger.get(place, 0) >= high for place, (_, high) in marks.items())


def _columns(family: Family) -> list[str]:
    measured = [column.name for column in family.columns if column.name != family.key]
    return [*family.primary_key, *measured[:2], "kafka_partition", "kafka_offset"]


def on_topic(bootstrap: str, family: Family, marks: Marks) -> pl.DataFrame:
    """Every row below the watermarks: its key, its first two columns, and where it lies.

    A collector that was killed sends again what may not have arrived: the first of two copies counts.
    """
    seen: set[tuple[bytes | None, bytes, bytes]] = set()
    span = {place: (low, high) for place, (low, high) in marks.items() if place[0] == family.topic and high > low}
    frames = []
    for read in stream.read_spans(bootstrap, span):
        records = [record for record in read if _first(record, seen)]
        if not records:
            continue
        rows = wire.decode(family, [record.value for record in records])
        places = pl.DataFrame(
            {
                "kafka_partition": pl.Series([record.partition for record in records], dtype=pl.Int64),
                "kafka_offset": pl.Series([record.offset for record in records], dtype=pl.Int64),
            }
        )
        frames.append(pl.concat([rows, places[rows["message"]]], how="horizontal").select(_columns(family)))
    return pl.concat(frames)


def _first(record: stream.Record, seen: set[tuple[bytes | None, bytes, bytes]]) -> bool:
    number = record.key, record.headers["session"], record.headers["seq"]
    new = number not in seen
    seen.add(number)
    return new


def in_table(dsn: str, family: Family, marks: Marks) -> pl.DataFrame:
    """The same of the table."""
    ends = {str(partition): high for (topic, partition), (_, high) in marks.items() if topic == family.topic}
    schema = {**family.frame_schema, "kafka_partition": pl.Int64(), "kafka_offset": pl.Int64()}
    columns = _columns(family)
    query = sql.SQL("SELECT {} FROM {} WHERE kafka_offset < (%s ->> kafka_partition::text)::bigint").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(family.table)
    )
    frames = [pl.DataFrame(schema={name: schema[name] for name in columns})]
    with psycopg.connect(dsn, options="-c timezone=UTC") as conn, conn.cursor("rows") as cursor:
        cursor.execute(query, (Jsonb(ends),))
        while rows := cursor.fetchmany(100_000):
            frames.append(pl.DataFrame(rows, schema={name: schema[name] for name in columns}, orient="row"))
    return pl.concat(frames)


def compare(demo: DemoApp, sent: int) -> dict[str, int]:
    """Fails unless tables hold exactly the rows that are on the topics now; how many, per family."""
    bootstrap, dsn = demo.settings().bootstrap, demo.settings().dsn()
    # The collector goes on: what is on the topics at this moment is compared.
    marks = stream.watermarks(bootstrap, [family.topic for family in FAMILIES.values()])
    until(lambda: caught_up(demo, marks), RECOVERY_S, "everything that was on the topics is landed", every_s=LOOK_S)
    found: dict[str, int] = {}
    for name, family in FAMILIES.items():
        if not any(high > low for (topic, _), (low, high) in marks.items() if topic == family.topic):
            continue
        produced, landed = on_topic(bootstrap, family, marks), in_table(dsn, family, marks)
        lost = produced.join(landed, on=produced.columns, how="anti", nulls_equal=True)
        strange = landed.join(produced, on=produced.columns, how="anti", nulls_equal=True)
        assert lost.is_empty(), f"{name}: {lost.height} rows were lost, the first {lost.row(0)}"
        assert strange.is_empty(), f"{name}: {strange.height} rows came from nowhere, the first {strange.row(0)}"
        assert produced.height == landed.height, f"{name}: {landed.height - produced.height} rows are there twice"
        found[name] = landed.height
        if name == "vmstat":
            assert landed.filter(pl.col("server_id") >= FIRST_SERVER).height == sent
    with psycopg.connect(dsn) as conn:
        rejected = conn.execute("SELECT family, reason, count(*) FROM dead_letters GROUP BY 1, 2").fetchall()
    assert rejected == [], "nothing here is unreadable"
    return found
