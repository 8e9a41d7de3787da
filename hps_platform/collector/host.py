"""One host: logged in once, recognised, its collection plan kept running, and its state told whenever that changes.

Everything here runs in the collector's event loop; what blocks is handed to threads. A host never waits for another
one: connecting needs no thread until the connection stands, and logins at one address queue up only among themselves.
"""

import asyncio
import logging
import random
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from hps_platform import dialects, ssh
from hps_platform.collector.backoff import Backoff
from hps_platform.collector.commands import Shell, Stream
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
from hps_platform.ssh import Session, Target

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 60.0
LOGINS_AT_ONCE = 4
"""Handshakes with one SSH server; OpenSSH starts to refuse at random from ten unauthenticated connections on."""

_CHECK_EVERY_S = 5.0
_SESSION_AGE_S = 24 * 3600
_LASTED_S = 30.0
_RETRY_UNAVAILABLE_S = 3600.0
_RETRY_S = {"key_changed": 600.0, "pending_host_key": 600.0, "degraded": 600.0}


class _Recycle(Exception):
    """The session has grown old; nothing is wrong."""


class Journal(Protocol):
    """Where a host's collection tells what happens; `registry.Registry` and the health topic stand behind it."""

    def state(self, config: HostConfig, state: str, message: str, before: str, at: datetime) -> None: ...

    def recognised(self, config: HostConfig, host: dialects.Host) -> None: ...

    def event(self, server_id: int | None, kind: str, message: str, details: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What all hosts of a collector share. `once`: each family is read once, and nothing is tried twice."""

    logins: Executor
    commands: Executor
    journal: Journal
    series: Callable[[int, str], Series]
    once: bool = False
    sockets: set[socket.socket] = field(default_factory=set)
    """Connections being made; shut down, their handshakes end at once."""
    doors: dict[tuple[str, int], asyncio.Semaphore] = field(default_factory=dict)

    def door(self, target: Target) -> asyncio.Semaphore:
        return self.doors.setdefault((target.host, target.port), asyncio.Semaphore(LOGINS_AT_ONCE))


class HostCollection:
    """Collects from one host, under one configuration, until cancelled."""

    def __init__(self, config: HostConfig, shared: Shared, state: str = "") -> None:
        self.config = config
        self.state = state
        self.message = ""
        self._shared = shared
        self._shell: Shell | None = None
        self._streams: list[Stream] = []
        self._planned: dict[str, Series] = {}
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

    def fail(self, message: str) -> None:
        """Something went wrong that has nothing to do with the host."""
        self._tell("degraded", message)

    def _failed(self, state: str, error: Exception) -> float:
        self._tell(state, str(error))
        return _RETRY_S.get(state, 0.0) * random.uniform(0.8, 1.2)  # noqa: S311  spreads load

    async def _session(self) -> None:
        """One login, from beginning to end."""
        if self.config.fault:
            raise AuthenticationFailed(self.config.fault)
        if not self.state:
            self._tell("connecting", "")
        session = await self._log_in()
        try:
            self._shell = Shell(session, self._shared.commands)
            system = await self._recognise(self._shell)
            await self._collect(self._shell, system)
        except _Recycle:
            log.info("%s: the connection is made anew after a day", self.config.hostname)
        finally:
            self._shell = None
            self._streams.clear()
            self._shared.commands.submit(session.close)

    async def _log_in(self) -> Session:
        loop = asyncio.get_running_loop()
        target = self.config.target
        sock = await self._dial(target)
        self._shared.sockets.add(sock)
        try:
            async with self._shared.door(target):
                return await loop.run_in_executor(self._shared.logins, Session.connect, target, CONNECT_TIMEOUT_S, sock)
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
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await loop.sock_connect(sock, address)
            except TimeoutError:
                problem = f"{target.where} does not answer within {CONNECT_TIMEOUT_S:g} s"
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
        """Which operating system's dialect to use."""
        known = self.config.operating_system
        output = await shell.run(dialects.IDENTIFY, COMMAND_TIMEOUT_S)
        try:
            host = dialects.identify(output.text)
        except InvalidInput as error:
            if known:
                return known
            raise _NotRecognised(
                f"{self.config.hostname} was not recognised, set its operating system by hand: {error}"
            ) from error
        if host != self._recognised:
            self._recognised = host
            self._shared.journal.recognised(self.config, host)
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
        self._planned = {
            planned.family: self._shared.series(self.config.server_id, planned.family)
            for planned in plan
            if planned.family not in self.config.disabled
        }
        return [planned for planned in plan if planned.family in self._planned and planned.family not in refused]

    async def _collect(self, shell: Shell, system: str) -> None:
        """Runs the plan until the session breaks, or each family has answered once."""
        plan = self._plan(system)
        self._judge()
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
        series = self._planned[planned.family]
        backoff = Backoff(1.0, 300.0)
        await asyncio.sleep(random.uniform(0, min(planned.interval_s, 2.0)))  # noqa: S311  spreads load
        while True:
            splitter = dialects.splitter(system, planned.command)
            stream = Stream(system, planned, splitter, series, self._answered, once=self._shared.once)
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
                log.info("%s: `%s` ended; it is started again", self.config.hostname, planned.command)
            self._answered(bool(stream.samples))
            await asyncio.sleep(_RETRY_UNAVAILABLE_S if series.unavailable else backoff.wait_s())

    async def _polling(self, shell: Shell, system: str, planned: PlannedCommand) -> None:
        series = self._planned[planned.family]
        due = time.monotonic() + random.uniform(0, min(planned.interval_s, 3.0))  # noqa: S311  spreads load
        first = True
        while True:
            await asyncio.sleep(due - time.monotonic())
            asked = time.monotonic()
            try:
                output = await shell.run(planned.command, COMMAND_TIMEOUT_S)
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
                answer = Output(system, planned, output.text, output.arrival, output.exit_code)
                self._answered(series.answered(answer))
            if self._shared.once:
                return
            interval = _RETRY_UNAVAILABLE_S if series.unavailable else planned.interval_s
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
                patience_s = max(15.0, 4 * stream.planned.interval_s)
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
        self._judge()

    def _answered(self, good: bool) -> None:
        if not good or self.state != "up":
            self._judge()

    def _judge(self) -> None:
        """The state that follows from how the families do."""
        problems = [f"{name}: {series.problem}" for name, series in self._planned.items() if series.problem]
        if problems:
            self._tell("degraded", "; ".join(problems))
        elif any(series.tally.samples for series in self._planned.values()) or not self._planned:
            self._tell("up", "")

    def _tell(self, state: str, message: str) -> None:
        if (state, message) == (self.state, self.message):
            return
        before, self.state, self.message = self.state, state, message
        if state != before:
            log.info("%s: %s%s", self.config.hostname, state, f": {message}" if message else "")
        self._shared.journal.state(self.config, state, message, before, datetime.now(UTC))


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
