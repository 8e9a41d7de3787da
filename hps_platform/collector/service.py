"""The collector: one process for many hosts, from the registry of servers to the topics of the families.

It joins the parts: `registry` says which hosts, `host` collects from each, `samples` makes samples of what they print,
`outbox` gets them to Kafka. Each part fails by itself: a host that is down, a database or a broker that is away.
"""

import asyncio
import logging
import os
import resource
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from hps_platform.collector.host import HostCollection, Shared
from hps_platform.collector.outbox import Message, Outbox, Sender
from hps_platform.collector.registry import HostConfig, Registry
from hps_platform.collector.samples import Origin, Series
from hps_platform.dialects import Host
from hps_platform.errors import InvalidInput, KafkaUnavailable
from hps_platform.metrics import FAMILIES, wire
from hps_platform.metrics.sample import DeadLetter, Sample
from hps_platform.ssh import Reactor
from hps_platform.store.database import Database
from hps_platform.store.secrets import SecretBox

log = logging.getLogger(__name__)

_LOGIN_THREADS = 16
_COMMAND_THREADS = 16
_PUMP_EVERY_S = 0.1
_LEAVING_S = 2.0
_REPORT_EVERY_S = 300.0
_DRAIN_S = 30.0


class Producer(Sender, Protocol):
    """What is used of `stream.Producer`."""

    def flush(self, timeout_s: float) -> int: ...


class Collector:
    """`run` collects until `stop` is called. All of it happens in one event loop, and in threads for what blocks."""

    def __init__(
        self,
        db: Database,
        box: SecretBox,
        producer: Producer,
        prepare: Callable[[], object],
        *,
        only: str | None = None,
        once: bool = False,
    ) -> None:
        """`prepare` makes sure that the topics are there; it is tried until it doesn't raise `KafkaUnavailable`."""
        self.origin = Origin(socket.gethostname(), uuid.uuid4().hex)
        self.outbox = Outbox(producer)
        self.series: dict[tuple[int, str], Series] = {}
        self._producer = producer
        self._prepare = prepare
        self._once = once
        self._database_threads = ThreadPoolExecutor(3, "registry")
        self._login_threads = ThreadPoolExecutor(_LOGIN_THREADS, "login")
        self._command_threads = ThreadPoolExecutor(_COMMAND_THREADS, "command")
        self._registry = Registry(db, box, self._database_threads, only=only)
        self._hosts: dict[int, tuple[HostConfig, HostCollection, asyncio.Task[None]]] = {}
        self._last: dict[int, tuple[HostConfig, HostCollection, asyncio.Task[None]]] = {}
        self._stopping: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._late = False
        self._dropped = 0
        self._pumping = False

    # What hosts tell (`host.Journal`)

    def state(self, config: HostConfig, state: str, message: str, before: str, at: datetime) -> None:
        self._registry.note_state(config.server_id, state, message, at)
        if state == before:
            return
        text = f"{config.hostname} is {state}" + (f": {message}" if message else "")
        self._registry.note_event(config.server_id, "state", text, {"state": state, "before": before})
        self._put_json(
            wire.HEALTH_TOPIC,
            config.server_id,
            {
                "server_id": config.server_id,
                "hostname": config.hostname,
                "state": state,
                "before": before,
                "message": message,
                "at": round(at.timestamp() * 1000),
                "collector": self.origin.collector,
                "session": self.origin.session,
            },
        )

    def recognised(self, config: HostConfig, host: Host) -> None:
        self._registry.note_recognised(config.server_id, host)
        self._registry.note_event(
            config.server_id,
            "recognised",
            f"{config.hostname} is {host.operating_system} {host.version} on {host.architecture}",
            {
                "operating_system": host.operating_system,
                "version": host.version,
                "architecture": host.architecture,
                "hostname": host.hostname,
                "cpus": host.cpus,
            },
        )

    def event(self, server_id: int | None, kind: str, message: str, details: Mapping[str, Any]) -> None:
        self._registry.note_event(server_id, kind, message, details)

    # From series to Kafka

    def _series(self, server_id: int, family: str) -> Series:
        key = (server_id, family)
        if key not in self.series:
            self.series[key] = Series(FAMILIES[family], server_id, self.origin, self._emit)
        return self.series[key]

    def _emit(self, item: Sample | DeadLetter) -> None:
        if isinstance(item, DeadLetter):
            self._put(Message(wire.DEAD_LETTER_TOPIC, wire.key(item.server_id), wire.encode_dead_letter(item)))
            return
        family = FAMILIES[item.family]
        try:
            value, headers = wire.encode(family, item)
        except InvalidInput as error:
            self._emit(
                DeadLetter(
                    family=item.family,
                    server_id=item.server_id,
                    timestamp_ms=item.timestamp_ms,
                    command=item.command,
                    raw=item.raw,
                    parser=item.parser,
                    reason=str(error),
                    collector=item.collector,
                    session=item.session,
                    seq=item.seq,
                    exit_code=item.exit_code,
                )
            )
            return
        self._registry.note_seen(item.server_id, time.time_ns() // 1_000_000)
        self._put(Message(family.topic, wire.key(item.server_id), value, headers))

    def _put_json(self, topic: str, server_id: int, fields: Mapping[str, Any]) -> None:
        self._put(Message(topic, wire.key(server_id), orjson.dumps(fields)))

    def _put(self, message: Message) -> None:
        self.outbox.put(message)
        if not self._pumping and self._loop is not None:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        self.outbox.pump()

    # Running

    def stop(self) -> None:
        """May be called from a signal handler of the loop, or in its thread."""
        if self._stopping is not None:
            self._stopping.set()

    def summary(self) -> list[tuple[str, str, str, dict[str, str]]]:
        """After `run`: of each host its name, state, message, and of each family in words what came of it."""
        return [
            (
                config.hostname,
                host.state,
                host.message,
                {
                    family: f"{series.tally.rows} rows" if series.tally.samples else series.problem or "nothing"
                    for (server_id, family), series in self.series.items()
                    if server_id == config.server_id
                },
            )
            for config, host, _ in self._last.values()
        ]

    async def run(self) -> None:
        """Returns after `stop`, or in `once` when every host has answered or failed."""
        _allow_many_files()
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._reactor = Reactor()
        self._shared = Shared(
            self._login_threads, self._command_threads, self, self._series, self._reactor, once=self._once
        )
        log.info("collector %s starts session %s", self.origin.collector, self.origin.session)
        self.event(None, "started", f"collector {self.origin.collector} started", {"session": self.origin.session})
        parts = [
            asyncio.create_task(part, name=name)
            for name, part in (
                ("registry", self._follow_registry()),
                ("reports", self._registry.write_forever()),
                ("kafka", self._open_outbox()),
                ("pump", self._keep_pumping()),
                ("summary", self._summarise()),
            )
        ]
        try:
            await self._until_stopped(parts)
            if self._once:
                await self._drain(_DRAIN_S)
        finally:
            await self._leave(parts)

    async def _until_stopped(self, parts: list["asyncio.Task[None]"]) -> None:
        assert self._stopping is not None  # noqa: S101  set by `run`
        stopped = asyncio.create_task(self._stopping.wait())
        done, _ = await asyncio.wait([stopped, *parts], return_when=asyncio.FIRST_COMPLETED)
        while stopped not in done and all(task.get_name() == "kafka" for task in done):
            parts = [part for part in parts if part not in done]
            done, _ = await asyncio.wait([stopped, *parts], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        stopped.cancel()

    async def _follow_registry(self) -> None:
        """Starts, restarts and ends the collection from hosts as the registry changes."""
        async for wanted in self._registry.configurations():
            gone = [server_id for server_id, (config, _, _) in self._hosts.items() if wanted.get(server_id) != config]
            ended = [self._hosts[server_id][:2] for server_id in gone if server_id not in wanted]
            await self._end_hosts(gone)
            for config, host in ended:
                self.state(config, "paused", "no longer collected from", host.state, datetime.now(UTC))
            for server_id, config in wanted.items():
                if server_id not in self._hosts:
                    host = HostCollection(config, self._shared)
                    task = asyncio.create_task(self._guard(host), name=config.hostname)
                    self._hosts[server_id] = (config, host, task)
            log.info("collecting from %d servers", len(self._hosts))
            if self._once:
                await asyncio.gather(*(task for _, _, task in self._hosts.values()))
                return

    async def _guard(self, host: HostCollection) -> None:
        """The boundary of a host: whatever goes wrong inside stays there."""
        while True:
            try:
                await host.run()
            except Exception as error:
                log.exception("%s: collecting failed", host.config.hostname)
                host.fail(f"collecting failed: {type(error).__name__}: {error}")
            if self._once:
                return
            await asyncio.sleep(60.0)

    async def _end_hosts(self, server_ids: list[int]) -> None:
        tasks = [self._hosts.pop(server_id)[2] for server_id in server_ids]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _open_outbox(self) -> None:
        """Opens the outbox once the topics are there."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(self._database_threads, self._prepare)
            except KafkaUnavailable as error:
                log.warning("samples wait for Kafka: %s", error)
                await asyncio.sleep(2.0)
            else:
                self.outbox.open = True
                return

    async def _keep_pumping(self) -> None:
        while True:
            await asyncio.sleep(_PUMP_EVERY_S if len(self.outbox) else 5 * _PUMP_EVERY_S)
            self.outbox.pump()
            if self.outbox.late != self._late:
                self._late = self.outbox.late
                kind, text = (
                    ("kafka_away", "does not take samples") if self._late else ("kafka_back", "takes samples again")
                )
                log.warning("Kafka %s; %d messages wait", text, len(self.outbox))
                self.event(None, kind, f"Kafka {text}", {"waiting": len(self.outbox)})
            if self.outbox.dropped != self._dropped and not self._late:
                lost = self.outbox.dropped - self._dropped
                self._dropped = self.outbox.dropped
                log.error("%d messages were dropped while Kafka was away", lost)
                self.event(None, "dropped", f"{lost} messages were dropped while Kafka was away", {"messages": lost})

    async def _summarise(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_EVERY_S)
            states: dict[str, int] = {}
            for _, host, _ in self._hosts.values():
                states[host.state] = states.get(host.state, 0) + 1
            tallies = [series.tally for series in self.series.values()]
            log.info(
                "%s; %d samples, %d dead letters and %d like them, %d messages wait",
                ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no servers",
                sum(tally.samples for tally in tallies),
                sum(tally.dead_letters for tally in tallies),
                sum(tally.suppressed for tally in tallies),
                len(self.outbox),
            )

    async def _leave(self, parts: list["asyncio.Task[None]"]) -> None:
        """Ends commands and connections, sends what is left, writes what was noted; within some 2 s."""
        for task in parts:
            task.cancel()
        for sock in self._shared.sockets:
            with suppress(OSError):  # it has ended by itself
                sock.shutdown(socket.SHUT_RDWR)
        await asyncio.gather(*parts, return_exceptions=True)
        self._last = dict(self._hosts)
        await self._end_hosts(list(self._hosts))
        self._reactor.close()
        self.event(None, "stopped", f"collector {self.origin.collector} stopped", {"session": self.origin.session})
        with suppress(TimeoutError):  # it is lost with a warning of its own
            async with asyncio.timeout(_LEAVING_S / 2):
                await self._registry.write()
        await self._drain(_LEAVING_S / 2)
        if len(self.outbox):
            log.error("%d messages could not be sent before leaving", len(self.outbox))
        self._producer.flush(0.1)
        for threads in (self._database_threads, self._login_threads, self._command_threads):
            threads.shutdown(wait=False, cancel_futures=threads is not self._command_threads)

    async def _drain(self, timeout_s: float) -> None:
        """Waits until Kafka has taken everything, or the time is over."""
        deadline = time.monotonic() + timeout_s
        while len(self.outbox) and time.monotonic() < deadline:
            self.outbox.pump()
            await asyncio.sleep(0.02)


def _allow_many_files() -> None:
    """A connection is a descriptor; the usual soft limit of 1,024 is reached with a thousand hosts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def leave_process(exit_code: int) -> None:
    """Ends the process without waiting for threads that still hang in a connection to a host or to the database."""
    logging.shutdown()
    if any(thread.is_alive() and thread is not threading.current_thread() for thread in threading.enumerate()):
        os._exit(exit_code)
