"""SSH: the only place that speaks it. Sessions with a pinned host key, commands, and streams for an event loop.

One `Session` is one connection; any number of commands run on it at once. A host key is never accepted on sight: it
is the pinned one, or nobody logs in. Nothing is looked up in an agent or in `~/.ssh`. What to run, and when to try
again, belongs to `hps_platform.collector`.

Logging in stands here; what happens on the connection afterwards in `connection`, `channel` and `reactor`.
"""

import base64
import hashlib
import io
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from paramiko.ssh_exception import BadAuthenticationType, IncompatiblePeer
from pydantic import SecretStr

from hps_platform.errors import (
    AuthenticationFailed,
    CommandTimeout,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    InvalidInput,
    SshError,
)
from hps_platform.ssh.channel import Channel
from hps_platform.ssh.connection import Transport
from hps_platform.ssh.reactor import Reactor

__all__ = ["Channel", "HostKey", "Reactor", "Result", "Session", "Target", "fingerprints", "tune"]

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

_KEEPALIVE_S = 15
_IDLE_WAKEUP_S = 5.0
_DEAD_PEER_MS = 20_000
_OUTPUT_LIMIT = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """Where to log in and how. `host_key` is `SHA256:…` or `type base64`; None means that nobody may log in."""

    host: str
    port: int
    username: str
    password: SecretStr | None = None
    private_key: SecretStr | None = None
    passphrase: SecretStr | None = None
    host_key: str | None = None

    @property
    def where(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HostKey:
    """A host's public key; `line` is `type base64`, as it is pinned."""

    type: str
    sha256: str
    line: str

    def matches(self, pinned: str) -> bool:
        return pinned in (self.sha256, self.line)


@dataclass(frozen=True, slots=True)
class Result:
    """What a command printed; `exit_code` is None when the host didn't tell one."""

    stdout: str
    stderr: str
    exit_code: int | None


def fingerprints(host: str, port: int, timeout_s: float = 10.0) -> list[HostKey]:
    """The keys a host shows, one of each type. Shows and never trusts: no login is tried.

    Raises `HostUnreachable`.
    """
    target = Target(host, port, "")
    keys: list[HostKey] = []
    for names in (("ssh-ed25519",), tuple(name for name in _ALGORITHMS if name.startswith("ecdsa")), ("ssh-rsa",)):
        try:
            transport = _handshake(target, names, timeout_s, None)
        except _NoCommonAlgorithm:
            continue
        try:
            keys.append(_shown_key(transport))
        finally:
            _end(transport)
    if not keys:
        raise HostUnreachable(f"{target.where} shows no host key of a type in use today")
    return keys


class Session:
    """One authenticated connection. Its methods may be called from any thread; those that wait say so."""

    def __init__(self, transport: Transport, target: Target, host_key: HostKey) -> None:
        self._transport = transport
        self.target = target
        self.host_key = host_key

    @classmethod
    def connect(
        cls,
        target: Target,
        timeout_s: float = 10.0,
        sock: socket.socket | None = None,
        reactor: Reactor | None = None,
    ) -> "Session":
        """Logs in, on `sock` when that is connected already; waits. A `reactor` reads the connection from then on.

        Raises `HostUnreachable`, `HostKeyUnknown` (nothing is pinned), `HostKeyChanged`, `AuthenticationFailed`, and
        `InvalidInput` for a private key that can't be read. Before the host key is known to be the pinned one,
        neither account nor secret is sent.
        """
        deadline = time.monotonic() + timeout_s
        key = None if target.private_key is None else _private_key(target.private_key, target.passphrase)
        transport = _verified(target, timeout_s, sock, hands_over=reactor is not None)
        try:
            transport = _logged_in(transport, target, key, deadline)
            transport.set_keepalive(_KEEPALIVE_S)
            session = cls(transport, target, _shown_key(transport))
        except BaseException:
            _end(transport)
            raise
        if reactor is None:
            transport.sock.settimeout(_IDLE_WAKEUP_S)
        else:
            transport.join()
            reactor.adopt(transport)
        return session

    @property
    def alive(self) -> bool:
        return self._transport.is_active()

    @property
    def driven(self) -> bool:
        """Whether a reactor reads it, whose thread then calls back and must not wait."""
        return self._transport.reactor is not None

    def begin(self, command: str, on_start: Callable[[], None], *, with_stderr: bool = True) -> Channel:
        """Asks for a command; `on_start` is called when `confirm` can tell whether it runs. Waits only without reactor.

        Stderr comes in between unless told otherwise.
        """
        if not self.alive:
            raise HostUnreachable(f"{self.target.where}: the connection is broken")
        return self._transport.open(command, on_start, with_stderr=with_stderr)

    def confirm(self, channel: Channel) -> None:
        """Raises unless the command runs: `HostUnreachable` when the connection is broken, else `SshError`."""
        if channel.started:
            return
        channel.close()
        if not self.alive:
            raise HostUnreachable(f"{self.target.where}: the connection broke")
        raise SshError(f"{self.target.where} does not run another command: {channel.refusal or 'it does not answer'}")

    def stream(self, command: str, timeout_s: float = 15.0, *, with_stderr: bool = True) -> Channel:
        """Starts a command and returns its channel; waits until it runs, which without thread would be for ever.

        Raises `HostUnreachable` when the connection is broken, `SshError` when only this command is refused.
        """
        known = threading.Event()
        channel = self.begin(command, known.set, with_stderr=with_stderr)
        known.wait(timeout_s)
        self.confirm(channel)
        return channel

    def run(self, command: str, timeout_s: float = 30.0) -> Result:
        """Runs a command to its end. Raises `CommandTimeout`, `HostUnreachable` when the connection breaks."""
        deadline = time.monotonic() + timeout_s
        channel = self.stream(command, timeout_s, with_stderr=False)
        woken = threading.Event()
        channel.on_readable(woken.set)
        parts: list[str] = []
        size = 0
        try:
            while not channel.ended:
                if not woken.wait(deadline - time.monotonic()):
                    raise CommandTimeout(f"{self.target.where}: no end of `{command}` after {timeout_s:g} s")
                woken.clear()
                parts.append(channel.read_available())
                size += len(parts[-1])
                if size > _OUTPUT_LIMIT:
                    raise SshError(f"{self.target.where}: `{command}` prints more than {_OUTPUT_LIMIT >> 20} MiB")
            if not self.alive:
                raise HostUnreachable(f"{self.target.where}: the connection broke during `{command}`")
            return Result("".join(parts), channel.stderr(), channel.exit_code)
        finally:
            channel.close()

    def close(self) -> None:
        """Ends all commands and the connection; a command on the host dies at its next line of output."""
        _end(self._transport)


class _NoCommonAlgorithm(HostUnreachable):
    """The host shows no key of the types asked for."""


def tune(sock: socket.socket) -> None:
    """A peer that vanished is noticed by the kernel within some 20 s of unanswered data."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MS)


def _open_socket(target: Target, timeout_s: float) -> socket.socket:
    try:
        sock = socket.create_connection((target.host, target.port), timeout_s)
    except socket.gaierror as error:
        raise HostUnreachable(f"{target.host} can't be resolved: {error.strerror}") from error
    except TimeoutError as error:
        raise HostUnreachable(f"{target.where} does not answer within {timeout_s:g} s") from error
    except OSError as error:
        raise HostUnreachable(f"{target.where}: {_words(error)}") from error
    tune(sock)
    return sock


def _handshake(
    target: Target,
    key_types: Sequence[str],
    timeout_s: float,
    sock: socket.socket | None,
    *,
    hands_over: bool = False,
) -> Transport:
    """A transport whose host has proven one key of these types; nothing has been authenticated yet."""
    deadline = time.monotonic() + timeout_s
    sock = sock or _open_socket(target, timeout_s)
    try:
        transport = Transport(sock, hands_over=hands_over)
    except paramiko.SSHException as error:
        sock.close()
        raise HostUnreachable(f"{target.where}: {_words(error)}") from error
    left = max(0.5, deadline - time.monotonic())
    transport.banner_timeout = transport.handshake_timeout = left
    transport.get_security_options().key_types = [name for kind in key_types for name in _ALGORITHMS[kind]]
    try:
        transport.start_client(timeout=left)
    except IncompatiblePeer as error:
        _end(transport)
        if "host key" in str(error):
            raise _NoCommonAlgorithm(f"{target.where}: {error}") from error
        raise HostUnreachable(f"{target.where} speaks no algorithm in common with us: {error}") from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        _end(transport)
        raise HostUnreachable(f"{target.where} does not complete the SSH handshake: {_words(error)}") from error
    if not transport.initial_kex_done:  # paramiko returns as if nothing were wrong
        _end(transport)
        raise HostUnreachable(f"{target.where} does not finish the SSH handshake within {timeout_s:g} s")
    return transport


def _verified(target: Target, timeout_s: float, sock: socket.socket | None, *, hands_over: bool = False) -> Transport:
    """A transport whose host has proven the pinned key."""
    pinned = target.host_key
    types: tuple[str, ...] = tuple(_ALGORITHMS)
    if pinned and not pinned.startswith("SHA256:"):
        types = (pinned.split()[0],)
    shown: HostKey | None = None
    while types:
        try:
            transport = _handshake(target, types, timeout_s, sock, hands_over=hands_over)
        except _NoCommonAlgorithm:
            if pinned is None:
                raise
            break
        shown = _shown_key(transport)
        if pinned and shown.matches(pinned):
            return transport
        _end(transport)
        if pinned is None:
            raise HostKeyUnknown(
                f"no host key is pinned for {target.where}, which shows {shown.type} {shown.sha256}; compare it with "
                "`ssh-keygen -lf` on the host, then pin it"
            )
        # A fingerprint doesn't tell its type: the host may have the pinned key among its others.
        types, sock = tuple(kind for kind in types if kind != shown.type), None
    seen = f"{shown.type} {shown.sha256}" if shown else f"no {(pinned or '').split()[0]} key"
    raise HostKeyChanged(
        f"{target.where} shows {seen}, but {_fingerprint_of(pinned or '')} is pinned: the host was installed anew, or "
        "something stands in its place; nobody logs in until the new key is pinned"
    )


_Login = tuple[str, Callable[[paramiko.Transport], list[str]]]


def _logins(target: Target, key: paramiko.PKey | None) -> list[_Login]:
    """The ways to log in, in the order to try them, each with its name."""
    logins: list[_Login] = []
    if key is not None:
        logins.append(("private key", lambda transport: transport.auth_publickey(target.username, key)))
    if (password := target.password) is not None:
        secret = password.get_secret_value()
        logins.append(("password", lambda transport: transport.auth_password(target.username, secret)))
    if not logins:
        raise AuthenticationFailed(f"{target.where}: there is neither password nor private key for {target.username}")
    return logins


def _logged_in(transport: Transport, target: Target, key: paramiko.PKey | None, deadline: float) -> Transport:
    """A transport that is logged in: this one, or one more when the host wants another way to log in."""
    logins = _logins(target, key)
    for number, login in enumerate(logins, 1):
        transport.auth_timeout = max(1.0, deadline - time.monotonic())
        try:
            if _accepted(transport, target, login):
                return transport
        except AuthenticationFailed:
            _end(transport)
            if number == len(logins):
                raise
            # Not every server hears a second request on the same connection.
            transport = _verified(target, max(1.0, deadline - time.monotonic()), None, hands_over=transport.hands_over)
    _end(transport)
    raise AuthenticationFailed(f"{target.where} asks {target.username} for a further factor")


def _accepted(transport: paramiko.Transport, target: Target, login: _Login) -> bool:
    """Whether we are in; False when the host asks for a further factor."""
    name, attempt = login
    refusal = f"{target.where} refuses {target.username} with this {name}"
    try:
        return not attempt(transport)
    except BadAuthenticationType as error:
        raise AuthenticationFailed(f"{refusal}: it allows only {', '.join(error.allowed_types)}") from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        if not transport.is_active() or "timeout" in str(error).lower():
            raise HostUnreachable(f"{target.where}: the connection ended during login: {_words(error)}") from error
        raise AuthenticationFailed(refusal) from error


@lru_cache(maxsize=64)
def _private_key(text: SecretStr, passphrase: SecretStr | None) -> paramiko.PKey:
    """paramiko reads only some formats, the library below it reads them all. Kept, as opening one can take seconds."""
    data = text.get_secret_value().strip().encode() + b"\n"
    password = passphrase.get_secret_value().encode() if passphrase else None
    in_openssh_format = b"BEGIN OPENSSH PRIVATE KEY" in data
    load = serialization.load_ssh_private_key if in_openssh_format else serialization.load_pem_private_key
    try:
        key = load(data, password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's text may quote what it was given.
        raise InvalidInput("the private key can't be read, or not with this passphrase") from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return paramiko.Ed25519Key(file_obj=_unlocked(key))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return paramiko.ECDSAKey.from_private_key(_unlocked(key))
    if isinstance(key, rsa.RSAPrivateKey):
        return paramiko.RSAKey.from_private_key(_unlocked(key))
    raise InvalidInput("the private key is of a type that SSH doesn't use")


def _unlocked(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> io.StringIO:
    return io.StringIO(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        ).decode("ascii")
    )


def _shown_key(transport: paramiko.Transport) -> HostKey:
    try:
        key = transport.get_remote_server_key()
    except paramiko.SSHException as error:
        raise HostUnreachable(f"the connection broke right after the handshake: {_words(error)}") from error
    line = f"{key.get_name()} {key.get_base64()}"
    return HostKey(key.get_name(), _fingerprint_of(line), line)


def _fingerprint_of(pinned: str) -> str:
    if pinned.startswith("SHA256:"):
        return pinned
    digest = hashlib.sha256(base64.b64decode(pinned.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def _end(transport: Transport) -> None:
    if transport.reactor is not None:
        transport.reactor.end(transport)
        return
    with suppress(OSError):  # the other side may have been quicker
        transport.sock.shutdown(socket.SHUT_RDWR)
    # The shutdown ends the thread's read, and the thread closes the descriptor. Closed from here, its number could be
    # in use again while the thread still reads from it.
    if transport.is_alive():
        transport.join(2.0)
    transport.close()
    transport.sock.close()


def _words(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text or type(error).__name__).strip().splitlines()[0]
