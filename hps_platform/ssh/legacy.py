"""SSH servers of before 2011, which prove themselves and agree on keys with SHA-1 only: paramiko 5 has given that up.

Used for servers whose settings ask for it (`legacy_ssh`), and for nobody else; what is better is still taken first.
Such a server needs an RSA host key: DSA is not spoken here.
"""

from hashlib import sha1
from typing import Any, ClassVar

import paramiko
from cryptography.hazmat.primitives import hashes
from paramiko.kex_gex import KexGexSHA256
from paramiko.kex_group14 import KexGroup14SHA256

from hps_platform.ssh.connection import Transport

RSA_SHA1 = "ssh-rsa"
_MODERN: Any = paramiko.Transport  # its tables of algorithms are not among its published types


class Sha1RsaKey(paramiko.RSAKey):
    """An RSA key that may also sign, and be verified, as `ssh-rsa`: PKCS #1 v1.5 with SHA-1 (RFC 4253, section 6.6)."""

    HASHES = {**paramiko.RSAKey.HASHES, RSA_SHA1: hashes.SHA1}  # type: ignore[misc]  # noqa: RUF012  as there


class _Group14Sha1(KexGroup14SHA256):
    name = "diffie-hellman-group14-sha1"
    hash_algo = sha1


class _Group1Sha1(_Group14Sha1):
    """The Second Oakley Group, RFC 2409, section 6.2: 2^1024 - 2^960 - 1 + 2^64 * (floor(2^894 pi) + 129093)."""

    name = "diffie-hellman-group1-sha1"
    P = int(
        "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
        "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
        "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
        16,
    )


class _GroupExchangeSha1(KexGexSHA256):
    name = "diffie-hellman-group-exchange-sha1"
    hash_algo = sha1


_KEX: dict[str, Any] = {kind.name: kind for kind in (_GroupExchangeSha1, _Group14Sha1, _Group1Sha1)}


class LegacyTransport(Transport):
    """Offers SHA-1 after everything else."""

    _kex_info: ClassVar = {**_MODERN._kex_info, **_KEX}
    _preferred_kex = (*_MODERN._preferred_kex, *_KEX)
    _key_info: ClassVar = {**_MODERN._key_info, RSA_SHA1: Sha1RsaKey}

    @property
    def preferred_pubkeys(self) -> tuple[str, ...]:
        """A server that doesn't tell which signatures it takes is from before there was a choice."""
        if self.server_extensions.get("server-sig-algs"):
            return (*_MODERN._preferred_pubkeys, RSA_SHA1)
        return (*(name for name in _MODERN._preferred_pubkeys if "rsa" not in name), RSA_SHA1)
