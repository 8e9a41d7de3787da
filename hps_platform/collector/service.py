"""The collector: one process for many hosts, from the registry of servers to the topics of the families.

It joins the parts: `registry` says which hosts there are and `leases` which are this collector's, `host` collects from
each, `samples` makes samples of what they print, `delivery` gets them to Kafka. Each part fails by itself: a host that
is down, a database or a broker that is away.
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
from functools import partial
from typing import Any

import orjson

from hps_platform.collector.delivery import Delivery, Producer, SpoolLimits
from hps_platform.collector.figures import Figures
from hps_platform.collector.host import HostCollection, Shared
from hps_platform.collector.leases import Leases
from hps_platform.collector.registry import HostConfig, Registry
from hps_platform.collector.samples import Origin, Series
from hps_platform.collector.slot import Slot
from hps_platform.collector.spool import Message
from hps_platform.dialects import Host
from hps_platform.errors import DatabaseUnavailable, InvalidInput
from hps_platform.metrics import FAMILIES, wire
from hps_platform.metrics.sample import STREAMED, DeadLetter, Sample
from hps_platform.process import seldom_searched
from hps_platform.ssh import Reactor
from hps_platform.store.collectors import Lease, Member
from hps_platform.store.database import Database
from hps_platform.store.secrets import SecretBox

log = logging.getLogger(__name__)

_LOGIN_THREADS = 16
_COMMAND_THREADS = 16
_LEAVING_S = 2.0
_REPORT_EVERY_S = 300.0
_DRAIN_S = 30.0
_GAP_S = 5.0
_CLOCK_SET_S = 1.0
_COLLECTED = ("connecting", "up", "slow", "degraded", "quarantined_output")
"""States in which a host gives samples, or soon will: when there are none the reason is on this side."""


class Collector:
    """`run` collects until `stop` is called. All of it happens in one event loop, and in threads for what blocks."""

    def __init__(
        self,
        db: Database,
        box: SecretBox,
        producer: Producer,
        prepare: Callable[[], object],
        limits: SpoolLimits,
        *,
        only: int | None = None,
        once: bool = False,
    ) -> None:
        """`prepare` makes sure that the topics are there; it is tried until it doesn't raise `KafkaUnavailable`.

        `once` needs no leases: a person wants to see what a host says, whoever collects from it.
        """
        self.slot = Slot(limits.folder)
        name = socket.gethostname() + (f"-{self.slot.number + 1}" if self.slot.number else "")
        self.origin = Origin(name, uuid.uuid4().hex)
        self.series: dict[tuple[int, str], Series] = {}
        self.figures = Figures()
        self._once = once
        self._database_threads = ThreadPoolExecutor(3, "registry")
        self._delivery_threads = ThreadPoolExecutor(2, "delivery")
        self.delivery = Delivery(
            producer, self.slot, limits, self._delivery_threads, prepare, partial(self.event, None)
        )
        self._login_threads = ThreadPoolExecutor(_LOGIN_THREADS, "login")
        self._command_threads = ThreadPoolExecutor(_COMMAND_THREADS, "command")
        self._registry = Registry(db, box, self._database_threads, only=only)
        self._lease_threads = ThreadPoolExecutor(1, "leases")
        self._only = only
        self.leases = Leases(db, self._lease_threads, self._member(), self._told, self._renamed)
        self._wanted: Mapping[int, HostConfig] = {}
        self._fenced = 0
        self._settling = asyncio.Lock()
        self._unseen_since: dict[int, Lease] = {}
        self._hosts: dict[int, tuple[HostConfig, HostCollection, asyncio.Task[None]]] = {}
        self._last: dict[int, tuple[HostConfig, HostCollection, asyncio.Task[None]]] = {}
        self._stopping: asyncio.Event | None = None

    # What hosts tell (`condition.Journal`)

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

    def recognised(self, config: HostConfig, host: Host, clock_offset_s: float | None) -> None:
        self._registry.note_recognised(config, host, clock_offset_s)

    def planned(self, config: HostConfig, plan: list[dict[str, Any]]) -> None:
        self._registry.note_plan(config.server_id, plan)

    def event(self, server_id: int | None, kind: str, message: str, details: Mapping[str, Any]) -> None:
        self._registry.note_event(server_id, kind, message, details)

    # From series to Kafka

    def _series(self, server_id: int, family: str) -> Series:
        key = (server_id, family)
        if key not in self.series:
            self.series[key] = Series(FAMILIES[family], server_id, self.origin, self._emit)
        return self.series[key]

    def _emit(self, item: Sample | DeadLetter) -> None:
        if self._once:
            fence: wire.Headers = []
        elif item.server_id in self.leases.fences and self.leases.valid:
            fence = [("fence", str(self.leases.fences[item.server_id]).encode())]
        else:
            # The lease on its host has ended: that is its new collector's to tell.
            self.figures.fenced += 1
            return
        if isinstance(item, DeadLetter):
            self.delivery.put(
                Message(wire.DEAD_LETTER_TOPIC, wire.key(item.server_id), wire.encode_dead_letter(item), fence)
            )
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
        if item.parser.endswith(STREAMED):
            self.figures.slipped(self.series[item.server_id, item.family].slip_s)
        self._registry.note_seen(item.server_id, time.time_ns() // 1_000_000)
        self.delivery.put(Message(family.topic, wire.key(item.server_id), value, headers + fence))
        if item.server_id in self._unseen_since:
            self._tell_gap(self._unseen_since.pop(item.server_id))

    def _tell_gap(self, lease: Lease) -> None:
        """Says for how long nobody collected from a host that is collected from again."""
        now = datetime.now(UTC)
        since = lease.last_seen_at
        if since is None or (now - since).total_seconds() < _GAP_S or lease.state not in _COLLECTED:
            return
        if lease.holder is None:
            reason = "it changed hands"
        elif lease.holder == self.slot.identity:
            reason = "the collector was started again"
        else:
            reason = f"collector {lease.holder_name} was gone"
        text = f"nothing was collected from {since:%Y-%m-%d %H:%M:%S}Z to {now:%H:%M:%S}Z: {reason}"
        details = {"from": since.isoformat(), "until": now.isoformat(), "collector": lease.holder_name}
        self.event(lease.server_id, "gap", text, details)

    def _put_json(self, topic: str, server_id: int, fields: Mapping[str, Any]) -> None:
        self.delivery.put(Message(topic, wire.key(server_id), orjson.dumps(fields)))

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
                host.condition.state,
                host.condition.message,
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
        with seldom_searched(100_000, whole=1_000):
            await self._run()

    async def _run(self) -> None:
        _allow_many_files()
        self._stopping = asyncio.Event()
        self._reactor = Reactor()
        self._shared = Shared(
            self._login_threads,
            self._command_threads,
            self,
            self._series,
            self._reactor,
            self.figures,
            once=self._once,
        )
        log.info("collector %s starts session %s", self.origin.collector, self.origin.session)
        self.event(None, "started", f"collector {self.origin.collector} started", {"session": self.origin.session})
        parts = [
            asyncio.create_task(part, name=name)
            for name, part in (
                ("registry", self._follow_registry()),
                *(() if self._once else (("leases", self._follow_leases()),)),
                ("reports", self._registry.write_forever()),
                ("delivery", self.delivery.run()),
                ("clock", self._watch_clock()),
                ("summary", self._summarise()),
            )
        ]
        try:
            await self._until_stopped(parts)
            if self._once:
                await self.delivery.drain(_DRAIN_S)
        finally:
            await self._leave(parts)

    async def _until_stopped(self, parts: list["asyncio.Task[None]"]) -> None:
        assert self._stopping is not None  # noqa: S101  set by `run`
        stopped = asyncio.create_task(self._stopping.wait())
        done, _ = await asyncio.wait([stopped, *parts], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        stopped.cancel()

    def _member(self) -> Member:
        return Member(self.slot.identity, self.origin.session, self.origin.collector, self._only)

    def _renamed(self) -> Member:
        self.slot.draw_identity()
        return self._member()

    def _told(self) -> Mapping[str, Any]:
        """What the other processes of the platform may know of this one."""
        hosts = [host for _, host, _ in self._hosts.values()]
        return self.figures.as_dict(
            (host.condition.state for host in hosts),
            sum(host.connected for host in hosts),
            (series.tally for series in self.series.values()),
            self.delivery.outbox,
        )

    async def _follow_registry(self) -> None:
        async for wanted in self._registry.configurations():
            self._wanted = wanted
            await self._settle()
            if self._once:
                await asyncio.gather(*(task for _, _, task in self._hosts.values()))
                return

    async def _follow_leases(self) -> None:
        async for _ in self.leases.changes():
            for lease in self.leases.taken.values():
                self._unseen_since[lease.server_id] = lease
                if lease.holder not in (None, self.slot.identity):
                    text = f"{self.origin.collector} collects from it now: {lease.holder_name} is gone"
                    self.event(lease.server_id, "handed_over", text, {"from": lease.holder_name})
            self._tell_fenced()
            if self.leases.lost:
                self.event(None, "leases_lost", "nothing is collected: leases could not be renewed in time", {})
            await self._settle()

    def _tell_fenced(self) -> None:
        """Samples that were numbered and not sent: the hole in their numbers has a reason."""
        count, self._fenced = self.figures.fenced - self._fenced, self.figures.fenced
        if count:
            text = f"{count} outputs came after the leases on their hosts had ended, and were left out"
            self.event(None, "dropped", text, {"messages": count, "reason": "leases had ended"})

    def _running(self) -> list[tuple[int, HostCollection]]:
        return [(server_id, host) for server_id, (_, host, _) in self._hosts.items()]

    async def _settle(self) -> None:
        """Starts, restarts and ends the collection from hosts as the registry and the leases have it."""
        async with self._settling:
            wanted = (
                self._wanted
                if self._once
                else {
                    server_id: config for server_id, config in self._wanted.items() if server_id in self.leases.fences
                }
            )
            gone = [
                server_id for server_id, (_, host, _) in self._hosts.items() if not host.serves(wanted.get(server_id))
            ]
            ended = [self._hosts[server_id][:2] for server_id in gone if server_id not in self._wanted]
            await self._end_hosts(gone)
            for config, host in ended:
                self.state(config, "paused", "no longer collected from", host.condition.state, datetime.now(UTC))
            for server_id, config in wanted.items():
                if server_id not in self._hosts:
                    host = HostCollection(config, self._shared)
                    task = asyncio.create_task(self._guard(host), name=config.hostname)
                    self._hosts[server_id] = (config, host, task)
            log.info("collecting from %d servers", len(self._hosts))

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

    async def _watch_clock(self) -> None:
        """Tells when somebody has set this machine's clock: samples are stamped by it."""
        ahead = time.time() - time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            before, ahead = ahead, time.time() - time.monotonic()
            if abs(ahead - before) > _CLOCK_SET_S:
                way = "forward" if ahead > before else "back"
                text = f"the collector's clock was set {way} by {abs(ahead - before):.1f} s"
                log.warning("%s", text)
                self.event(None, "clock_set", text, {"seconds": round(ahead - before, 1)})

    async def _summarise(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_EVERY_S)
            states: dict[str, int] = {}
            for _, host, _ in self._hosts.values():
                states[host.condition.state] = states.get(host.condition.state, 0) + 1
            tallies = [series.tally for series in self.series.values()]
            log.info(
                "%s; %d samples, %d dead letters and %d like them, %d messages wait",
                ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no servers",
                sum(tally.samples for tally in tallies),
                sum(tally.dead_letters for tally in tallies),
                sum(tally.suppressed for tally in tallies),
                len(self.delivery.outbox),
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
        with suppress(TimeoutError, DatabaseUnavailable):  # told with a warning; leases end by themselves
            async with asyncio.timeout(_LEAVING_S / 2):
                await self._registry.write()
                await asyncio.get_running_loop().run_in_executor(self._lease_threads, self.leases.leave)
        await self.delivery.drain(_LEAVING_S / 2)
        self.delivery.close()
        self.slot.release()
        others = (self._delivery_threads, self._lease_threads, self._login_threads, self._command_threads)
        for threads in (self._database_threads, *others):
            threads.shutdown(wait=False, cancel_futures=threads is not self._command_threads)


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
