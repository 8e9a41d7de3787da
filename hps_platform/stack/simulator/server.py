"""The simulated fleet on the network: an SSH server for each host, all in one process, on loopback only.

Each host has a port and a host key of its own, kept across restarts. One client key opens all of them; so does one
password, for trying password logins. The list of hosts is written when all of them listen.
"""

import asyncio
import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import asyncssh

from hps_platform.errors import PortInUse
from hps_platform.stack.simulator.fleet import KINDS, USERNAME, Host
from hps_platform.stack.simulator.live import Live
from hps_platform.stack.simulator.rehearsed import Printed, Rehearsed, Stock
from hps_platform.stack.simulator.session import Answering, Channel, Machine
from hps_platform.stack.simulator.wheel import Wheel
from hps_platform.stack.simulator.world import World

log = logging.getLogger(__name__)
ADDRESS = "127.0.0.1"
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes256-ctr",
    "chacha20-poly1305@openssh.com",
)
_VERSIONS = {"aix": "OpenSSH_8.1", "linux": "OpenSSH_9.2p1", "solaris": "OpenSSH_8.4", "hpux": "OpenSSH_6.2p2"}


class Door(asyncssh.SSHServer):
    """Who may log in to a host: the monitoring account, by the fleet's key or password."""

    def __init__(self, answering: Answering, client_key: asyncssh.SSHKey, password: str) -> None:
        self._answering = answering
        self._client_key = client_key
        self._password = password
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Keeps the connection, for the banner."""
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        """Shows the banner before anybody has logged in, as guarded machines do."""
        host = self._answering.host
        if self._connection and host.os in ("aix", "hpux"):
            self._connection.send_auth_banner(f"*** {host.hostname}: access for authorised personnel only ***\n")
        return True

    def public_key_auth_supported(self) -> bool:
        """Keys are asked for first."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Only the fleet's key, only for the monitoring account."""
        return username == USERNAME and key.public_data == self._client_key.public_data

    def password_auth_supported(self) -> bool:
        """Passwords are taken too."""
        return True

    def validate_password(self, username: str, password: str) -> bool:
        """Only the fleet's password, only for the monitoring account."""
        return secrets.compare_digest(f"{username}:{password}".encode(), f"{USERNAME}:{self._password}".encode())

    def auth_completed(self) -> None:
        """Somebody is in."""
        self._answering.entered()

    def session_requested(self) -> Channel:
        """A channel for a command."""
        return Channel(self._answering)


def _kept_key(path: Path) -> asyncssh.SSHKey:
    """The private key in the file, made when there is none; readable by its owner alone."""
    if path.exists():
        return asyncssh.read_private_key(path)
    key = asyncssh.generate_private_key("ssh-ed25519", comment=path.stem)
    path.touch(mode=0o600)
    path.write_bytes(key.export_private_key("openssh"))
    return key


def _kept_password(path: Path) -> str:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(18), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def _bound(port: int) -> socket.socket:
    """A listening socket on the port, or on any free one when another process has it."""
    for wanted in (port, 0):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((ADDRESS, wanted))
        except OSError:
            sock.close()
            log.warning("port %d is taken; this host gets another one", wanted)
            continue
        return sock
    raise PortInUse("no free port on loopback for a simulated host")


def _trace_file(path: Path) -> TextIO:
    """Open as long as the fleet; each line is on disk when it is written."""
    return path.open("a", encoding="utf-8", buffering=1)


class SimulatedFleet:
    """All hosts of a world behind their SSH servers; an async context manager that listens while it is open."""

    def __init__(
        self, world: World, data_dir: Path, clock: Callable[[], float] = time.time, *, rehearsed: bool = False
    ) -> None:
        """`rehearsed`: the cheap fleet of the benchmarks, whose prints `printed` counts."""
        self.world = world
        self.printed = Printed() if rehearsed else None
        self.directory = data_dir / "simulator"
        self._clock = clock
        self._acceptors: list[asyncssh.SSHAcceptor] = []
        self._answering: list[Answering] = []
        self._stocks: list[Stock] = []
        self._wheel: Wheel | None = None
        self._trace: TextIO | None = None

    @property
    def fleet_file(self) -> Path:
        """Where the list of hosts is written."""
        return self.directory / "fleet.json"

    @property
    def channels(self) -> int:
        """How many commands run at the moment."""
        return sum(answering.channels for answering in self._answering)

    async def __aenter__(self) -> "SimulatedFleet":
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listens for every host, then writes the list of hosts. Raises PortInUse when loopback has no free port."""
        keys = self.directory / "keys"
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        trace = os.environ.get("HPS_SIMULATOR_TRACE")
        if trace:
            self._trace = _trace_file(Path(trace))
        self._wheel = Wheel()
        client_key = _kept_key(keys / "client")
        password = _kept_password(keys / "password")
        ports = self._kept_ports()
        listed = []
        for host in self.world.hosts:
            host_key = _kept_key(keys / f"{host.hostname}.host")
            sock = _bound(ports.get(host.hostname, 0))
            await self._listen(host, sock, host_key, client_key, password)
            listed.append(_listing(host, sock.getsockname()[1], host_key))
        self._write_list(listed, keys)
        log.info("%d simulated hosts listen on %s", len(listed), ADDRESS)

    async def stop(self) -> None:
        """Closes every connection and port."""
        if self._wheel:
            self._wheel.stop()
        for acceptor in self._acceptors:
            acceptor.close()
        await asyncio.gather(*(acceptor.wait_closed() for acceptor in self._acceptors))
        self._acceptors.clear()
        if self._trace:
            self._trace.close()
            self._trace = None

    async def _listen(
        self, host: Host, sock: socket.socket, host_key: asyncssh.SSHKey, client_key: asyncssh.SSHKey, password: str
    ) -> None:
        answering = self._answers(host)
        self._answering.append(answering)
        self._acceptors.append(
            await asyncssh.listen(
                sock=sock,
                server_factory=lambda: Door(answering, client_key, password),
                server_host_keys=[host_key],
                server_version=_VERSIONS[host.os],
                encryption_algs=_CIPHERS,
                compression_algs=["none"],
                login_timeout=120,  # as OpenSSH
                allow_scp=False,
                agent_forwarding=False,
                reuse_address=True,
                backlog=64,
            )
        )

    def _answers(self, host: Host) -> Answering:
        if self._wheel is None:
            raise RuntimeError("the fleet has not been started")
        place = len(self._answering)
        if self.printed is None or place < KINDS:
            live = Live(self.world.machine(host.hostname))
            machine = Machine(live, self._wheel, self._clock, self._heard)
            if self.printed is None:
                return machine
            self._stocks.append(Stock(machine, self._clock()))
        return Rehearsed(host, place, self._stocks[place % KINDS], self._wheel, self._clock, self.printed)

    def _heard(self, hostname: str, command: str) -> None:
        if self._trace and "vmstat" in command:
            self._trace.write(f"{time.time_ns() // 1_000_000} {hostname}\n")

    def _kept_ports(self) -> dict[str, int]:
        if not self.fleet_file.exists():
            return {}
        listed = json.loads(self.fleet_file.read_text(encoding="utf-8"))["hosts"]
        return {host["hostname"]: host["port"] for host in listed}

    def _write_list(self, listed: list[dict[str, Any]], keys: Path) -> None:
        content = {
            "seed": self.world.seed,
            "epoch": self.world.epoch.isoformat(),
            "username": USERNAME,
            "private_key_file": str(keys / "client"),
            "password_file": str(keys / "password"),
            "hosts": listed,
        }
        unfinished = self.fleet_file.with_suffix(".tmp")
        unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(self.fleet_file)


def _listing(host: Host, port: int, host_key: asyncssh.SSHKey) -> dict[str, Any]:
    words = host_key.export_public_key("openssh").decode().split()
    return {
        "hostname": host.hostname,
        "address": ADDRESS,
        "port": port,
        "username": USERNAME,
        "os": host.os,
        "role": host.role,
        "tags": list(host.tags),
        "host_key": " ".join(words[:2]),
    }
