"""Which servers this collector may collect from: a lease on each, shared out among the collectors that are alive.

Each server goes to the collector with the highest hash of the two (rendezvous hashing), so that one that comes or goes
moves its own share and nothing else. The rows are `store.collectors`' business.

A collector that can't reach the database ends its work before its leases do, for others may have them then. One that
was alone goes on: nobody is there to take over, and PostgreSQL may just be restarting. If a new collector starts that
can reach the database when this one can't, both read the same hosts until this one hears of it.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from uuid import UUID

from hps_platform.errors import DatabaseUnavailable
from hps_platform.store import collectors
from hps_platform.store.collectors import Lease, Member
from hps_platform.store.database import Database

log = logging.getLogger(__name__)

LEASE_S = 8.0
"""Another collector has the servers of one that was killed this long, and a beat, and a login later."""
BEAT_S = 2.0
_MARGIN_S = 1.0
"""A collector ends its work so long before its leases end."""


def owner(server_id: int, members: Sequence[Member]) -> Member | None:
    """Who should have a server; the same wherever it is asked."""
    able = (member for member in members if member.only in (None, server_id))
    return max(able, key=lambda member: _weight(member.id, server_id), default=None)


@lru_cache(maxsize=65_536)
def _weight(collector: UUID, server_id: int) -> bytes:
    return hashlib.blake2b(collector.bytes + server_id.to_bytes(8, "big"), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class Share:
    """What came of a beat: fences by server; `surplus` of them belong to others; `taken` from whom."""

    fences: Mapping[int, int]
    surplus: frozenset[int]
    taken: Mapping[int, Lease]
    alone: bool
    until: float


@dataclass(slots=True)
class Leases:
    """For one event loop. `fences` are those of the servers to collect from now."""

    db: Database
    threads: Executor
    me: Member
    figures: Callable[[], Mapping[str, Any]]
    renamed: Callable[[], Member]
    """Called when another collector has the same id: gives a new one."""
    fences: Mapping[int, int] = field(default_factory=dict)
    taken: Mapping[int, Lease] = field(default_factory=dict)
    """The servers that the last beat brought, with the lease that they were under before."""
    alone: bool = True
    lost: bool = False
    """Whether leases ended because they could not be renewed in time."""
    _until: float = 0.0
    _given_up: Collection[int] = ()
    _registered: bool = False

    @property
    def valid(self) -> bool:
        """Whether what arrives now arrived under a lease."""
        return self.alone or time.monotonic() < self._until

    async def changes(self) -> AsyncIterator[None]:
        """Beats for ever; says whenever `fences` has changed. What is missing in it by then must end before going on.

        Whoever iterates ends the collection from servers that are gone, so that the next beat may give them back.
        """
        loop = asyncio.get_running_loop()
        while True:
            due = time.monotonic() + BEAT_S
            beat = loop.run_in_executor(self.threads, self._beat, dict(self.figures()), self._given_up)
            if await self._waited(beat):
                yield
            try:
                share = await beat
            except DatabaseUnavailable as error:
                log.debug("leases can't be renewed: %s", error)
                if await self._waited(asyncio.sleep(max(0.0, due - time.monotonic()))):
                    yield
                continue
            if share is None:
                self.me, self._registered = self.renamed(), False
                log.warning("another collector uses the same data directory, or a copy of it; going on as %s", self.me)
                share = Share({}, frozenset(), {}, self.alone, 0.0)
            if self._accept(share):
                yield
            if not self._given_up:
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _waited(self, work: Awaitable[Any]) -> bool:
        """Waits for work, or until leases end meanwhile: True when they did."""
        task = asyncio.ensure_future(work)
        left = self._until - time.monotonic() - _MARGIN_S
        if self.fences and not self.alone:
            done, _ = await asyncio.wait([task], timeout=max(0.0, left))
            if not done:
                log.error("leases could not be renewed in time: nothing is collected until they are")
                self.lost = True
                self.fences, self.taken, self._given_up = {}, {}, ()
                return True
        await asyncio.wait([task])
        return False

    def _accept(self, share: Share) -> bool:
        """Whether that changes what to collect from."""
        before = self.fences
        self.fences = {server_id: fence for server_id, fence in share.fences.items() if server_id not in share.surplus}
        self.taken, self.alone, self._until, self._given_up = share.taken, share.alone, share.until, share.surplus
        self.lost = False
        return self.fences != before

    def _beat(self, figures: Mapping[str, Any], given_up: Collection[int]) -> Share | None:
        """One exchange with the database; `None` when somebody else uses this id."""
        started = time.monotonic()
        with self.db.connection() as conn:
            collectors.lock(conn)
            if not self._registered:
                collectors.register(conn, self.me, LEASE_S)
                log.info("collector %s of session %s is registered", self.me.name, self.me.session)
            if not collectors.renew(conn, self.me, LEASE_S, figures):
                return None
            collectors.give_back(conn, self.me, given_up)
            members = collectors.alive(conn)
            leases = collectors.leases(conn)
            due = [lease for lease in leases if owner(lease.server_id, members) == self.me]
            held = {lease.server_id: lease.fence for lease in leases if lease.holder == self.me.id}
            free = {lease.server_id: lease for lease in due if not lease.valid}
            fences = held | collectors.take(conn, self.me, free)
        mine = {lease.server_id: lease for lease in due if lease.server_id in fences}
        taken = {server_id: lease for server_id, lease in mine.items() if server_id in free or not self._registered}
        self._registered = True
        return Share(fences, frozenset(fences.keys() - mine.keys()), taken, members == [self.me], started + LEASE_S)

    def leave(self) -> None:
        """Gives everything back; raises `DatabaseUnavailable`."""
        if self._registered:
            with self.db.connection() as conn:
                collectors.lock(conn)
                collectors.leave(conn, self.me)
