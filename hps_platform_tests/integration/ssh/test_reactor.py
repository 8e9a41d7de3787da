"""Sessions that a reactor reads: all in one thread, through changes of keys, full sockets and lost connections."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paramiko
import pytest

from hps_platform.collector.commands import CHANNELS_AT_ONCE, Shell
from hps_platform.errors import CommandTimeout, HostUnreachable, SshError
from hps_platform.ssh import Reactor, Session, Target
from hps_platform.ssh.connection import Transport
from hps_platform.ssh.packets import Packets
from hps_platform_tests.integration.ssh.hosts import OpenSsh, Terminal, open_ssh, scripted_host

CIPHERS = [
    ("aes128-gcm@openssh.com", "hmac-sha2-256"),
    ("aes256-ctr", "hmac-sha2-256"),
    ("aes128-ctr", "hmac-sha2-512-etm@openssh.com"),
    ("aes256-cbc", "hmac-sha1"),
]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSsh]:
    with open_ssh(tmp_path_factory.mktemp("sshd")) as server:
        yield server


def driven(target: Target, story: Callable[[Shell], Awaitable[None]]) -> None:
    """Runs a story on a session read by a reactor; afterwards no thread of the connection may be there."""

    async def run() -> None:
        reactor = Reactor()
        with ThreadPoolExecutor(1) as threads:
            session = await asyncio.get_running_loop().run_in_executor(
                threads, Session.connect, target, 10.0, None, reactor
            )
            assert session.driven
            assert not [thread for thread in threading.enumerate() if isinstance(thread, paramiko.Transport)]
            try:
                async with asyncio.timeout(60):
                    await story(Shell(session, threads))
            finally:
                reactor.close()
            assert not session.alive

    asyncio.run(run())


async def _left(shell: Shell, count: int) -> None:
    """Waits until the host has closed all but `count` channels."""
    while len(shell.session._transport._commands) > count:  # noqa: ASYNC110  nothing tells it
        await asyncio.sleep(0.01)


def test_commands_run_at_once_with_their_output_and_exit_codes(sshd: OpenSsh) -> None:
    async def story(shell: Shell) -> None:
        answers = await asyncio.gather(
            *(shell.run(f"echo {number}; sleep 0.1; exit {number}", 20) for number in range(3 * CHANNELS_AT_ONCE))
        )
        assert [(answer.text, answer.exit_code) for answer in answers] == [
            (f"{number}\n", number) for number in range(3 * CHANNELS_AT_ONCE)
        ]
        killed = await shell.run("echo out; echo err >&2; kill -9 $$", 20)
        assert sorted(killed.text.split()) == ["err", "out"]
        assert killed.exit_code is None
        assert len((await shell.run("yes | head -c 2000000", 20)).text) == 2_000_000
        with pytest.raises(CommandTimeout):
            await shell.run("sleep 30", 0.3)
        with pytest.raises(SshError, match="MiB"):
            await shell.run("yes | head -c 9000000", 20)
        assert (await shell.run("echo still here", 20)).text == "still here\n"

    driven(sshd.target(), story)


def test_a_host_without_a_place_for_a_command_is_asked_again(tmp_path: Path) -> None:
    async def story(shell: Shell) -> None:
        answers = await asyncio.gather(*(shell.run("sleep 0.1; echo done", 20) for _ in range(CHANNELS_AT_ONCE)))
        assert [answer.text for answer in answers] == ["done\n"] * CHANNELS_AT_ONCE

    with open_ssh(tmp_path, more=f"MaxSessions {CHANNELS_AT_ONCE - 2}") as small:
        driven(small.target(), story)


@pytest.mark.parametrize(("cipher", "mac"), CIPHERS)
def test_keys_change_in_mid_stream_with_every_kind_of_cipher(
    sshd: OpenSsh, monkeypatch: pytest.MonkeyPatch, cipher: str, mac: str
) -> None:
    changes = []
    renewed = Transport._parse_newkeys

    def counted(self: Transport, message: Any) -> None:
        changes.append(self.remote_cipher)
        renewed(self, message)

    monkeypatch.setattr(Transport, "_parse_newkeys", counted)
    monkeypatch.setattr(Transport, "_preferred_ciphers", (cipher,))
    monkeypatch.setattr(Transport, "_preferred_macs", (mac,))
    monkeypatch.setattr(Packets, "REKEY_BYTES", 40_000)

    async def story(shell: Shell) -> None:
        counting = "for part in 1 2; do seq 1 {}; sleep 0.1; done"
        for _ in range(3):
            answers = await asyncio.gather(*(shell.run(counting.format(9_000 + number), 30) for number in range(4)))
            for number, answer in enumerate(answers):
                assert answer.text == "".join(f"{line}\n" for line in range(1, 9_001 + number)) * 2
                assert answer.exit_code == 0

    driven(sshd.target(), story)
    assert len(changes) > 3
    assert set(changes) == {cipher}


def test_what_is_closed_while_keys_change_is_closed_afterwards(sshd: OpenSsh) -> None:
    async def story(shell: Shell) -> None:
        transport = shell.session._transport
        channel = await shell.open("exec cat")
        transport._send_kex_init()
        shell.close(channel)
        assert (await shell.run("echo done", 20)).text == "done\n"
        await _left(shell, 0)

    driven(sshd.target(), story)


def test_a_change_of_keys_that_the_host_wants(sshd: OpenSsh) -> None:
    async def count(command: str, terminal: Terminal) -> int:
        for number in range(30_000):
            terminal.print(f"{number}\n")
            if number % 1000 == 0:
                await terminal.pause(0)
        return 0

    async def story(shell: Shell) -> None:
        answer = await shell.run("count", 30)
        assert answer.text == "".join(f"{number}\n" for number in range(30_000))

    with scripted_host(count, rekey_bytes=20_000) as host:
        driven(host.target(), story)


def test_a_window_that_is_used_up_is_opened_again(sshd: OpenSsh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hps_platform.ssh.channel.WINDOW", 100_000)
    monkeypatch.setattr("hps_platform.ssh.connection.WINDOW", 100_000)
    monkeypatch.setattr("hps_platform.ssh.channel._REFILL_BELOW", 50_000)

    async def story(shell: Shell) -> None:
        assert len((await shell.run("yes | head -c 1500000", 30)).text) == 1_500_000

    driven(sshd.target(), story)


def test_a_socket_that_takes_nothing_is_sent_to_later(sshd: OpenSsh) -> None:
    async def story(shell: Shell) -> None:
        transport = shell.session._transport
        packets = transport.packetizer
        sock, refusals = packets._sock, 3

        class Full:
            def send(self, data: bytes) -> int:
                nonlocal refusals
                refusals -= 1
                if refusals >= 0:
                    raise BlockingIOError
                return sock.send(data[:50])

            def __getattr__(self, name: str) -> Any:
                return getattr(sock, name)

        packets._sock = Full()  # type: ignore[assignment]
        answers = await asyncio.gather(*(shell.run(f"echo {number}", 20) for number in range(5)))
        assert [answer.text for answer in answers] == [f"{number}\n" for number in range(5)]
        assert refusals < 0

    driven(sshd.target(), story)


def test_a_silent_connection_is_kept_alive(sshd: OpenSsh) -> None:
    async def story(shell: Shell) -> None:
        transport = shell.session._transport
        sent: list[bytes] = []
        write = transport.packetizer.write_all

        def noted(out: bytes) -> None:
            sent.append(out)
            write(out)

        transport.packetizer.write_all = noted  # type: ignore[method-assign]
        transport.keep_alive()
        assert sent == []
        transport.packetizer.moved_at -= 60
        transport.keep_alive()
        assert len(sent) == 1
        assert (await shell.run("echo alive", 20)).text == "alive\n"

    driven(sshd.target(), story)


def test_a_lost_connection_ends_commands_that_run_and_that_begin() -> None:
    async def forever(command: str, terminal: Terminal) -> int:
        terminal.print("first\n")
        await terminal.pause(60)
        return 0

    with scripted_host(forever) as host:

        async def story(shell: Shell) -> None:
            channel = await shell.open("vmstat 2")
            ended = asyncio.Event()

            def read() -> None:
                channel.read_available()
                if channel.ended:
                    ended.set()

            shell.listen(channel, read)
            host.drop_connections()
            with pytest.raises(HostUnreachable):
                await shell.open("iostat 2")
            await ended.wait()
            assert channel.exit_code is None
            assert not shell.session.alive
            with pytest.raises(HostUnreachable):
                await shell.open("iostat 2")

        driven(host.target(), story)


def test_a_refused_channel_costs_only_its_command(sshd: OpenSsh) -> None:
    async def story(shell: Shell) -> None:
        channels = [await shell.open("exec cat") for _ in range(10)]
        with pytest.raises(SshError, match="does not run another command"):
            await shell.open("true")
        shell.close(channels.pop())
        await _left(shell, 9)
        assert (await shell.run("echo again", 20)).text == "again\n"

    driven(sshd.target(), story)
