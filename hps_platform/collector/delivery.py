"""Keeps messages moving: from the collector through its outbox to Kafka, and out of spools that others left.

The order of messages and what is on disk are `outbox`'s and `spool`'s business; here stands when things are done, and
what is told of it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hps_platform.collector.outbox import SAVE_AFTER_S, Outbox, Sender
from hps_platform.collector.slot import Slot
from hps_platform.collector.spool import SPOOL_FILES, Message, Spool
from hps_platform.errors import KafkaUnavailable

log = logging.getLogger(__name__)

_PUMP_EVERY_S = 0.1
_PUMP_AGAIN_S = 0.02
_ADOPT_EVERY_S = 10.0
_DROPPED_EVERY_S = 60.0


class Producer(Sender, Protocol):
    """What is used of `stream.Producer`."""

    def flush(self, timeout_s: float) -> int: ...


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """Where messages wait on disk, and how many of them for how long."""

    folder: Path
    max_bytes: int = 1024 * 1024 * 1024
    max_age_s: float = 72 * 3600.0


class Delivery:
    """For one event loop. `tell` takes the kind of an event, a sentence and details."""

    def __init__(
        self,
        producer: Producer,
        slot: Slot,
        limits: SpoolLimits,
        threads: Executor,
        prepare: Callable[[], object],
        tell: Callable[[str, str, Mapping[str, Any]], None],
    ) -> None:
        """`prepare` makes sure that the topics are there; it is tried until it doesn't raise `KafkaUnavailable`."""
        self.outbox = Outbox(producer, Spool(slot.folder, max_bytes=limits.max_bytes, max_age_s=limits.max_age_s))
        self._producer = producer
        self._slot = slot
        self._threads = threads
        self._prepare = prepare
        self._tell = tell
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pumping = False
        self._saving: asyncio.TimerHandle | None = None
        self._late = False
        self._dropped = 0
        self._dropped_at = -_DROPPED_EVERY_S

    def put(self, message: Message) -> None:
        self.outbox.put(message)
        if self._loop is None:
            return
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)
        if self._saving is None:
            self._saving = self._loop.call_later(SAVE_AFTER_S, self._save)

    def _pump(self) -> None:
        self._pumping = False
        self.outbox.pump()

    def _save(self) -> None:
        """Nothing stays in memory alone for longer than twice `SAVE_AFTER_S`."""
        self.outbox.save()
        again = self._loop is not None and self.outbox.has_unsaved
        self._saving = self._loop.call_later(SAVE_AFTER_S, self._save) if again and self._loop else None

    async def run(self) -> None:
        """Never returns."""
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._open())
            parts.create_task(self._keep_pumping())
            parts.create_task(self._adopt())

    async def _open(self) -> None:
        """Opens the outbox once the topics are there."""
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(self._threads, self._prepare)
            except KafkaUnavailable as error:
                log.warning("samples wait for Kafka: %s", error)
                await asyncio.sleep(2.0)
            else:
                self.outbox.open = True
                return

    async def _keep_pumping(self) -> None:
        while True:
            more = self.outbox.pump()
            self.outbox.save()
            self._report()
            await asyncio.sleep(_PUMP_AGAIN_S if more else _PUMP_EVERY_S if len(self.outbox) else 5 * _PUMP_EVERY_S)

    def _report(self) -> None:
        outbox = self.outbox
        if outbox.late != self._late:
            self._late = outbox.late
            kind = "kafka_away" if self._late else "kafka_back"
            text = "Kafka does not take samples" if self._late else "Kafka takes samples again"
            log.warning("%s; %d messages wait", text, len(outbox))
            self._tell(kind, text, {"waiting": len(outbox)})
        now = time.monotonic()
        if outbox.dropped != self._dropped and (not self._late or now - self._dropped_at >= _DROPPED_EVERY_S):
            lost, self._dropped, self._dropped_at = outbox.dropped - self._dropped, outbox.dropped, now
            text = f"{lost} messages, the oldest, were dropped: the spool was full or they were too old"
            log.error("%s", text)
            self._tell("dropped", text, {"messages": lost, "reason": outbox.disk_problem or "bound of the spool"})

    async def _adopt(self) -> None:
        """Sends what an earlier session left, and collectors on this machine that are no more."""
        loop = asyncio.get_running_loop()
        self._tell_left_over(self.outbox.spool.unread)
        while True:
            with self._slot.abandoned(SPOOL_FILES) as folders:
                for folder in folders:
                    taken = await loop.run_in_executor(self._threads, self.outbox.spool.claim, folder)
                    self._tell_left_over(self.outbox.spool.adopt(taken))
            await asyncio.sleep(_ADOPT_EVERY_S)

    def _tell_left_over(self, messages: int) -> None:
        if messages:
            text = f"{messages} messages that an earlier session left are sent now"
            log.info("%s", text)
            self._tell("left_over", text, {"messages": messages})

    async def drain(self, timeout_s: float) -> None:
        """Waits until Kafka has taken everything, or the time is over."""
        deadline = time.monotonic() + timeout_s
        while len(self.outbox) and time.monotonic() < deadline:
            self.outbox.pump()
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Leaves on disk what Kafka has not taken."""
        self._producer.flush(0.1)
        self._loop = None
        if self._saving is not None:
            self._saving.cancel()
        if len(self.outbox):
            log.warning("%d messages could not be sent before leaving; they wait on disk", len(self.outbox))
        self.outbox.close()
