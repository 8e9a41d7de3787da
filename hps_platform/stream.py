"""Kafka: the only place that speaks to brokers. Producing, reading ranges of offsets, watermarks, and the live tail.

No consumer groups: whoever reads says from which offset. What a message means belongs to `hps_platform.metrics.wire`.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka import Producer as _Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from hps_platform.errors import InvalidInput, KafkaUnavailable
from hps_platform.metrics import FAMILIES
from hps_platform.metrics.wire import DEAD_LETTER_TOPIC, HEALTH_TOPIC, split_values

logger = logging.getLogger(__name__)
_librdkafka = logger.getChild("librdkafka")

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""A sample's rows with the raw output they came from; a process list of a large host is some hundred KiB."""

T = TypeVar("T")
Position = tuple[str, int]  # topic, partition
Partitions = npt.NDArray[np.int16]
Offsets = npt.NDArray[np.int64]


class Record(NamedTuple):
    """One message as it was read. A tombstone's value is empty."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    carried: dict[str, bytes] | Message
    """Headers, or the client's message: taking headers out of it costs as much as all the rest."""
    timestamp_ms: int

    @property
    def headers(self) -> dict[str, bytes]:
        if isinstance(self.carried, dict):
            return self.carried
        return dict(self.carried.headers() or ())  # type: ignore[arg-type]  # headers that were read have bytes


class LetGo(LookupError):
    """Of this message only the value is there any more; `read_again` gives the rest."""


class Columns:
    """Messages of one topic column by column: making a `Record` of each would cost as much as reading them.

    A tombstone's value is empty. Those of one partition are in the order of their offsets. With its headers a message
    takes five times the memory of its value, and the processor's cache holds some thousands of them: of more than that
    all but the first and last of each key can be `let_go` while they are read.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.size = 0  # bytes of values
        self._count = 0
        self._texts: list[bytes] = []
        self._lengths: list[Offsets] = []
        self._partitions: list[Partitions] = []
        self._offsets: list[Offsets] = []
        self._sources: list[Any] | None = []
        self._begun: dict[int, Any] = {}  # each partition's first message
        self._firsts: dict[bytes | None, Any] = {}
        self._lasts: dict[bytes | None, Any] = {}

    def add(self, values: Sequence[bytes], partitions: Partitions, offsets: Offsets, sources: list[Any]) -> None:
        """Appends messages; `sources` are records, or the client's messages."""
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        self.size += int(lengths.sum())
        self._count += len(values)
        self._texts.append(b"\n".join(values))
        self._lengths.append(lengths)
        self._partitions.append(partitions)
        self._offsets.append(offsets)
        numbers, firsts = np.unique(partitions, return_index=True)
        for number, index in zip(numbers.tolist(), firsts.tolist(), strict=True):
            self._begun.setdefault(number, sources[index])
        records = bool(sources) and isinstance(sources[0], Record)
        keys: list[Any] = [one.key for one in sources] if records else list(map(Message.key, sources))
        deque(map(self._firsts.setdefault, keys, sources), maxlen=0)
        self._lasts.update(zip(keys, sources, strict=True))
        if self._sources is not None:
            self._sources += sources

    def let_go(self) -> None:
        """Keeps of the messages, and of those to come, no more than their values, but for each key's first and last."""
        self._sources = None

    @property
    def whole(self) -> bool:
        """Whether all messages are still there."""
        return self._sources is not None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Record:
        """Raises `LetGo` for a message that was."""
        if self._sources is None:
            raise LetGo(f"message {index} of {self.topic}")
        return _record(self._sources[index])

    def __iter__(self) -> Iterator[Record]:
        return (self[index] for index in range(len(self)))

    @property
    def oldest_ms(self) -> int:
        """When the oldest of the partitions' first messages was produced."""
        return min(_record(first).timestamp_ms for first in self._begun.values())

    def keys(self) -> list[bytes | None]:
        """The different ones."""
        return list(self._firsts)

    def ends(self) -> tuple[list[Record], list[Record]]:
        """The first and the last message of each of the `keys`, in their order."""
        return list(map(_record, self._firsts.values())), [_record(self._lasts[key]) for key in self._firsts]

    @property
    def lines(self) -> bytes:
        """All values, with a newline between one and the next."""
        return _together(self._texts, b"\n".join)

    @property
    def lengths(self) -> Offsets:
        """Of the values, in bytes."""
        return _together(self._lengths, np.concatenate)

    @property
    def partitions(self) -> Partitions:
        return _together(self._partitions, np.concatenate)

    @property
    def offsets(self) -> Offsets:
        return _together(self._offsets, np.concatenate)

    def values(self) -> list[bytes]:
        return split_values(self.lines, self.lengths)


def _together(parts: list[T], join: Callable[[list[T]], T]) -> T:
    if len(parts) > 1:
        parts[:] = [join(parts)]
    return parts[0]


def _record(source: Any) -> Record:
    if isinstance(source, Record):
        return source
    _, produced_ms = source.timestamp()
    place = source.topic(), source.partition(), source.offset()
    return Record(*place, source.key(), source.value() or b"", source, produced_ms)


def by_topic(records: Iterable[Record]) -> dict[str, Columns]:
    """Records as columns, each topic's in their order."""
    apart: dict[str, list[Record]] = {}
    for record in records:
        apart.setdefault(record.topic, []).append(record)
    found = {topic: Columns(topic) for topic in apart}
    for topic, own in apart.items():
        partitions = np.array([record.partition for record in own], np.int16)
        offsets = np.array([record.offset for record in own], np.int64)
        found[topic].add([record.value for record in own], partitions, offsets, own)
    return found


class OffsetsExpired(KafkaUnavailable):
    """An offset that was to be read is no longer, or not yet, in its partition."""

    def __init__(self, topic: str, partition: int) -> None:
        super().__init__(f"{topic}[{partition}] does not hold the offset that comes next")
        self.topic = topic
        self.partition = partition


def _on_error(error: KafkaError) -> None:
    _librdkafka.warning("%s", error)


def _client(bootstrap: str, **more: Any) -> dict[str, Any]:
    """Settings of every client. With `logger` librdkafka logs there when it is polled, never to stderr."""
    return {
        "bootstrap.servers": bootstrap,
        "logger": _librdkafka,
        "error_cb": _on_error,
        "log.connection.close": False,
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2_000,
        "socket.keepalive.enable": True,
        "socket.connection.setup.timeout.ms": 5_000,
        "topic.metadata.refresh.interval.ms": 30_000,
        **{name.replace("_", "."): value for name, value in more.items()},
    }


def _reading(bootstrap: str, *, ahead: int = 5_000, **more: Any) -> Consumer:
    """A consumer that fetches `ahead` messages of each partition before they are asked for, or 2 MiB.

    More would not be read any faster, and cost memory for each of some hundred partitions.
    """
    return Consumer(
        _client(
            bootstrap,
            group_id="hps",  # required by the client, unused: positions are ours
            enable_auto_commit=False,
            enable_auto_offset_store=False,
            fetch_message_max_bytes=MAX_MESSAGE_BYTES,
            # The default of a second stalls a bulk read each time the local queue has filled up.
            fetch_queue_backoff_ms=5,
            queued_min_messages=ahead,
            queued_max_messages_kbytes=2_048,
            **more,
        )
    )


class Producer:
    """An idempotent producer; safe to share between threads.

    `send` only queues. Whether a message arrived is told to its `on_delivery`, from `poll` or `flush`; librdkafka
    keeps trying for five minutes, through restarts of the broker. A longer `linger_ms` makes larger and fewer requests.
    """

    def __init__(self, bootstrap: str, client_id: str, *, linger_ms: int = 5) -> None:
        self._producer = _Producer(
            _client(
                bootstrap,
                client_id=client_id,
                enable_idempotence=True,
                acks="all",
                partitioner="murmur2_random",
                compression_type="zstd",
                linger_ms=linger_ms,
                message_max_bytes=MAX_MESSAGE_BYTES,
                queue_buffering_max_messages=200_000,
                queue_buffering_max_kbytes=262_144,
            )
        )

    def send(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: Sequence[tuple[str, bytes]] = (),
        *,
        timestamp_ms: int | None = None,
        on_delivery: Callable[[Exception | None], None] | None = None,
    ) -> None:
        """Queues one message; `KafkaUnavailable` when the local queue is full, `InvalidInput` when it is too large."""

        def delivered(error: KafkaError | None, _: Message) -> None:
            if on_delivery is not None:
                on_delivery(None if error is None else KafkaUnavailable(f"{topic}: {error.str()}"))
            elif error is not None:
                logger.error("a message to %s was not delivered: %s", topic, error.str())

        try:
            self._producer.produce(
                topic, value, key, headers=list(headers), timestamp=timestamp_ms or 0, on_delivery=delivered
            )
        except BufferError as error:
            self._producer.poll(0)
            raise KafkaUnavailable(f"the queue to Kafka is full: {len(self._producer)} messages wait") from error
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise InvalidInput(f"a message of {len(value)} bytes is too large for {topic}") from error
            raise KafkaUnavailable(f"{topic}: {reason.str()}") from error

    def poll(self, timeout_s: float = 0.0) -> int:
        """Serves delivery reports; returns how many events it served."""
        return self._producer.poll(timeout_s)

    def flush(self, timeout_s: float) -> int:
        """Waits for what is queued; returns how many messages are still queued."""
        return self._producer.flush(timeout_s)

    def __len__(self) -> int:
        return len(self._producer)

    def close(self, timeout_s: float = 10.0) -> None:
        left = self._producer.flush(timeout_s)
        if left:
            logger.error("%d messages were not delivered before closing", left)


def _offsets(messages: list[Message], partitions: Partitions) -> Offsets:
    """A partition's offsets rise: if a run's last is as far from its first as there are messages, none is left out."""
    offsets = np.arange(len(messages), dtype=np.int64)
    begins = [0, *(np.flatnonzero(np.diff(partitions)) + 1).tolist()]
    for begin, end in zip(begins, [*begins[1:], len(messages)], strict=True):
        first: Any = messages[begin].offset()
        last: Any = messages[end - 1].offset()
        if last - first == end - 1 - begin:
            offsets[begin:end] += first - begin
        else:
            each: Any = map(Message.offset, messages[begin:end])
            offsets[begin:end] = np.fromiter(each, np.int64, end - begin)
    return offsets


def _add(messages: list[Message], into: dict[str, Columns]) -> dict[Position, int]:
    """By topic; returns per partition the offset after its last message.

    What landing does for every message: `map` over methods takes half of what a loop takes.
    """
    ends: dict[Position, int] = {}
    topics: set[Any] = set(map(Message.topic, messages))  # what was read lacks nothing but a value or a key
    for topic in topics:
        own = messages if len(topics) == 1 else [one for one in messages if one.topic() == topic]
        values: list[Any] = list(map(Message.value, own))
        partition: Any = map(Message.partition, own)
        partitions = np.fromiter(partition, np.int16, len(own))
        offsets = _offsets(own, partitions)
        into.setdefault(topic, Columns(topic)).add(
            values if all(values) else [value or b"" for value in values], partitions, offsets, own
        )
        after = np.zeros(partitions.max() + 1, np.int64)
        after[partitions] = offsets + 1  # of several the last counts
        ends |= {(topic, number): int(after[number]) for number in np.flatnonzero(after).tolist()}
    return ends


# What a consumer reports while a broker restarts; it carries on by itself.
_PASSING = {
    KafkaError._PARTITION_EOF,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
}
_OUT_OF_RANGE = {KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET}


def _read(consumer: Consumer, max_records: int, timeout_s: float) -> list[Message]:
    """What is there within `timeout_s`, as soon as there is anything."""
    first = consumer.poll(timeout_s)  # `consume` would wait for the whole batch or the whole time
    if first is None:
        return []
    messages = [first, *(consumer.consume(max_records - 1, 0) if max_records > 1 else ())]
    if any(map(Message.error, messages)):
        for message in messages:
            _judge(message, message.error())
        messages = [message for message in messages if message.error() is None]
    return messages


def _judge(message: Message, error: KafkaError | None) -> None:
    if error is None:
        return
    if error.code() in _OUT_OF_RANGE:
        raise OffsetsExpired(message.topic() or "", message.partition() or 0)
    if error.code() not in _PASSING and not error.retriable():
        raise KafkaUnavailable(f"{message.topic()}[{message.partition()}]: {error.str()}")
    logger.debug("reading: %s", error)


class RangeReader:
    """Reads from given offsets on, partition by partition in order, without a group.

    Brokers may come and go meanwhile. An offset that its partition doesn't hold raises `OffsetsExpired`. Unless it is
    read `in_bulk`, brokers do not wait until there is much to send.
    """

    def __init__(self, bootstrap: str, starts: Mapping[Position, int], *, in_bulk: bool = True) -> None:
        self._positions = dict(starts)
        self._consumer = (
            _reading(bootstrap, fetch_wait_max_ms=250, fetch_min_bytes=65_536, auto_offset_reset="error")
            if in_bulk
            else _reading(bootstrap, ahead=1, fetch_wait_max_ms=20, auto_offset_reset="error")
        )
        self._consumer.assign([TopicPartition(topic, number, offset) for (topic, number), offset in starts.items()])

    def read(self, max_records: int, timeout_s: float) -> list[Record]:
        """Up to `max_records`, as soon as there are any; empty when none came within `timeout_s`."""
        records = list(map(_record, _read(self._consumer, max_records, timeout_s)))
        self._positions |= {(record.topic, record.partition): record.offset + 1 for record in records}
        return records

    def read_into(self, found: dict[str, Columns], max_records: int, timeout_s: float) -> int:
        """The same by topic, added to what was `found`, for those who read very many; returns how many."""
        messages = _read(self._consumer, max_records, timeout_s)
        self._positions |= _add(messages, found)
        return len(messages)

    def positions(self) -> dict[Position, int]:
        """Per topic and partition the offset after the last record read."""
        return dict(self._positions)

    def close(self) -> None:
        self._consumer.close()

    def __enter__(self) -> "RangeReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_spans(
    bootstrap: str, spans: Mapping[Position, tuple[int, int]], *, batch: int = 20_000, silence_s: float = 30.0
) -> Iterator[list[Record]]:
    """The messages of spans of offsets (first, end), in batches; `KafkaUnavailable` when nothing comes for long."""
    with RangeReader(bootstrap, {place: first for place, (first, _) in spans.items()}) as reader:
        heard_at = time.monotonic()
        while any(position < spans[place][1] for place, position in reader.positions().items()):
            records = reader.read(batch, 1.0)
            if records:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > silence_s:
                raise KafkaUnavailable(f"Kafka at {bootstrap} has sent nothing for {silence_s:.0f} s")
            yield [one for one in records if one.offset < spans[one.topic, one.partition][1]]


def read_again(bootstrap: str, spans: Mapping[Position, tuple[int, int]]) -> list[Columns]:
    """The messages of spans of offsets (first, end), whole."""
    return list(by_topic(record for records in read_spans(bootstrap, spans) for record in records).values())


class Tail:
    """The newest messages of topics, from `back_s` before the moment of its first read on.

    Meant for watching: after an outage it goes on where it was, or at the end where that has expired.
    """

    def __init__(self, bootstrap: str, topics: Iterable[str], back_s: float = 0.0) -> None:
        self._topics = list(topics)
        self._back_s = back_s
        self._consumer = _reading(bootstrap, fetch_wait_max_ms=500, auto_offset_reset="latest")
        self._assigned = False

    def _assign(self, timeout_s: float) -> None:
        since = round((time.time() - self._back_s) * 1000)
        try:
            found = _partitions(self._consumer, self._topics, timeout_s)
            wanted = [TopicPartition(topic, number, since) for topic, number in found]
            starts = self._consumer.offsets_for_times(wanted, timeout=timeout_s)
        except KafkaException as error:
            raise KafkaUnavailable(f"Kafka does not answer: {error.args[0].str()}") from error
        self._consumer.assign(starts)  # no message since then gives the end
        self._assigned = True

    def read(self, timeout_s: float, max_records: int = 1_000) -> list[Record]:
        """What came, as soon as there is anything; raises `KafkaUnavailable` until a broker has answered once."""
        if not self._assigned:
            self._assign(max(timeout_s, 5.0))
        return list(map(_record, _read(self._consumer, max_records, timeout_s)))

    def close(self) -> None:
        self._consumer.close()


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient(_client(bootstrap))


def _partitions(client: Consumer | AdminClient, topics: Iterable[str], timeout_s: float) -> list[Position]:
    known = client.list_topics(timeout=timeout_s).topics
    missing = [topic for topic in topics if topic not in known]
    if missing:
        raise KafkaUnavailable(f"no such topic in Kafka: {', '.join(missing)}; `hps up` creates them")
    return [(topic, number) for topic in topics for number in sorted(known[topic].partitions)]


def watermarks(bootstrap: str, topics: Iterable[str], timeout_s: float = 10.0) -> dict[Position, tuple[int, int]]:
    """Per topic and partition the first offset that is held, and the one the next message will get."""
    admin = _admin(bootstrap)
    try:
        places = [TopicPartition(*place) for place in _partitions(admin, topics, timeout_s)]
        ends = []
        for spec in (OffsetSpec.earliest(), OffsetSpec.latest()):  # type: ignore[no-untyped-call]
            futures = admin.list_offsets(dict.fromkeys(places, spec), request_timeout=timeout_s)
            ends.append({(at.topic, at.partition): future.result().offset for at, future in futures.items()})
    except KafkaException as error:
        raise KafkaUnavailable(f"Kafka at {bootstrap} does not answer: {error.args[0].str()}") from error
    low, high = ends
    return {place: (low[place], high[place]) for place in low}


def offsets_at(
    bootstrap: str, topics: Iterable[str], timestamp_ms: int, timeout_s: float = 10.0
) -> dict[Position, int]:
    """Per partition the offset of the first message produced at or after that moment, or the end."""
    names = list(topics)
    consumer = _reading(bootstrap, auto_offset_reset="error")
    try:
        wanted = [TopicPartition(*place, timestamp_ms) for place in _partitions(consumer, names, timeout_s)]
        found = consumer.offsets_for_times(wanted, timeout=timeout_s)
    except KafkaException as error:
        raise KafkaUnavailable(f"Kafka at {bootstrap} does not answer: {error.args[0].str()}") from error
    finally:
        consumer.close()
    ends = watermarks(bootstrap, names, timeout_s)
    return {(at.topic, at.partition): at.offset if at.offset >= 0 else ends[at.topic, at.partition][1] for at in found}


def read_at(bootstrap: str, topic: str, partition: int, offset: int, timeout_s: float = 10.0) -> Record:
    """One message; `OffsetsExpired` when its partition does not hold it, `KafkaUnavailable` when nobody answers."""
    deadline = time.monotonic() + timeout_s
    with RangeReader(bootstrap, {(topic, partition): offset}, in_bulk=False) as reader:
        while time.monotonic() < deadline:
            for record in reader.read(1, max(deadline - time.monotonic(), 0.0)):
                if record.offset > offset:  # it was removed by compaction, or never committed
                    raise OffsetsExpired(topic, partition)
                return record
    low, high = watermarks(bootstrap, [topic]).get((topic, partition), (0, 0))
    if not low <= offset < high:
        raise OffsetsExpired(topic, partition)
    raise KafkaUnavailable(f"Kafka at {bootstrap} has not sent {topic}[{partition}] {offset} in {timeout_s:.0f} s")


def oldest_ms(bootstrap: str, topic: str, partition: int) -> int | None:
    """When the oldest message was produced that a partition holds, in epoch milliseconds; `None` when it is empty."""
    low, high = watermarks(bootstrap, [topic]).get((topic, partition), (0, 0))
    return read_at(bootstrap, topic, partition, low).timestamp_ms if low < high else None


def held_since(bootstrap: str, topic: str, timeout_s: float = 10.0) -> int | None:
    """From when on (of producing, in milliseconds) the topic is whole; `None` while nothing of it has expired."""
    marks = watermarks(bootstrap, [topic], timeout_s)
    cut = {place: (low, high) for place, (low, high) in marks.items() if low > 0}
    waiting = {place for place, (low, high) in cut.items() if high > low}
    firsts = [round(time.time() * 1000)] if len(waiting) < len(cut) else []
    deadline = time.monotonic() + timeout_s
    with RangeReader(bootstrap, {place: cut[place][0] for place in waiting}) as reader:
        while waiting:
            for record in reader.read(100, 1.0):
                if (record.topic, record.partition) in waiting:
                    waiting.remove((record.topic, record.partition))
                    firsts.append(record.timestamp_ms)
            if time.monotonic() > deadline:
                raise KafkaUnavailable(f"Kafka at {bootstrap} sends nothing of {topic} within {timeout_s:.0f} s")
    return max(firsts, default=None)


def topics() -> tuple[str, ...]:
    """Every topic of the platform."""
    return (*(family.topic for family in FAMILIES.values()), DEAD_LETTER_TOPIC, HEALTH_TOPIC)


def ensure_topics(
    bootstrap: str, *, partitions: int, replication: int, retention_hours: int, timeout_s: float = 15.0
) -> list[str]:
    """Creates the topics that are missing and returns their names; those there get the retention and nothing else."""
    settings = {"retention.ms": str(retention_hours * 3_600_000), "max.message.bytes": str(MAX_MESSAGE_BYTES)}
    admin = _admin(bootstrap)
    try:
        there = set(admin.list_topics(timeout=timeout_s).topics)
        absent = [name for name in topics() if name not in there]
        new = [NewTopic(name, partitions, replication, config=settings) for name in absent]
        for future in admin.create_topics(new, operation_timeout=timeout_s).values() if new else ():
            _settled(future.result)
        _configure(admin, [name for name in topics() if name in there], settings)
    except KafkaException as error:
        raise KafkaUnavailable(f"Kafka at {bootstrap}: {error.args[0].str()}") from error
    if absent:
        _await_leaders(bootstrap, absent, timeout_s)
    return absent


def _await_leaders(bootstrap: str, names: list[str], timeout_s: float) -> None:
    """A topic just created answers "not leader" for a moment; whoever comes next should not have to know."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            watermarks(bootstrap, names, timeout_s)
        except KafkaUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _settled(result: Callable[[], Any]) -> None:
    try:
        result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another process was quicker
            raise


def _configure(admin: AdminClient, names: list[str], settings: Mapping[str, str]) -> None:
    if not names:
        return
    described = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
    changes = []
    for resource, future in described.items():
        now = future.result()
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in settings.items()
            if now[name].value != value
        ]
        if entries:
            changes.append(ConfigResource(ResourceType.TOPIC, resource.name, incremental_configs=entries))
    for future in admin.incremental_alter_configs(changes).values() if changes else ():
        future.result()


def ping(bootstrap: str, timeout_s: float = 5.0) -> None:
    """Raises `KafkaUnavailable` unless a broker answers."""
    try:
        _admin(bootstrap).list_topics(timeout=timeout_s)
    except KafkaException as error:
        raise KafkaUnavailable(f"Kafka at {bootstrap} does not answer: {error.args[0].str()}") from error
