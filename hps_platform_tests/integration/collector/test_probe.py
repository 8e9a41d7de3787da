"""Trying a host once: how far it gets, and what it says stands in the way."""

import socket
from collections.abc import Iterator

import asyncssh
import pytest

from hps_platform.collector import test_connection as probe
from hps_platform.ssh import Target
from hps_platform_tests.integration.collector.linux import linux, printing
from hps_platform_tests.integration.ssh.hosts import OpenSsh, open_ssh, scripted_host


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSsh]:
    with open_ssh(tmp_path_factory.mktemp("sshd")) as server:
        yield server


def test_this_machine_works_from_end_to_end(sshd: OpenSsh) -> None:
    report = probe(sshd.target())
    assert report.message == "everything works"
    assert report.ok
    assert (report.host_key_state, report.operating_system) == ("pinned", "linux")
    assert set(report.families) == {"vmstat", "iostat", "netstat", "process", "filesystem", "memory"}
    assert report.clock_offset_s is not None
    assert abs(report.clock_offset_s) <= 1.0
    assert {key.sha256 for key in report.host_keys} >= {report.host_keys[0].sha256}
    assert len(report.host_keys) == 3


def test_without_a_pinned_key_it_ends_at_the_fingerprints() -> None:
    with scripted_host(linux()) as host:
        report = probe(host.target(host_key=None))
        assert host.logins == 0
    assert (report.reachable, report.host_key_state, report.login_ok) == (True, "not_pinned", False)
    assert [key.sha256 for key in report.host_keys] == [host.fingerprint]
    assert "no host key is pinned" in report.message


def test_a_changed_key_and_a_wrong_password_are_told_apart() -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519").get_fingerprint()
    with scripted_host(linux()) as host:
        changed = probe(host.target(host_key=stranger))
        refused = probe(host.target(password="hunter2"))
    assert (changed.host_key_state, changed.login_ok) == ("changed", False)
    assert (refused.host_key_state, refused.login_ok) == ("pinned", False)
    assert "hunter2" not in refused.message


def test_a_host_that_is_down_is_not_reachable() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        report = probe(Target("127.0.0.1", sock.getsockname()[1], "mon", host_key="SHA256:" + "a" * 43))
    assert (report.reachable, report.host_key_state) == (False, "unknown")
    assert "refused" in report.message


def test_each_family_says_what_stands_in_its_way() -> None:
    with scripted_host(linux(df=printing("Systemauslastung 1 2 3\n"))) as host:
        report = probe(
            host.target(),
            settings={"commands": {"process": "top -b"}, "disabled": ["memory"], "intervals": {"vmstat": 5}},
        )
    assert report.login_ok
    assert not report.ok
    assert {name for name, family in report.families.items() if not family.ok} == {"iostat", "filesystem", "process"}
    assert report.families["iostat"].message == "the command is missing"
    assert "top -b" in report.families["process"].message
    assert "vmstat -n 5" in report.families["vmstat"].command
    assert "memory" not in report.families
    assert report.clock_offset_s is None


def test_a_host_that_nobody_knows_says_so() -> None:
    with scripted_host(linux(uname=printing("Plan 9\n"))) as host:
        report = probe(host.target())
        known = probe(host.target(), operating_system="linux")
    assert report.login_ok
    assert report.operating_system is None
    assert "uname" in report.message
    assert known.operating_system == "linux"
    assert known.families["vmstat"].ok
