"""Fields of a server: what is refused, with which words, and what is normalised."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import SSHCertificateBuilder, SSHCertificateType
from pydantic import SecretStr

from hps_platform.errors import InvalidInput, SettingsError
from hps_platform.store.secrets import SecretBox
from hps_platform.store.server_fields import check_private_key, checked

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJJjVUrz6Lp4WxBs0xpF4v1bl0UZ1DlKr0NqPmjZ1Ae9"


def _private_key(passphrase: str = "", *, pem: bool = False) -> SecretStr:
    key = rsa.generate_private_key(65537, 2048) if pem else ed25519.Ed25519PrivateKey.generate()
    encryption = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    form = serialization.PrivateFormat.PKCS8 if pem else serialization.PrivateFormat.OpenSSH
    return SecretStr(key.private_bytes(serialization.Encoding.PEM, form, encryption).decode())


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("hostname", "", "hostname must be text"),
        ("hostname", "two words", "not a host name"),
        ("hostname", "-dash", "not a host name"),
        ("ip_address", "10.0.0.256", "not an IPv4 or IPv6 address"),
        ("ip_address", "aix1.example.com", "leave it empty"),
        ("ssh_port", 0, "1 to 65535"),
        ("ssh_port", 65536, "1 to 65535"),
        ("ssh_port", "22a", "whole number"),
        ("ssh_port", True, "whole number"),
        ("ssh_username", "a b", "blank"),
        ("host_key", "SHA256:short", "SHA256:"),
        ("host_key", "ssh-dss AAAA", "ssh-ed25519"),
        ("host_key", "ssh-ed25519 !!!", "not base64"),
        ("host_key", ED25519.replace("ssh-ed25519 ", "ssh-rsa "), "another type"),
        ("host_key", ED25519[:40], "cut off"),
        ("is_active", "yes", "true or false"),
        ("tags", "prod", "list of words"),
        ("settings", {"interval": 2}, "has no 'interval'"),
        ("settings", {"intervals": {"vmstat": 0.5}}, "1 to 3600"),
        ("settings", {"intervals": {"vmstat": True}}, "1 to 3600"),
        ("settings", {"intervals": {"cpu": 2}}, "no metric family 'cpu'"),
        ("settings", {"commands": {"vmstat": "vmstat 2\nrm x"}}, "one line"),
        ("settings", {"disabled": ["gpu"]}, "no metric family 'gpu'"),
        ("settings", {"time_zone": "Europe/Nowhere"}, "no time zone"),
        ("settings", {"time_zone": "/etc/passwd"}, "no time zone"),
        ("settings", {"group": ""}, "settings.group must be text"),
        ("settings", {"maintenance": {"days": ["sat"]}}, "list of windows"),
        ("settings", {"maintenance": [{"days": ["sat"], "start": "22:00"}]}, r"maintenance\[0\] must be"),
        ("settings", {"maintenance": [{"days": ["saturday"], "start": "22:00", "end": "23:00"}]}, "mon, tue"),
        ("settings", {"maintenance": [{"days": ["sat"], "start": "24:00", "end": "23:00"}]}, "time of day"),
        ("settings", {"maintenance": [{"from": "2026-03-02", "until": "2026-03-01"}]}, "until must be after from"),
        ("settings", {"maintenance": [{"from": "tomorrow", "until": "2026-03-01"}]}, "must be moments"),
        ("settings", {"jump": "gate"}, "must be a list"),
        ("settings", {"jump": ["g"] * 9}, "at most 8"),
        ("settings", {"jump": ["a@b:22"]}, "given with its key"),
        ("settings", {"jump": [{"address": "a@b:0"}]}, "1 to 65535"),
        ("settings", {"jump": [{"address": "a@b", "host_key": "x"}]}, r"settings\.jump\[0\]\.host_key"),
        ("settings", {"timeouts": {"connect": 0}}, "1 to 120 seconds"),
        ("settings", {"legacy_ssh": "yes"}, "true or false"),
        ("settings", {"timeouts": {"login": 5}}, "has no 'login'"),
        ("ssh_jump_credentials", "{", "not JSON"),
        ("ssh_jump_credentials", {"gate": {}}, "user@host:port"),
        ("ssh_jump_credentials", {"a@b": {"key": "x"}}, "some of certificate, passphrase, password, private_key"),
        ("ssh_jump_credentials", {"a@b": {"private_key": "x"}}, r"a@b:22\.private_key is not a private key"),
        ("password", "x", "no field 'password'"),
    ],
)
def test_a_wrong_field_is_named_in_the_refusal(field: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        checked({field: value})


def test_an_operating_system_is_one_of_the_dialects() -> None:
    assert checked({"operating_system": "AIX"}) == {"operating_system": "aix"}
    assert checked({"operating_system": ""}) == {"operating_system": None}
    with pytest.raises(InvalidInput, match="none of aix"):
        checked({"operating_system": "plan9"})


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("ssh_port", "2222", 2222),
        ("ip_address", "", None),
        ("ip_address", "FE80::0:1", "fe80::1"),
        ("host_key", f"aix1,10.0.0.1 {ED25519} root@aix1", ED25519),
        ("host_key", f"{ED25519} comment", ED25519),
        ("host_key", "SHA256:" + "a" * 43 + "=", "SHA256:" + "a" * 43),
        ("tags", ["b", "a", "b"], ["a", "b"]),
        (
            "settings",
            {"intervals": {"vmstat": 5}, "disabled": ("process",)},
            {"intervals": {"vmstat": 5}, "disabled": ["process"]},
        ),
        ("ssh_password", "", None),
    ],
)
def test_fields_are_normalised(field: str, value: Any, kept: Any) -> None:
    assert checked({field: value}) == {field: kept}


@pytest.mark.parametrize("pem", [False, True])
def test_a_private_key_opens_with_its_passphrase_only(pem: bool) -> None:
    check_private_key(_private_key(pem=pem), None)
    locked = _private_key("correct horse", pem=pem)
    check_private_key(locked, SecretStr("correct horse"))
    with pytest.raises(InvalidInput, match="ssh_key_passphrase is needed"):
        check_private_key(locked, None)
    with pytest.raises(InvalidInput, match="does not open") as refusal:
        check_private_key(locked, SecretStr("battery staple"))
    assert "battery" not in str(refusal.value)


def test_a_certificate_must_be_one_of_the_key_for_logging_in_now() -> None:
    authority, key, other = (ed25519.Ed25519PrivateKey.generate() for _ in range(3))

    def certificate(of: ed25519.Ed25519PrivateKey, kind: SSHCertificateType, until: int = 2**64 - 1) -> SecretStr:
        made = SSHCertificateBuilder().public_key(of.public_key()).serial(1).type(kind).key_id(b"mon")
        signed = made.valid_principals([b"mon"]).valid_after(0).valid_before(until).sign(authority)
        return SecretStr(signed.public_bytes().decode())

    text = SecretStr(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        ).decode()
    )
    check_private_key(text, None, certificate(key, SSHCertificateType.USER))
    for wrong, words in (
        (certificate(other, SSHCertificateType.USER), "another private key"),
        (certificate(key, SSHCertificateType.HOST), "for hosts"),
        (certificate(key, SSHCertificateType.USER, 1_600_000_000), "has expired on 2020-09-13"),
        (SecretStr("hunter2"), "is not an OpenSSH certificate"),
    ):
        with pytest.raises(InvalidInput, match=words) as refusal:
            check_private_key(text, None, wrong)
        assert "hunter2" not in str(refusal.value)


def test_what_is_no_private_key_is_refused_without_quoting_it() -> None:
    with pytest.raises(InvalidInput, match="OpenSSH or PEM") as refusal:
        check_private_key(SecretStr("hunter2"), None)
    assert "hunter2" not in str(refusal.value)


def test_a_secret_survives_a_rotation_of_keys() -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    token = SecretBox(old).encrypt(SecretStr("hunter2"))
    both = SecretBox(f"{new}, {old}")
    assert both.decrypt(token).get_secret_value() == "hunter2"
    rotated = both.rotate(token)
    assert SecretBox(new).decrypt(rotated).get_secret_value() == "hunter2"
    with pytest.raises(SettingsError, match="former key"):
        SecretBox(new).decrypt(token)


@pytest.mark.parametrize("keys", ["", " , ", "not-a-key", "A" * 43 + "=,bad"])
def test_a_bad_encryption_key_names_the_variable_and_not_the_key(keys: str) -> None:
    with pytest.raises(SettingsError, match="FIELD_ENCRYPTION_KEY") as refusal:
        SecretBox(keys)
    assert "not-a-key" not in str(refusal.value)
