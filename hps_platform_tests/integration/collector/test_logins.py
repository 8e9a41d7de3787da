"""How the collector logs in: through jump hosts of the registry, with changes followed, and across a change of keys."""

from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.fernet import Fernet

from hps_platform.collector import target_of
from hps_platform.collector import test_connection as probe
from hps_platform.store import logins, servers
from hps_platform.store.database import Database
from hps_platform.store.secrets import SecretBox
from hps_platform.store.servers import Server
from hps_platform_tests.integration.collector.linux import linux
from hps_platform_tests.integration.collector.running import Platform, eventually, running
from hps_platform_tests.integration.ssh.hosts import ACCOUNT, OpenSsh, open_ssh, scripted_host

FOLLOWED_S = 5.0


@pytest.fixture
def platform(migrated_dsn: str, kafka: str) -> Iterator[Platform]:
    with Database(migrated_dsn) as db:
        made = Platform(db, kafka)
        yield made
        made.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpenSsh, OpenSsh]]:
    """A jump host and a server behind it."""
    with open_ssh(tmp_path_factory.mktemp("gate")) as gate, open_ssh(tmp_path_factory.mktemp("inside")) as inside:
        yield gate, inside


def fields(name: str, server: OpenSsh) -> dict[str, Any]:
    return {
        "hostname": name,
        "ip_address": "127.0.0.1",
        "ssh_port": server.port,
        "ssh_username": ACCOUNT,
        "ssh_private_key": server.client_key,
        "host_key": server.public_keys["ssh-ed25519"],
    }


def accepted(server: OpenSsh) -> int:
    return server.log.count("Accepted publickey")


def test_a_way_through_a_jump_host_is_taken_and_its_changes_are_followed(
    platform: Platform, pair: tuple[OpenSsh, OpenSsh]
) -> None:
    gate, inside = pair
    jump = platform.add_fields(**fields("gate", gate), is_active=False)
    server = platform.add_fields(**fields("inside", inside), settings={"jump": ["gate"]})
    with running(platform):
        platform.wait_for_samples(server, "vmstat", 2)
        assert (accepted(gate), accepted(inside)) == (1, 1)

        platform.update(jump, host_key="SHA256:" + "x" * 43)
        state = platform.wait_for_state(server, "key_changed", within_s=FOLLOWED_S)
        assert f"127.0.0.1:{gate.port}" in state.state_message

        platform.update(server, settings={})
        eventually(lambda: accepted(inside) == 2, within_s=FOLLOWED_S)
        platform.wait_for_state(server, "up")
        assert accepted(gate) == 1

        address = f"{ACCOUNT}@127.0.0.1:{gate.port}"
        platform.update(
            server,
            settings={"jump": [{"address": address, "host_key": gate.public_keys["ssh-ed25519"]}]},
            ssh_jump_credentials={address: {"private_key": gate.client_key}},
        )
        eventually(lambda: (accepted(gate), accepted(inside)) == (2, 3), within_s=FOLLOWED_S)


def test_a_person_who_tries_a_server_goes_the_same_way(platform: Platform, pair: tuple[OpenSsh, OpenSsh]) -> None:
    gate, inside = pair
    platform.add_fields(**{**fields("gate", gate), "host_key": None})
    server = platform.add_fields(**fields("inside", inside), settings={"jump": ["gate"]})

    def tried(of: Server) -> Any:
        with platform.db.connection() as conn:
            return probe(target_of(of, logins.login_to(conn, platform.box, of)), settings=of.settings)

    report = tried(server)
    assert not report.reachable
    assert f"no host key is pinned for 127.0.0.1:{gate.port}" in report.message
    with platform.db.connection() as conn:
        found = servers.find_server(conn, "gate")
        servers.update_server(conn, platform.box, found.id, {"host_key": gate.public_keys["ssh-rsa"]})
    before = accepted(gate)
    report = tried(server)
    assert report.login_ok, report.message
    assert {key.line for key in report.host_keys} == set(inside.public_keys.values())
    assert accepted(gate) > before


def test_a_change_of_keys_goes_unnoticed_by_a_running_collector(platform: Platform) -> None:
    with scripted_host(linux()) as host:
        server = platform.add("lin1", host)
        with running(platform):
            before = len(platform.wait_for_samples(server, "vmstat", 2))
            both = SecretBox(f"{Fernet.generate_key().decode()},{platform.key}")
            with platform.db.connection() as conn:
                assert logins.rotate(conn, both) == (1, 1)
            platform.wait_for_samples(server, "vmstat", before + 10)
            assert host.logins == 1


def test_time_outs_of_a_server_are_its_own(platform: Platform) -> None:
    with scripted_host(linux()) as host:
        hanging = platform.add("lin1", host, settings={"timeouts": {"command": 1}})

        async def never(command: str, terminal: Any) -> int:
            await terminal.pause(600)
            return 0

        host.answer = never
        with running(platform):
            state = platform.wait_for_state(hanging, "unreachable", within_s=10)
    assert "after 1 s" in state.state_message
