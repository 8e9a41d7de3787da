"""Host keys as values: what is pinned for a host, what a host shows, whether the one fits the other; known_hosts files.

A pin is one line or several separated by commas: `SHA256:…`, `type base64`, `@cert-authority type base64` (whoever
shows a host certificate of this authority is the host), `@revoked type base64` (never, whatever else fits). Showing and
proving a key takes a connection: that is `ssh`'s business. Nothing here reads a file or the network.
"""

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
)

from hps_platform.errors import InvalidInput

TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
"""The best first."""

_AUTHORITY, _REVOKED = "@cert-authority", "@revoked"
_SHA256 = re.compile(r"SHA256:([A-Za-z0-9+/]{43})=?")
_BETWEEN = re.compile(rf"\n|,\s*(?=SHA256:|{_AUTHORITY} |{_REVOKED} |(?:{'|'.join(TYPES)}) )")
"""Between two entries of a pin; a line of known_hosts has commas between its names."""
_FOREVER = 2**64 - 1


@dataclass(frozen=True, slots=True)
class HostKey:
    """A host's public key; `line` is `type base64`, as it is pinned."""

    type: str
    sha256: str
    line: str
    certificate: str | None = field(default=None, repr=False)
    """What the host showed with it, when that was a certificate: `type base64`."""


@dataclass(frozen=True, slots=True)
class Pins:
    """What is pinned for a host, taken apart; each entry as it stands in the pin, without its marker."""

    keys: tuple[str, ...] = ()
    authorities: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()

    @classmethod
    def read(cls, pinned: str) -> "Pins":
        """Of what `normalised` gave."""
        entries = [entry.strip() for entry in pinned.split(",")]

        def marked(marker: str) -> tuple[str, ...]:
            return tuple(entry.removeprefix(marker).strip() for entry in entries if entry.startswith(marker))

        return cls(tuple(entry for entry in entries if entry[:1] != "@"), marked(_AUTHORITY), marked(_REVOKED))

    def types(self) -> tuple[str, ...]:
        """The types of key that the host may have been pinned with; a fingerprint doesn't tell."""
        if any(key.startswith("SHA256:") for key in self.keys):
            return TYPES
        return tuple(kind for kind in TYPES if any(key.split()[0] == kind for key in self.keys))

    def objection(self, shown: HostKey, names: Collection[str]) -> str | None:
        """Why this is not the host of these names, None when it is. An empty sentence: another key, and that is all."""
        if shown.line in self.revoked or shown.sha256 in self.revoked:
            return "this key is revoked"
        if {shown.line, shown.sha256} & set(self.keys):
            return None
        if shown.certificate is None:
            return ""
        return _certificate_objection(shown.certificate, self, names)

    def described(self) -> str:
        """For a message: fingerprints of what is pinned."""
        words = [fingerprint(key) for key in self.keys]
        words += [f"the authority {fingerprint(key)}" for key in self.authorities]
        return " or ".join(words) or "nothing but revoked keys"


def fingerprint(key: str) -> str:
    """`SHA256:…` of `type base64`, as `ssh-keygen -l` prints it; a fingerprint stays as it is."""
    if key.startswith("SHA256:"):
        return key
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def normalised(name: str, text: str) -> str:
    """A pin as people enter it: names and comments of known_hosts or of a `.pub` file go. Raises `InvalidInput`."""
    entries = [_entry(name, part.strip()) for part in _BETWEEN.split(text) if part.strip()]
    if not entries:
        raise InvalidInput(f"{name} is empty")
    if all(entry.startswith(_REVOKED) for entry in entries):
        raise InvalidInput(f"{name} has revoked keys only: nobody could ever log in")
    return ", ".join(dict.fromkeys(entries))


def _entry(name: str, text: str) -> str:
    if sha256 := _SHA256.fullmatch(text):
        return f"SHA256:{sha256[1]}"
    words = text.split()
    marker = words.pop(0) if words[0] in (_AUTHORITY, _REVOKED) else ""
    if marker and len(words) == 1 and (sha256 := _SHA256.fullmatch(words[0])) and marker == _REVOKED:
        return f"{marker} SHA256:{sha256[1]}"
    start = next((index for index, word in enumerate(words[:2]) if word in TYPES), None)
    if start is None or len(words) < start + 2 or words[0].startswith("@"):
        raise InvalidInput(
            f"{name} must be SHA256:… or a key as in `ssh-ed25519 AAAA…`, or `@cert-authority ssh-ed25519 AAAA…`"
        )
    return f"{marker} {_key(name, *words[start : start + 2])}".strip()


def _key(name: str, key_type: str, encoded: str) -> str:
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(f"{name}: what follows {key_type} is not base64") from None
    if blob[4 : 4 + int.from_bytes(blob[:4], "big")] != key_type.encode() or len(blob) < 32:
        raise InvalidInput(f"{name} says {key_type}, but the key is another type or cut off")
    return f"{key_type} {encoded}"


# Certificates -------------------------------------------------------------------------------------------------------


def _certificate_objection(line: str, pins: Pins, names: Collection[str]) -> str | None:
    try:
        certificate = load_ssh_public_identity(line.encode())
        if not isinstance(certificate, SSHCertificate):
            return "it shows no certificate"
        signer = _openssh(certificate)
        if signer in pins.revoked or fingerprint(signer) in pins.revoked:
            return "its certificate is of a revoked authority"
        if signer not in pins.authorities:
            return f"its certificate is of another authority, {fingerprint(signer)}"
        if _signed_with_sha1(certificate, base64.b64decode(line.split()[1])):
            return "its certificate is signed with SHA-1"
        certificate.verify_cert_signature()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        return "its certificate is damaged or forged"
    return _unfit(certificate, names)


def _unfit(certificate: SSHCertificate, names: Collection[str]) -> str | None:
    """Of a certificate whose signature holds: why it is not for this host and this moment."""
    if certificate.type is not SSHCertificateType.HOST:
        return "its certificate is one for users"
    if certificate.critical_options:
        return "its certificate has critical options, which hosts' certificates can't have"
    if problem := validity(certificate):
        return f"its certificate {problem}"
    principals = [principal.decode("utf-8", "replace").lower() for principal in certificate.valid_principals]
    # As with OpenSSH up to 9: one without principals is for every host of the authority.
    if principals and not any(fnmatchcase(name.lower(), principal) for name in names for principal in principals):
        return f"its certificate is for {', '.join(principals)} and not for {' or '.join(sorted(names))}"
    return None


def validity(certificate: SSHCertificate) -> str:
    """Why the certificate does not hold at this moment, in words that follow a noun; empty when it does."""
    now = time.time()
    if now < certificate.valid_after:
        return f"is valid only from {_day(certificate.valid_after)} on"
    if certificate.valid_before != _FOREVER and now >= certificate.valid_before:
        return f"has expired on {_day(certificate.valid_before)}"
    return ""


def _day(epoch_s: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(epoch_s))


def _openssh(certificate: SSHCertificate) -> str:
    return certificate.signature_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")


def _signed_with_sha1(certificate: SSHCertificate, blob: bytes) -> bool:
    """A certificate ends in its signature: a string with the algorithm, then a string as long as an RSA modulus."""
    signer = certificate.signature_key()
    if not isinstance(signer, rsa.RSAPublicKey):
        return False
    algorithm = b"\0\0\0\7ssh-rsa"
    end = len(blob) - (signer.key_size + 7) // 8 - 4
    return blob[:end].endswith(algorithm)


# known_hosts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KnownHosts:
    """The entries of a known_hosts file: marker, the field of names, key; in the file's order."""

    entries: tuple[tuple[str, str, str], ...]
    skipped: tuple[str, ...] = ()
    """Lines that can't be used, each in words with its number."""

    @classmethod
    def read(cls, text: str) -> "KnownHosts":
        entries: list[tuple[str, str, str]] = []
        skipped: list[str] = []
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            marker = words.pop(0) if words[0].startswith("@") else ""
            if marker not in ("", _AUTHORITY, _REVOKED):
                skipped.append(f"line {number}: the marker {marker} is unknown")
            elif len(words) < 3:
                skipped.append(f"line {number}: not `names type key`")
            elif words[1] not in TYPES:
                skipped.append(f"line {number}: a key of type {words[1]} is not used")
            else:
                try:
                    entries.append((marker, words[0], _key(f"line {number}", words[1], words[2])))
                except InvalidInput as error:
                    skipped.append(str(error))
        return cls(tuple(entries), tuple(skipped))

    def pin(self, names: Collection[str], port: int) -> str | None:
        """What to pin for a host of these names, best keys first; None when the file has nothing for it.

        Its own keys and the authorities that speak for it, without what is revoked; what is revoked for it stays in
        the pin beside them. Revoked keys alone are no pin.
        """
        revoked = {key for key in self.revoked(names, port) if not key.startswith("SHA256:")}
        # As OpenSSH does: what is known of the name without its port counts only when nothing is known with it.
        good = self._trusted(_written(names, port), revoked) or self._trusted(_written(names, 22), revoked)
        if not good:
            return None
        good.sort(key=lambda entry: (entry[0], TYPES.index(entry[1].split()[0])))
        entries = [f"{marker} {key}".strip() for marker, key in good]
        return ", ".join(dict.fromkeys([*entries, *(f"{_REVOKED} {key}" for key in sorted(revoked))]))

    def revoked(self, names: Collection[str], port: int) -> frozenset[str]:
        """Keys and fingerprints that are revoked for a host of these names, on whatever port."""
        written = _written(names, port) | _written(names, 22)
        keys = [key for marker, field, key in self.entries if marker == _REVOKED and _speaks_of(field, written)]
        return frozenset({*keys, *map(fingerprint, keys)})

    def _trusted(self, written: Collection[str], revoked: Collection[str]) -> list[tuple[str, str]]:
        return [
            (marker, key)
            for marker, field, key in self.entries
            if marker != _REVOKED and key not in revoked and _speaks_of(field, written)
        ]


def _written(names: Collection[str], port: int) -> frozenset[str]:
    """As OpenSSH writes a host: with its port in brackets when that isn't 22."""
    return frozenset(name.lower() if port == 22 else f"[{name.lower()}]:{port}" for name in names)


def _speaks_of(field: str, written: Collection[str]) -> bool:
    if field.startswith("|1|"):
        return any(_hashes_to(field, name) for name in written)
    patterns = [_literal(pattern.lower()) for pattern in field.split(",")]
    refused = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    if any(fnmatchcase(name, pattern) for name in written for pattern in refused):
        return False
    return any(fnmatchcase(name, pattern) for name in written for pattern in patterns)


def _literal(pattern: str) -> str:
    """Brackets are part of a name here, not a set of letters."""
    return pattern.replace("[", "[[]")


def _hashes_to(field: str, name: str) -> bool:
    """`|1|salt|hash`: HMAC-SHA1 of the name under the salt."""
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in field.split("|")[2:4])
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)
