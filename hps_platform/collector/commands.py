"""Commands on a host, read by the event loop: one that answers and ends, and one that reports until it is stopped.

Everything happens in the loop's thread and nothing waits. Only on a connection that has a thread of its own, because
it leads through another connection, opening and closing a channel may wait and is done by threads.
"""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from hps_platform.collector.samples import Arrival, Output, Series
from hps_platform.dialects import PlannedCommand, Splitter
from hps_platform.errors import CommandTimeout, SshError
from hps_platform.ssh import Channel, Session

QUIET_S = 0.1
"""A stream that says nothing for so long has finished its report."""

_LOOK_STEP_S = 0.02
_QUIET_AT_FIRST_S = 1.0
"""Before its first report: an error message is better judged by the exit code that follows it."""

CHANNELS_AT_ONCE = 8
"""On one connection; OpenSSH allows 10."""

OUTPUT_LIMIT = 2 * 1024 * 1024
_UNREAD_LIMIT = 256 * 1024
_START_TIMEOUT_S = 15.0
_NO_PLACE_S = (0.05, 0.2, 0.8)
"""OpenSSH counts a command that has ended against its limit until its next turn: soon after, there is a place again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed, stdout and stderr as they came, and when its end arrived."""

    text: str
    exit_code: int | None
    arrival: Arrival


class Shell:
    """A session and the commands on it; `heard_at` is when it last said anything."""

    def __init__(self, session: Session, threads: Executor) -> None:
        self.session = session
        self.heard_at = Arrival.now().monotonic
        self._threads = threads
        self._channels = asyncio.Semaphore(CHANNELS_AT_ONCE)
        self._loop = asyncio.get_running_loop()

    async def run(self, command: str, timeout_s: float) -> Answer:
        """Raises `CommandTimeout`, `SshError`, `HostUnreachable`."""
        parts: list[str] = []
        size = 0
        done: asyncio.Future[None] = self._loop.create_future()

        def read() -> None:
            nonlocal size
            text = channel.read_available()
            if text:
                self.heard_at = time.monotonic()
                parts.append(text)
                size += len(text)
            if (channel.ended or size > OUTPUT_LIMIT) and not done.done():
                done.set_result(None)

        async with self._channels:
            channel = await self.open(command)
            try:
                self.listen(channel, read)
                # Not `wait_for`: that of Python 3.11 can swallow a cancellation that meets the end of the command.
                async with asyncio.timeout(timeout_s):
                    await done
                arrival = Arrival.now()
            except TimeoutError:
                raise CommandTimeout(f"no end of the command after {timeout_s:g} s") from None
            finally:
                self.close(channel)
        if size > OUTPUT_LIMIT:
            raise SshError(f"more than {OUTPUT_LIMIT >> 20} MiB of output")
        return Answer("".join(parts), channel.exit_code, arrival)

    async def follow(self, stream: "Stream") -> None:
        """Reads a stream until its command ends or `stream.stop` is called."""
        async with self._channels:
            channel = await self.open(stream.planned.command)
            stream.attach(channel, self)
            try:
                self.listen(channel, stream.read)
                await stream.ended
            finally:
                stream.detach()
                self.close(channel)

    async def open(self, command: str) -> Channel:
        """Starts a command; returns when the host has said that it runs."""
        if not self.session.driven:
            return await self._loop.run_in_executor(self._threads, self.session.stream, command, _START_TIMEOUT_S)
        channel = await self._asked(command)
        for pause_s in _NO_PLACE_S:
            if channel.started or channel.opened or not self.session.alive:
                break
            await asyncio.sleep(pause_s)
            channel = await self._asked(command)
        self.session.confirm(channel)
        return channel

    async def _asked(self, command: str) -> Channel:
        """A channel whose host has decided whether the command runs, or has not within the time allowed."""
        known: asyncio.Future[None] = self._loop.create_future()
        channel = self.session.begin(command, lambda: None if known.done() else known.set_result(None))
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await known
        except TimeoutError:
            pass  # which `confirm` tells
        except BaseException:
            channel.close()
            raise
        return channel

    def listen(self, channel: Channel, read: Callable[[], None]) -> None:
        """`read` is called in the loop whenever there is output, or the end."""

        def pass_on() -> None:
            self._loop.call_soon_threadsafe(read)

        channel.on_readable(read if self.session.driven else pass_on)

    def close(self, channel: Channel) -> None:
        """Ends a command."""
        if self.session.driven:
            channel.close()
        else:
            self._threads.submit(channel.close)

    def leave(self) -> None:
        """Ends the session."""
        if self.session.driven:
            self.session.close()
        else:
            self._threads.submit(self.session.close)


class Stream:
    """A command that reports again and again: cut into reports, each handed to the series with its arrival."""

    def __init__(
        self,
        system: str,
        planned: PlannedCommand,
        splitter: Splitter,
        series: Series,
        on_report: Callable[[Series], None],
        *,
        once: bool = False,
    ) -> None:
        self.planned = planned
        self.series = series
        self._system = system
        self._splitter = splitter
        self._on_report = on_report
        self._once = once
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.samples = 0
        self.exit_code: int | None = None
        self._channel: Channel | None = None
        self._shell: Shell | None = None
        self._arrival = Arrival.now()
        self._reported_at = self._arrival.monotonic
        self._quiet: asyncio.TimerHandle | None = None
        self._unread: list[str] = []
        self._unread_size = 0

    def attach(self, channel: Channel, shell: Shell) -> None:
        self._channel, self._shell = channel, shell
        self._arrival = Arrival.now()
        self._reported_at = self._arrival.monotonic
        self.read()

    def detach(self) -> None:
        self._channel = None
        if self._quiet is not None:
            self._quiet.cancel()

    def stop(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    @property
    def silent_s(self) -> float:
        return time.monotonic() - self._arrival.monotonic

    @property
    def _patience_s(self) -> float:
        return QUIET_S if self.samples else _QUIET_AT_FIRST_S

    def read(self) -> None:
        """Takes what has arrived; called in the loop."""
        channel, shell = self._channel, self._shell
        if channel is None or shell is None or self.ended.done():
            return
        text = channel.read_available()
        if text:
            self._arrival = Arrival.now()
            shell.heard_at = self._arrival.monotonic
            self._unread.append(text)
            self._unread_size += len(text)
            self._take(lambda: self._splitter.feed(text))
            if self._quiet is None and self._splitter.waiting:
                self._quiet = self._look_after(self._patience_s)
        if channel.ended:
            self._finish(channel)

    def check(self) -> None:
        """Output that never becomes a report is not passed over in silence; to be called every few seconds."""
        overdue = time.monotonic() - self._reported_at > 3 * self.planned.interval_s + 5
        if self._unread and (overdue or self._unread_size > _UNREAD_LIMIT):
            self._refuse_unread()

    def _look_after(self, seconds: float) -> asyncio.TimerHandle:
        # Rounded up, so that of many streams several are looked at in one turn of the loop.
        steps = math.ceil((self._loop.time() + seconds) / _LOOK_STEP_S)
        return self._loop.call_at(steps * _LOOK_STEP_S, self._when_quiet)

    def _when_quiet(self) -> None:
        self._quiet = None
        missing = self._patience_s - self.silent_s
        if missing > 0.001:
            self._quiet = self._look_after(missing)
        else:
            self._take(self._splitter.flush)

    def _take(self, cut: Callable[[], list[str]]) -> None:
        try:
            reports = cut()
        except Exception as error:  # noqa: BLE001  the boundary of host and family, as in `Series`
            self.series.refuse(self._output(self._text()), f"the splitter gave up: {type(error).__name__}: {error}")
            self.stop()
            return
        if not reports:
            return
        self._reported_at = self._arrival.monotonic
        self._unread.clear()
        self._unread_size = 0
        for before_last, report in zip(range(len(reports) - 1, -1, -1), reports, strict=True):
            # Several at once were held up on the way: they were printed an interval apart.
            output = self._output(report, streamed=True)
            self._tell(self.series.answered(output, age_ms=round(before_last * self.planned.interval_s * 1000)))

    def _finish(self, channel: Channel) -> None:
        self.exit_code = channel.exit_code
        self._take(self._splitter.flush)
        if not self.samples and self._unread and self._shell is not None and self._shell.session.alive:
            self._refuse_unread()
        if not self.samples:
            self.series.came_to_nothing(self.exit_code)
        self.stop()

    def _refuse_unread(self) -> None:
        text = self._text()
        self._unread.clear()
        self._unread_size = 0
        self._reported_at = time.monotonic()
        self._tell(self.series.answered(self._output(text)))

    def _output(self, text: str, *, streamed: bool = False) -> Output:
        return Output(self._system, self.planned, text, self._arrival, self.exit_code, streamed)

    def _tell(self, good: bool) -> None:
        self.samples += good
        self._on_report(self.series)
        if self._once or self.series.parked:
            self.stop()

    def _text(self) -> str:
        return "".join(self._unread)[:_UNREAD_LIMIT]
