"""Kafka for real: producing, reading ranges, watermarks, the tail, topics."""

import time
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer as PlainProducer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.cimpl import NewTopic

from hps_platform.errors import InvalidInput, KafkaUnavailable
from hps_platform.stack.kafka import Kafka
from hps_platform.stack.ports import free_port
from hps_platform.stream import (
    MAX_MESSAGE_BYTES,
    Columns,
    OffsetsExpired,
    Producer,
    RangeReader,
    Record,
    Tail,
    ensure_topics,
    offsets_at,
    ping,
    topics,
    watermarks,
)


@pytest.fixture
def topic(kafka: str) -> str:
    name = f"t_{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result()
    deadline = time.monotonic() + 10
    while True:  # its leaders take a moment
        try:
            watermarks(kafka, [name])
        except KafkaUnavailable:
            assert time.monotonic() < deadline
        else:
            return name


@pytest.fixture
def producer(kafka: str) -> Iterator[Producer]:
    producer = Producer(kafka, "test")
    yield producer
    producer.close()


def read_all(reader: RangeReader | Tail, wanted: int) -> list[Record]:
    found: list[Record] = []
    deadline = time.monotonic() + 20
    while len(found) < wanted and time.monotonic() < deadline:
        found += reader.read(timeout_s=0.5, max_records=100)
    assert len(found) == wanted
    return found


def test_what_is_sent_is_read_with_headers_and_key(kafka: str, topic: str, producer: Producer) -> None:
    told: list[Exception | None] = []
    producer.send(
        topic, b"7", b"value", [("raw", b"\x00\xff"), ("empty", b"")], timestamp_ms=5, on_delivery=told.append
    )
    assert producer.flush(10) == 0
    assert told == [None]
    starts = dict.fromkeys(watermarks(kafka, [topic]), 0)
    with RangeReader(kafka, starts) as reader:
        [record] = read_all(reader, 1)
        assert (record.key, record.value, record.timestamp_ms) == (b"7", b"value", 5)
        assert record.headers == {"raw": b"\x00\xff", "empty": b""}
        assert reader.positions()[topic, record.partition] == 1


def test_a_key_keeps_its_partition_and_order(kafka: str, topic: str, producer: Producer) -> None:
    for number in range(300):
        producer.send(topic, str(number % 10).encode(), str(number).encode())
    producer.flush(10)
    with RangeReader(kafka, dict.fromkeys(watermarks(kafka, [topic]), 0)) as reader:
        records = read_all(reader, 300)
    for key in range(10):
        own = [record for record in records if record.key == str(key).encode()]
        assert len({record.partition for record in own}) == 1
        assert [int(record.value) for record in own] == list(range(key, 300, 10))


def test_reading_begins_where_it_is_told(kafka: str, topic: str, producer: Producer) -> None:
    for number in range(20):
        producer.send(topic, b"1", str(number).encode())
    producer.flush(10)
    [(place, (_, end))] = [(place, mark) for place, mark in watermarks(kafka, [topic]).items() if mark[1]]
    assert end == 20
    with RangeReader(kafka, {place: 15}) as reader:
        assert [record.value for record in read_all(reader, 5)] == [b"15", b"16", b"17", b"18", b"19"]
        assert reader.read(10, 0.1) == []


def test_columns_hold_what_records_hold_where_transactions_leave_gaps(kafka: str, topic: str) -> None:
    sender = PlainProducer({"bootstrap.servers": kafka, "transactional.id": topic})
    sender.init_transactions(30)
    for number in range(30):
        sender.begin_transaction()
        for message in range(1 + number % 4):
            value = None if message == 2 else f"{number} {message}"
            sender.produce(topic, value, key=str(number % 5), partition=(number // 3) % 2)
        sender.commit_transaction(30)
    starts = {(topic, 0): 0, (topic, 1): 0}
    with RangeReader(kafka, starts) as reader:
        records = read_all(reader, 73)
    found: dict[str, Columns] = {}
    with RangeReader(kafka, starts) as reader:
        deadline = time.monotonic() + 20
        while sum(map(len, found.values())) < len(records) and time.monotonic() < deadline:
            reader.read_into(found, 50, 0.5)
        positions = reader.positions()
    columns = found[topic]
    read = zip(columns.partitions.tolist(), columns.offsets.tolist(), columns.values(), strict=True)
    assert sorted(read) == sorted((record.partition, record.offset, record.value) for record in records)
    for partition in (0, 1):
        offsets = [record.offset for record in records if record.partition == partition]
        assert offsets == sorted(offsets)
        assert len(offsets) < offsets[-1] + 1
        assert positions[topic, partition] == offsets[-1] + 1


def test_offsets_that_are_not_there_are_said_so(kafka: str, topic: str) -> None:
    with RangeReader(kafka, {(topic, 0): 1000}) as reader, pytest.raises(OffsetsExpired):
        read_all(reader, 1)


def test_offsets_by_time(kafka: str, topic: str, producer: Producer) -> None:
    for number in range(10):
        producer.send(topic, b"1", b"x", timestamp_ms=1_700_000_000_000 + number * 1000)
    producer.flush(10)
    [place] = [place for place, (_, end) in watermarks(kafka, [topic]).items() if end]
    assert offsets_at(kafka, [topic], 1_700_000_003_500)[place] == 4
    assert offsets_at(kafka, [topic], 1_800_000_000_000)[place] == 10


def test_the_tail_sees_what_comes_and_what_just_came(kafka: str, topic: str, producer: Producer) -> None:
    producer.send(topic, b"1", b"before")
    producer.flush(10)
    late, early = Tail(kafka, [topic]), Tail(kafka, [topic], back_s=60)
    assert late.read(0.5) == []
    assert [record.value for record in read_all(early, 1)] == [b"before"]
    producer.send(topic, b"1", b"now")
    producer.flush(10)
    for tail in (late, early):
        assert [record.value for record in read_all(tail, 1)] == [b"now"]
        tail.close()


def test_topics_are_made_once_and_keep_their_retention(kafka: str) -> None:
    ensure_topics(kafka, partitions=3, replication=1, retention_hours=1)
    assert ensure_topics(kafka, partitions=3, replication=1, retention_hours=2) == []
    resource = ConfigResource(ConfigResource.Type.TOPIC, "hps.vmstat")
    admin = AdminClient({"bootstrap.servers": kafka})
    [described] = admin.describe_configs([resource]).values()
    assert described.result()["retention.ms"].value == "7200000"
    assert {topic for topic, _ in watermarks(kafka, topics())} == set(topics())
    ensure_topics(kafka, partitions=3, replication=1, retention_hours=168)


def test_too_large_a_message_is_refused(topic: str, producer: Producer) -> None:
    with pytest.raises(InvalidInput, match="too large"):
        producer.send(topic, b"1", b"x" * (MAX_MESSAGE_BYTES + 1))


def test_a_missing_topic_is_named(kafka: str) -> None:
    with pytest.raises(KafkaUnavailable, match=r"hps\.nosuch"):
        watermarks(kafka, ["hps.nosuch"])


def test_no_broker_is_said_so_and_not_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    with pytest.raises(KafkaUnavailable):
        ping(nowhere, 1.0)
    lonely = Producer(nowhere, "test")
    lonely.send("t", b"1", b"x", on_delivery=lambda _: None)
    assert lonely.flush(1.0) == 1
    with RangeReader(nowhere, {("t", 0): 0}) as reader:
        assert reader.read(1, 1.0) == []
    assert capfd.readouterr().err == ""


def test_reading_and_sending_go_on_after_a_restart(kafka_server: Kafka, topic: str, producer: Producer) -> None:
    producer.send(topic, b"1", b"before")
    producer.flush(10)
    with RangeReader(kafka_server.bootstrap, {(topic, number): 0 for number in range(2)}) as reader:
        assert [record.value for record in read_all(reader, 1)] == [b"before"]
        kafka_server.stop()
        producer.send(topic, b"1", b"meanwhile")
        kafka_server.start()
        assert producer.flush(30) == 0
        assert [record.value for record in read_all(reader, 1)] == [b"meanwhile"]
