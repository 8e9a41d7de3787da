"""Runs inside supervisord: counts starts, retries at a bearable pace, and clears up after a program that was killed.

supervisord by itself waits a second longer after each failure and gives up for good (FATAL) after some; a service that
can't start because another one is away for an hour would then stay away with it. And it forgets the children of a
program that was killed: they would keep its port. Loaded through an `rpcinterface` section, because that is
supervisord's way to run code of others.
"""

import os
import signal
import time
from contextlib import suppress
from typing import Any

from supervisor.events import (
    ProcessStateBackoffEvent,
    ProcessStateExitedEvent,
    ProcessStateStartingEvent,
    subscribe,
)

LONGEST_WAIT_S = 15


class Restarts:
    """XML-RPC namespace `hps`; subscribes itself to supervisord's events."""

    def __init__(self, spared: frozenset[str] = frozenset()) -> None:
        self._starts: dict[str, int] = {}
        self._spared = spared
        subscribe(ProcessStateStartingEvent, self._started)
        subscribe(ProcessStateBackoffEvent, self._failed)
        subscribe(ProcessStateExitedEvent, self._ended)

    def starts(self) -> dict[str, int]:
        """Program name -> how often it was started since supervisord runs."""
        return self._starts

    def _started(self, event: Any) -> None:
        name = event.process.config.name
        self._starts[name] = self._starts.get(name, 0) + 1

    def _failed(self, event: Any) -> None:
        process = event.process
        process.delay = min(process.delay, time.time() + LONGEST_WAIT_S)
        process.backoff = min(process.backoff, LONGEST_WAIT_S)
        self._ended(event)

    def _ended(self, event: Any) -> None:
        """End what is left of the program's process group: supervisord starts each program in one of its own."""
        process = event.process
        if process.pid and process.config.name not in self._spared:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def watch(_supervisord: Any, spared: str = "") -> Restarts:
    """supervisord's factory for the namespace; `spared`: programs whose children outlive them, comma-separated."""
    return Restarts(frozenset(spared.split(",")))
