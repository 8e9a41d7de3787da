"""Hosts of a network that answer with an SSH greeting: proposals for the registry. Nobody logs in, nothing is stored.

One connection a host, at a bounded rate, closed after the greeting; fingerprints, when asked for, take three more.
"""

import ipaddress
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from hps_platform.errors import HostUnreachable, InvalidInput, SshError
from hps_platform.host_keys import HostKey
from hps_platform.ssh import Target, fingerprints, greeting
from hps_platform.store import servers
from hps_platform.store.database import Database

MOST_ADDRESSES = 4096
CONNECTIONS_PER_S = 100.0
_AT_ONCE = 64
_TIMEOUT_S = 2.0

_SYSTEMS = (
    (r"Sun_SSH", "solaris"),
    (r"FreeBSD", "freebsd"),
    (r"Debian|Ubuntu|Raspbian|el\d|dropbear", "linux"),
    (r"AIX", "aix"),
    (r"HP-UX|sftpfilecontrol", "hpux"),
)
"""What a greeting gives away; most give away nothing."""


@dataclass(frozen=True, slots=True)
class Found:
    """A host that answered. `name` is what DNS calls the address, `registered` the server that has it already."""

    address: str
    port: int
    greeting: str
    name: str | None
    operating_system: str | None
    registered: str | None
    host_keys: list[HostKey] = field(default_factory=list)


def discover(
    db: Database,
    network: str,
    *,
    port: int = 22,
    with_host_keys: bool = False,
    connections_per_s: float = CONNECTIONS_PER_S,
) -> list[Found]:
    """Those that answer, by address. Raises `InvalidInput` for no network, or one of more than 4,096 addresses."""
    addresses = _addresses(network)
    with db.connection() as conn:
        registered = {(server.address, server.ssh_port): server.hostname for server in servers.list_servers(conn)}
    slots = _Pace(connections_per_s)

    def look(address: str) -> Found | None:
        slots.wait()
        try:
            said = greeting(address, port, _TIMEOUT_S)
        except HostUnreachable:
            return None
        name = _name(address)
        system = next((system for words, system in _SYSTEMS if re.search(words, said)), None)
        known = registered.get((address, port)) or (registered.get((name, port)) if name else None)
        return Found(address, port, said, name, system, known, _host_keys(address, port) if with_host_keys else [])

    with ThreadPoolExecutor(min(_AT_ONCE, len(addresses)), "discover") as threads:
        return [found for found in threads.map(look, addresses) if found]


class _Pace:
    """Lets so many threads a second go on, evenly spaced; time that nobody used is not made up for."""

    def __init__(self, per_s: float) -> None:
        self._step_s = 1.0 / per_s
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        with self._lock:
            moment = max(self._next, time.monotonic())
            self._next = moment + self._step_s
        time.sleep(max(0.0, moment - time.monotonic()))


def _addresses(network: str) -> list[str]:
    try:
        found = ipaddress.ip_network(network.strip(), strict=False)
    except ValueError:
        raise InvalidInput(f"{network!r} is no network: give one as 10.0.4.0/24, or a single address") from None
    if found.num_addresses > MOST_ADDRESSES:
        smallest = found.max_prefixlen - MOST_ADDRESSES.bit_length() + 1
        raise InvalidInput(
            f"{found} has {found.num_addresses:,} addresses, at most {MOST_ADDRESSES:,} are looked at in one go: "
            f"give parts of it, /{smallest} or smaller"
        )
    return [str(address) for address in found.hosts()]


def _name(address: str) -> str | None:
    try:
        name = socket.gethostbyaddr(address)[0]
    except OSError:
        return None
    return None if name == address else name


def _host_keys(address: str, port: int) -> list[HostKey]:
    try:
        return fingerprints(Target(address, port, ""), _TIMEOUT_S * 2)
    except SshError:
        return []
