"""The collector's side of the registry: which hosts to collect from, and what it reports about them.

Reads on a change or within seconds of it, writes in batches; both in threads, so that a database that is slow or away
never holds up collecting. What is reported meanwhile waits, bounded.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from hps_platform.dialects import Host
from hps_platform.errors import DatabaseUnavailable, HpsError
from hps_platform.ssh import Target
from hps_platform.store import events, logins, servers
from hps_platform.store.database import Connection, Database
from hps_platform.store.events import Event
from hps_platform.store.logins import Credentials, Login
from hps_platform.store.secrets import SecretBox
from hps_platform.store.servers import Server

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 60.0
"""Unless a server's settings say otherwise."""

_LOOK_EVERY_S = 3.0
_AGAIN_AFTER_S = 2.0
_SEEN_EVERY_S = 5.0
_EVENTS_KEPT = 20_000
_CLOCK_MOVED_S = 2.0
"""The host tells whole seconds."""


@dataclass(frozen=True, slots=True)
class HostConfig:
    """All that collecting from a host depends on. Configurations of two revisions that are equal go on undisturbed."""

    server_id: int
    hostname: str
    target: Target
    operating_system: str | None
    intervals: Mapping[str, float]
    commands: Mapping[str, str]
    disabled: frozenset[str]
    revision: int = field(compare=False)
    fault: str = ""
    """Why nobody can log in with what is stored: secrets that no key opens, jump hosts that lead nowhere."""
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    command_timeout_s: float = COMMAND_TIMEOUT_S


def configured(server: Server, login: Login | HpsError) -> HostConfig:
    timeouts = server.settings.get("timeouts", {})
    return HostConfig(
        server_id=server.id,
        hostname=server.hostname,
        target=target_of(server, login if isinstance(login, Login) else Login()),
        operating_system=server.operating_system,
        intervals=server.settings.get("intervals", {}),
        commands=server.settings.get("commands", {}),
        disabled=frozenset(server.settings.get("disabled", ())),
        revision=server.revision,
        fault=str(login) if isinstance(login, HpsError) else "",
        connect_timeout_s=timeouts.get("connect", CONNECT_TIMEOUT_S),
        command_timeout_s=timeouts.get("command", COMMAND_TIMEOUT_S),
    )


def target_of(server: Server, login: Login) -> Target:
    """Where, how and through which jump hosts to log in to a registered server."""
    way = tuple(
        _target(hop.credentials, hop.name, hop.host, hop.port, hop.username, hop.host_key, hop.legacy)
        for hop in login.hops
    )
    target = _target(
        login.credentials,
        server.hostname,
        server.address,
        server.ssh_port,
        server.ssh_username,
        server.host_key,
        server.settings.get("legacy_ssh", False),
    )
    return replace(target, via=way)


def _target(
    credentials: Credentials, name: str, host: str, port: int, username: str, host_key: str | None, legacy: bool
) -> Target:
    return Target(
        host=host,
        port=port,
        username=username,
        password=credentials.password,
        private_key=credentials.private_key,
        passphrase=credentials.passphrase,
        certificate=credentials.certificate,
        host_key=host_key,
        legacy=legacy,
        name=name,
    )


@dataclass(slots=True)
class _Pending:
    """Reports that are not in the database yet; states and sightings only in their last version."""

    states: dict[int, tuple[str, str, datetime]] = field(default_factory=dict)
    recognised: dict[int, tuple[str, Host, float | None]] = field(default_factory=dict)
    plans: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=_EVENTS_KEPT))
    seen: dict[int, int] = field(default_factory=dict)  # epoch milliseconds

    def urgent(self) -> bool:
        return bool(self.states or self.recognised or self.plans or self.events)

    def before(self, newer: "_Pending") -> "_Pending":
        """This one, whose writing failed, with what was reported meanwhile."""
        return _Pending(
            self.states | newer.states,
            self.recognised | newer.recognised,
            self.plans | newer.plans,
            deque([*self.events, *newer.events], maxlen=_EVENTS_KEPT),
            self.seen | newer.seen,
        )


class Registry:
    """Methods that don't await only note down. Use it from one event loop."""

    def __init__(self, db: Database, box: SecretBox, threads: Executor, *, only: int | None = None) -> None:
        self._db = db
        self._box = box
        self._threads = threads
        self._only = only
        self._pending = _Pending()
        self._known: dict[int, HostConfig] = {}
        self._away = False

    async def configurations(self) -> AsyncIterator[Mapping[int, HostConfig]]:
        """The active servers, first as they are and then after each change. Waits out an absent database."""
        loop = asyncio.get_running_loop()
        watch: servers.Watch | None = None
        version: tuple[int, int, int] | None = None
        while True:
            try:
                if watch is None:
                    watch = await loop.run_in_executor(self._threads, servers.Watch, self._db.dsn)
                current = await loop.run_in_executor(
                    self._threads, watch.wait, 0.0 if version is None else _LOOK_EVERY_S
                )
                if current != version:
                    self._known = await loop.run_in_executor(self._threads, self._read)
                    version = current
                    yield self._known
            except DatabaseUnavailable as error:
                if watch is not None:
                    log.warning("the registry can't be read: %s", error)
                    watch.close()
                    watch = None
                await asyncio.sleep(_AGAIN_AFTER_S)

    def _read(self) -> dict[int, HostConfig]:
        with self._db.connection() as conn:
            rows = servers.list_servers(conn, active_only=True)
            if self._only is not None:
                rows = [row for row in rows if row.id == self._only]
            changed = [row for row in rows if self._revision(row.id) != row.revision]
            found = logins.logins_to(conn, self._box, changed)
        return {row.id: configured(row, found[row.id]) if row.id in found else self._known[row.id] for row in rows}

    def _revision(self, server_id: int) -> int:
        known = self._known.get(server_id)
        # Secrets that no key opened are tried again whenever anything changes.
        return known.revision if known is not None and not known.fault else 0

    def note_state(self, server_id: int, state: str, message: str, at: datetime) -> None:
        self._pending.states[server_id] = (state, message, at)

    def note_recognised(self, config: HostConfig, host: Host, clock_offset_s: float | None) -> None:
        self._pending.recognised[config.server_id] = (config.hostname, host, clock_offset_s)

    def note_plan(self, server_id: int, plan: list[dict[str, Any]]) -> None:
        self._pending.plans[server_id] = plan

    def note_event(self, server_id: int | None, kind: str, message: str, details: Mapping[str, Any]) -> None:
        self._pending.events.append(Event(server_id, datetime.now(UTC), kind, message, details))

    def note_seen(self, server_id: int, epoch_ms: int) -> None:
        self._pending.seen[server_id] = epoch_ms

    async def write_forever(self) -> None:
        """Writes what was noted: states and events within a second, sightings every few seconds."""
        since_seen = 0.0
        while True:
            await asyncio.sleep(1.0)
            since_seen += 1.0
            if self._pending.urgent() or (self._pending.seen and since_seen >= _SEEN_EVERY_S):
                since_seen = 0.0
                if not await self.write():
                    await asyncio.sleep(_AGAIN_AFTER_S)

    async def write(self) -> bool:
        """Writes all that was noted, in one transaction; whether the database took it."""
        batch, self._pending = self._pending, _Pending()
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._write, batch)
        except DatabaseUnavailable as error:
            if not self._away:
                log.warning("states and events wait for the database: %s", error)
            self._away = True
            self._pending = batch.before(self._pending)
            return False
        self._away = False
        return True

    def _write(self, batch: _Pending) -> None:
        with self._db.connection() as conn:
            for server_id, (state, message, at) in batch.states.items():
                servers.set_state(conn, server_id, state, message, at)
            for server_id, (hostname, host, clock_offset_s) in batch.recognised.items():
                _write_recognised(conn, server_id, hostname, host, clock_offset_s)
            servers.planned(conn, batch.plans)
            events.record(conn, list(batch.events))
            if batch.seen:
                moments = {
                    server_id: datetime.fromtimestamp(epoch_ms / 1000, UTC)
                    for server_id, epoch_ms in batch.seen.items()
                }
                servers.seen(conn, moments)


def _write_recognised(
    conn: Connection, server_id: int, hostname: str, host: Host, clock_offset_s: float | None
) -> None:
    """Stores what a host said of itself; what is new, or has changed, is an event."""
    facts = {
        "operating_system": host.operating_system,
        "version": host.version,
        "architecture": host.architecture,
        "hostname": host.hostname,
        "cpus": host.cpus,
        "tools": sorted(host.tools),
    }
    before, offset_before = servers.recognised(conn, server_id, facts, clock_offset_s)
    now = datetime.now(UTC)
    if not before:
        text = f"{hostname} is {host.operating_system} {host.version} on {host.architecture}"
        events.record(conn, [Event(server_id, now, "recognised", text, facts)])
    elif changed := [name for name in facts if before.get(name) != facts[name]]:
        text = f"{hostname} has changed: " + "; ".join(
            f"{name} was {_shown(before.get(name))} and is {_shown(facts[name])}" for name in changed
        )
        details = {name: {"before": before.get(name), "after": facts[name]} for name in changed}
        events.record(conn, [Event(server_id, now, "changed", text, details)])
    if clock_offset_s is not None and abs(clock_offset_s - (offset_before or 0.0)) > _CLOCK_MOVED_S:
        text = f"the clock of {hostname} is {clock_offset_s:+.1f} s against the collector's"
        moved = {"before_s": offset_before, "offset_s": clock_offset_s}
        events.record(conn, [Event(server_id, now, "clock_offset", text, moved)])


def _shown(fact: Any) -> str:
    return " ".join(fact) or "nothing" if isinstance(fact, list) else str(fact)
