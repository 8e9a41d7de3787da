"""One SSH connection and its channels, driven by whoever reads it: a thread of its own, or a `Reactor` for thousands.

paramiko negotiates, authenticates and changes keys. What runs on the connection afterwards, channels with one command
each (RFC 4254), is done here: as paramiko's needs a thread a connection and several locks a channel, and waits where an
event loop must not.
"""

import asyncio
import codecs
import logging
import selectors
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

import paramiko
from paramiko import common
from paramiko.message import Message
from paramiko.ssh_exception import MessageOrderError, SSHException

from hps_platform.ssh.packets import Packets

log = logging.getLogger(__name__)

_WINDOW = 2**31 - 1
_REFILL_BELOW = _WINDOW // 2
_PACKET = 32_768
_STDERR = 1

# paramiko answers to these before it looks for a handler.
_KEX_METHODS = range(30, 42)


class Channel:
    """One command and its output, read without blocking.

    Calls back from the thread that drives the connection, once when there is something new, and then again only after
    `read_available`.
    """

    __slots__ = (
        "_callback", "_decoder", "_errors", "_on_start", "_output", "_pending", "_remote", "_said_close", "_transport",
        "_window", "_with_stderr", "closed", "command", "exit_code", "refusal", "started",
    )  # fmt: skip

    def __init__(self, transport: "Transport", command: str, on_start: Callable[[], None], with_stderr: bool) -> None:
        self.command = command
        self.started = False
        """Whether the host runs the command."""
        self.closed = False
        self.refusal = ""
        """Why the host does not run it."""
        self.exit_code: int | None = None
        """None while, or when, the host hasn't told one."""
        self._on_start: Callable[[], None] | None = on_start
        self._transport = transport
        self._remote = -1
        self._with_stderr = with_stderr
        self._window = _WINDOW
        self._output = bytearray()
        self._errors = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._callback: Callable[[], None] | None = None
        self._pending = False
        self._said_close = False

    # What callers see

    def on_readable(self, callback: Callable[[], None]) -> None:
        """`callback` is called when there is output to read or the command ended."""
        self._callback = callback
        if self._output or self.closed:
            self.wake()

    def read_available(self) -> str:
        """What has arrived since the last call; bytes that are no UTF-8 show as replacement characters."""
        self._pending = False
        closed, data = self.closed, bytes(self._output)
        del self._output[: len(data)]
        return self._decoder.decode(data, final=closed)

    @property
    def ended(self) -> bool:
        """Whether the command has ended, or the connection with it, and all its output has been read."""
        return self.closed and not self._output

    def stderr(self) -> str:
        """What came apart from the output, so far."""
        return self._errors.decode("utf-8", "replace")

    def close(self) -> None:
        """Ends the command; in a connection with a thread of its own it may wait for the socket."""
        self._callback = None
        if not self.closed:
            self.closed = True
            self._say_close()

    # What the connection tells

    def wake(self) -> None:
        """Passes the first of several on."""
        if not self._pending and (callback := self._callback) is not None:
            self._pending = True
            callback()

    def received(self, data: bytes, *, stderr: bool) -> bool:
        """Takes output; whether a reader waits for it."""
        self._window -= len(data)
        if self._window < _REFILL_BELOW:
            adjust = self._begin_message(common.cMSG_CHANNEL_WINDOW_ADJUST)
            adjust.add_int(_WINDOW - self._window)
            self._window = _WINDOW
            self._transport.send_held(adjust)
        if self.closed:
            return False
        if stderr and not self._with_stderr:
            self._errors += data
            return False
        self._output += data
        return True

    def confirmed(self, remote: int) -> None:
        """The channel is open: asks for the command."""
        self._remote = remote
        if self._said_close or self.closed:
            self._say_close()
            return
        request = self._begin_message(common.cMSG_CHANNEL_REQUEST)
        request.add_string("exec")
        request.add_boolean(True)
        request.add_string(self.command)
        self._transport.send_held(request)

    def decided(self, refusal: str = "") -> None:
        """The command runs, or not."""
        self.started, self.refusal = not refusal, refusal
        if refusal:
            self.close()
        if (on_start := self._on_start) is not None:
            self._on_start = None
            on_start()

    def requested(self, message: Message) -> None:
        """A request of the host: how the command ended, or something that we don't do."""
        kind = message.get_text()
        wants_reply = message.get_boolean()
        if kind == "exit-status":
            self.exit_code = message.get_int()
        if wants_reply:
            done = kind == "exit-status"
            self._transport.send_held(
                self._begin_message(common.cMSG_CHANNEL_SUCCESS if done else common.cMSG_CHANNEL_FAILURE)
            )

    def finished(self) -> None:
        """The host has closed the channel, or the connection has ended."""
        self._say_close()
        self.closed = True
        if not self.started and not self.refusal:
            self.decided("the host closed the channel")
        self.wake()

    def _begin_message(self, kind: bytes) -> Message:
        message = Message()
        message.add_byte(kind)
        message.add_int(self._remote)
        return message

    def _say_close(self) -> None:
        if self._remote >= 0 and not self._said_close:
            # A command that reads ends with its input.
            self._transport.send_held(self._begin_message(common.cMSG_CHANNEL_EOF))
            self._transport.send_held(self._begin_message(common.cMSG_CHANNEL_CLOSE))
        self._said_close = self._remote >= 0 or self._said_close


class Transport(paramiko.Transport):
    """A connection. `run` is its thread; with `hands_over` the thread ends once logged in, and a `Reactor` goes on."""

    packetizer: Packets
    # What is used of paramiko beyond its published types.
    agreed_on_strict_kex: bool
    remote_cipher: str
    kex_engine: Any
    auth_handler: Any
    _channels: Any
    _channel_handler_table: Mapping[int, Callable[[Any, Message], None]]
    _handler_table: Mapping[int, Callable[[Message], None]]
    _expected_packet: tuple[int, ...]
    _next_channel: Callable[[], int]
    _send_message: Callable[[Message], None]
    _send_kex_init: Callable[[], None]
    _check_banner: Callable[[], None]
    _expect_packet: Callable[[int], None]
    _enforce_strict_kex: Callable[[int], None]
    _parse_disconnect: Callable[[Message], None]

    def __init__(self, sock: socket.socket, *, hands_over: bool = False) -> None:
        super().__init__(sock, packetizer_class=Packets)
        self.reactor: Reactor | None = None
        self.hands_over = hands_over
        self._leaving = False
        self._driver = 0
        self._commands: dict[int, Channel] = {}
        self._woken: dict[Channel, None] = {}
        self._held: list[Message] = []

    def open(self, command: str, on_start: Callable[[], None], *, with_stderr: bool) -> Channel:
        """Asks the host to run a command, and does not wait for its answer; `on_start` hears that it is there."""
        with self.lock:
            number = self._next_channel()
            while number in self._commands:
                number = self._next_channel()
            channel = self._commands[number] = Channel(self, command, on_start, with_stderr)
        message = Message()
        message.add_byte(common.cMSG_CHANNEL_OPEN)
        message.add_string("session")
        for value in (number, _WINDOW, _PACKET):
            message.add_int(value)
        self.send_held(message)
        return channel

    def send_held(self, message: Message) -> None:
        """Sends a message of a channel: after the change of keys that is under way. A broken connection shows itself
        to whoever reads it."""
        try:
            self._send_user_message(message)
        except (EOFError, OSError, SSHException) as error:
            log.debug("nothing can be sent any more: %r", error)

    def _send_user_message(self, data: Message) -> None:
        if threading.get_ident() != self._driver:
            super()._send_user_message(data)  # type: ignore[misc]  # which waits
        elif self.active:
            # The driver itself must not wait: it is who reads the end of the change of keys.
            if self.clear_to_send.is_set():
                self._send_message(data)
            else:
                self._held.append(data)

    def _parse_newkeys(self, m: Message) -> None:
        super()._parse_newkeys(m)  # type: ignore[misc]
        held, self._held = self._held, []
        for message in held:
            self._send_message(message)

    def _auth_trigger(self) -> None:
        super()._auth_trigger()  # type: ignore[misc]
        self._leaving = self.hands_over

    # Driving

    def run(self) -> None:
        """The connection's thread."""
        self._driver = threading.get_ident()
        try:
            self.packetizer.write_all(f"{self.local_version}\r\n".encode())
            self._check_banner()
            self.packetizer.start_handshake(self.handshake_timeout)
            self._send_kex_init()
            self._expect_packet(common.MSG_KEXINIT)
            while self.active and not self._leaving:
                payload = self.packetizer.next_payload()
                if payload is None:
                    self.packetizer.wait()
                else:
                    self._handle(payload)
                    self._wake_readers()
        except Exception as error:  # noqa: BLE001  told to whoever waits for the connection
            self.end(error)
        else:
            if not self._leaving:
                self.end(None)

    def driven_by(self, reactor: "Reactor") -> None:
        """The reactor's thread is the driver from now on."""
        self.reactor = reactor
        self._driver = threading.get_ident()
        self.packetizer.never_wait(lambda: reactor.send_later(self))

    def drive(self, *, receive: bool = True) -> None:
        """Takes what has arrived and tells the channels' readers; never waits, never raises."""
        packets = self.packetizer
        try:
            if receive:
                packets.receive()
            while (payload := packets.next_payload()) is not None:
                self._handle(payload)
        except Exception as error:  # noqa: BLE001  the boundary of a connection
            self.end(error)
        self._wake_readers()

    def send_unsent(self) -> bool:
        """Sends what could not be sent before; whether that was all."""
        try:
            return self.packetizer.send_unsent()
        except EOFError as error:
            self.end(error)
            return True

    def keep_alive(self) -> None:
        """To be called every few seconds."""
        try:
            self.packetizer.keep_alive()
        except (EOFError, OSError) as error:
            self.end(error)

    def end(self, error: Exception | None) -> None:
        """Closes the connection and ends what runs on it, in the driver's thread."""
        if self.reactor is not None:
            self.reactor.forget(self)
        if error is not None:
            self.saved_exception = error
        self.active = False
        self.packetizer.close()
        for waiting in (self.completion_event, *list(self.channel_events.values())):
            if waiting is not None:
                waiting.set()
        if self.auth_handler is not None:
            self.auth_handler.abort()
        for other in self._channels.values():
            other._unlink()
        commands, self._commands = list(self._commands.values()), {}
        for channel in commands:
            channel.finished()
            channel.wake()

    def _wake_readers(self) -> None:
        if self._woken:
            woken, self._woken = self._woken, {}
            for channel in woken:
                try:
                    channel.wake()
                except Exception:
                    log.exception("the reader of `%s` failed", channel.command)

    def _handle(self, payload: bytes) -> None:
        kind = payload[0]
        if kind == common.MSG_CHANNEL_DATA and not self._expected_packet:
            channel = self._commands.get(int.from_bytes(payload[1:5], "big"))
            if channel is not None:
                if channel.received(payload[9 : 9 + int.from_bytes(payload[5:9], "big")], stderr=False):
                    self._woken[channel] = None
                return
        self._handle_rare(kind, self.packetizer.message(payload))
        if self.packetizer.need_rekey() and not self.in_kex:
            self._send_kex_init()
        if self.initial_kex_done:
            self.packetizer.complete_handshake()

    def _handle_rare(self, kind: int, message: Message) -> None:
        """As paramiko's own loop does."""
        if kind in (common.MSG_IGNORE, common.MSG_DEBUG):
            self._enforce_strict_kex(kind)
            return
        if kind == common.MSG_DISCONNECT:
            self._parse_disconnect(message)
            raise EOFError
        if self._expected_packet:
            if kind not in self._expected_packet:
                refused = MessageOrderError if self.agreed_on_strict_kex else SSHException
                raise refused(f"a message of type {kind} where one of {self._expected_packet} had to come")
            self._expected_packet = ()
            if kind in _KEX_METHODS:
                self.kex_engine.parse_next(kind, message)
                return
        if kind in _CHANNEL_MESSAGES and self._handle_channel(kind, message):
            return
        authentication = self.auth_handler._handler_table if self.auth_handler is not None else {}
        if handler := self._handler_table.get(kind) or authentication.get(kind):
            handler(message)
        elif kind in self._channel_handler_table:
            other = self._channels.get(message.get_int())
            if other is not None:  # else it has been closed
                self._channel_handler_table[kind](other, message)
        elif kind != common.MSG_UNIMPLEMENTED:
            answer = Message()
            answer.add_byte(common.cMSG_UNIMPLEMENTED)
            answer.add_int(message.seqno)
            self._send_message(answer)

    def _handle_channel(self, kind: int, message: Message) -> bool:
        """Whether the message was for a channel of ours; if not, it can be read from its beginning."""
        number = message.get_int()
        channel = self._commands.get(number)
        if channel is None:
            message.rewind()
            return False
        if kind == common.MSG_CHANNEL_EXTENDED_DATA:
            stderr = message.get_int() == _STDERR
            if channel.received(message.get_binary(), stderr=stderr):
                self._woken[channel] = None
        elif kind == common.MSG_CHANNEL_OPEN_SUCCESS:
            channel.confirmed(message.get_int())
        elif kind == common.MSG_CHANNEL_OPEN_FAILURE:
            del self._commands[number]
            reason = message.get_int()
            channel.decided(message.get_text() or f"reason {reason}")
        elif kind in (common.MSG_CHANNEL_SUCCESS, common.MSG_CHANNEL_FAILURE):
            channel.decided("" if kind == common.MSG_CHANNEL_SUCCESS else "the host refuses to run it")
        elif kind == common.MSG_CHANNEL_REQUEST:
            channel.requested(message)
        elif kind == common.MSG_CHANNEL_CLOSE:
            del self._commands[number]
            channel.finished()
            self._woken[channel] = None
        return True


_CHANNEL_MESSAGES = frozenset(
    (
        common.MSG_CHANNEL_OPEN_SUCCESS,
        common.MSG_CHANNEL_OPEN_FAILURE,
        common.MSG_CHANNEL_WINDOW_ADJUST,
        common.MSG_CHANNEL_DATA,
        common.MSG_CHANNEL_EXTENDED_DATA,
        common.MSG_CHANNEL_EOF,
        common.MSG_CHANNEL_CLOSE,
        common.MSG_CHANNEL_REQUEST,
        common.MSG_CHANNEL_SUCCESS,
        common.MSG_CHANNEL_FAILURE,
    )
)


class Reactor:
    """Reads all connections of an event loop with one descriptor and no thread.

    After a turn the next one comes `TURN_S` later: with many connections each turn finds several of them ready, which
    costs a fraction of being woken for each.
    """

    TURN_S = 0.02
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

    def _turn(self) -> None:
        self._next = None
        ready = self._selector.select(0)
        for key, events in ready:
            transport: Any = key.data
            if events & selectors.EVENT_WRITE and transport.send_unsent() and transport in self._connections:
                self._selector.modify(transport.sock, selectors.EVENT_READ, transport)
            if events & selectors.EVENT_READ and transport in self._connections:
                transport.drive()
        if ready:
            self._unwatch()
            self._next = self.loop.call_later(self.TURN_S, self._turn)
        else:
            self._watch()

    def _keep_alive(self) -> None:
        for transport in list(self._connections):
            transport.keep_alive()
        self._keepalive = self.loop.call_later(self._KEEPALIVE_EVERY_S, self._keep_alive)
