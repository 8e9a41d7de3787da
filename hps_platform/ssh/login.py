"""Logging in: private keys in every format, certificates, passwords; what the host says when it refuses."""

import io
import time
from collections.abc import Callable
from functools import lru_cache

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from paramiko.ssh_exception import BadAuthenticationType
from pydantic import SecretStr

from hps_platform.errors import AuthenticationFailed, HostUnreachable, InvalidInput
from hps_platform.host_keys import validity
from hps_platform.ssh.connection import Transport
from hps_platform.ssh.handshake import Connection, Target, end, reason, verified
from hps_platform.ssh.legacy import Sha1RsaKey

_RSA = "RSA private key"
_Login = tuple[str, Callable[[paramiko.Transport], list[str]]]


def _logins(target: Target, key: paramiko.PKey | None) -> list[_Login]:
    """The ways to log in, in the order to try them, each with its name."""
    logins: list[_Login] = []
    if key is not None:
        name = "certificate" if target.certificate else _RSA if key.get_name() == "ssh-rsa" else "private key"
        logins.append((name, lambda transport: transport.auth_publickey(target.username, key)))
    if (password := target.password) is not None:
        secret = password.get_secret_value()
        logins.append(("password", lambda transport: transport.auth_password(target.username, secret)))
    if not logins:
        raise AuthenticationFailed(f"{target.where}: there is neither password nor private key for {target.username}")
    return logins


def logged_in(
    transport: Transport, target: Target, key: paramiko.PKey | None, deadline: float, connection: Connection
) -> Transport:
    """A transport that is logged in: this one, or one more when the host wants another way to log in."""
    logins = _logins(target, key)
    for number, login in enumerate(logins, 1):
        transport.auth_timeout = max(1.0, deadline - time.monotonic())
        try:
            if _accepted(transport, target, login):
                return transport
        except AuthenticationFailed:
            end(transport)
            if number == len(logins):
                raise
            # Not every server hears a second request on the same connection.
            left = max(1.0, deadline - time.monotonic())
            transport = verified(target, left, connection, hands_over=transport.hands_over)
    end(transport)
    raise AuthenticationFailed(f"{target.where} asks {target.username} for a further factor")


def _accepted(transport: Transport, target: Target, login: _Login) -> bool:
    """Whether we are in; False when the host asks for a further factor."""
    name, attempt = login
    refusal = f"{target.where} refuses {target.username} with this {name}"
    if name == "certificate" and target.certificate and (problem := _validity(target.certificate)):
        refusal += f", which {problem}"
    try:
        return not attempt(transport)
    except BadAuthenticationType as error:
        raise AuthenticationFailed(f"{refusal}: it allows only {', '.join(error.allowed_types)}") from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        if not transport.is_active() or "timeout" in str(error).lower():
            raise HostUnreachable(f"{target.where}: the connection ended during login: {reason(error)}") from error
        if name == _RSA and not transport.server_extensions and not target.legacy:
            refusal += (
                "; servers of before OpenSSH 7.2 (2016) don't understand how it signs: use an ECDSA or Ed25519 key, or "
                "`legacy_ssh` in the server's settings"
            )
        raise AuthenticationFailed(refusal) from error


def login_key(target: Target) -> paramiko.PKey | None:
    if target.private_key is None:
        return None
    return _private_key(target.private_key, target.passphrase, target.certificate, target.legacy)


def _validity(certificate: SecretStr) -> str:
    found = serialization.load_ssh_public_identity(certificate.get_secret_value().strip().encode())
    return validity(found) if isinstance(found, serialization.SSHCertificate) else "is none"


@lru_cache(maxsize=64)
def _private_key(
    text: SecretStr, passphrase: SecretStr | None, certificate: SecretStr | None, legacy: bool
) -> paramiko.PKey:
    """paramiko reads only some formats, the library below it reads them all. Kept, as opening one can take seconds."""
    key = _of_paramiko(text, passphrase, Sha1RsaKey if legacy else paramiko.RSAKey)
    if certificate is not None:
        try:
            key.load_certificate(certificate.get_secret_value().strip())
        except (ValueError, IndexError, paramiko.SSHException):
            raise InvalidInput("the certificate of the private key can't be read") from None
    return key


def _of_paramiko(text: SecretStr, passphrase: SecretStr | None, rsa_kind: type[paramiko.RSAKey]) -> paramiko.PKey:
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
        return rsa_kind.from_private_key(_unlocked(key))
    raise InvalidInput("the private key is of a type that SSH doesn't use")


def _unlocked(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> io.StringIO:
    return io.StringIO(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        ).decode("ascii")
    )
