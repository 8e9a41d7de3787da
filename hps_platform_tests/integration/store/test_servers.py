"""The registry of servers and the collector's events in a real PostgreSQL."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from hps_platform.errors import Conflict, InvalidInput, NotFound, SettingsError
from hps_platform.store import collectors, events, logins, servers
from hps_platform.store.collectors import Member
from hps_platform.store.database import Database
from hps_platform.store.events import Event
from hps_platform.store.secrets import SecretBox

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
FINGERPRINT = "SHA256:" + "a" * 43


@pytest.fixture
def db(migrated_dsn: str) -> Iterator[Database]:
    with Database(migrated_dsn) as database:
        yield database


@pytest.fixture
def box() -> SecretBox:
    return SecretBox(Fernet.generate_key().decode())


def test_a_server_is_added_found_changed_and_removed(db: Database, box: SecretBox) -> None:
    with db.connection() as conn:
        added = servers.add_server(
            conn, box, {"hostname": "aix1", "ip_address": "10.0.0.1", "ssh_username": "mon", "tags": ["prod"]}
        )
    assert (added.address, added.ssh_port, added.status, added.revision) == ("10.0.0.1", 22, "pending_host_key", 1)
    with db.connection() as conn:
        assert servers.find_server(conn, "AIX1") == added
        changed = servers.update_server(
            conn, box, added.id, {"host_key": FINGERPRINT, "settings": {"intervals": {"vmstat": 5}}}
        )
        assert (changed.status, changed.revision, changed.tags) == ("connecting", 2, ["prod"])
        assert changed.settings == {"intervals": {"vmstat": 5}}
        assert servers.update_server(conn, box, added.id, {"is_active": False}).status == "paused"
        assert servers.list_servers(conn, active_only=True) == []
        servers.remove_server(conn, added.id)
        with pytest.raises(NotFound):
            servers.get_server(conn, added.id)
        with pytest.raises(NotFound):
            servers.remove_server(conn, added.id)


def test_a_taken_hostname_is_a_conflict_and_leaves_the_transaction_usable(db: Database, box: SecretBox) -> None:
    with db.connection() as conn:
        servers.add_server(conn, box, {"hostname": "aix1", "ssh_username": "mon"})
        with pytest.raises(Conflict, match="'AIX1' already"):
            servers.add_server(conn, box, {"hostname": "AIX1", "ssh_username": "mon"})
        other = servers.add_server(conn, box, {"hostname": "aix2", "ssh_username": "mon"})
        with pytest.raises(Conflict):
            servers.update_server(conn, box, other.id, {"hostname": "aix1"})
    with db.connection() as conn:
        assert [server.hostname for server in servers.list_servers(conn)] == ["aix1", "aix2"]


def test_secrets_are_stored_encrypted_and_can_be_taken_away(db: Database, box: SecretBox) -> None:
    with db.connection() as conn:
        server = servers.add_server(
            conn, box, {"hostname": "aix1", "ssh_username": "mon", "ssh_password": SecretStr("hunter2")}
        )
        assert server.has_password
        row = conn.execute("SELECT servers::text FROM servers").fetchone()
        assert row is not None
        assert "hunter2" not in row[0]
        found = logins.login_to(conn, box, server).credentials
        assert found.password is not None
        assert found.password.get_secret_value() == "hunter2"
        assert "hunter2" not in repr(found)
        stranger = SecretBox(Fernet.generate_key().decode())
        assert isinstance(logins.logins_to(conn, stranger, [server])[server.id], SettingsError)
        assert not servers.update_server(conn, box, server.id, {"ssh_password": ""}).has_password
        with pytest.raises(InvalidInput, match="private key"):
            servers.update_server(conn, box, server.id, {"ssh_private_key": "nonsense"})


def test_a_change_wakes_whoever_watches(db: Database, box: SecretBox) -> None:
    watch = servers.Watch(db.dsn)
    with db.connection() as conn:
        before = servers.registry_version(conn)

    def add() -> None:
        with db.connection() as conn:
            servers.add_server(conn, box, {"hostname": "aix1", "ssh_username": "mon"})

    thread = threading.Timer(0.2, add)
    thread.start()
    started = datetime.now(UTC)
    assert watch.wait(10) != before
    assert datetime.now(UTC) - started < timedelta(seconds=5)
    thread.join()
    watch.close()


def test_state_and_last_seen_are_the_collectors_word_and_no_change_of_the_registry(
    db: Database, box: SecretBox
) -> None:
    with db.connection() as conn:
        server = servers.add_server(conn, box, {"hostname": "aix1", "ssh_username": "mon", "host_key": FINGERPRINT})
        before = servers.registry_version(conn)
        servers.set_state(conn, server.id, "up", "", NOW)
        servers.set_state(conn, server.id, "up", "still", NOW + timedelta(hours=1))
        facts = {"operating_system": "aix", "version": "7.2", "architecture": "powerpc", "cpus": 4}
        assert servers.recognised(conn, server.id, facts, 1.5) == ({}, None)
        assert servers.recognised(conn, server.id, {**facts, "cpus": 8}, None) == (facts, 1.5)
        servers.planned(conn, {server.id: [{"family": "vmstat", "command": "vmstat 2"}]})
        servers.seen(conn, {server.id: NOW})
        servers.seen(conn, {server.id: NOW - timedelta(hours=1)})
        after = servers.get_server(conn, server.id)
        assert servers.registry_version(conn) == before
    assert (after.status, after.status_message, after.state_since) == ("up", "still", NOW)
    assert (after.operating_system, after.os_version, after.last_seen_at) == ("aix", "7.2", NOW)
    assert (after.facts["cpus"], after.clock_offset_s) == (8, 1.5)
    assert after.plan == [{"family": "vmstat", "command": "vmstat 2"}]


def test_states_and_gaps_of_a_range_begin_with_what_held_at_its_start(db: Database) -> None:
    def state(hours: float, name: str) -> Event:
        return Event(1, NOW + timedelta(hours=hours), "state", name, {"state": name})

    gap = {"from": (NOW - timedelta(hours=1)).isoformat(), "until": (NOW + timedelta(hours=1)).isoformat()}
    with db.connection() as conn:
        events.record(conn, [state(-3, "connecting"), state(-2, "up"), state(1, "unreachable"), state(9, "up")])
        events.record(conn, [Event(2, NOW, "state", "paused", {"state": "paused"})])
        events.record(conn, [Event(1, NOW + timedelta(hours=1), "gap", "", gap)])
        found = events.states(conn, 1, NOW, NOW + timedelta(hours=5))
        gaps = events.gaps(conn, 1, NOW, NOW + timedelta(hours=5))
    assert [(at - NOW, name) for at, name in found] == [
        (timedelta(hours=-2), "up"),
        (timedelta(hours=1), "unreachable"),
    ]
    assert gaps == [(NOW - timedelta(hours=1), NOW + timedelta(hours=1))]


def test_pruned_events_leave_the_state_that_held(db: Database) -> None:
    old = [
        Event(server, NOW - timedelta(days=days), kind, f"{kind} {days}", {"state": "up"})
        for server in (1, 2)
        for days, kind in ((100, "state"), (95, "state"), (94, "gap"), (1, "state"))
    ]
    with db.connection() as conn:
        events.record(conn, [*old, Event(None, NOW - timedelta(days=99), "started", "collector")])
        assert events.prune(conn, NOW - timedelta(days=90)) == 5
        left = [event.message for event in events.list_events(conn, server_id=1)]
    assert left == ["state 1", "state 95"]


def test_a_lease_is_valid_as_long_as_its_collector_says_that_it_is_alive(db: Database, box: SecretBox) -> None:
    one, two = (Member(uuid4(), f"session {name}", name) for name in ("one", "two"))
    with db.connection() as conn:
        server = servers.add_server(conn, box, {"hostname": "aix1", "ssh_username": "mon"}).id
        servers.add_server(conn, box, {"hostname": "off", "ssh_username": "mon", "is_active": False})
        for member in (one, two):
            collectors.register(conn, member, 60)
        assert collectors.take(conn, one, [server]) == {server: 1}
        (lease,) = collectors.leases(conn)
        assert (lease.holder, lease.holder_name, lease.fence, lease.valid) == (one.id, "one", 1, True)
        collectors.give_back(conn, two, [server])
        assert collectors.leases(conn) == [lease], "nobody gives back what another one has"
        assert collectors.renew(conn, one, -1, {"states": {"up": 1}})
        assert [member.name for member in collectors.alive(conn)] == ["two"]
        assert not collectors.leases(conn)[0].valid
        assert collectors.take(conn, two, [server]) == {server: 2}
        again = replace(two, session="another session")
        collectors.register(conn, again, 60)
        assert not collectors.renew(conn, two, 60, {})
        (lease,) = collectors.leases(conn)
        assert (lease.holder, lease.fence, lease.valid) == (two.id, 3, True)
        collectors.leave(conn, two)
        assert collectors.leases(conn)[0].valid, "the session that is over has nothing to give back"
        collectors.leave(conn, again)
        assert collectors.leases(conn)[0].holder is None
        shown = {presence.name: (presence.alive, presence.figures) for presence in collectors.presences(conn)}
    assert shown == {"one": (False, {"states": {"up": 1}}), "two": (False, {})}


def test_events_are_listed_newest_first(db: Database) -> None:
    written = [Event(1, NOW, "state", "up", {"from": "connecting"}), Event(None, NOW, "started", "collector")]
    with db.connection() as conn:
        events.record(conn, written)
        events.record(conn, [Event(1, NOW + timedelta(minutes=1), "state", "unreachable")])
        found = events.list_events(conn, server_id=1)
        assert [event.message for event in found] == ["unreachable", "up"]
        assert found[1].details == {"from": "connecting"}
        assert len(events.list_events(conn, end=NOW + timedelta(seconds=1))) == 2
