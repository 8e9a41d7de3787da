"""The text that samples were read from goes into the archive while Kafka has it, and stays there after."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from hps_platform import retention
from hps_platform.landing import run_window
from hps_platform.metrics import FAMILIES
from hps_platform.retention import Place
from hps_platform.store.archive import reading, records
from hps_platform.store.database import Connection
from hps_platform.stream import Producer, ensure_topics
from hps_platform_tests.integration.landing.ground import begin_at_end, behind, now_ms, send_sample

VMSTAT = FAMILIES["vmstat"]
BACK = timedelta(days=50)  # topics outlive a test: a day of its own


@pytest.fixture(scope="session")
def bootstrap(kafka: str) -> str:
    ensure_topics(kafka, partitions=3, replication=1, retention_hours=168)
    return kafka


@pytest.fixture
def producer(bootstrap: str) -> Iterator[Producer]:
    producer = Producer(bootstrap, "test")
    yield producer
    producer.close()


def land(conn: Connection, dsn: str, bootstrap: str) -> None:
    run_window(
        dsn=dsn,
        bootstrap=bootstrap,
        run_id="run",
        window_s=60,
        batch_interval_s=0.1,
        stop=lambda: behind(dsn, bootstrap) == 0,
    )
    conn.execute("DELETE FROM landing_leases")


def send(producer: Producer, start: datetime, seconds: range, server: int) -> None:
    first = round(start.timestamp() * 1000)
    for number in seconds:
        send_sample(producer, server, first + number * 1000, [{"us": 1.0 + number}], seq=number + 1)
    assert producer.flush(30) == 0


def test_texts_are_kept_with_the_rows(
    conn: Connection, migrated_dsn: str, bootstrap: str, producer: Producer, place: Place
) -> None:
    begin_at_end(migrated_dsn, bootstrap)
    begin = datetime.fromtimestamp(now_ms() / 1000, UTC).replace(hour=6, minute=0, second=0, microsecond=0) - BACK
    for server in (1, 2, 3):
        send(producer, begin, range(20), server)
        send(producer, begin + timedelta(days=1), range(20), server)  # a day that is not asked for
    land(conn, migrated_dsn, bootstrap)
    with_texts = Place(place.root, bootstrap)
    day = begin.date()
    one = retention.archive_day(conn, with_texts, VMSTAT, day)
    assert one is not None
    assert (one.rows, one.messages, one.raw_messages) == (60, 60, 60)
    assert "/_raw/family=vmstat/date=" in str(one.raw_url)
    [row] = conn.execute(
        "SELECT kafka_partition, kafka_offset FROM vmstat_metrics WHERE server_id = 2 AND timestamp = %s",
        (begin + timedelta(seconds=4),),
    ).fetchall()
    kept = reading.message(conn, VMSTAT, 2, begin + timedelta(seconds=4), row)
    assert kept is not None
    expected = {"server_id": 2, "timestamp": begin + timedelta(seconds=4), "command": "vmstat 2", "exit_code": None}
    expected |= {
        "raw": "raw text",
        "parser": "linux/1",
        "collector": "c1",
        "session": "s1",
        "seq": 5,
        "schema": "vmstat.v1",
    }
    assert {name: kept[name] for name in expected} == expected
    assert reading.message(conn, VMSTAT, 2, begin + timedelta(seconds=4), (row[0], 10**9)) is None

    # Later, when Kafka has none of them any more, some rows more come: the texts of the others stay.
    send(producer, begin, range(20, 25), 1)
    land(conn, migrated_dsn, bootstrap)
    again = retention.archive_day(conn, Place(place.root, None), VMSTAT, day)
    assert again is not None
    assert (again.rows, again.messages, again.raw_messages) == (65, 65, 60)
    whole = retention.archive_day(conn, with_texts, VMSTAT, day)
    assert whole is not None
    assert (whole.messages, whole.raw_messages) == (65, 65)
    assert retention.verify(conn, 10) == []


def test_messages_of_a_topic_made_anew_are_not_taken_for_others(
    conn: Connection, migrated_dsn: str, bootstrap: str, producer: Producer, place: Place
) -> None:
    begin_at_end(migrated_dsn, bootstrap)
    begin = datetime.fromtimestamp(now_ms() / 1000, UTC).replace(hour=6, minute=0, second=0, microsecond=0) - BACK
    day = begin + timedelta(days=2)
    send(producer, day, range(10), 1)
    land(conn, migrated_dsn, bootstrap)
    # As if these rows came from a topic that is gone, at offsets where others lie now.
    conn.execute("UPDATE vmstat_metrics SET kafka_offset = kafka_offset + 1")
    one = retention.archive_day(conn, Place(place.root, bootstrap), VMSTAT, day.date())
    assert one is not None
    assert (one.messages, one.raw_messages, one.raw_url) == (10, 0, None)
    assert records.find(conn, "vmstat", day.date()) == one
