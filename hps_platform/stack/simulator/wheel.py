"""One clock for all streams: what is due at nearly the same time is done in one turn of the event loop."""

import asyncio
import heapq
import math
from collections.abc import Callable
from functools import cached_property

_SLOT_S = 0.01


class Wheel:
    """Calls callbacks at times of the event loop's clock, rounded up to the next hundredth of a second."""

    def __init__(self) -> None:
        self._slots: dict[int, list[Callable[[], None]]] = {}
        self._order: list[int] = []
        self._handle: asyncio.TimerHandle | None = None

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def at(self, when: float, callback: Callable[[], None]) -> None:
        """Calls once, not before `when`; a callback that is no longer wanted must know so itself."""
        slot = math.ceil(when / _SLOT_S)
        if slot not in self._slots:
            self._slots[slot] = []
            heapq.heappush(self._order, slot)
            if self._order[0] == slot:
                self._arm()
        self._slots[slot].append(callback)

    def stop(self) -> None:
        """Calls nothing any more."""
        if self._handle:
            self._handle.cancel()
        self._slots.clear()
        self._order.clear()

    def _arm(self) -> None:
        if self._handle:
            self._handle.cancel()
        self._handle = self._loop.call_at(self._order[0] * _SLOT_S, self._turn)

    def _turn(self) -> None:
        now = self._loop.time()
        self._handle = None
        while self._order and self._order[0] * _SLOT_S <= now:
            for callback in self._slots.pop(heapq.heappop(self._order)):
                # Not called here: what goes wrong in one must not keep the others from their turn.
                self._loop.call_soon(callback)
        if self._order and self._handle is None:
            self._arm()
