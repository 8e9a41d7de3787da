"""One SSH connection, driven by whoever reads it: a thread of its own, or a `Reactor` for thousands.

paramiko negotiates, authenticates and changes keys. What runs on the connection afterwards, channels with one command
each, is done here: as paramiko's needs a thread a connection and several locks a channel, and waits where an event loop
must not.
"""

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import paramiko
from paramiko import common
from paramiko.message import Message
from paramiko.ssh_exception import MessageOrderError, SSHException

from hps_platform.ssh.channel import WINDOW, Channel
from hps_platform.ssh.packets import Packets

log = logging.getLogger(__name__)

_QUICK = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_PACKET = 32_768
_STDERR = 1
# Which messages of a change of keys go to the method that was agreed upon.
_KEX_METHODS = range(30, 42)


class Driver(Protocol):
    """Who reads a connection that has no thread: a `Reactor`."""

    def end(self, transport: "Transport") -> None:
        """Closes a connection; from any thread."""

    def forget(self, transport: "Transport") -> None:
        """No longer reads a connection, whose socket is still open."""

    def send_later(self, transport: "Transport") -> None:
        """Goes on sending as soon as the connection takes more."""


class Transport(paramiko.Transport):
    """A connection. `run` is its thread; with `hands_over` the thread ends once logged in, and a `Reactor` goes on."""

    # Read with one call where the others take three. What hosts prefer does not matter: the client's order decides.
    _preferred_ciphers = (
        *_QUICK,
        *(name for name in paramiko.Transport._preferred_ciphers if name not in _QUICK),  # type: ignore[attr-defined]
    )

    packetizer: Packets
    # What is used of paramiko beyond its published types.
    agreed_on_strict_kex: bool
    remote_cipher: str
    kex_engine: Any
    auth_handler: Any
    _channels: Any
    _channel_handler_table: Mapping[int, Callable[[Any, Message], None]]
    _handler_table: Mapping[int, Callable[[Message], None]]
    server_extensions: dict[str, bytes]
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
        self.reactor: Driver | None = None
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
        for value in (number, WINDOW, _PACKET):
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
        self.packetizer.complete_handshake()
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
                    self.wake_readers()
        except Exception as error:  # noqa: BLE001  told to whoever waits for the connection
            self.end(error)
        else:
            if not self._leaving:
                self.end(None)

    def driven_by(self, reactor: Driver) -> None:
        """The reactor's thread is the driver from now on."""
        self.reactor = reactor
        self._driver = threading.get_ident()
        self.packetizer.never_wait(lambda: reactor.send_later(self))

    def drive(self, *, receive: bool = True) -> None:
        """Takes what has arrived, for `wake_readers` to tell the channels' readers; never waits, never raises."""
        packets = self.packetizer
        try:
            if receive:
                packets.receive()
            while (payload := packets.next_payload()) is not None:
                self._handle(payload)
        except Exception as error:  # noqa: BLE001  the boundary of a connection
            self.end(error)

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

    def wake_readers(self) -> None:
        """Tells the readers of channels that there is something new."""
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
