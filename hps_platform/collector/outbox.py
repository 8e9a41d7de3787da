"""What waits for Kafka: a queue that keeps the order and outlives brokers that are away, and the collector itself.

Whatever has not arrived within `SAVE_AFTER_S` is written to the `spool`; a collector that is killed loses no more than
what came later. While Kafka keeps up, that is next to nothing. When it doesn't, messages past a bound in memory wait
on disk alone, and are read again in their turn. `stream.Producer` has a queue of its own and tells of each message
whether it arrived.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from hps_platform.collector.spool import Message, Segment, Spool
from hps_platform.errors import InvalidInput, KafkaUnavailable

log = logging.getLogger(__name__)

SAVE_AFTER_S = 0.04
"""A broker that is well answers sooner, also when the samples of a turn of a thousand hosts come at once."""

_WINDOW = 5_000
_AT_ONCE = 500
"""Sent by one call of `pump`, so that a backlog doesn't hold up the live samples."""
_IN_MEMORY = 16 * 1024 * 1024
_LATE_S = 5.0


class Sender(Protocol):
    """What is used of `stream.Producer`."""

    def send(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: Sequence[tuple[str, bytes]] = (),
        *,
        on_delivery: Callable[[Exception | None], None] | None = None,
    ) -> None: ...

    def poll(self, timeout_s: float = 0.0) -> int: ...


@dataclass(slots=True, eq=False)
class _Entry:
    """A message with where it is on disk, once it is; `deferred`: it is read from there when its turn comes."""

    message: Message
    size: int
    put_at: float
    deferred: bool = False
    arrived: bool = False
    segment: Segment | None = None
    index: int = 0


class Outbox:
    """For one thread. `put` never waits and never raises; past the spool's bound the oldest are dropped and counted."""

    def __init__(self, producer: Sender, spool: Spool, *, in_memory: int = _IN_MEMORY) -> None:
        self._producer = producer
        self.spool = spool
        self._in_memory = in_memory
        self._waiting: deque[_Entry] = deque()
        self._waiting_bytes = 0
        self._unsaved: deque[_Entry] = deque()
        self._unsaved_bytes = 0
        self._deferred = 0
        self._on_the_way: dict[int, _Entry] = {}
        self._settled: set[int] = set()
        self._failed = False
        self._next = 0
        self._moved_at = time.monotonic()
        self.open = False
        """Whether the topics are known to be there; until then messages only wait."""
        self.sent = 0
        self.dropped = 0
        self.refused = 0
        self.disk_problem = ""
        """Why messages can't be written to disk at the moment; empty when they can."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._on_the_way) + self._deferred + self.spool.unread

    @property
    def late(self) -> bool:
        """Whether Kafka has taken nothing for some seconds although messages wait."""
        return len(self) > 0 and time.monotonic() - self._moved_at > _LATE_S

    @property
    def has_unsaved(self) -> bool:
        """Whether there are messages in memory alone."""
        return bool(self._unsaved)

    def put(self, message: Message) -> None:
        entry = _Entry(message, message.size, time.monotonic())
        if not len(self):
            self._moved_at = entry.put_at
        self._unsaved.append(entry)
        self._unsaved_bytes += entry.size
        if self._deferred or self.spool.unread or self._waiting_bytes > self._in_memory:
            entry.deferred = True
            self._deferred += 1
        else:
            self._wait(entry)

    def _wait(self, entry: _Entry) -> None:
        self._waiting.append(entry)
        self._waiting_bytes += entry.size

    def pump(self) -> bool:
        """Serves delivery reports and sends what may go; whether more could go at once.

        To be called after `put`, and every so often.
        """
        self._producer.poll(0)
        if self._failed:
            self._recover()
        if not self.open or self._failed:
            return False
        for _ in range(_AT_ONCE):
            if len(self._on_the_way) >= _WINDOW or not self._refilled():
                return False
            entry = self._waiting[0]
            number = self._next
            message = entry.message
            try:
                self._producer.send(
                    message.topic,
                    message.key,
                    message.value,
                    message.headers,
                    on_delivery=partial(self._delivered, number),
                )
            except KafkaUnavailable:
                return False  # its queue is full: next time
            except InvalidInput as error:
                log.error("dropped: %s", error)  # noqa: TRY400  the sentence says it all
                self.refused += 1
                self._settle(entry)
            else:
                self._next += 1
                self._on_the_way[number] = entry
            self._waiting.popleft()
            self._waiting_bytes -= entry.size
        return True

    def _refilled(self) -> bool:
        """Whether anything waits in memory, after taking what comes next from disk."""
        if self._waiting:
            return True
        if self.spool.unread:
            now = time.monotonic()
            for segment, index, message in self.spool.read(_AT_ONCE):
                self._wait(_Entry(message, message.size, now, segment=segment, index=index))
        elif self._deferred:
            for entry in self._unsaved:
                if entry.deferred:
                    entry.deferred = False
                    self._wait(entry)
            self._deferred = 0
        return bool(self._waiting)

    def _delivered(self, number: int, error: Exception | None) -> None:
        if error is not None:
            self._failed = True
            self._settled.add(number)
            return
        self.sent += 1
        self._moved_at = time.monotonic()
        self._settle(self._on_the_way.pop(number))

    def _settle(self, entry: _Entry) -> None:
        """It needs no more sending."""
        entry.arrived = True
        if entry.segment is not None:
            entry.segment.arrived(entry.index)

    def _recover(self) -> None:
        """Once each message on the way has arrived or failed, those that failed go to the head of the queue again.

        Sending the ones behind them earlier would change the order. One that timed out may have arrived
        nevertheless: landing absorbs it as a duplicate.
        """
        if len(self._settled) < len(self._on_the_way):
            return
        failed = list(self._on_the_way.values())
        again = [entry for entry in failed if entry.segment is None or not entry.segment.dropped]
        self.dropped += len(failed) - len(again)
        log.warning("Kafka did not take %d messages in time; they are sent again", len(again))
        self._waiting.extendleft(reversed(again))
        self._waiting_bytes += sum(entry.size for entry in again)
        self._on_the_way.clear()
        self._settled.clear()
        self._failed = False

    def save(self, *, everything: bool = False) -> None:
        """Writes to disk what has been in memory alone for too long; to be called every `SAVE_AFTER_S`."""
        self._producer.poll(0)
        until = time.monotonic() - (0.0 if everything else SAVE_AFTER_S)
        batch: list[_Entry] = []
        while self._unsaved and self._unsaved[0].put_at <= until:
            entry = self._unsaved.popleft()
            self._unsaved_bytes -= entry.size
            if not entry.arrived:
                batch.append(entry)
        try:
            if batch:
                self._write(batch)
            self.spool.note()
            self._expire()
        except OSError as error:
            self._without_disk(batch, error)
        else:
            self.disk_problem = ""

    def _write(self, batch: list[_Entry]) -> None:
        handed = sum(not entry.deferred for entry in batch)
        segment, first = self.spool.append([entry.message for entry in batch], handed=handed)
        self._deferred -= len(batch) - handed
        for index, entry in enumerate(batch, first):
            entry.segment, entry.index = segment, index

    def _expire(self) -> None:
        for segment in self.spool.expired():
            self.dropped += segment.records - segment.handed
            self._drop_waiting([entry for entry in self._waiting if entry.segment is segment])

    def _drop_waiting(self, entries: list[_Entry]) -> None:
        if not entries:
            return
        gone = set(map(id, entries))
        self._waiting = deque(entry for entry in self._waiting if id(entry) not in gone)
        self._waiting_bytes -= sum(entry.size for entry in entries)
        self.dropped += len(entries)

    def _without_disk(self, batch: list[_Entry], error: OSError) -> None:
        """A disk that is full or broken: what is in memory stays there, within the bound of memory."""
        if not self.disk_problem:
            log.error("messages can't be written to disk: %s", error)
        self.disk_problem = str(error)
        unwritten = [entry for entry in batch if entry.segment is None]
        self._unsaved.extendleft(reversed(unwritten))
        self._unsaved_bytes += sum(entry.size for entry in unwritten)
        oldest: list[_Entry] = []
        while self._unsaved_bytes > 2 * self._in_memory:
            entry = self._unsaved.popleft()
            self._unsaved_bytes -= entry.size
            if entry.deferred:
                self._deferred -= 1
                self.dropped += 1
            elif not entry.arrived:
                oldest.append(entry)
        on_the_way = set(map(id, self._on_the_way.values()))
        self._drop_waiting([entry for entry in oldest if id(entry) not in on_the_way])

    def close(self) -> None:
        """Leaves on disk what has not arrived, for the next start."""
        self.save(everything=True)
        self.spool.close()
