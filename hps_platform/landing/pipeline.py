"""Reading and decoding the next batch while PostgreSQL takes this one: two threads and queues of one batch.

Memory is bounded by the size of a batch: at most four are alive, one read, one decoded, one waiting, one committed.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from hps_platform.landing.decoding import Batch, decode_columns
from hps_platform.metrics.wire import DEAD_LETTER_TOPIC
from hps_platform.store.landing import Position, Range
from hps_platform.stream import Columns, LetGo, RangeReader, read_again

logger = logging.getLogger(__name__)

MAX_BATCH_BYTES = 8 * 1024 * 1024
_POLL_S = 0.25
_READ_AT_ONCE = 1_000
_FIRST = 4_000
"""Messages of a run's first batch at most: while it is read and decoded, PostgreSQL has nothing to do."""
_MANY = 5_000
"""Messages of a batch behind which the next one keeps of its own only what every batch needs."""

_Read = tuple[dict[str, Columns], dict[Position, Range]]


class Pipeline:
    """Batches in order from given offsets on, without end. Leaving the `with` block ends its threads.

    A batch is handed over when `batch_interval_s` have passed since the last one, or at once when it is full.
    """

    def __init__(
        self, bootstrap: str, starts: Mapping[Position, int], *, batch_interval_s: float, max_messages: int
    ) -> None:
        self._bootstrap = bootstrap
        self._starts = dict(starts)
        self._batch_interval_s = batch_interval_s
        self._max_messages = max_messages
        self._read: queue.Queue[_Read] = queue.Queue(1)
        self._decoded: queue.Queue[Batch] = queue.Queue(1)
        self._closing = threading.Event()
        self._failure: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._guarded, args=(step,), name=f"landing {step.__name__}", daemon=True)
            for step in (self._consume, self._decode)
        ]

    def __enter__(self) -> "Pipeline":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def next(self, timeout_s: float) -> Batch | None:
        """The next batch, or `None` when there is none in that time; raises what ended a thread."""
        try:
            return self._decoded.get(timeout=timeout_s)
        except queue.Empty:
            if self._failure is not None:
                raise self._failure from None
            return None

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as error:  # noqa: BLE001  # polars' panics are no Exceptions; `next` raises it again
            self._failure = error
            self._closing.set()

    def _put(self, into: "queue.Queue[Any]", item: Any) -> None:
        while not self._closing.is_set():
            try:
                into.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return

    def _consume(self) -> None:
        with RangeReader(self._bootstrap, self._starts) as reader:
            before = reader.positions()
            handed_at = time.monotonic()
            read: dict[str, Columns] = {}
            count = 0
            most, behind = min(self._max_messages, _FIRST), False
            while not self._closing.is_set():
                due_in = handed_at + self._batch_interval_s - time.monotonic()
                wanted = min(most - count, _READ_AT_ONCE)
                count += reader.read_into(read, wanted, min(max(due_in, 0.01), _POLL_S))
                if behind:
                    for own in read.values():
                        if own.topic != DEAD_LETTER_TOPIC:
                            own.let_go()
                full = count >= most or sum(own.size for own in read.values()) >= MAX_BATCH_BYTES
                if not full and time.monotonic() < handed_at + self._batch_interval_s:
                    continue
                if read:
                    after = reader.positions()
                    moves = {place: (before[place], after[place]) for place in after if after[place] != before[place]}
                    self._put(self._read, (read, moves))
                    read, count, before, behind = {}, 0, after, full or count > _MANY
                    most = self._max_messages
                handed_at = time.monotonic()  # it may have waited for the one before: the next shall not be a small one

    def _decode(self) -> None:
        while not self._closing.is_set():
            try:
                read, moves = self._read.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            try:
                batch = decode_columns(read.values(), moves)
            except LetGo as error:
                logger.info("reading a batch again, for %s", error)
                batch = decode_columns(read_again(self._bootstrap, moves), moves)
            self._put(self._decoded, batch)
