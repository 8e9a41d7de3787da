"""The live hub: one tail of Kafka, the last minutes in memory, many browsers.

One thread reads the topics of all families and decodes each message once; subscribers live on the event loop. A sample
is delivered once, whatever Kafka does in between: a broker that went away makes the tail start anew, and what had been
seen already is recognised by its place in the topic. Where a subscriber is too slow for its queue, the oldest of its
batches are dropped and counted, never the reader held up.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from hps_platform.errors import InvalidInput, KafkaUnavailable
from hps_platform.metrics import FAMILIES
from hps_platform.stream import Record, Tail

logger = logging.getLogger(__name__)

KEEP_S = 300.0
"""How much of the past is kept in memory for a page that opens."""
BACK_S = 60.0
"""How far back the tail begins at start, so that a page has something to show at once."""
QUEUE_LENGTH = 512
RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Batch:
    """One sample. Each of `rows` carries `server_id` and `timestamp` (epoch milliseconds) beside its columns."""

    metric: str
    server_id: int
    timestamp_ms: int
    rows: list[dict[str, Any]]
    produced_ms: int


class TailLike(Protocol):
    """What the hub needs of a tail; `hps_platform.stream.Tail` is one."""

    def read(self, timeout_s: float) -> list[Record]: ...

    def close(self) -> None: ...


OpenTail = Callable[[float], TailLike]


@dataclass(eq=False)
class _Subscriber:
    metrics: frozenset[str]
    server_ids: frozenset[int] | None
    loop: asyncio.AbstractEventLoop
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    batches: deque[Batch] = field(default_factory=lambda: deque(maxlen=QUEUE_LENGTH))
    dropped: int = 0
    ended: bool = False

    def wants(self, batch: Batch) -> bool:
        return batch.metric in self.metrics and (self.server_ids is None or batch.server_id in self.server_ids)

    def offer(self, batches: list[Batch]) -> None:
        """On the subscriber's loop."""
        for batch in batches:
            self.dropped += len(self.batches) == QUEUE_LENGTH
            self.batches.append(batch)
        self.waiting.set()

    def end(self) -> None:
        self.ended = True
        self.waiting.set()


class Hub:
    """Start it once a process; `recent` and `subscribe` work whether or not Kafka answers at the moment."""

    def __init__(self, bootstrap: str, *, keep_s: float = KEEP_S, open_tail: OpenTail | None = None) -> None:
        self._open_tail: OpenTail = open_tail or (
            lambda back_s: Tail(bootstrap, [family.topic for family in FAMILIES.values()], back_s=back_s)
        )
        self._by_topic = {family.topic: family for family in FAMILIES.values()}
        self._keep_s = keep_s
        self._samples: dict[tuple[str, int], deque[Batch]] = {}
        self._seen: dict[tuple[str, int], tuple[int, int]] = {}
        self._subscribers: set[_Subscriber] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._read_at: float | None = None
        self.connected = False
        """Whether a tail is open; one that is rides out a broker's absence by itself."""
        self.rejected = 0
        self.delivered = 0

    # Lifetime -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        if self._thread is not None:
            return
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="live-hub", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and every subscription."""
        self._stopping.set()
        with self._lock:
            subscribers = list(self._subscribers)
        for subscriber in subscribers:
            subscriber.loop.call_soon_threadsafe(subscriber.end)
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None

    # Reading ------------------------------------------------------------------------------------------------------

    def recent(
        self, metric: str, server_ids: Collection[int] | None = None, seconds: float = 60.0
    ) -> list[dict[str, Any]]:
        """Rows of the last `seconds`, ascending by time; None = every server."""
        since_ms = int((time.time() - seconds) * 1000)
        with self._lock:
            batches = [
                batch
                for (name, server_id), kept in self._samples.items()
                if name == metric and (server_ids is None or server_id in server_ids)
                for batch in kept
                if batch.timestamp_ms >= since_ms
            ]
        batches.sort(key=lambda batch: (batch.timestamp_ms, batch.server_id))
        return [row for batch in batches for row in batch.rows]

    def last_sample_ms(self) -> dict[tuple[str, int], int]:
        """When each family of each server was last seen on the tail."""
        with self._lock:
            return {key: kept[-1].timestamp_ms for key, kept in self._samples.items() if kept}

    async def subscribe(
        self, metrics: Collection[str], server_ids: Collection[int] | None = None, *, back_s: float = 0.0
    ) -> AsyncGenerator[Batch]:
        """The samples of the last `back_s`, then each new one, all of them once; ends when the hub stops."""
        subscriber = _Subscriber(
            frozenset(metrics), None if server_ids is None else frozenset(server_ids), asyncio.get_running_loop()
        )
        since_ms = int((time.time() - back_s) * 1000)
        with self._lock:
            self._subscribers.add(subscriber)
            kept = [batch for kept in self._samples.values() for batch in kept if subscriber.wants(batch)]
        earlier = sorted((b for b in kept if back_s and b.timestamp_ms >= since_ms), key=lambda b: b.timestamp_ms)
        try:
            for batch in earlier:
                yield batch
            while not (subscriber.ended or self._stopping.is_set()):
                await subscriber.waiting.wait()
                subscriber.waiting.clear()
                while subscriber.batches:
                    yield subscriber.batches.popleft()
        finally:
            with self._lock:
                self._subscribers.discard(subscriber)
            if subscriber.dropped:
                logger.warning("a live view was too slow: %d of its samples were left out", subscriber.dropped)

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    # The thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except KafkaUnavailable as error:
                logger.warning("live view waits for Kafka: %s", error)
            except Exception:  # the thread must outlive whatever a broker or a message does to it
                logger.exception("live view starts its tail anew")
            self.connected = False
            self._stopping.wait(RETRY_S)

    def _follow(self) -> None:
        """Reads until stopped or the tail fails; after a gap it begins where the last one ended, or a little before."""
        gap_s = BACK_S if self._read_at is None else time.monotonic() - self._read_at + 10.0
        tail = self._open_tail(min(gap_s, self._keep_s))
        try:
            while not self._stopping.is_set():
                records = tail.read(0.5)
                self.connected = True
                self._read_at = time.monotonic()
                if records:
                    self._take(records)
        finally:
            tail.close()

    def _take(self, records: list[Record]) -> None:
        oldest_ms = int((time.time() - self._keep_s) * 1000)
        batches = [
            batch
            for record in records
            if self._is_new(record) and not _is_past(record, oldest_ms) and (batch := self._decode(record))
        ]
        with self._lock:
            for batch in batches:
                kept = self._samples.setdefault((batch.metric, batch.server_id), deque())
                kept.append(batch)
                while kept and kept[0].timestamp_ms < oldest_ms:
                    kept.popleft()
            subscribers = list(self._subscribers)
        self.delivered += len(batches)
        for subscriber in subscribers:
            wanted = [batch for batch in batches if subscriber.wants(batch)]
            if wanted:
                try:
                    subscriber.loop.call_soon_threadsafe(subscriber.offer, wanted)
                except RuntimeError:  # its event loop has been closed: nobody is there any more
                    with self._lock:
                        self._subscribers.discard(subscriber)

    def _is_new(self, record: Record) -> bool:
        """False for what an earlier tail has delivered. Lower offsets that are younger: the topic was made anew."""
        place = (record.topic, record.partition)
        offset, timestamp_ms = self._seen.get(place, (-1, -1))
        if record.offset <= offset and record.timestamp_ms <= timestamp_ms:
            return False
        self._seen[place] = (record.offset, max(timestamp_ms, record.timestamp_ms))
        return True

    def _decode(self, record: Record) -> Batch | None:
        try:
            return decode(self._by_topic[record.topic].name, record)
        except InvalidInput as error:
            # Landing keeps it as a dead letter; here one line is enough.
            self.rejected += 1
            logger.warning("live view skips %s/%d@%d: %s", record.topic, record.partition, record.offset, error)
            return None


def _is_past(record: Record, oldest_ms: int) -> bool:
    """Whether the sample is older than what is kept: history that is sent in bulk is nothing for the live view.

    Looks at the first row only; what it can't read is left to `decode`.
    """
    try:
        first = orjson.loads(record.value.partition(b"\n")[0])
        return int(first["timestamp"]) < oldest_ms
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return False


def decode(metric: str, record: Record) -> Batch:
    """The sample in a message; `InvalidInput` when it isn't one."""
    try:
        rows = [orjson.loads(line) for line in record.value.split(b"\n") if line]
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"not NDJSON: {error}") from error
    try:
        server_id, timestamp_ms = int(rows[0]["server_id"]), int(rows[0]["timestamp"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise InvalidInput("no server_id and timestamp in the first row") from error
    return Batch(metric, server_id, timestamp_ms, rows, record.timestamp_ms)
