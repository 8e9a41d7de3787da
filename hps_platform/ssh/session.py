"""Sessions: one authenticated connection and its commands; the way to a host through others."""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import paramiko

from hps_platform.errors import CommandTimeout, HostUnreachable, SshError
from hps_platform.host_keys import HostKey
from hps_platform.ssh.channel import Channel
from hps_platform.ssh.connection import Transport
from hps_platform.ssh.handshake import (
    PLAIN,
    TOO_OLD,
    NoCommonAlgorithm,
    Target,
    end,
    handshake,
    open_socket,
    reason,
    shown_key,
    verified,
)
from hps_platform.ssh.login import logged_in, login_key
from hps_platform.ssh.reactor import Reactor

_KEEPALIVE_S = 15
_IDLE_WAKEUP_S = 5.0
_OUTPUT_LIMIT = 8 * 1024 * 1024
_NOWHERE = ("127.0.0.1", 0)  # where a forwarded connection is said to come from
_PROHIBITED = 1  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED


@dataclass(frozen=True, slots=True)
class Result:
    """What a command printed; `exit_code` is None when the host didn't tell one."""

    stdout: str
    stderr: str
    exit_code: int | None


class Session:
    """One authenticated connection. Its methods may be called from any thread; those that wait say so."""

    def __init__(self, transport: Transport, target: Target, host_key: HostKey, road: "_Road") -> None:
        self._transport = transport
        self._road = road
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
        """Logs in, through its jump hosts, on `sock` when that is connected already (to `target.entrance`); waits.

        A `reactor` reads the connection from then on, unless it leads through a jump host. `timeout_s` is for each
        host on the way. Raises `HostUnreachable`, `HostKeyUnknown` (nothing is pinned), `HostKeyChanged`,
        `AuthenticationFailed`, and `InvalidInput` for a private key that can't be read; those of a jump host name it.
        Before a host key is known to be the pinned one, neither account nor secret is sent.
        """
        if target.via:
            reactor = None  # it waits for sockets, and here the connection is a channel of another one
        key = login_key(target)
        road = _Road(target, timeout_s, sock)
        try:
            deadline = time.monotonic() + timeout_s
            transport = verified(target, timeout_s, road.connection, hands_over=reactor is not None)
            try:
                transport = logged_in(transport, target, key, deadline, road.connection)
                transport.set_keepalive(_KEEPALIVE_S)
                session = cls(transport, target, shown_key(transport), road)
            except BaseException:
                end(transport)
                raise
        except BaseException:
            road.close()
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
        end(self._transport)
        self._road.close()

    def forward(self, target: Target, timeout_s: float) -> paramiko.Channel:
        """A connection from this host on to the next. Raises `HostUnreachable`, `SshError` when that is forbidden."""
        try:
            return self._transport.open_channel("direct-tcpip", (target.host, target.port), _NOWHERE, timeout=timeout_s)
        except paramiko.ChannelException as error:
            if error.code == _PROHIBITED:
                raise SshError(
                    f"the jump host {self.target.where} lets {self.target.username} forward no connection to "
                    f"{target.where}: its sshd needs AllowTcpForwarding and PermitOpen for it"
                ) from error
            raise HostUnreachable(
                f"the jump host {self.target.where} can't reach {target.where}: {error.text}"
            ) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise HostUnreachable(
                f"no connection through the jump host {self.target.where} to {target.where}: {reason(error)}"
            ) from error


class _Road:
    """The way to a host: straight, or through a session on its last jump host, which is kept for further tries."""

    def __init__(self, target: Target, timeout_s: float, sock: socket.socket | None) -> None:
        self._target = target
        self._sock = None if target.via else sock
        self._hop = (
            Session.connect(replace(target.via[-1], via=target.via[:-1]), timeout_s, sock) if target.via else None
        )

    def connection(self, timeout_s: float) -> "socket.socket | paramiko.Channel":
        """A connection to the host: the first time the one that was there already."""
        if self._hop is not None:
            return self._hop.forward(self._target, timeout_s)
        sock, self._sock = self._sock, None
        return sock or open_socket(self._target, timeout_s)

    def close(self) -> None:
        if self._hop is not None:
            self._hop.close()


def fingerprints(target: Target, timeout_s: float = 10.0) -> list[HostKey]:
    """The keys a host shows, one of each type. Shows and never trusts: no login is tried, except at its jump hosts.

    Raises `HostUnreachable`, and for jump hosts as `Session.connect`.
    """
    keys: list[HostKey] = []
    road = _Road(target, timeout_s, None)
    try:
        for names in (("ssh-ed25519",), tuple(name for name in PLAIN if name.startswith("ecdsa")), PLAIN[-2:]):
            try:
                transport = handshake(target, names, timeout_s, road.connection)
            except NoCommonAlgorithm:
                continue
            try:
                keys.append(shown_key(transport))
            finally:
                end(transport)
    finally:
        road.close()
    if not keys:
        raise HostUnreachable(f"{target.where} shows no host key of a type in use today; {TOO_OLD}")
    return keys
