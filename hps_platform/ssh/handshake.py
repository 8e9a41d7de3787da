"""From a target to a connection whose host has proven who it is; nobody is logged in yet.

How to get connected lies with the caller: a `Connection` gives a socket, or a channel through a jump host.
"""

import base64
import logging
import re
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn, cast

import paramiko
from paramiko.ssh_exception import IncompatiblePeer
from pydantic import SecretStr

from hps_platform.errors import HostKeyChanged, HostKeyUnknown, HostUnreachable
from hps_platform.host_keys import TYPES, HostKey, Pins, fingerprint
from hps_platform.ssh.connection import Transport
from hps_platform.ssh.legacy import RSA_SHA1, LegacyTransport

# paramiko logs every failed handshake with a traceback; what matters of it is in the errors raised here.
_noise = logging.getLogger("paramiko")
_noise.addHandler(logging.NullHandler())
_noise.propagate = False
_noise.setLevel(logging.CRITICAL)

_ALGORITHMS: dict[str, tuple[str, ...]] = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
"""Type of a host key -> the signatures it may prove itself with."""
PLAIN = tuple(name for kind in TYPES for name in _ALGORITHMS[kind])
_CERTIFIED = tuple(f"{name}-cert-v01@openssh.com" for name in PLAIN)

_DEAD_PEER_MS = 20_000
_GREETING_LIMIT = 4096
TOO_OLD = (
    "if it is a server of before OpenSSH 5.7 (2011), `legacy_ssh` in its settings allows what it knows, see "
    "`Old SSH servers` in docs/operations.md"
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to log in and how. `host_key` is a pin as `host_keys` reads it; None means that nobody may log in."""

    host: str
    port: int
    username: str
    password: SecretStr | None = None
    private_key: SecretStr | None = None
    passphrase: SecretStr | None = None
    certificate: SecretStr | None = None
    """An OpenSSH certificate of the private key."""
    host_key: str | None = None
    legacy: bool = False
    """Whether SHA-1 will do, which old servers have nothing better than."""
    name: str = ""
    """What the host is called, beside its address: a host certificate may be for either."""
    via: tuple["Target", ...] = ()
    """Jump hosts, in the order they are passed; their own `via` is not looked at."""

    @property
    def where(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def entrance(self) -> "Target":
        """Where the connection of ours ends: the first jump host, or the host itself."""
        return self.via[0] if self.via else self


Connection = Callable[[float], "socket.socket | paramiko.Channel"]
"""Gives a connection to the host within so many seconds, a new one each time."""


def greeting(host: str, port: int, timeout_s: float) -> str:
    """The line with which an SSH server names itself; sends nothing.

    Raises `HostUnreachable`, also for what is no SSH server.
    """
    target = Target(host, port, "")
    with open_socket(target, timeout_s) as sock:
        received = b""
        try:
            # Lines may come before it; RFC 4253 allows 255 bytes for the line itself.
            while not (found := re.search(rb"^(SSH-[ -~]{1,251})\r?\n", received, re.MULTILINE)):
                more = sock.recv(1024)
                if not more or len(received) > _GREETING_LIMIT:
                    raise HostUnreachable(f"{target.where} is no SSH server")
                received += more
        except OSError as error:
            raise HostUnreachable(f"{target.where}: {reason(error)}") from error
    return found[1].decode("ascii")


class NoCommonAlgorithm(HostUnreachable):
    """The host shows no key of the types asked for."""


def tune(sock: socket.socket) -> None:
    """A peer that vanished is noticed by the kernel within some 20 s of unanswered data."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MS)


def open_socket(target: Target, timeout_s: float) -> socket.socket:
    try:
        sock = socket.create_connection((target.host, target.port), timeout_s)
    except socket.gaierror as error:
        raise HostUnreachable(f"{target.host} can't be resolved: {error.strerror}") from error
    except TimeoutError as error:
        raise HostUnreachable(f"{target.where} does not answer within {timeout_s:g} s") from error
    except OSError as error:
        raise HostUnreachable(f"{target.where}: {reason(error)}") from error
    tune(sock)
    return sock


def handshake(
    target: Target, names: Sequence[str], timeout_s: float, connection: Connection, *, hands_over: bool = False
) -> Transport:
    """A transport whose host has proven a key by one of these algorithms; nothing has been authenticated yet."""
    deadline = time.monotonic() + timeout_s
    sock = connection(timeout_s)
    try:
        kind = LegacyTransport if target.legacy else Transport
        transport = kind(cast(socket.socket, sock), hands_over=hands_over)
    except paramiko.SSHException as error:
        sock.close()
        raise HostUnreachable(f"{target.where}: {reason(error)}") from error
    left = max(0.5, deadline - time.monotonic())
    transport.banner_timeout = transport.handshake_timeout = left
    old = (RSA_SHA1,) if target.legacy and _ALGORITHMS["ssh-rsa"][0] in names else ()
    transport.get_security_options().key_types = (*names, *old)
    try:
        transport.start_client(timeout=left)
    except IncompatiblePeer as error:
        end(transport)
        if "host key" in str(error):
            raise NoCommonAlgorithm(f"{target.where}: {error}") from error
        raise HostUnreachable(
            f"{target.where} ({transport.remote_version}) speaks no algorithm in common with us "
            f"({reason(error).partition('(')[2].rstrip(')')}); {TOO_OLD}"
        ) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        end(transport)
        raise HostUnreachable(f"{target.where} does not complete the SSH handshake: {reason(error)}") from error
    if not transport.initial_kex_done:  # paramiko returns as if nothing were wrong
        end(transport)
        raise HostUnreachable(f"{target.where} does not finish the SSH handshake within {timeout_s:g} s")
    return transport


def verified(target: Target, timeout_s: float, connection: Connection, *, hands_over: bool = False) -> Transport:
    """A transport whose host has proven the pinned key, or one that the pinned authority vouches for."""
    if target.host_key is None:
        _refuse_unpinned(target, timeout_s, connection)
    pins = Pins.read(target.host_key)
    names = {name for name in (target.name, target.host) if name}
    types = pins.types()
    seen = [f"no {' or '.join(types)} key"] if types else []
    certified, hint = bool(pins.authorities), ""
    while certified or types:
        wanted = _CERTIFIED if certified else tuple(name for kind in types for name in _ALGORITHMS[kind])
        try:
            transport = handshake(target, wanted, timeout_s, connection, hands_over=hands_over)
        except NoCommonAlgorithm:
            if not certified:
                hint = f"; {TOO_OLD}" if "ssh-rsa" in types and not target.legacy else ""
                break
            certified = False
            seen.insert(0, "no host certificate")
            continue
        shown = shown_key(transport)
        if (problem := pins.objection(shown, names)) is None:
            return transport
        end(transport)
        told = f"{shown.type} {shown.sha256}" + (f" ({problem})" if problem else "")
        seen = [told, *seen] if certified and types else [told]
        # A fingerprint doesn't tell its type: the host may have the pinned key among its others.
        certified, types = False, types if certified else tuple(kind for kind in types if kind != shown.type)
    raise HostKeyChanged(
        f"{target.where} shows {' and '.join(seen)}, but {pins.described()} is pinned: the host was installed anew, or "
        f"something stands in its place; nobody logs in until the new key is pinned{hint}"
    )


def _refuse_unpinned(target: Target, timeout_s: float, connection: Connection) -> NoReturn:
    transport = handshake(target, PLAIN, timeout_s, connection)
    try:
        shown = shown_key(transport)
    finally:
        end(transport)
    raise HostKeyUnknown(
        f"no host key is pinned for {target.where}, which shows {shown.type} {shown.sha256}; compare it with "
        "`ssh-keygen -lf` on the host, then pin it"
    )


def shown_key(transport: paramiko.Transport) -> HostKey:
    try:
        key = transport.get_remote_server_key()
    except paramiko.SSHException as error:
        raise HostUnreachable(f"the connection broke right after the handshake: {reason(error)}") from error
    blob = key.public_blob
    certificate = f"{blob.key_type} {base64.b64encode(blob.key_blob).decode('ascii')}" if blob else None
    plain = f"{key.get_name()} {key.get_base64()}"
    return HostKey(key.get_name(), fingerprint(plain), plain, certificate)


def end(transport: Transport) -> None:
    """Ends a connection, whoever reads it."""
    if transport.reactor is not None:
        transport.reactor.end(transport)
        return
    sock = transport.sock
    with suppress(OSError, EOFError):  # the other side may have been quicker
        # The shutdown ends the thread's read, and the thread closes the descriptor. Closed from here, its number could
        # be in use again while the thread still reads from it. A jump host's channel has no descriptor.
        sock.close() if isinstance(sock, paramiko.Channel) else sock.shutdown(socket.SHUT_RDWR)
    if transport.is_alive():
        transport.join(2.0)
    transport.close()
    sock.close()


def reason(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text or type(error).__name__).strip().splitlines()[0]
