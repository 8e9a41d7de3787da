"""Servers that know nothing better than SHA-1, played by OpenSSH with all else switched off."""

from dataclasses import replace
from pathlib import Path

import pytest

from hps_platform.errors import AuthenticationFailed, HostKeyChanged, HostUnreachable
from hps_platform.ssh import Session, fingerprints
from hps_platform.ssh.connection import Transport
from hps_platform_tests.integration.ssh.hosts import open_ssh

OLD = """\
KexAlgorithms {kex}
HostKeyAlgorithms ssh-rsa
PubkeyAcceptedAlgorithms ssh-rsa
Ciphers aes128-cbc,3des-cbc
MACs hmac-sha1,hmac-md5
"""


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old servers don't tell which signatures they take, and this one can't be made not to: it isn't listened to."""
    monkeypatch.setattr(Transport, "_parse_ext_info", lambda transport, message: None)


@pytest.mark.parametrize(
    "kex", ["diffie-hellman-group1-sha1", "diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1"]
)
def test_an_old_server_is_reached_when_its_settings_allow_it_and_named_otherwise(
    tmp_path: Path, kex: str, silent: None
) -> None:
    more = OLD.replace("{kex}", kex)
    with open_ssh(tmp_path, more=more, kinds=("rsa",), client="rsa") as server:
        target = server.target(host_key=server.public_keys["ssh-rsa"])
        for use in (lambda: Session.connect(target), lambda: fingerprints(target)):
            with pytest.raises(HostUnreachable, match=r"SSH-2\.0-OpenSSH.*no acceptable kex.*legacy_ssh"):
                use()
        old = replace(target, legacy=True)
        assert [key.line for key in fingerprints(old)] == [server.public_keys["ssh-rsa"]]
        session = Session.connect(old)
        assert session.run("echo in").stdout == "in\n"
        session.close()


def test_a_server_whose_rsa_key_signs_with_sha1_only_is_told_from_a_changed_one(tmp_path: Path, silent: None) -> None:
    more = "HostKeyAlgorithms ssh-rsa\nPubkeyAcceptedAlgorithms ssh-rsa\n"
    with open_ssh(tmp_path, more=more, kinds=("rsa",), client="rsa") as server:
        target = server.target(host_key=server.public_keys["ssh-rsa"])
        with pytest.raises(HostKeyChanged, match=r"no ssh-rsa key.*legacy_ssh"):
            Session.connect(target)
        with pytest.raises(HostUnreachable, match=r"no host key of a type in use today; .*legacy_ssh"):
            fingerprints(target)
        Session.connect(replace(target, legacy=True)).close()


def test_a_server_that_does_not_understand_how_an_rsa_key_signs_is_told_with_what_to_do(
    tmp_path: Path, silent: None
) -> None:
    with open_ssh(tmp_path, more="PubkeyAcceptedAlgorithms ssh-rsa\n", client="rsa") as server:
        with pytest.raises(AuthenticationFailed, match=r"this RSA private key; .* use an ECDSA or Ed25519 key"):
            Session.connect(server.target())
        Session.connect(replace(server.target(), legacy=True)).close()


def test_a_server_of_today_gets_todays_algorithms_also_when_old_ones_are_allowed(tmp_path: Path) -> None:
    with open_ssh(tmp_path, more="LogLevel DEBUG2\n", client="rsa") as server:
        Session.connect(replace(server.target(host_key=server.public_keys["ssh-rsa"]), legacy=True)).close()
        log = server.log
    assert "kex: host key algorithm: rsa-sha2-512" in log
    assert "sha1" not in log.partition("kex: algorithm:")[2].splitlines()[0]
    assert "rsa-sha2-" in log[log.index("userauth_pubkey") :].split("Accepted")[0]
