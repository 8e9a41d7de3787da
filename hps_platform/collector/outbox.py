"""What waits for Kafka: a bounded queue that keeps the order, and outlives a broker that is away.

`stream.Producer` has a queue of its own and tells of each message whether it arrived; here stands what that lacks: a
bound in bytes over everything, messages that are tried again after their time-out, and a count of what was lost.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from hps_platform.errors import InvalidInput, KafkaUnavailable

log = logging.getLogger(__name__)

_WINDOW = 5_000
_LATE_S = 5.0


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a topic; `size` is what counts against the bound."""

    topic: str
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()

    @property
    def size(self) -> int:
        return len(self.value) + sum(len(name) + len(value) for name, value in self.headers) + 200


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


class Outbox:
    """For one thread. `put` never waits and never raises; past the bound the oldest that is still here is dropped."""

    def __init__(self, producer: Sender, *, max_bytes: int = 256 * 1024 * 1024) -> None:
        self._producer = producer
        self._max_bytes = max_bytes
        self._bytes = 0
        self._waiting: deque[Message] = deque()
        self._waiting_since = 0.0
        self._on_the_way: dict[int, tuple[Message, float]] = {}
        self._settled: set[int] = set()
        self._failed = False
        self._next = 0
        self.open = False
        """Whether the topics are known to be there; until then messages only wait."""
        self.sent = 0
        self.dropped = 0
        self.refused = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._on_the_way)

    @property
    def late(self) -> bool:
        """Whether messages have been waiting for Kafka for some seconds."""
        if self._on_the_way:
            since = next(iter(self._on_the_way.values()))[1]
        elif self._waiting:
            since = self._waiting_since
        else:
            return False
        return time.monotonic() - since > _LATE_S

    def put(self, message: Message) -> None:
        if not self._waiting:
            self._waiting_since = time.monotonic()
        self._waiting.append(message)
        self._bytes += message.size
        while self._bytes > self._max_bytes and self._waiting:
            self._bytes -= self._waiting.popleft().size
            self.dropped += 1

    def pump(self) -> None:
        """Serves delivery reports and sends what may go; to be called after `put`, and every so often."""
        self._producer.poll(0)
        if self._failed:
            self._recover()
        if not self.open or self._failed:
            return
        while self._waiting and len(self._on_the_way) < _WINDOW:
            message = self._waiting[0]
            number = self._next
            try:
                self._producer.send(
                    message.topic,
                    message.key,
                    message.value,
                    message.headers,
                    on_delivery=partial(self._delivered, number),
                )
            except KafkaUnavailable:
                return  # its queue is full: next time
            except InvalidInput as error:
                log.error("dropped: %s", error)  # noqa: TRY400  the sentence says it all
                self._bytes -= self._waiting.popleft().size
                self.refused += 1
                continue
            self._next += 1
            self._waiting.popleft()
            self._on_the_way[number] = (message, time.monotonic())

    def _delivered(self, number: int, error: Exception | None) -> None:
        if error is not None:
            self._failed = True
            self._settled.add(number)
            return
        message, _ = self._on_the_way.pop(number)
        self._bytes -= message.size
        self.sent += 1

    def _recover(self) -> None:
        """Once each message on the way has arrived or failed, those that failed go to the head of the queue again.

        Sending the ones behind them earlier would change the order. One that timed out may have arrived
        nevertheless: landing absorbs it as a duplicate.
        """
        if len(self._settled) < len(self._on_the_way):
            return
        again = [message for message, _ in self._on_the_way.values()]
        log.warning("Kafka did not take %d messages in time; they are sent again", len(again))
        self._waiting.extendleft(reversed(again))
        self._on_the_way.clear()
        self._settled.clear()
        self._failed = False
