"""One command on one channel: prints what the machine says, at the interval asked for, until the client leaves."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

import asyncssh
import numpy as np

from hps_platform.stack.simulator.fleet import Host
from hps_platform.stack.simulator.live import Live
from hps_platform.stack.simulator.model import NET_ROWS
from hps_platform.stack.simulator.noise import Floats
from hps_platform.stack.simulator.processes import ProcessTable
from hps_platform.stack.simulator.render.forms import Moments, Once
from hps_platform.stack.simulator.shell import Printed, Report, Reports, Step, steps
from hps_platform.stack.simulator.wheel import Wheel

log = logging.getLogger(__name__)
_COUNTED = ("netstat", "/proc/net/dev")


class Answering(Protocol):
    """A host that answers, shared by all channels to it; `channels` counts them."""

    wheel: Wheel
    channels: int

    @property
    def host(self) -> Host:
        """Who it is."""

    def entered(self) -> None:
        """Hears of each login."""

    def opening(self, step: Reports) -> str:
        """What a repeating command prints at once: preamble, header, and any report about the time since boot."""

    def report(self, step: Reports, number: int, due: float) -> str:
        """The report `number` (the one since boot is 0), due at that time of the monotonic clock; with its header."""

    def once(self, once: Once, command: str) -> str:
        """The text of a command that prints once."""

    def printed(self, command: str, number: int, due: float) -> None:
        """Hears of each report when it has been written; of a command that prints once, of report 1."""


class Machine:
    """A machine that answers now: its live state and its process table."""

    def __init__(
        self, live: Live, wheel: Wheel, clock: Callable[[], float], printed: Callable[[str, str], None]
    ) -> None:
        """`clock` tells seconds since 1970; `printed` hears of each report: hostname and command."""
        self.live = live
        self.wheel = wheel
        self.clock = clock
        self.table = ProcessTable(live.machine)
        self.channels = 0
        self._printed = printed

    @property
    def host(self) -> Host:
        """Who it is."""
        return self.live.machine.host

    def entered(self) -> None:
        """Nobody counts the demo's logins."""

    def opening(self, step: Reports) -> str:
        """The report since boot, if there is one, after preamble and header."""
        at = self.clock()
        host, stream = self.host, step.stream
        heading = stream.preamble(host, at) + stream.header(host)
        if not stream.boot_first and step.interval_s is not None:
            return heading
        return heading + stream.reports(host, self.live.since_boot(at), step.interval_s or 1.0)[0]

    def report(self, step: Reports, number: int, due: float) -> str:
        """What happened until the report was due."""
        # The time it was due, told by the clock of now: the two clocks may drift apart over days.
        return self.report_at(step, number, self.clock() - (time.monotonic() - due))

    def report_at(self, step: Reports, number: int, at: float) -> str:
        """The report of any time, in seconds since 1970."""
        interval_s = step.interval_s or 1.0
        stream = step.stream
        text = stream.reports(self.host, self.live.state(at, interval_s), interval_s)[0]
        if stream.repeat and number % stream.repeat == 0:
            text = stream.header(self.host) + text
        return text

    def printed(self, command: str, number: int, due: float) -> None:
        """Passes it on."""
        self._printed(self.host.hostname, command)

    def once(self, once: Once, command: str) -> str:
        """The text of a command that prints once, now."""
        return self.once_at(once, command, self.clock())

    def once_at(self, once: Once, command: str, at: float) -> str:
        """The same at any time, in seconds since 1970."""
        counted = any(word in command for word in _COUNTED)
        counters: Floats = self.live.counters(at) if counted else np.zeros(len(NET_ROWS))
        state = self.live.state(at, 2.0)
        return once.texts(Moments(self.live.machine, self.table, [int(at)], state, counters.reshape(-1, 1)))[0]


class Channel(asyncssh.SSHServerSession[str]):
    """A session channel: one `exec` request, or a login without a command that shows the message of the day."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._channel: asyncssh.SSHServerChannel[str] | None = None
        self._command = ""
        self._waiting: list[Step] = []
        self._exit_code = 0
        self._closed = False
        self._paused = False
        self._started = 0.0
        self._reports = 0

    def connection_made(self, chan: asyncssh.SSHServerChannel[str]) -> None:
        """Keeps the channel to write to."""
        self._channel = chan
        self._answering.channels += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left: nothing is printed any more."""
        self._closed = True
        self._answering.channels -= 1

    def exec_requested(self, command: str) -> bool:
        """Every command is tried, as a shell would."""
        self._command = command
        return True

    def shell_requested(self) -> bool:
        """A login without a command: shows the message of the day and ends."""
        host = self._answering.host
        self._command = f"echo 'Welcome to {host.hostname} ({host.role}). Authorised use only.'"
        return True

    def pty_requested(self, term_type: str, term_size: tuple[int, int, int, int], term_modes: object) -> bool:
        """A terminal changes nothing in what is printed."""
        return True

    def session_started(self) -> None:
        """Begins with the first step."""
        self._waiting = steps(self._answering.host, self._command)
        self._next()

    def signal_received(self, signal: str) -> None:
        """Any signal ends the command, as vmstat is ended."""
        self._end(130)

    def break_received(self, msec: int) -> bool:
        """Control-C on a terminal."""
        self._end(130)
        return True

    def eof_received(self) -> bool:
        """These commands read no input; the client may still want the output."""
        return True

    def pause_writing(self) -> None:
        """The client does not read: what would be printed now is left out, so that memory stays bounded."""
        self._paused = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self._paused = False

    def _next(self) -> None:
        while self._waiting and not self._closed:
            step = self._waiting.pop(0)
            if isinstance(step, Reports):
                self._begin(step)
                return
            self._print_step(step)
        self._end(self._exit_code)

    def _print_step(self, step: Printed | Report) -> None:
        if isinstance(step, Report):
            self._exit_code = 0
            self._write(step.filtered(self._answering.once(step.once, self._command)))
            if not self._reports:
                self._reports = 1  # of a command line of several programs the first stands for all
                self._answering.printed(self._command, 1, time.monotonic())
            return
        self._exit_code = step.exit_code
        self._write(step.stdout)
        if step.stderr and self._channel and not self._closed:
            self._channel.write_stderr(step.stderr)

    def _begin(self, step: Reports) -> None:
        """A first report about the time since boot comes at once; the others at whole intervals after it."""
        self._started, self._reports = time.monotonic(), 0
        self._write(self._answering.opening(step))
        self._exit_code = 0
        if step.interval_s is None or (step.stream.boot_first and step.count == 1):
            self._next()
        else:
            self._reports = 1
            self._later(step)

    def _due(self, step: Reports) -> float:
        return self._started + self._reports * (step.interval_s or 1.0)

    def _later(self, step: Reports) -> None:
        self._answering.wheel.at(self._due(step), lambda: self._report(step))

    def _report(self, step: Reports) -> None:
        if self._closed:
            return
        if not self._paused:
            due = self._due(step)
            self._write(self._answering.report(step, self._reports, due))
            self._answering.printed(self._command, self._reports, due)
        self._reports += 1
        # `_reports` counts the moment of the start, too.
        if step.count is not None and self._reports - (not step.stream.boot_first) >= step.count:
            self._next()
        else:
            self._later(step)

    def _write(self, text: str) -> None:
        if not text or not self._channel or self._closed:
            return
        try:
            self._channel.write(text)
        except BrokenPipeError:
            # The client has closed the channel, and its goodbye has not been read yet.
            log.debug("%s: the reader of %r has left", self._answering.host.hostname, self._command)
            self._closed = True

    def _end(self, exit_code: int) -> None:
        if not self._closed and self._channel:
            self._closed = True
            self._channel.exit(exit_code)
