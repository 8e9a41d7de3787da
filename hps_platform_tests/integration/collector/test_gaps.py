"""What interrupts collecting on the host's side: each gap is visible with its reason, and collecting goes on."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hps_platform.store import events
from hps_platform.store.database import Database
from hps_platform.store.servers import Server
from hps_platform_tests.integration.collector.linux import linux
from hps_platform_tests.integration.collector.running import Platform, eventually, running
from hps_platform_tests.integration.ssh.hosts import OpenSsh, open_ssh, scripted_host
from hps_platform_tests.integration.ssh.proxy import proxied

_BEHIND_ONE_ADDRESS = 60


@pytest.fixture
def platform(migrated_dsn: str, kafka: str) -> Iterator[Platform]:
    with Database(migrated_dsn) as db:
        made = Platform(db, kafka)
        yield made
        made.close()


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[OpenSsh]:
    folder = tmp_path / "sshd"
    folder.mkdir()
    with open_ssh(folder) as server:
        yield server


def _add(platform: Platform, sshd: OpenSsh, name: str, **fields: object) -> Server:
    target = sshd.target()
    assert target.private_key
    return platform.add_fields(
        hostname=name,
        ip_address="127.0.0.1",
        ssh_port=sshd.port,
        ssh_username=target.username,
        ssh_private_key=target.private_key,
        host_key=target.host_key,
        **fields,
    )


def _told(platform: Platform, server: Server, kind: str) -> list[events.Event]:
    with platform.db.connection() as conn:
        return [event for event in events.list_events(conn, server_id=server.id, limit=1000) if event.kind == kind]


def _states(platform: Platform, server: Server) -> list[str]:
    """Oldest first."""
    return [event.details["state"] for event in reversed(_told(platform, server, "state"))]


def _more(platform: Platform, server: Server) -> None:
    platform.wait_for_samples(server, "vmstat", len(platform.samples(server, "vmstat")) + 3, within_s=40)


def test_a_network_that_stalls_is_noticed_and_collecting_goes_on_when_it_is_back(platform: Platform) -> None:
    with scripted_host(linux()) as host, proxied(host.port) as proxy, scripted_host(linux()) as other_host:
        server = platform.add("lin1", host, ssh_port=proxy.port)
        other = platform.add("lin2", other_host)
        with running(platform):
            platform.wait_for_samples(server, "vmstat", 3)
            platform.wait_for_samples(other, "vmstat", 3)
            proxy.stall()
            state = platform.wait_for_state(server, "unreachable", within_s=40)
            assert "said nothing for" in state.state_message
            _more(platform, other)
            proxy.pass_on()
            _more(platform, server)
            eventually(lambda: _states(platform, server)[-1] != "unreachable")
        assert other_host.logins == 1
        numbers = [int(record.headers["seq"]) for record in platform.samples(server, "vmstat")]
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_command_that_is_killed_on_the_host_is_started_again_and_the_gap_has_its_reason(
    platform: Platform, sshd: OpenSsh
) -> None:
    server = _add(platform, sshd, "here")
    with running(platform):
        platform.wait_for_samples(server, "vmstat", 2)
        vmstat = next(
            child
            for child in psutil.Process(sshd.process.pid).children(recursive=True)
            if child.cmdline() and Path(child.cmdline()[0]).name == "vmstat"
        )
        vmstat.send_signal(signal.SIGKILL)
        _more(platform, server)
        (event,) = eventually(lambda: _told(platform, server, "command_ended"))
    assert (event.details["family"], "vmstat" in event.message) == ("vmstat", True)
    accepted = (sshd.folder / "sshd.log").read_text().count("Accepted publickey")
    assert accepted == 1


def test_a_killed_sshd_process_is_an_outage_that_ends_with_a_new_login(platform: Platform, sshd: OpenSsh) -> None:
    server = _add(platform, sshd, "here")
    with running(platform):
        platform.wait_for_samples(server, "vmstat", 2)
        for child in psutil.Process(sshd.process.pid).children():
            child.send_signal(signal.SIGKILL)
        _more(platform, server)
        eventually(lambda: "unreachable" in _states(platform, server))
        eventually(lambda: _states(platform, server)[-1] in ("up", "degraded"))


def test_sixty_hosts_behind_one_address_are_logged_in_to_without_a_refusal(platform: Platform, sshd: OpenSsh) -> None:
    quiet = {"disabled": ["iostat", "process", "netstat", "memory"], "intervals": {"vmstat": 10}}
    hosts = [_add(platform, sshd, f"behind{number}", settings=quiet) for number in range(_BEHIND_ONE_ADDRESS)]
    with running(platform):
        for server in hosts:
            platform.wait_for_samples(server, "filesystem", 1, within_s=90)
    log = (sshd.folder / "sshd.log").read_text()
    assert log.count("Accepted publickey") == _BEHIND_ONE_ADDRESS
    assert "MaxStartups" not in log
    assert "drop connection" not in log
    for server in hosts:
        assert "unreachable" not in _states(platform, server)
