"""SSH servers for tests: an OpenSSH server of this machine, and a host that answers what a test tells it to."""

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
from pydantic import SecretStr

from hps_platform.ssh import Target

SSHD = Path("/usr/sbin/sshd")
PASSWORD = "correct horse battery staple"

Answer = Callable[[str, "Terminal"], Awaitable[int]]
"""Gets the command line and where to print; returns the exit code."""


class Terminal:
    """Where a scripted command prints."""

    def __init__(self, process: "asyncssh.SSHServerProcess[str]") -> None:
        self._process = process

    def print(self, text: str) -> None:
        self._process.stdout.write(text)

    def complain(self, text: str) -> None:
        self._process.stderr.write(text)

    async def pause(self, seconds: float) -> None:
        """The script's own pace, as a host's command has one."""
        await asyncio.sleep(seconds)


@dataclass
class ScriptedHost:
    """An SSH server in a thread of its own; `commands` are the lines it was asked to run, in order."""

    answer: Answer
    port: int = 0
    host_key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    accepts_password: bool = True
    client_key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    commands: list[str] = field(default_factory=list)
    logins: int = 0

    @property
    def public_key(self) -> str:
        return " ".join(self.host_key.export_public_key().decode().split()[:2])

    @property
    def fingerprint(self) -> str:
        return self.host_key.get_fingerprint()

    def target(self, *, password: str | None = PASSWORD, host_key: str | None = "") -> Target:
        """`host_key=""` pins the right one."""
        return Target(
            "127.0.0.1",
            self.port,
            "mon",
            password=SecretStr(password) if password else None,
            host_key=self.public_key if host_key == "" else host_key,
        )

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        """Goes away as a machine does that is switched off: listener and connections end."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    def drop_connections(self) -> None:
        """Ends the connections; new ones are welcome."""
        for connection in list(self._connections):
            self._loop.call_soon_threadsafe(connection.abort)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(ready))
        self._loop.close()

    async def _serve(self, ready: threading.Event) -> None:
        self._stopping = asyncio.Event()
        self._connections: set[asyncssh.SSHServerConnection] = set()
        host = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                self._conn = conn
                host._connections.add(conn)

            def connection_lost(self, exc: Exception | None) -> None:
                host._connections.discard(self._conn)

            def password_auth_supported(self) -> bool:
                return host.accepts_password

            def validate_password(self, username: str, password: str) -> bool:
                return (username, password) == ("mon", PASSWORD)

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
                return key.public_data == host.client_key.public_data

            def auth_completed(self) -> None:
                host.logins += 1

        async def handle(process: "asyncssh.SSHServerProcess[str]") -> None:
            command = process.command or ""
            self.commands.append(command)
            try:
                process.exit(await self.answer(command, Terminal(process)))
            except (BrokenPipeError, ConnectionError, asyncssh.Error):
                process.close()

        server = await asyncssh.create_server(
            Server,
            "127.0.0.1",
            self.port,
            server_host_keys=[self.host_key],
            process_factory=handle,
            encoding="utf-8",
            errors="surrogateescape",
        )
        self.port = server.get_port()
        ready.set()
        await self._stopping.wait()
        server.close()
        for connection in list(self._connections):
            connection.abort()
        await server.wait_closed()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


@contextmanager
def scripted_host(answer: Answer, **more: object) -> Iterator[ScriptedHost]:
    host = ScriptedHost(answer, **more)  # type: ignore[arg-type]  # a test passes fields of the host
    host.start()
    try:
        yield host
    finally:
        host.stop()


@dataclass(frozen=True)
class OpenSsh:
    """A private OpenSSH server; `target` logs in as this user with the key made for it."""

    port: int
    public_keys: dict[str, str]
    client_key: str
    process: "subprocess.Popen[bytes]"

    def target(self, *, host_key: str | None = "", private_key: str | None = None) -> Target:
        return Target(
            "127.0.0.1",
            self.port,
            pwd.getpwuid(os.getuid()).pw_name,
            private_key=SecretStr(private_key or self.client_key),
            host_key=self.public_keys["ssh-ed25519"] if host_key == "" else host_key,
        )


def _key(path: Path, kind: str) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path], check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def open_ssh(folder: Path) -> Iterator[OpenSsh]:
    """`folder` must be short-lived; nothing of the machine's own SSH set-up is read or changed."""
    assert SSHD.exists() and shutil.which("ssh-keygen"), "install openssh-server: apt-get install openssh-server"  # noqa: PT018
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    kinds = ("ed25519", "ecdsa", "rsa")
    public = [_key(folder / f"host_{kind}", kind) for kind in kinds]
    client = _key(folder / "client", "ed25519")
    (folder / "authorized_keys").write_text(client + "\n")
    port = _free_port()
    host_keys = "\n".join(f"HostKey {folder}/host_{kind}" for kind in kinds)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\n{host_keys}\nAuthorizedKeysFile {folder}/authorized_keys\n"
        f"SetEnv HOME={folder}\n"  # no start-up file of the account is run for each command
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n"
    )
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=log, stdout=log)
    try:
        _wait_for_port(port, process)
        yield OpenSsh(port, {key.split()[0]: key for key in public}, (folder / "client").read_text(), process)
    finally:
        process.terminate()
        process.wait(10)


def _wait_for_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            assert process.poll() is None, "sshd ended at once"
            threading.Event().wait(0.05)
        else:
            return
    raise AssertionError("sshd does not listen")
