"""SSH's binary packets, read out of a buffer: all that has arrived with one call of the kernel, and resumable.

paramiko reads each packet in pieces from a socket that it waits for, which takes a thread a connection. Here a packet
is taken when it is whole, so that any number of connections may be read by whoever is told which have something.
Negotiating what these packets are encrypted with stays with paramiko.
"""

import hmac
import socket
import time
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidTag
from paramiko import SSHException
from paramiko.message import Message
from paramiko.packet import Packetizer

_AT_ONCE = 65_536
_LARGEST = 256 * 1024
"""OpenSSH's limit; a channel's packets are far below it. Beyond it a length was garbled."""
_UNSENT_LIMIT = 1024 * 1024


class Packets(Packetizer):
    """One connection's packets: `read_message` waits for the next one, `next_payload` never waits."""

    _initial_kex_done: bool
    _trigger_rekey: Callable[[], None]

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._sock = sock
        self._data = bytearray()
        self._head = b""
        self._unsent = bytearray()
        self._on_unsent: Callable[[], None] | None = None
        self._cipher: Any = None
        self._block = 8
        self._mac_size = 0
        self._mac_key = b""
        self._mac_name = ""
        self._etm = self._aead = False
        self._iv, self._iv_counter = b"", 0
        self._sequence = 0
        self._received = 0
        self._keepalive_s = 0.0
        self._keepalive: Callable[[], Any] | None = None
        self.moved_at = time.monotonic()
        """When something was last received or sent."""

    def set_inbound_cipher(
        self,
        block_engine: Any,
        block_size: int,
        mac_engine: Any,
        mac_size: int,
        mac_key: Any,
        etm: bool = False,
        aead: bool = False,
        iv_in: bytes | None = None,
    ) -> None:
        super().set_inbound_cipher(block_engine, block_size, mac_engine, mac_size, mac_key, etm, aead, iv_in)
        self._cipher, self._block, self._mac_size = block_engine, block_size, mac_size
        self._mac_key = mac_key or b""
        self._mac_name = mac_engine().name if mac_engine else ""
        self._etm, self._aead = etm, aead
        if iv_in:
            self._iv, self._iv_counter = iv_in[:4], int.from_bytes(iv_in[4:], "big")
        self._received = 0

    def reset_seqno_in(self) -> None:
        self._sequence = 0

    def set_keepalive(self, interval: float, callback: Callable[[], Any]) -> None:
        self._keepalive_s, self._keepalive = interval, callback

    def keep_alive(self) -> None:
        """Says something when nothing has been said for long by either side; to be called every few seconds."""
        if self._keepalive and not self.need_rekey() and time.monotonic() - self.moved_at > self._keepalive_s:
            self.moved_at = time.monotonic()
            self._keepalive()

    # Reading

    def readline(self, timeout: float) -> str:
        deadline = time.monotonic() + timeout
        while (end := self._data.find(b"\n")) < 0:
            if time.monotonic() > deadline or len(self._data) > _AT_ONCE:
                raise TimeoutError
            self.wait()
        line = bytes(self._data[:end]).rstrip(b"\r")
        del self._data[: end + 1]
        return line.decode("utf-8", "replace")

    def read_message(self) -> tuple[int, Message]:
        payload = self.next_payload()
        while payload is None:
            self.wait()
            payload = self.next_payload()
        return payload[0], self.message(payload)

    def message(self, payload: bytes) -> Message:
        """The payload that was read last, as paramiko's handlers take it."""
        message = Message(payload[1:])
        message.seqno = (self._sequence - 1) & 0xFFFFFFFF
        return message

    def wait(self) -> None:
        """Waits until more has arrived, or the socket's time-out is over. Raises EOFError at the end."""
        if self.closed or self.handshake_timed_out():
            raise EOFError
        try:
            self.receive()
        except TimeoutError:
            self.keep_alive()

    def receive(self) -> None:
        """Takes what has arrived. Raises EOFError at the end, OSError for a broken connection."""
        try:
            arrived = self._sock.recv(_AT_ONCE)
        except BlockingIOError:
            return
        if not arrived:
            raise EOFError
        self.moved_at = time.monotonic()
        self._data += arrived

    def next_payload(self) -> bytes | None:
        """The next packet's payload, None while it is not whole. Raises SSHException when it was tampered with."""
        data = self._data
        if self._etm or self._aead:
            if len(data) < 4:
                return None
            length = int.from_bytes(data[:4], "big")
        else:
            if not self._head:
                if len(data) < self._block:
                    return None
                first = bytes(data[: self._block])
                self._head = self._cipher.update(first) if self._cipher else first
            length = int.from_bytes(self._head[:4], "big")
        total = 4 + length + self._mac_size
        if not 5 <= length <= _LARGEST:
            raise SSHException(f"a packet of {length} bytes")
        if len(data) < total:
            return None
        packet = bytes(data[:total])
        del data[:total]
        plain = self._opened(packet, length)
        self._counted(total)
        return plain[1 : length - plain[0]]

    def _opened(self, packet: bytes, length: int) -> bytes:
        """Padding length, payload and padding of a whole packet."""
        end = 4 + length
        if self._aead:
            iv = self._iv + self._iv_counter.to_bytes(8, "big")
            self._iv_counter = (self._iv_counter + 1) & 0xFFFFFFFFFFFFFFFF
            try:
                return bytes(self._cipher.decrypt(iv, packet[4:], packet[:4]))
            except InvalidTag:
                raise SSHException("Mismatched MAC") from None
        if self._etm:
            self._verify(packet[:end], packet[end:])
            return bytes(self._cipher.update(packet[4:end]))
        rest = packet[self._block : end]
        plain = self._head + (self._cipher.update(rest) if self._cipher else rest)
        self._head = b""
        if self._mac_size:
            self._verify(plain, packet[end:])
        return plain[4:]

    def _verify(self, text: bytes, mac: bytes) -> None:
        own = hmac.digest(self._mac_key, self._sequence.to_bytes(4, "big") + text, self._mac_name)
        if not hmac.compare_digest(own[: self._mac_size], mac):
            raise SSHException("Mismatched MAC")

    def _counted(self, size: int) -> None:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        if self._sequence == 0 and not self._initial_kex_done:
            raise SSHException("Sequence number rolled over during initial kex!")
        self._received += size
        if self._received >= self.REKEY_BYTES:
            if not self.need_rekey():
                self._trigger_rekey()
            elif self._received >= self.REKEY_BYTES + self.REKEY_BYTES_OVERFLOW_MAX:
                raise SSHException("Remote transport is ignoring rekey requests")

    # Writing

    def never_wait(self, on_unsent: Callable[[], None]) -> None:
        """From now on sending does not wait either; `on_unsent` is called when something has to be sent later."""
        self._sock.setblocking(False)
        self._on_unsent = on_unsent

    def write_all(self, out: Any) -> None:
        self.moved_at = time.monotonic()
        if self._on_unsent is None:
            super().write_all(out)
            return
        waiting = bool(self._unsent)
        self._unsent += out
        if not waiting and not self.send_unsent():
            self._on_unsent()

    def send_unsent(self) -> bool:
        """Sends what may go now; whether that was all. Raises EOFError when the connection takes nothing any more."""
        try:
            del self._unsent[: self._sock.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError as error:
            raise EOFError from error
        if len(self._unsent) > _UNSENT_LIMIT:
            raise EOFError
        return not self._unsent
