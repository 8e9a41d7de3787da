"""Runs inside supervisord: counts how often each program was started, and keeps trying at a bearable pace.

supervisord by itself waits a second longer after each failure and gives up for good (FATAL) after some; a service that
can't start because another one is away for an hour would then stay away with it. Loaded through an `rpcinterface`
section, because that is supervisord's way to run code of others.
"""

import time
from typing import Any

from supervisor.events import ProcessStateBackoffEvent, ProcessStateStartingEvent, subscribe

LONGEST_WAIT_S = 15


class Restarts:
    """XML-RPC namespace `hps`; subscribes itself to supervisord's events."""

    def __init__(self) -> None:
        self._starts: dict[str, int] = {}
        subscribe(ProcessStateStartingEvent, self._started)
        subscribe(ProcessStateBackoffEvent, self._failed)

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


def watch(_supervisord: Any, **_options: str) -> Restarts:
    """supervisord's factory for the namespace."""
    return Restarts()
