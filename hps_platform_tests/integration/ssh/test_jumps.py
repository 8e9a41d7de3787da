"""Jump hosts with OpenSSH itself: each hop's key is proven before anything is sent to it or through it."""

import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace

import paramiko
import pytest

from hps_platform.errors import AuthenticationFailed, HostKeyChanged, HostKeyUnknown, HostUnreachable, SshError
from hps_platform.ssh import Session, fingerprints
from hps_platform_tests.integration.ssh.hosts import OpenSsh, open_ssh

OTHER = "SHA256:" + "x" * 43


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpenSsh, OpenSsh, OpenSsh]]:
    """Two jump hosts and a server behind them."""
    with (
        open_ssh(tmp_path_factory.mktemp("first")) as first,
        open_ssh(tmp_path_factory.mktemp("second")) as second,
        open_ssh(tmp_path_factory.mktemp("last")) as last,
    ):
        yield first, second, last


def logins(server: OpenSsh) -> int:
    return server.log.count("Accepted publickey")


def test_commands_and_streams_run_through_two_jump_hosts(chain: tuple[OpenSsh, OpenSsh, OpenSsh]) -> None:
    first, second, last = chain
    before = [logins(server) for server in chain]
    session = Session.connect(replace(last.target(), via=(first.target(), second.target())))
    assert session.host_key.line == last.public_keys["ssh-ed25519"]
    assert session.run("yes | head -c 3000000").stdout == "y\n" * 1_500_000
    channel = session.stream("exec sh -c 'echo $SSH_CONNECTION; exec sleep 60'")
    woken, text = threading.Event(), ""
    channel.on_readable(woken.set)
    while "\n" not in text:
        assert woken.wait(10)
        woken.clear()
        text += channel.read_available()
    assert text.split()[3] == str(last.port)
    assert [logins(server) for server in chain] == [count + 1 for count in before]
    session.close()
    assert not session.alive
    assert not [thread for thread in threading.enumerate() if isinstance(thread, paramiko.Transport)]


def test_keys_of_a_host_behind_a_jump_host_are_shown_and_a_pin_of_any_type_fits(
    chain: tuple[OpenSsh, OpenSsh, OpenSsh],
) -> None:
    first, _, last = chain
    before = logins(first)
    target = replace(last.target(), via=(first.target(),))
    shown = fingerprints(target)
    assert {key.line for key in shown} == set(last.public_keys.values())
    assert logins(first) == before + 1
    for key in shown:
        Session.connect(replace(target, host_key=key.sha256)).close()


def test_each_hops_key_must_be_pinned_and_be_the_right_one(chain: tuple[OpenSsh, OpenSsh, OpenSsh]) -> None:
    first, second, last = chain
    before = [logins(server) for server in chain]
    with pytest.raises(HostKeyChanged, match=f"127.0.0.1:{first.port} shows"):
        Session.connect(replace(last.target(), via=(replace(first.target(), host_key=OTHER), second.target())))
    with pytest.raises(HostKeyUnknown, match=f"for 127.0.0.1:{first.port}"):
        Session.connect(replace(last.target(), via=(replace(first.target(), host_key=None),)))
    assert [logins(server) for server in chain] == before
    with pytest.raises(HostKeyChanged, match=f"127.0.0.1:{second.port} shows"):
        Session.connect(replace(last.target(), via=(first.target(), replace(second.target(), host_key=OTHER))))
    with pytest.raises(HostKeyChanged, match=f"127.0.0.1:{last.port} shows"):
        Session.connect(replace(last.target(), host_key=OTHER, via=(first.target(),)))
    assert [logins(server) for server in chain[1:]] == before[1:]
    stranger = replace(second.target(), username="nobody-here")
    with pytest.raises(AuthenticationFailed, match=f"127.0.0.1:{second.port} refuses nobody-here"):
        Session.connect(replace(last.target(), via=(first.target(), stranger)))
    assert not [thread for thread in threading.enumerate() if isinstance(thread, paramiko.Transport)]


def test_what_a_jump_host_can_not_or_may_not_reach_is_told(
    chain: tuple[OpenSsh, OpenSsh, OpenSsh], tmp_path_factory: pytest.TempPathFactory
) -> None:
    first, _, last = chain
    with pytest.raises(HostUnreachable, match=f"jump host 127.0.0.1:{first.port} can't reach 127.0.0.1:1"):
        Session.connect(replace(last.target(), port=1, via=(first.target(),)))
    with (
        open_ssh(tmp_path_factory.mktemp("strict"), more="AllowTcpForwarding no\n") as strict,
        pytest.raises(SshError, match="AllowTcpForwarding"),
    ):
        Session.connect(replace(last.target(), via=(strict.target(),)))


def test_a_jump_host_that_goes_away_ends_the_session_behind_it(
    chain: tuple[OpenSsh, OpenSsh, OpenSsh], tmp_path_factory: pytest.TempPathFactory
) -> None:
    last = chain[2]
    with open_ssh(tmp_path_factory.mktemp("fleeting")) as jump:
        session = Session.connect(replace(last.target(), via=(jump.target(),)))
        channel = session.stream("exec sleep 60")
        woken = threading.Event()
        channel.on_readable(woken.set)
        subprocess.run(["pkill", "-9", "-P", str(jump.process.pid)], check=True)
        assert woken.wait(10)
        assert channel.ended
        with pytest.raises(HostUnreachable):
            session.run("true")
        session.close()
