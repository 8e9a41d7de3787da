"""TCP ports of this machine: a free one, and who holds a taken one."""

import secrets
import socket
from pathlib import Path

import psutil

from hps_platform.errors import PortInUse

_LOWEST = 10_240
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on at the moment.

    Below those that the kernel gives to outgoing connections, one of which might have it before it is used.
    """
    below = _outgoing() - _LOWEST
    for _ in range(100 if below > 0 else 0):
        port = _LOWEST + secrets.randbelow(below)
        if is_free(port, host):
            return port
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _outgoing() -> int:
    """The first port of outgoing connections; on other systems than Linux the one that IANA gave them."""
    try:
        return int(_RANGE.read_text().split()[0])
    except (OSError, ValueError):
        return 49_152


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server can listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def holder(port: int) -> psutil.Process | None:
    """The process that listens on a port; None when nobody does or this account may not see it."""
    for connection in _listening():
        if connection.laddr[1:2] == (port,) and connection.pid is not None:
            try:
                return psutil.Process(connection.pid)
            except psutil.NoSuchProcess:
                continue
    return None


def require_free(port: int, service: str, variable: str, host: str = "127.0.0.1") -> None:
    """Raise `PortInUse` naming the port, the process that holds it, and the setting that chooses another."""
    if is_free(port, host):
        return
    raise PortInUse(f"port {port} for {service} is taken by {describe_holder(port)}: end that, or set {variable}")


def describe_holder(port: int) -> str:
    """`nginx (pid 812)`, or words for a process that can't be seen."""
    process = holder(port)
    if process is None:
        return "a process of another account"
    try:
        return f"{process.name()} (pid {process.pid}, {' '.join(process.cmdline())[:80]})"
    except psutil.Error:
        return f"pid {process.pid}"


def _listening() -> list[psutil._ntuples.sconn]:
    try:
        found = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return []
    return [connection for connection in found if connection.status == psutil.CONN_LISTEN]
