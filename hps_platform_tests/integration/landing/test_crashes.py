"""Landing processes killed at random moments under load: every message lands exactly once."""

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from hps_platform.landing import should_start
from hps_platform.stack.kafka import Kafka
from hps_platform.store import leases
from hps_platform.store.database import session
from hps_platform.stream import Producer, RangeReader, ensure_topics, watermarks
from hps_platform_tests.integration.landing.ground import (
    LOOK_S,
    behind,
    count,
    differences,
    fetch,
    ledger_sums,
    now_ms,
    send_sample,
)
from hps_platform_tests.waiting import until

KILLS = 8
SERVERS = 13


class Load:
    """Some 1,000 samples a second from a thread that nobody kills, an outage of the broker included."""

    def __init__(self, bootstrap: str) -> None:
        self.sent = 0
        self.lost: list[Exception] = []
        self._producer = Producer(bootstrap, "load")
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def _run(self) -> None:
        base = now_ms() - 7_200_000
        while not self._ending.wait(0.01):
            for _ in range(10):
                seq, server_id = self.sent // SERVERS + 1, self.sent % SERVERS
                rows = [{"disk": "hdisk0", "tps": 1.0}, {"disk": "hdisk1", "tps": 2.0}]
                send_sample(self._producer, server_id, base + self.sent, rows, family="iostat", seq=seq)
                self.sent += 1
            self._producer.poll()

    def finish(self) -> int:
        self._ending.set()
        self._thread.join()
        assert self._producer.flush(60) == 0
        return self.sent


@contextmanager
def lander(dsn: str, bootstrap: str, run_id: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "hps_platform_tests.integration.landing.lander"),
            *(dsn, bootstrap, run_id, "600"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def on_topic(bootstrap: str, since: dict[tuple[str, int], int]) -> Counter[tuple[int, int]]:
    """(partition, offset) of every message of iostat since then."""
    ends = {place: high for place, (_, high) in watermarks(bootstrap, ["hps.iostat"]).items()}
    found: Counter[tuple[int, int]] = Counter()
    with RangeReader(bootstrap, {place: since[place] for place in ends}) as reader:
        while any(reader.positions()[place] < end for place, end in ends.items()):
            found.update((record.partition, record.offset) for record in reader.read(10_000, 1.0))
    return found


def assert_exactly_once(dsn: str, bootstrap: str, since: dict[tuple[str, int], int], sent: int) -> None:
    sent_places = on_topic(bootstrap, since)
    assert sent_places.total() == sent
    rows = fetch(dsn, "SELECT kafka_partition, kafka_offset, count(*) FROM iostat_metrics GROUP BY 1, 2")
    assert {(partition, offset): number for partition, offset, number in rows} == dict.fromkeys(sent_places, 2)
    assert count(dsn, "dead_letters") == 0
    assert ledger_sums(dsn, "iostat")[:2] == (sent, sent)
    assert differences(dsn, "iostat") == []


def ledger(dsn: str) -> dict[tuple[str, int], int]:
    rows = fetch(dsn, "SELECT topic, partition, next_offset FROM landing_offsets")
    return {(topic, number): offset for topic, number, offset in rows}


def test_killed_at_random_moments(dsn: str, bootstrap: str) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201  # shown when it fails
    chance = random.Random(seed)
    since = ledger(dsn)
    with Load(bootstrap) as load:
        for number in range(KILLS):
            with lander(dsn, bootstrap, f"run{number}") as process:
                assert process.stdout is not None
                assert process.stdout.readline().startswith("commit")
                time.sleep(chance.random() * 0.7)  # the random moment
            with session(dsn, application_name="test") as conn:
                if number:
                    conn.execute("UPDATE landing_leases SET renewed_at = 'epoch'")
                else:  # once for real
                    until(lambda conn=conn: should_start(conn), leases.STALE_S + 1, "the lease is stale")  # type: ignore[misc]
        with lander(dsn, bootstrap, "last") as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("commit")
            sent = load.finish()
            until(lambda: behind(dsn, bootstrap) == 0, 60, "all landed", every_s=LOOK_S)
    assert_exactly_once(dsn, bootstrap, since, sent)


def test_kafka_may_restart_within_a_window(dsn: str, bootstrap: str, kafka_server: Kafka) -> None:
    since = ledger(dsn)
    with Load(bootstrap) as load, lander(dsn, bootstrap, "run") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("commit")
        kafka_server.stop()
        kafka_server.start()
        ensure_topics(bootstrap, partitions=3, replication=1, retention_hours=168)
        before = load.sent
        until(lambda: load.sent > before + 200, 60, "the producer goes on")
        sent = load.finish()
        until(lambda: behind(dsn, bootstrap) == 0, 60, "all landed", every_s=LOOK_S)
        assert process.poll() is None
    assert_exactly_once(dsn, bootstrap, since, sent)
