"""One host: logged in once, recognised, its collection plan kept running, and its state told whenever that changes.

Everything here runs in the collector's event loop; what blocks is handed to threads. A host never waits for another
one: connecting needs no thread until the connection stands, and logins at one address queue up only among themselves.
"""

import asyncio
import logging
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from hps_platform import dialects, ssh
from hps_platform.collector.backoff import Backoff
from hps_platform.collector.commands import Shell, Stream
from hps_platform.collector.condition import Condition, Journal
from hps_platform.collector.figures import Figures
from hps_platform.collector.registry import HostConfig
from hps_platform.collector.samples import Arrival, Output, Series
from hps_platform.dialects import PlannedCommand
from hps_platform.errors import (
    AuthenticationFailed,
    CommandTimeout,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    InvalidInput,
    SshError,
)
from hps_platform.metrics import FAMILIES
from hps_platform.ssh import Reactor, Session, Target

log = logging.getLogger(__name__)

LOGINS_AT_ONCE = 4
"""Handshakes with one SSH server; OpenSSH starts to refuse at random from ten unauthenticated connections on."""

_CHECK_EVERY_S = 5.0
_SESSION_AGE_S = 24 * 3600
_LASTED_S = 30.0
RETRY_PARKED_S = 3600.0
"""Commands that a host doesn't have, and output that nobody can read, are tried again so often."""
_SILENT_S = 15.0
_RETRY_S = {"key_changed": 600.0, "pending_host_key": 600.0, "degraded": 600.0}


class _Recycle(Exception):
    """The session has grown old; nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all hosts of a collector share. `once`: each family is read once, and nothing is tried twice."""

    logins: Executor
    commands: Executor
    journal: Journal
    series: Callable[[int, str], Series]
    reactor: Reactor
    figures: Figures
    once: bool = False
    sockets: set[socket.socket] = field(default_factory=set)
    """Connections being made; shut down, their handshakes end at once."""
    doors: dict[tuple[str, int], asyncio.Semaphore] = field(default_factory=dict)

    @asynccontextmanager
    async def door(self, target: Target) -> AsyncIterator[None]:
        """Waits for its turn to log in, at each SSH server on the way."""
        async with AsyncExitStack() as entered:
            # Always in the same order, so that two of them can't wait for each other.
            for place in sorted({(hop.host, hop.port) for hop in (*target.via, target)}):
                await entered.enter_async_context(self.doors.setdefault(place, asyncio.Semaphore(LOGINS_AT_ONCE)))
            yield


class HostCollection:
    """Collects from one host, under one configuration, until cancelled."""

    def __init__(self, config: HostConfig, shared: Shared) -> None:
        self.config = config
        self.condition = Condition(config, shared.journal)
        self._shared = shared
        self._shell: Shell | None = None
        self._streams: list[Stream] = []
        self._ended_at: dict[str, float] = {}
        self._recognised: dialects.Host | None = None

    async def run(self) -> None:
        """Returns only in `once`, when every family has answered or the host can't be collected from."""
        unreachable, refused = Backoff(1.0, 60.0), Backoff(60.0, 3600.0)
        while True:
            started = time.monotonic()
            try:
                await self._session()
                if self._shared.once:
                    return
                wait_s = 0.0
            except HostKeyUnknown as error:
                wait_s = self._failed("pending_host_key", error)
            except HostKeyChanged as error:
                wait_s = self._failed("key_changed", error)
            except (AuthenticationFailed, InvalidInput) as error:
                self._failed("auth_failed", error)
                wait_s = refused.wait_s()
            except _NotRecognised as error:
                wait_s = self._failed("degraded", error)
            except SshError as error:
                self._failed("unreachable", error)
                if time.monotonic() - started > _LASTED_S:
                    unreachable.reset()
                wait_s = unreachable.wait_s()
            if self._shared.once:
                return
            await asyncio.sleep(wait_s)

    def serves(self, config: HostConfig | None) -> bool:
        """Whether going on as before is what this configuration asks for."""
        if config is None or config == self.config:
            return config is not None
        found = self._recognised
        # The system that was recognised has been entered meanwhile.
        as_found = self.config.operating_system is None and found is not None
        return as_found and config == replace(self.config, operating_system=found.operating_system if found else None)

    @property
    def connected(self) -> bool:
        """Whether somebody is logged in."""
        return self._shell is not None

    def fail(self, message: str) -> None:
        """Something went wrong that has nothing to do with the host."""
        self.condition.tell("degraded", message)

    def _failed(self, state: str, error: Exception) -> float:
        self._shared.figures.failures[state] += 1
        self.condition.tell(state, str(error))
        return _RETRY_S.get(state, 0.0) * random.uniform(0.8, 1.2)  # noqa: S311  spreads load

    async def _session(self) -> None:
        """One login, from beginning to end."""
        if self.config.fault:
            raise AuthenticationFailed(self.config.fault)
        if not self.condition.state:
            self.condition.tell("connecting", "")
        shell = self._shell = Shell(await self._log_in(), self._shared.commands)
        self._shared.figures.logins += 1
        try:
            system = await self._recognise(shell)
            await self._collect(shell, system)
        except _Recycle:
            log.info("%s: the connection is made anew after a day", self.config.hostname)
        finally:
            self._shell = None
            self._streams.clear()
            shell.leave()

    async def _log_in(self) -> Session:
        loop = asyncio.get_running_loop()
        target = self.config.target
        # A connection that waits for its login counts with the SSH server as much as one that is logging in.
        async with self._shared.door(target):
            sock = await self._dial(target.entrance)
            self._shared.sockets.add(sock)
            try:
                return await loop.run_in_executor(
                    self._shared.logins,
                    Session.connect,
                    target,
                    self.config.connect_timeout_s,
                    sock,
                    self._shared.reactor,
                )
            finally:
                self._shared.sockets.discard(sock)

    async def _dial(self, target: Target) -> socket.socket:
        """A connected socket. No thread waits for hosts that don't answer."""
        loop = asyncio.get_running_loop()
        found = _numeric(target) or await _resolved(target)
        problem = f"{target.host} has no address"
        for family, kind, protocol, _, address in found[:3]:
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            try:
                async with asyncio.timeout(self.config.connect_timeout_s):
                    await loop.sock_connect(sock, address)
            except TimeoutError:
                problem = f"{target.where} does not answer within {self.config.connect_timeout_s:g} s"
                sock.close()
            except OSError as error:
                problem = f"{target.where}: {error.strerror or error}"
                sock.close()
            except BaseException:
                sock.close()
                raise
            else:
                ssh.tune(sock)
                return sock
        raise HostUnreachable(problem)

    async def _recognise(self, shell: Shell) -> str:
        """Which operating system's dialect to use. Asked at each login, which is at least daily."""
        known = self.config.operating_system
        asked = time.time()
        output = await shell.run(dialects.IDENTIFY, self.config.command_timeout_s)
        middle = (asked + time.time()) / 2
        try:
            host = dialects.identify(output.text)
        except InvalidInput as error:
            if known:
                return known
            raise _NotRecognised(
                f"{self.config.hostname} was not recognised, set its operating system by hand: {error}"
            ) from error
        self._recognised = host
        # It tells whole seconds: on average half a second has passed since.
        offset_s = None if host.clock is None else round(host.clock + 0.5 - middle, 1)
        self._shared.journal.recognised(self.config, host, offset_s)
        if known and known != host.operating_system:
            self._shared.journal.event(
                self.config.server_id,
                "other_system",
                f"{self.config.hostname} is entered as {known} and says it is {host.operating_system}",
                {"entered": known, "recognised": host.operating_system},
            )
        return known or host.operating_system

    def _plan(self, system: str) -> list[PlannedCommand]:
        """What to run; an override that the dialect can't read is told as that family's problem."""
        commands = dict(self.config.commands)
        for family in list(commands):
            try:
                dialects.plan(system, self.config.intervals, {family: commands[family]})
            except InvalidInput as error:
                planned = PlannedCommand(family, commands.pop(family), False, FAMILIES[family].interval_s)
                self._refuse(self._shared.series(self.config.server_id, family), system, planned, error)
        refused = self.config.commands.keys() - commands.keys()
        tools = frozenset() if self._recognised is None else self._recognised.tools_for(system)
        plan = dialects.plan(system, self.config.intervals, commands, tools)
        shown = [replace(line, command=self.config.commands.get(line.family, line.command)) for line in plan]
        wanted = [line for line in plan if line.family not in self.config.disabled]
        series = {line.family: self._shared.series(self.config.server_id, line.family) for line in wanted}
        self.condition.plan(shown, series, dialects.parser_id(system))
        return [line for line in wanted if line.family not in refused]

    async def _collect(self, shell: Shell, system: str) -> None:
        """Runs the plan until the session breaks, or each family has answered once."""
        plan = self._plan(system)
        self.condition.judge()
        families = [
            asyncio.create_task(
                self._streaming(shell, system, planned) if planned.stream else self._polling(shell, system, planned)
            )
            for planned in plan
        ]
        others = [asyncio.create_task(self._watch(shell))]
        try:
            await _first_failure(families, others)
        finally:
            for task in (*families, *others):
                task.cancel()
            await asyncio.gather(*families, *others, return_exceptions=True)

    async def _streaming(self, shell: Shell, system: str, planned: PlannedCommand) -> None:
        series = self.condition.series[planned.family]
        backoff = Backoff(1.0, 300.0)
        await asyncio.sleep(random.uniform(0, min(planned.interval_s, 2.0)))  # noqa: S311  spreads load
        while True:
            splitter = dialects.splitter(system, planned.command)
            stream = Stream(system, planned, splitter, series, self.condition.answered, once=self._shared.once)
            self._streams.append(stream)
            try:
                await shell.follow(stream)
            except HostUnreachable:
                raise
            except SshError as error:
                self._refuse(series, system, planned, error)
            finally:
                self._streams.remove(stream)
            if self._shared.once:
                return
            if not shell.session.alive:
                raise HostUnreachable(f"{self.config.target.where}: the connection broke")
            if stream.samples:
                backoff.reset()
                self._tell_ended(stream)
            self.condition.answered(series)
            await asyncio.sleep(RETRY_PARKED_S if series.unavailable or series.parked else backoff.wait_s())

    def _tell_ended(self, stream: Stream) -> None:
        """Why there is a gap; of a command that ends all the time it is told once a minute."""
        planned, now = stream.planned, time.monotonic()
        what = f"said nothing for {stream.silent_s:.0f} s" if stream.silent_s >= _SILENT_S else "ended"
        text = f"`{planned.command}` {what} on {self.config.hostname} and is started again"
        log.info("%s", text)
        if now - self._ended_at.get(planned.family, -60.0) >= 60.0:
            self._ended_at[planned.family] = now
            details = {"family": planned.family, "command": planned.command, "exit_code": stream.exit_code}
            self._shared.journal.event(self.config.server_id, "command_ended", text, details)

    async def _polling(self, shell: Shell, system: str, planned: PlannedCommand) -> None:
        series = self.condition.series[planned.family]
        due = time.monotonic() + random.uniform(0, min(planned.interval_s, 3.0))  # noqa: S311  spreads load
        first = True
        while True:
            await asyncio.sleep(due - time.monotonic())
            asked = time.monotonic()
            try:
                output = await shell.run(planned.command, self.config.command_timeout_s)
            except CommandTimeout as error:
                if shell.heard_at < asked:
                    raise HostUnreachable(f"{self.config.target.where} has fallen silent") from error
                self._refuse(series, system, planned, error)
            except HostUnreachable:
                raise
            except SshError as error:
                self._refuse(series, system, planned, error)
            else:
                if not shell.session.alive:
                    raise HostUnreachable(f"{self.config.target.where}: the connection broke")
                self.condition.took(planned, time.monotonic() - asked)
                answer = Output(system, planned, output.text, output.arrival, output.exit_code)
                series.answered(answer)
                self.condition.answered(series)
            if self._shared.once:
                return
            interval = RETRY_PARKED_S if series.unavailable or series.parked else planned.interval_s
            # The first sample comes soon; from the second on each host has a phase of its own.
            due += interval * (random.uniform(0.5, 1.0) if first else 1.0)  # noqa: S311  spreads load
            first = False
            due = max(due, time.monotonic())

    async def _watch(self, shell: Shell) -> None:
        """Ends what hangs: a stream that says nothing, a connection that says nothing, a session grown old."""
        old_at = time.monotonic() + _SESSION_AGE_S * random.uniform(0.9, 1.1)  # noqa: S311  spreads load
        while True:
            await asyncio.sleep(_CHECK_EVERY_S)
            now = time.monotonic()
            for stream in list(self._streams):
                stream.check()
                self.condition.took(stream.planned, stream.silent_s - stream.planned.interval_s)
                patience_s = max(_SILENT_S, 4 * stream.planned.interval_s)
                if stream.silent_s < patience_s:
                    continue
                if now - shell.heard_at >= patience_s:
                    raise HostUnreachable(f"{self.config.target.where} has said nothing for {patience_s:.0f} s")
                stream.stop()
            if now > old_at:
                raise _Recycle

    def _refuse(self, series: Series, system: str, planned: PlannedCommand, error: Exception) -> None:
        """What has no output: a command that can't be run, or gives no answer."""
        series.refuse(Output(system, planned, "", Arrival.now()), str(error))
        self.condition.judge()


class _NotRecognised(Exception):
    """The host answers, but as no system that there is a dialect for."""


_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


def _numeric(target: Target) -> Sequence[_Address]:
    """The address when the host is given by one: that needs no thread."""
    try:
        return list(socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    except socket.gaierror:
        return []


async def _resolved(target: Target) -> Sequence[_Address]:
    try:
        return await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise HostUnreachable(f"{target.host} can't be resolved: {error.strerror}") from error


async def _first_failure(families: list["asyncio.Task[None]"], others: list["asyncio.Task[None]"]) -> None:
    """Waits until a task fails, and raises its error; or until all `families` have ended well."""
    waiting: set[asyncio.Task[None]] = {*families, *others}
    left: set[Awaitable[None]] = set(families)
    while left:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        left -= done
