"""The registry of servers and the collector's events in a real PostgreSQL."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from hps_platform.errors import Conflict, InvalidInput, NotFound, SettingsError
from hps_platform.store import events, servers
from hps_platform.store.database import Database, migrate
from hps_platform.store.events import Event
from hps_platform.store.secrets import SecretBox

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
FINGERPRINT = "SHA256:" + "a" * 43


@pytest.fixture
def db(postgres_dsn: str) -> Iterator[Database]:
    migrate(postgres_dsn)
    with Database(postgres_dsn) as database:
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
        found = servers.credentials(conn, box, server.id)
        assert found.password is not None
        assert found.password.get_secret_value() == "hunter2"
        assert "hunter2" not in repr(found)
        stranger = SecretBox(Fernet.generate_key().decode())
        assert isinstance(servers.credentials_of(conn, stranger, [server.id])[server.id], SettingsError)
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
        servers.recognised(conn, server.id, operating_system="aix", os_version="7.2", architecture="powerpc")
        servers.seen(conn, {server.id: NOW})
        servers.seen(conn, {server.id: NOW - timedelta(hours=1)})
        after = servers.get_server(conn, server.id)
        assert servers.registry_version(conn) == before
    assert (after.status, after.status_message, after.state_since) == ("up", "still", NOW)
    assert (after.operating_system, after.os_version, after.last_seen_at) == ("aix", "7.2", NOW)


def test_events_are_listed_newest_first(db: Database) -> None:
    written = [Event(1, NOW, "state", "up", {"from": "connecting"}), Event(None, NOW, "started", "collector")]
    with db.connection() as conn:
        events.record(conn, written)
        events.record(conn, [Event(1, NOW + timedelta(minutes=1), "state", "unreachable")])
        found = events.list_events(conn, server_id=1)
        assert [event.message for event in found] == ["unreachable", "up"]
        assert found[1].details == {"from": "connecting"}
        assert len(events.list_events(conn, end=NOW + timedelta(seconds=1))) == 2
