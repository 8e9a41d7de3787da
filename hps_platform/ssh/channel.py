"""One command on an SSH connection, and its output: a session channel of RFC 4254, with no lock and no wait.

Reading the connection and sorting its messages belongs to `connection`, which tells a channel what is meant for it.
"""

import codecs
from collections.abc import Callable
from typing import Protocol

from paramiko import common
from paramiko.message import Message

WINDOW = 2**31 - 1
_REFILL_BELOW = WINDOW // 2


class Sender(Protocol):
    """What a channel needs of its connection."""

    def send_held(self, message: Message) -> None:
        """Sends a message, after the change of keys that is under way."""


class Channel:
    """One command and its output, read without blocking.

    Calls back from the thread that drives the connection, once when there is something new, and then again only after
    `read_available`.
    """

    __slots__ = (
        "_callback", "_decoder", "_errors", "_goodbyes", "_on_start", "_output", "_pending", "_remote", "_transport",
        "_window", "_with_stderr", "closed", "command", "exit_code", "refusal", "started",
    )  # fmt: skip

    def __init__(self, transport: Sender, command: str, on_start: Callable[[], None], with_stderr: bool) -> None:
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
        self._window = WINDOW
        self._output = bytearray()
        self._errors = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._callback: Callable[[], None] | None = None
        self._pending = False
        self._goodbyes = [common.cMSG_CHANNEL_CLOSE]  # to be said once, by whichever thread takes it

    # What callers see

    @property
    def opened(self) -> bool:
        """Whether the host had a place for the command, whatever became of it then."""
        return self._remote >= 0

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
            adjust.add_int(WINDOW - self._window)
            self._window = WINDOW
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
        if self.closed:
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
        self._say_close(ended=True)
        self.closed = True
        if not self.started and not self.refusal:
            self.decided("the host closed the channel")
        self.wake()

    def _begin_message(self, kind: bytes) -> Message:
        message = Message()
        message.add_byte(kind)
        message.add_int(self._remote)
        return message

    def _say_close(self, *, ended: bool = False) -> None:
        if self._remote < 0:
            return
        try:
            goodbye = self._goodbyes.pop()
        except IndexError:
            return  # a second one would be about no channel, and end the connection
        if not ended:
            # A command that reads ends with its input.
            self._transport.send_held(self._begin_message(common.cMSG_CHANNEL_EOF))
        self._transport.send_held(self._begin_message(goodbye))
