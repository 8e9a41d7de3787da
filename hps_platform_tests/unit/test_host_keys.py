"""Pins and known_hosts files; what certificates of hosts are worth is shown with OpenSSH's own in integration/ssh."""

import base64
import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
)

from hps_platform.errors import InvalidInput
from hps_platform.host_keys import HostKey, KnownHosts, Pins, fingerprint, normalised


def _public(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


ED = _public(ed25519.Ed25519PrivateKey.generate())
OTHER = _public(ed25519.Ed25519PrivateKey.generate())
RSA = _public(rsa.generate_private_key(65537, 2048))


def shown(line: str) -> HostKey:
    return HostKey(line.split(maxsplit=1)[0], fingerprint(line), line)


def hashed(name: str) -> str:
    salt = b"0123456789abcdefghij"
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("entered", "kept"),
    [
        (f"db1,10.0.0.1,ssh-gate {ED} root@db1", ED),
        (f"{ED}, {RSA}", f"{ED}, {RSA}"),
        (f"{ED}\n{ED} again\n", ED),
        (f"{fingerprint(ED)}=,@revoked {fingerprint(RSA)}", f"{fingerprint(ED)}, @revoked {fingerprint(RSA)}"),
        (f"@cert-authority *.example.com,10.0.0.* {ED} the authority", f"@cert-authority {ED}"),
        (f"@cert-authority {ED}, @revoked {RSA}", f"@cert-authority {ED}, @revoked {RSA}"),
    ],
    ids=["known_hosts line", "two keys", "twice the same", "fingerprints", "authority", "authority and revoked"],
)
def test_a_pin_is_normalised(entered: str, kept: str) -> None:
    assert normalised("host_key", entered) == kept


@pytest.mark.parametrize(
    "entered",
    ["", "@trusted " + ED, "@cert-authority SHA256:" + "a" * 43, "@revoked", "@revoked " + ED, "a b c"],
    ids=["nothing", "unknown mark", "fingerprint of an authority", "mark alone", "only revoked", "words"],
)
def test_what_is_no_pin_is_refused(entered: str) -> None:
    with pytest.raises(InvalidInput, match="host_key"):
        normalised("host_key", entered)


def test_one_of_several_keys_is_enough_and_a_revoked_one_never_is() -> None:
    pins = Pins.read(f"{ED}, {fingerprint(RSA)}")
    assert pins.objection(shown(ED), ()) is None
    assert pins.objection(shown(RSA), ()) is None
    assert pins.objection(shown(OTHER), ()) == ""
    for revoked in (ED, fingerprint(ED)):
        assert Pins.read(f"{ED}, @revoked {revoked}").objection(shown(ED), ()) == "this key is revoked"
    assert Pins.read(ED).types() == ("ssh-ed25519",)
    assert len(Pins.read(fingerprint(ED)).types()) == 5
    assert Pins.read(f"@cert-authority {ED}").types() == ()


def test_a_certificate_of_an_authority_that_signs_with_sha1_is_refused() -> None:
    authority = rsa.generate_private_key(65537, 2048)
    host = ed25519.Ed25519PrivateKey.generate()
    certificate = (
        SSHCertificateBuilder()
        .public_key(host.public_key())
        .serial(1)
        .type(SSHCertificateType.HOST)
        .valid_before(2**64 - 1)
        .valid_after(0)
        .key_id(b"db1")
        .valid_principals([b"db*"])
        .sign(authority)
    )
    line = certificate.public_bytes().decode()
    pins = Pins.read(f"@cert-authority {_public(authority)}")
    good = HostKey("ssh-ed25519", "", _public(host), line)
    assert pins.objection(good, {"db1"}) is None
    assert pins.objection(good, {"web1"}) == "its certificate is for db* and not for web1"
    # A host may show its certificate only; it proves the key in it all the same.
    assert Pins.read(good.line).objection(good, {"web1"}) is None
    assert Pins.read(f"{good.line}, @revoked {good.line}").objection(good, {"web1"}) == "this key is revoked"
    blob = base64.b64decode(line.split()[1])
    # An older ssh-keygen names SHA-1 where this one names SHA-512; the lengths around it shrink by as much.
    new, old = b"\0\0\0\x0crsa-sha2-512", b"\0\0\0\7ssh-rsa"
    start = blob.rindex(new)
    length = int.from_bytes(blob[start - 4 : start], "big") - len(new) + len(old)
    weak = blob[: start - 4] + length.to_bytes(4, "big") + old + blob[start + len(new) :]
    shown_weak = HostKey("ssh-ed25519", "", _public(host), f"{line.split()[0]} {base64.b64encode(weak).decode()}")
    assert pins.objection(shown_weak, {"db1"}) == "its certificate is signed with SHA-1"


def test_known_hosts_are_found_by_name_address_port_pattern_and_hash() -> None:
    known = KnownHosts.read(
        f"""\
# comment
db1,10.0.0.1 {RSA}
db1 {ED} newer
[db1]:2222 {OTHER}
{hashed("db2")} {ED}
{hashed("[db2]:2022")} {OTHER}
*.example.com,!bad.example.com {ED}
@cert-authority *.corp {OTHER} the authority
@revoked * {RSA}
"""
    )
    assert known.skipped == ()
    assert known.pin({"DB1", "10.9.9.9"}, 22) == f"{ED}, @revoked {RSA}"
    assert known.pin({"db1"}, 2222) == f"{OTHER}, @revoked {RSA}"
    assert known.pin({"db1"}, 2223) == f"{ED}, @revoked {RSA}"  # as OpenSSH: the name without a port, at last
    assert known.pin({"db2"}, 22) == f"{ED}, @revoked {RSA}"
    assert known.pin({"db2"}, 2022) == f"{OTHER}, @revoked {RSA}"
    assert known.pin({"a.example.com"}, 22) == f"{ED}, @revoked {RSA}"
    assert known.pin({"bad.example.com"}, 22) is None
    assert known.pin({"db1.corp"}, 22) == f"@cert-authority {OTHER}, @revoked {RSA}"
    assert known.pin({"10.0.0.1"}, 22) is None  # its only key is revoked
    assert known.revoked({"10.0.0.1"}, 22) == {RSA, fingerprint(RSA)}


def test_lines_that_can_not_be_used_are_told_with_their_number() -> None:
    known = KnownHosts.read(f"db1 ssh-dss AAAA\n@trusted db1 {ED}\ndb1\ndb1 ssh-ed25519 !!!\n|1|x|y {ED}\ndb2 {ED}\n")
    assert [line.split(":")[0] for line in known.skipped] == ["line 1", "line 2", "line 3", "line 4"]
    assert known.pin({"db2"}, 22) == ED
