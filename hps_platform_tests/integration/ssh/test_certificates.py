"""Certificates with OpenSSH itself: logging in with one, and hosts that an authority vouches for."""

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from hps_platform.errors import AuthenticationFailed, HostKeyChanged
from hps_platform.ssh import Session, fingerprints
from hps_platform_tests.integration.ssh.hosts import ACCOUNT, OpenSsh, new_key, open_ssh, sign


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities: `ca`, which hosts and servers here trust, and `other`."""
    folder = tmp_path_factory.mktemp("authorities")
    new_key(folder / "ca")
    new_key(folder / "other")
    return folder


@pytest.fixture(scope="module")
def users(authorities: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSsh]:
    """An sshd that lets in whoever has a certificate of `ca`, and no key by itself."""
    more = f"TrustedUserCAKeys {authorities}/ca.pub\n"
    with open_ssh(tmp_path_factory.mktemp("users"), more=more) as server:
        (server.folder / "authorized_keys").write_text("")
        yield server


@pytest.fixture(scope="module")
def certified(authorities: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSsh]:
    """An sshd with host certificates of `ca` for `db1` and 127.0.0.1, beside its plain keys."""
    with open_ssh(
        tmp_path_factory.mktemp("hosts"),
        more="HostCertificate {folder}/host_ed25519-cert.pub",
        prepare=lambda folder: sign(authorities / "ca", folder / "host_ed25519", "db1,127.0.0.1", host=True),
    ) as server:
        yield server


def authority(authorities: Path, name: str = "ca") -> str:
    return "@cert-authority " + " ".join((authorities / f"{name}.pub").read_text().split()[:2])


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_certificate_beside_the_private_key_logs_in(
    users: OpenSsh, authorities: Path, tmp_path: Path, kind: str
) -> None:
    new_key(tmp_path / "id", kind)
    certificate = sign(authorities / "ca", tmp_path / "id", ACCOUNT)
    bare = users.target(private_key=(tmp_path / "id").read_text())
    with pytest.raises(AuthenticationFailed, match="private key"):
        Session.connect(bare)
    session = Session.connect(replace(bare, certificate=SecretStr(certificate)))
    assert session.run("echo in").stdout == "in\n"
    session.close()
    assert re.search(r"Accepted publickey .*-CERT", users.log)


@pytest.mark.parametrize(
    ("signer", "principals", "valid", "words"),
    [
        ("ca", ACCOUNT, "20200101:20200102", "has expired on 2020-01-02"),
        ("ca", "somebody", "always:forever", "this certificate"),
        ("other", ACCOUNT, "always:forever", "this certificate"),
    ],
)
def test_a_certificate_that_does_not_fit_is_refused_in_words(
    users: OpenSsh, authorities: Path, tmp_path: Path, signer: str, principals: str, valid: str, words: str
) -> None:
    new_key(tmp_path / "id")
    certificate = sign(authorities / signer, tmp_path / "id", principals, valid=valid)
    target = users.target(private_key=(tmp_path / "id").read_text())
    with pytest.raises(AuthenticationFailed, match=words):
        Session.connect(replace(target, certificate=SecretStr(certificate)))


@pytest.mark.parametrize("name", ["db1", ""])
def test_a_host_is_accepted_by_its_authority(certified: OpenSsh, authorities: Path, name: str) -> None:
    target = replace(certified.target(host_key=authority(authorities)), name=name)
    session = Session.connect(target)
    assert session.host_key.line == certified.public_keys["ssh-ed25519"]
    session.close()


def test_a_host_with_a_certificate_still_proves_a_plain_pinned_key(certified: OpenSsh, authorities: Path) -> None:
    for pin in (
        certified.public_keys["ssh-rsa"],
        f"{authority(authorities, 'other')}, {fingerprints(certified.target())[0].line}",
    ):
        Session.connect(certified.target(host_key=pin)).close()


def test_another_authority_a_revoked_key_and_a_host_without_certificate_are_refused(
    certified: OpenSsh, users: OpenSsh, authorities: Path
) -> None:
    with pytest.raises(HostKeyChanged, match="another authority"):
        Session.connect(certified.target(host_key=authority(authorities, "other")))
    revoked = f"{authority(authorities)}, @revoked {certified.public_keys['ssh-ed25519']}"
    with pytest.raises(HostKeyChanged, match="revoked"):
        Session.connect(certified.target(host_key=revoked))
    of_authority = authority(authorities).replace("@cert-authority", "@revoked")
    with pytest.raises(HostKeyChanged, match="revoked authority"):
        Session.connect(certified.target(host_key=f"{authority(authorities)}, {of_authority}"))
    with pytest.raises(HostKeyChanged, match="no host certificate"):
        Session.connect(users.target(host_key=authority(authorities)))


@pytest.mark.parametrize(
    ("principals", "host", "valid", "words"),
    [
        ("db2", True, "always:forever", "is for db2 and not for 127.0.0.1 or db1"),
        ("db1", True, "20200101:20200102", "has expired"),
        ("db1", True, "20990101:20990102", "only from 2099-01-01"),
    ],
)
def test_a_host_certificate_must_be_for_this_host_and_moment(
    authorities: Path, tmp_path: Path, principals: str, host: bool, valid: str, words: str
) -> None:
    new_key(tmp_path / "host_ed25519")
    sign(authorities / "ca", tmp_path / "host_ed25519", principals, host=host, valid=valid)
    (tmp_path / "keys").mkdir()
    more = f"HostKey {tmp_path}/host_ed25519\nHostCertificate {tmp_path}/host_ed25519-cert.pub\n"
    with open_ssh(tmp_path / "keys", more=more, kinds=("rsa",)) as server:
        target = server.target(host_key=authority(authorities))
        with pytest.raises(HostKeyChanged, match=words):
            Session.connect(replace(target, name="db1"))


def test_a_forged_certificate_is_refused(authorities: Path, certified: OpenSsh) -> None:
    """One whose signature doesn't hold: what OpenSSH itself would not serve is judged as a value."""
    from hps_platform.host_keys import HostKey, Pins

    line = (certified.folder / "host_ed25519-cert.pub").read_text().split()
    blob = bytearray(base64.b64decode(line[1]))
    blob[blob.index(b"db1")] = ord("e")
    forged = f"{line[0]} {base64.b64encode(blob).decode()}"
    shown = HostKey("ssh-ed25519", "", certified.public_keys["ssh-ed25519"], forged)
    pins = Pins.read(authority(authorities))
    assert pins.objection(shown, {"eb1"}) == "its certificate is damaged or forged"
    assert pins.objection(replace(shown, certificate=" ".join(line[:2])), {"db1"}) is None
