"""Reads a thousand SSH connections in one event loop, with one descriptor that wakes it and no thread.

What to do with what has arrived is the business of each `Transport`.
"""

import asyncio
import selectors
import threading
from typing import Any

from hps_platform.ssh.connection import Transport


class Reactor:
    """All connections of one event loop.

    After a turn the next one comes a while later, the more connections there are: what is done for a hundred of them in
    one go, with the processor's caches warm and one request to Kafka for many samples, costs half of what it costs one
    by one.
    """

    _LONGEST_PAUSE_S = 0.1
    _SHORTEST_PAUSE_S = 0.02
    _PAUSE_PER_CONNECTION_S = 1e-4
    _KEEPALIVE_EVERY_S = 5.0

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._selector = selectors.DefaultSelector()
        self._connections: set[Transport] = set()
        self._closed = False
        self._next: asyncio.TimerHandle | None = None
        self._watched = False
        self._watch()
        self._keepalive = self.loop.call_later(self._KEEPALIVE_EVERY_S, self._keep_alive)

    def adopt(self, transport: Transport) -> None:
        """Takes over a connection whose thread has ended; from any thread."""
        self.loop.call_soon_threadsafe(self._add, transport)

    def end(self, transport: Transport) -> None:
        """Closes a connection; from any thread."""
        if threading.get_ident() == self._thread:
            transport.end(None)
        else:
            self.loop.call_soon_threadsafe(transport.end, None)

    def close(self) -> None:
        """Closes all connections; in the loop's thread."""
        self._closed = True
        for transport in list(self._connections):
            transport.end(None)
        self._keepalive.cancel()
        if self._next is not None:
            self._next.cancel()
        self._unwatch()
        self._selector.close()

    def _add(self, transport: Transport) -> None:
        transport.driven_by(self)
        if self._closed:
            transport.end(None)
            return
        self._connections.add(transport)
        self._selector.register(transport.sock, selectors.EVENT_READ, transport)
        transport.drive(receive=False)  # what came with the end of the login
        transport.wake_readers()

    def forget(self, transport: Transport) -> None:
        """No longer reads a connection, whose socket is still open."""
        if transport in self._connections:
            self._connections.remove(transport)
            self._selector.unregister(transport.sock)

    def send_later(self, transport: Transport) -> None:
        """Goes on sending as soon as the connection takes more."""
        if transport in self._connections:
            self._selector.modify(transport.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, transport)

    def _watch(self) -> None:
        if not self._watched:
            self._watched = True
            self.loop.add_reader(self._selector.fileno(), self._turn)

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self.loop.remove_reader(self._selector.fileno())

    @property
    def _pause_s(self) -> float:
        wanted_s = len(self._connections) * self._PAUSE_PER_CONNECTION_S
        return min(max(wanted_s, self._SHORTEST_PAUSE_S), self._LONGEST_PAUSE_S)

    def _turn(self) -> None:
        self._next = None
        ready = self._selector.select(0)
        if ready:
            # Before anything else: whatever goes wrong below, the other connections are read.
            self._unwatch()
            self._next = self.loop.call_later(self._pause_s, self._turn)
        else:
            self._watch()
        driven: list[Transport] = []
        for key, events in ready:
            transport: Any = key.data
            if events & selectors.EVENT_WRITE and transport.send_unsent() and transport in self._connections:
                self._selector.modify(transport.sock, selectors.EVENT_READ, transport)
            if events & selectors.EVENT_READ and transport in self._connections:
                transport.drive()
                driven.append(transport)
        # Not one after the other: what opens packets stays in the processor's caches, and then what reads them.
        for transport in driven:
            transport.wake_readers()

    def _keep_alive(self) -> None:
        for transport in list(self._connections):
            transport.keep_alive()
        self._keepalive = self.loop.call_later(self._KEEPALIVE_EVERY_S, self._keep_alive)
