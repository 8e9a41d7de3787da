"""The hub on a tail made of lists: what is kept, who gets what, and that nothing comes twice."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager

import orjson
import pytest

from dash_app.live import QUEUE_LENGTH, Batch, Hub, decode
from hps_platform.errors import InvalidInput, KafkaUnavailable
from hps_platform.stream import Record

TIMEOUT_S = 10.0


def now_ms() -> int:
    return int(time.time() * 1000)


def record(offset: int, *, server_id: int = 1, family: str = "vmstat", at_ms: int | None = None) -> Record:
    at_ms = now_ms() if at_ms is None else at_ms
    value = orjson.dumps({"server_id": server_id, "timestamp": at_ms, "us": float(offset)})
    return Record(f"hps.{family}", server_id % 3, offset, str(server_id).encode(), value, {}, at_ms)


class Topic:
    """Hands out what the test puts in; each opening of a tail begins where the test says."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Record | Exception] = []
        self.opened: list[float] = []
        self.closed = 0

    def put(self, *records: Record | Exception) -> None:
        with self._changed:
            self._waiting.extend(records)
            self._changed.notify_all()

    def open(self, back_s: float) -> "Topic":
        self.opened.append(back_s)
        return self

    def read(self, timeout_s: float) -> list[Record]:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting), timeout_s)
            taken: list[Record] = []
            while self._waiting and isinstance(self._waiting[0], Record):
                taken.append(self._waiting.pop(0))  # type: ignore[arg-type]
            if not taken and self._waiting:
                raise self._waiting.pop(0)  # type: ignore[misc]
            return taken

    def close(self) -> None:
        self.closed += 1


@contextmanager
def running(topic: Topic) -> Iterator[Hub]:
    hub = Hub("unused", open_tail=topic.open)
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


async def take(batches: AsyncIterator[Batch], count: int) -> list[float]:
    async def collect() -> list[float]:
        found: list[float] = []
        async for batch in batches:
            found.append(batch.rows[0]["us"])
            if len(found) == count:
                break
        return found

    return await asyncio.wait_for(collect(), TIMEOUT_S)


def offsets(rows: Iterable[dict[str, float]]) -> list[float]:
    return [row["us"] for row in rows]


def test_recent_rows_are_ascending_and_of_the_servers_asked_for() -> None:
    async def story(hub: Hub, topic: Topic) -> None:
        base = now_ms()
        topic.put(
            record(2, server_id=2, at_ms=base - 1000),
            record(1, at_ms=base - 2000),
            record(9, at_ms=base - 90_000),
            record(5, family="memory"),
        )
        await until(lambda: hub.delivered == 4)
        assert offsets(hub.recent("vmstat")) == [1, 2]
        assert offsets(hub.recent("vmstat", {2})) == [2]
        assert offsets(hub.recent("vmstat", seconds=120)) == [9, 1, 2]
        assert hub.recent("vmstat", set()) == []
        assert hub.recent("vmstat")[0]["timestamp"] == base - 2000
        assert set(hub.last_sample_ms()) == {("vmstat", 1), ("vmstat", 2), ("memory", 1)}

    topic = Topic()
    with running(topic) as hub:
        asyncio.run(story(hub, topic))


def test_a_subscriber_gets_what_it_asked_for_once() -> None:
    async def story(hub: Hub, topic: Topic) -> None:
        async with aclosing(hub.subscribe({"vmstat"}, {1})) as batches:
            taking = asyncio.create_task(take(batches, 2))
            await until(lambda: hub.subscribers == 1)
            topic.put(record(0), record(0, server_id=2), record(0, family="memory"), record(1))
            assert await taking == [0, 1]
        assert hub.subscribers == 0

    topic = Topic()
    with running(topic) as hub:
        asyncio.run(story(hub, topic))


def test_the_past_is_joined_to_the_present_without_gap_or_repetition() -> None:
    async def story(hub: Hub, topic: Topic) -> None:
        base = now_ms()
        topic.put(record(0, at_ms=base - 200_000), record(1, at_ms=base - 3000), record(2, at_ms=base - 1000))
        await until(lambda: hub.delivered == 3)
        async with aclosing(hub.subscribe({"vmstat"}, None, back_s=60)) as batches:
            taking = asyncio.create_task(take(batches, 4))
            await until(lambda: hub.subscribers == 1)
            topic.put(record(3), record(4))
            assert await taking == [1, 2, 3, 4]

    topic = Topic()
    with running(topic) as hub:
        asyncio.run(story(hub, topic))


def test_a_tail_that_begins_anew_repeats_nothing() -> None:
    async def story(hub: Hub, topic: Topic) -> None:
        first, second = record(0), record(1)
        async with aclosing(hub.subscribe({"vmstat"})) as batches:
            taking = asyncio.create_task(take(batches, 3))
            await until(lambda: hub.subscribers == 1)
            topic.put(first, second)
            await until(lambda: hub.delivered == 2)
            topic.put(KafkaUnavailable("gone"), RuntimeError("worse"), first, second, record(2))
            assert await taking == [0, 1, 2]
        assert topic.closed == 2
        assert offsets(hub.recent("vmstat")) == [0, 1, 2]

    topic = Topic()
    with running(topic) as hub:
        asyncio.run(story(hub, topic))
    assert topic.opened[0] == 60.0
    assert all(10.0 <= back_s < 60.0 for back_s in topic.opened[1:])


def test_a_topic_made_anew_is_not_taken_for_a_repetition() -> None:
    async def story(hub: Hub, topic: Topic) -> None:
        base = now_ms()
        topic.put(record(500, at_ms=base - 2000))
        await until(lambda: hub.delivered == 1)
        topic.put(KafkaUnavailable("gone"), record(0, at_ms=base - 1000), record(1, at_ms=base - 500))
        await until(lambda: hub.delivered == 3)
        assert offsets(hub.recent("vmstat")) == [500, 0, 1]

    topic = Topic()
    with running(topic) as hub:
        asyncio.run(story(hub, topic))


def test_a_slow_subscriber_loses_its_oldest_and_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    async def story(hub: Hub, topic: Topic) -> None:
        slow = hub.subscribe({"vmstat"})
        waiting = asyncio.ensure_future(anext(slow))
        await until(lambda: hub.subscribers == 1)
        topic.put(record(0))
        await asyncio.wait_for(waiting, TIMEOUT_S)
        topic.put(*[record(offset) for offset in range(1, QUEUE_LENGTH + 11)])
        await until(lambda: hub.delivered == QUEUE_LENGTH + 11)
        assert (await asyncio.wait_for(anext(slow), TIMEOUT_S)).rows[0]["us"] == 11
        await slow.aclose()

    topic = Topic()
    with running(topic) as hub:
        asyncio.run(story(hub, topic))
    assert "10 of its samples were left out" in caplog.text


def test_stopping_ends_every_subscription() -> None:
    async def story() -> None:
        topic = Topic()
        hub = Hub("unused", open_tail=topic.open)
        hub.start()
        collecting = asyncio.create_task(take(hub.subscribe({"vmstat"}), 1))
        await until(lambda: hub.subscribers == 1)
        await asyncio.to_thread(hub.stop)
        assert await collecting == []

    asyncio.run(story())


def test_what_is_no_sample_is_counted_and_passed_over() -> None:
    async def story(hub: Hub, topic: Topic) -> None:
        good = record(1)
        topic.put(good._replace(offset=0, value=b"{broken"), good)
        await until(lambda: hub.delivered == 1)
        assert hub.rejected == 1

    topic = Topic()
    with running(topic) as hub:
        asyncio.run(story(hub, topic))


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b'{"server_id": 1}', b"\xff", b'{"server_id":"x","timestamp":1}'])
def test_decoding_refuses_what_is_no_sample(value: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode("vmstat", record(0)._replace(value=value))


def test_history_sent_in_bulk_is_neither_kept_nor_shown() -> None:
    async def story(hub: Hub, topic: Topic) -> None:
        topic.put(record(1), record(2, at_ms=now_ms() - 3_600_000), record(3))
        await until(lambda: hub.delivered == 2)
        assert offsets(hub.recent("vmstat", seconds=7200)) == [1, 3]

    topic = Topic()
    with running(topic) as hub:
        asyncio.run(story(hub, topic))
