"""Sessions against real servers: OpenSSH of this machine, and a scripted host for what it can't be made to do."""

import logging
import socket
import threading
import time
from collections.abc import Iterator

import asyncssh
import paramiko
import pytest
from pydantic import SecretStr

from hps_platform.errors import (
    AuthenticationFailed,
    CommandTimeout,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    InvalidInput,
)
from hps_platform.ssh import Session, Target, fingerprints
from hps_platform_tests.integration.ssh.hosts import PASSWORD, OpenSsh, Terminal, open_ssh, scripted_host


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSsh]:
    with open_ssh(tmp_path_factory.mktemp("sshd")) as server:
        yield server


async def greet(command: str, terminal: Terminal) -> int:
    terminal.print(f"ran {command}\n")
    return 0


def test_commands_run_with_output_errors_and_exit_code_apart(sshd: OpenSsh) -> None:
    session = Session.connect(sshd.target())
    result = session.run("echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)
    assert session.run("printf 'no newline'").stdout == "no newline"
    assert session.run("yes | head -c 3000000 | wc -c").stdout.strip() == "3000000"
    assert len(session.run("yes | head -c 3000000").stdout) == 3_000_000
    session.close()
    assert not session.alive
    with pytest.raises(HostUnreachable):
        session.run("true")


def test_a_command_without_end_times_out_and_the_session_lives_on(sshd: OpenSsh) -> None:
    session = Session.connect(sshd.target())
    started = time.monotonic()
    with pytest.raises(CommandTimeout, match="sleep 30"):
        session.run("sleep 30", timeout_s=0.5)
    assert time.monotonic() - started < 3
    assert session.run("echo still here").stdout == "still here\n"
    session.close()


def test_a_stream_wakes_its_reader_line_by_line(sshd: OpenSsh) -> None:
    session = Session.connect(sshd.target())
    woken, lines, times = threading.Event(), "", []
    channel = session.stream("exec sh -c 'for i in 1 2 3; do echo $i; sleep 0.3; done'")
    channel.on_readable(woken.set)
    while not channel.ended:
        assert woken.wait(10)
        woken.clear()
        if text := channel.read_available():
            lines += text
            times.append(time.monotonic())
    assert lines == "1\n2\n3\n"
    assert times[-1] - times[0] > 0.4
    assert channel.exit_code == 0
    session.close()


def test_every_key_of_a_host_is_shown_and_each_can_be_pinned(sshd: OpenSsh) -> None:
    shown = fingerprints(sshd.target())
    assert {key.line for key in shown} == set(sshd.public_keys.values())
    for key in shown:
        for pin in (key.line, key.sha256):
            session = Session.connect(sshd.target(host_key=pin))
            assert session.host_key.line == key.line
            session.close()


def test_without_a_pinned_key_nobody_logs_in() -> None:
    with scripted_host(greet) as host, pytest.raises(HostKeyUnknown, match="SHA256:") as refusal:
        Session.connect(host.target(host_key=None))
    assert host.fingerprint in str(refusal.value)
    assert host.logins == 0


@pytest.mark.parametrize("as_fingerprint", [False, True])
def test_another_key_than_the_pinned_one_is_refused_before_any_secret_is_sent(as_fingerprint: bool) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    pin = other.get_fingerprint() if as_fingerprint else " ".join(other.export_public_key().decode().split()[:2])
    with scripted_host(greet) as host, pytest.raises(HostKeyChanged) as refusal:
        Session.connect(host.target(host_key=pin))
    assert host.fingerprint in str(refusal.value)
    assert other.get_fingerprint() in str(refusal.value)
    assert host.logins == 0


def test_a_host_that_lost_the_pinned_type_of_key_is_a_changed_host(sshd: OpenSsh) -> None:
    rsa = asyncssh.generate_private_key("ssh-rsa")
    with scripted_host(greet) as host, pytest.raises(HostKeyChanged, match="no ssh-rsa key"):
        Session.connect(host.target(host_key=" ".join(rsa.export_public_key().decode().split()[:2])))


def test_a_wrong_password_is_named_without_being_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        scripted_host(greet) as host,
        pytest.raises(AuthenticationFailed, match="refuses mon with this password") as no,
    ):
        Session.connect(host.target(password="hunter2"))
    assert "hunter2" not in str(no.value) + caplog.text


def test_a_server_without_passwords_says_what_it_allows() -> None:
    with scripted_host(greet, accepts_password=False) as host, pytest.raises(AuthenticationFailed, match="publickey"):
        Session.connect(host.target())


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
@pytest.mark.parametrize("form", ["openssh", "pkcs8-pem", "pkcs1-pem"])
@pytest.mark.parametrize("passphrase", [None, "open sesame"])
def test_private_keys_of_every_type_and_format_log_in(kind: str, form: str, passphrase: str | None) -> None:
    if form == "pkcs1-pem" and kind == "ssh-ed25519":
        form = "openssh"  # there is no such format
    key = asyncssh.generate_private_key(kind)
    text = key.export_private_key(form, passphrase).decode()
    with scripted_host(greet, client_key=key) as host:
        target = Target(
            "127.0.0.1",
            host.port,
            "mon",
            private_key=SecretStr(text),
            passphrase=SecretStr(passphrase) if passphrase else None,
            host_key=host.public_key,
        )
        session = Session.connect(target)
        assert session.run("x").stdout == "ran x\n"
        session.close()


def test_the_password_is_tried_after_a_key_that_is_refused() -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    with scripted_host(greet) as host:
        target = Target(
            "127.0.0.1", host.port, "mon", SecretStr(PASSWORD), SecretStr(stranger), host_key=host.public_key
        )
        session = Session.connect(target)
        assert session.run("x").stdout == "ran x\n"
        session.close()
        assert host.logins == 1


def test_a_private_key_that_cant_be_read_is_not_quoted() -> None:
    target = Target("127.0.0.1", 1, "mon", private_key=SecretStr("hunter2"), host_key="SHA256:" + "a" * 43)
    with pytest.raises(InvalidInput) as refusal:
        Session.connect(target)
    assert "hunter2" not in str(refusal.value)


def test_nobody_listening_and_an_unknown_name_are_unreachable() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        with pytest.raises(HostUnreachable, match="refused"):
            fingerprints(Target("127.0.0.1", port, ""))
    with pytest.raises(HostUnreachable, match="resolved"):
        Session.connect(Target("no-such-host.invalid", 22, "mon", host_key="SHA256:" + "a" * 43))


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-Stalled\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_port_that_does_not_speak_ssh_ends_in_time(greeting: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def serve() -> None:
            kept.append(listener.accept()[0])
            kept[0].sendall(greeting)

        thread = threading.Thread(target=serve)
        thread.start()
        started = time.monotonic()
        with pytest.raises(HostUnreachable):
            Session.connect(
                Target("127.0.0.1", listener.getsockname()[1], "mon", host_key="SHA256:" + "a" * 43), timeout_s=1.0
            )
        assert time.monotonic() - started < 5
        thread.join()
        kept[0].close()


def test_a_lost_connection_ends_channels_and_leaves_no_thread() -> None:
    async def forever(command: str, terminal: Terminal) -> int:
        terminal.print("first\n")
        await terminal.pause(60)
        return 0

    with scripted_host(forever) as host:
        session = Session.connect(host.target())
        channel = session.stream("vmstat 2")
        woken = threading.Event()
        channel.on_readable(woken.set)
        text = ""
        while not text:
            assert woken.wait(10)
            woken.clear()
            text = channel.read_available()
        host.drop_connections()
        deadline = time.monotonic() + 10
        while not channel.ended and time.monotonic() < deadline:
            woken.wait(1)
            woken.clear()
            channel.read_available()
        assert channel.ended
        assert channel.exit_code is None
        assert not session.alive
        session.close()
    assert not [thread for thread in threading.enumerate() if isinstance(thread, paramiko.Transport)]
