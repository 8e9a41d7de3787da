"""Discovery on loopback addresses: what greets is proposed, nobody logs in, the pace is kept."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from cryptography.fernet import Fernet

from hps_platform import inventory
from hps_platform.errors import InvalidInput
from hps_platform.store import servers
from hps_platform.store.database import Database
from hps_platform.store.secrets import SecretBox
from hps_platform_tests.integration.ssh.hosts import OpenSsh, open_ssh


@pytest.fixture
def db(migrated_dsn: str) -> Iterator[Database]:
    with Database(migrated_dsn) as database:
        yield database


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSsh]:
    with open_ssh(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@contextmanager
def greeting(said: bytes, port: int, host: str) -> Iterator[list[bytes]]:
    """Something that listens and says this; gives what it was told."""
    heard: list[bytes] = []
    with socket.create_server((host, port)) as listener:

        def serve() -> None:
            with listener.accept()[0] as sock:
                sock.sendall(said)
                sock.settimeout(10)
                with suppress(ConnectionResetError):  # who has heard enough doesn't read the rest
                    while more := sock.recv(1024):
                        heard.append(more)

        thread = threading.Thread(target=serve)
        thread.start()
        yield heard
        thread.join(15)
        assert not thread.is_alive()


def test_what_greets_as_an_ssh_server_is_proposed_and_nothing_is_sent(db: Database, sshd: OpenSsh) -> None:
    box = SecretBox(Fernet.generate_key().decode())
    with db.connection() as conn:
        fields = {"hostname": "known", "ip_address": "127.0.0.1", "ssh_port": sshd.port, "ssh_username": "mon"}
        servers.add_server(conn, box, fields)
    with (
        greeting(b"Authorised use only\r\nSSH-2.0-Sun_SSH_1.1.5\r\n", sshd.port, "127.0.0.3") as to_solaris,
        greeting(b"220 mail.example.com\r\n" * 300, sshd.port, "127.0.0.4") as to_mail,
    ):
        found = inventory.discover(db, "127.0.0.0/29", port=sshd.port, with_host_keys=False)
    assert [(host.address, host.operating_system, host.registered) for host in found] == [
        ("127.0.0.1", "linux", "known"),
        ("127.0.0.3", "solaris", None),
    ]
    assert found[0].greeting.startswith("SSH-2.0-OpenSSH_")
    assert found[1].greeting == "SSH-2.0-Sun_SSH_1.1.5"
    assert to_solaris == to_mail == []
    with_keys = inventory.discover(db, "127.0.0.1", port=sshd.port, with_host_keys=True)
    assert {key.line for key in with_keys[0].host_keys} == set(sshd.public_keys.values())
    assert "Accepted" not in sshd.log
    assert "Failed" not in sshd.log


def test_the_pace_is_kept(db: Database) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        started = time.monotonic()
        assert inventory.discover(db, "127.0.0.0/28", port=free.getsockname()[1], connections_per_s=10) == []
        assert time.monotonic() - started >= 1.3  # 14 addresses, the first at once


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("10.0.0.0/8", "16,777,216 addresses, at most 4,096 are looked at in one go: give parts of it, /20"),
        ("fe80::/64", "/116"),
        ("10.0.0.300", "no network"),
        ("db1.example.com", "no network"),
    ],
)
def test_what_is_no_network_or_too_large_a_one_is_refused(db: Database, network: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        inventory.discover(db, network)
