"""Several collectors at one registry: each host has one, and another one soon after that is gone."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from hps_platform.collector.leases import LEASE_S
from hps_platform.store import collectors, events
from hps_platform.store.database import Database
from hps_platform.store.servers import Server
from hps_platform.stream import Record
from hps_platform_tests.integration.collector.linux import linux
from hps_platform_tests.integration.collector.running import Platform, collector_process, eventually, running
from hps_platform_tests.integration.ssh.hosts import ScriptedHost, scripted_host

_HOSTS = 10


@pytest.fixture
def platform(migrated_dsn: str, kafka: str) -> Iterator[Platform]:
    with Database(migrated_dsn) as db:
        made = Platform(db, kafka)
        yield made
        made.close()


@dataclass
class Watched:
    server: Server
    host: ScriptedHost


@contextmanager
def fleet(platform: Platform) -> Iterator[list[Watched]]:
    with ExitStack() as stack:
        hosts = [stack.enter_context(scripted_host(linux())) for _ in range(_HOSTS)]
        yield [Watched(platform.add(f"lin{number}", host), host) for number, host in enumerate(hosts)]


def _holders(platform: Platform) -> dict[int, str]:
    """By server the name of the collector with a valid lease on it."""
    with platform.db.connection() as conn:
        return {lease.server_id: lease.holder_name for lease in collectors.leases(conn) if lease.valid}


def _shared_out(platform: Platform, count: int) -> dict[int, str]:
    """Waits until so many collectors hold all servers among them."""

    def look() -> dict[int, str]:
        holders = _holders(platform)
        return holders if len(holders) == _HOSTS and len(set(holders.values())) == count else {}

    return eventually(look)


def test_a_killed_collectors_hosts_and_messages_go_to_the_other_one(platform: Platform, tmp_path: Path) -> None:
    with (
        fleet(platform) as hosts,
        collector_process(platform, tmp_path / "first.log") as first,
        collector_process(platform, tmp_path / "second.log"),
    ):
        before = _shared_out(platform, 2)
        for watched in hosts:
            platform.wait_for_samples(watched.server, "vmstat", 2)
        names = {
            name: (tmp_path / "first.log").read_text().count(f"collector {name} starts")
            for name in set(before.values())
        }
        victim = next(name for name, said in names.items() if said)
        orphans = [watched for watched in hosts if before[watched.server.id] == victim]
        logins = {watched.server.id: watched.host.logins for watched in hosts}
        fences = {watched.server.id: _newest_fence(platform, watched.server) for watched in orphans}
        first.send_signal(signal.SIGKILL)
        killed_at = time.monotonic()
        first.wait(10)
        counts = {watched.server.id: len(platform.samples(watched.server, "vmstat")) for watched in orphans}
        for watched in orphans:
            left_s = killed_at + 15 - time.monotonic()
            platform.wait_for_samples(watched.server, "vmstat", counts[watched.server.id] + 2, within_s=left_s)
        others = [watched for watched in hosts if watched not in orphans]
        assert all(watched.host.logins == logins[watched.server.id] for watched in others)
        for watched in orphans:
            assert _newest_fence(platform, watched.server) == fences[watched.server.id] + 1
        with platform.db.connection() as conn:
            for watched in orphans:
                told = {event.kind for event in events.list_events(conn, server_id=watched.server.id)}
                assert {"handed_over", "gap"} <= told


def test_a_new_collector_takes_its_share_and_nothing_else_moves(platform: Platform, tmp_path: Path) -> None:
    with fleet(platform) as hosts, collector_process(platform, tmp_path / "first.log"):
        before = _shared_out(platform, 1)
        for watched in hosts:
            platform.wait_for_samples(watched.server, "vmstat", 2)
        with collector_process(platform, tmp_path / "second.log") as second:
            after = _shared_out(platform, 2)
            moved = [watched for watched in hosts if after[watched.server.id] != before[watched.server.id]]
            for watched in moved:
                count = len(platform.samples(watched.server, "vmstat"))
                platform.wait_for_samples(watched.server, "vmstat", count + 2)
            assert all(watched.host.logins == 1 + (watched in moved) for watched in hosts)
            second.terminate()
            assert second.wait(10) == 0
            # One that is stopped gives its hosts back at once.
            stopped_at = time.monotonic()
            _shared_out(platform, 1)
            assert time.monotonic() - stopped_at < LEASE_S / 2


def test_a_collector_that_was_frozen_finds_its_leases_gone_and_stays_away(platform: Platform, tmp_path: Path) -> None:
    with (
        fleet(platform) as hosts,
        collector_process(platform, tmp_path / "first.log") as first,
        collector_process(platform, tmp_path / "second.log"),
    ):
        _shared_out(platform, 2)
        first.send_signal(signal.SIGSTOP)
        holders = _shared_out(platform, 1)
        for watched in hosts:
            platform.wait_for_samples(watched.server, "vmstat", 5)
        newest = {watched.server.id: _newest_fence(platform, watched.server) for watched in hosts}
        first.send_signal(signal.SIGCONT)
        # Its share comes back to it, under fences of its own.
        _shared_out(platform, 2)
        for watched in hosts:
            count = len(platform.samples(watched.server, "vmstat"))
            platform.wait_for_samples(watched.server, "vmstat", count + 3)
            # What had been taken before the freeze may be sent after it, and is in its place by its time.
            taken = sorted(platform.samples(watched.server, "vmstat"), key=_taken_at)
            fences = [int(record.headers["fence"]) for record in taken]
            assert fences == sorted(fences), "somebody went on under a lease that had ended"
            assert fences[-1] >= newest[watched.server.id]
        assert set(holders) == {watched.server.id for watched in hosts}


def _taken_at(record: Record) -> int:
    moment: int = orjson.loads(record.value.split(b"\n", 1)[0])["timestamp"]
    return moment


def _newest_fence(platform: Platform, server: Server) -> int:
    return int(platform.samples(server, "vmstat")[-1].headers["fence"])


def test_a_copied_identity_is_noticed_and_given_up(platform: Platform) -> None:
    with fleet(platform), running(platform) as one:
        _shared_out(platform, 1)
        lock = next(platform.folder.glob("*/lock"))
        copy = platform.folder / "copy" / "0"
        copy.mkdir(parents=True)
        (copy / "lock").write_bytes(lock.read_bytes())
        with running(platform, folder=platform.folder / "copy") as other:
            _shared_out(platform, 1)
            eventually(lambda: one.slot.identity != other.slot.identity)
            eventually(lambda: len(one.leases.fences) + len(other.leases.fences) == _HOSTS)
            assert not set(one.leases.fences) & set(other.leases.fences)
