"""Ground for tests of landing: messages of a simple kind, and what came of them."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from hps_platform.metrics import FAMILIES, wire
from hps_platform.metrics.sample import Row, Sample
from hps_platform.store import completeness
from hps_platform.store.database import session
from hps_platform.stream import Producer, watermarks

LOOK_S = 0.2
"""Between two looks at how far landing is, each of which opens a connection to broker and database."""
TOPICS = [*(family.topic for family in FAMILIES.values()), wire.DEAD_LETTER_TOPIC]


def now_ms() -> int:
    return round(time.time() * 1000)


def send_sample(
    producer: Producer,
    server_id: int,
    timestamp_ms: int,
    rows: Sequence[Row],
    *,
    family: str = "vmstat",
    seq: int = 1,
    session: str = "s1",
) -> None:
    shown = FAMILIES[family]
    sample = Sample(family, server_id, timestamp_ms, rows, "vmstat 2", "raw text", "linux/1", "c1", session, seq)
    value, headers = wire.encode(shown, sample)
    producer.send(shown.topic, wire.key(server_id), value, headers)


def begin_at_end(dsn: str, bootstrap: str) -> None:
    """Sets the ledger to the ends of the topics, which other tests have used before."""
    with psycopg.connect(dsn) as conn, conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO landing_offsets (topic, partition, next_offset) VALUES (%s, %s, %s)"
            " ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset",
            [(topic, number, high) for (topic, number), (_, high) in watermarks(bootstrap, TOPICS).items()],
        )


def expire(bootstrap: str, topic: str) -> None:
    """Makes a topic forget its messages."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    partitions = admin.list_topics(topic, timeout=10).topics[topic].partitions
    for future in admin.delete_records([TopicPartition(topic, number, -1) for number in partitions]).values():
        future.result()


def behind(dsn: str, bootstrap: str) -> int:
    """How many messages are not landed yet."""
    with psycopg.connect(dsn) as conn:
        rows = conn.execute("SELECT topic, partition, next_offset FROM landing_offsets").fetchall()
    ledger = {(topic, number): offset for topic, number, offset in rows}
    return sum(high - ledger.get(place, 0) for place, (_, high) in watermarks(bootstrap, TOPICS).items())


def fetch(dsn: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as conn:
        return conn.execute(query.encode(), values).fetchall()


def count(dsn: str, table: str) -> int:
    return int(fetch(dsn, f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608  # names of the tests


def ledger_sums(dsn: str, family: str) -> tuple[int, int, int, int]:
    """Samples collected, landed, rejected and missing, of everything that was landed."""
    with session(dsn, application_name="test") as conn:
        while completeness.fold(conn):
            pass
    [sums] = fetch(
        dsn,
        "SELECT coalesce(sum(collected), 0), coalesce(sum(landed), 0), coalesce(sum(rejected), 0),"
        " coalesce(sum(missing), 0) FROM completeness WHERE family = %s",
        family,
    )
    collected, landed, rejected, missing = map(int, sums)
    return collected, landed, rejected, missing


def differences(dsn: str, family: str) -> list[completeness.Difference]:
    """Minutes of the last ten days whose rows are not those that landing counted."""
    now = datetime.now(UTC)
    with session(dsn, application_name="test") as conn:
        return completeness.differences(conn, FAMILIES[family], now - timedelta(days=10), now + timedelta(hours=2))
