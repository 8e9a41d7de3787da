"""What a server's fields may hold. Checks and normalises; every refusal is a sentence that names the field.

The rows are `servers`' business. What an operating system's plan makes of `settings` is up to `dialects.plan`.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    SSHCertificateType,
    load_pem_private_key,
    load_ssh_private_key,
    load_ssh_public_identity,
)
from pydantic import SecretStr

from hps_platform import host_keys
from hps_platform.analysis import maintenance
from hps_platform.errors import InvalidInput
from hps_platform.metrics import FAMILIES

SECRETS = ("ssh_password", "ssh_private_key", "ssh_key_passphrase", "ssh_certificate", "ssh_jump_credentials")
"""Fields that are stored encrypted and never given out."""

_HOSTNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_JUMP_ADDRESS = re.compile(
    r"(?P<user>[^@\s]+)@(?:\[(?P<ip>[0-9A-Fa-f:.]+)\]|(?P<host>[^@:\s\[\]]+))(?::(?P<port>\d+))?"
)
_MOST_JUMPS = 8
_JUMP_SECRETS = {"password", "private_key", "passphrase", "certificate"}
_TIMEOUTS_S = {"connect": (1, 120), "command": (1, 600)}
_MIN_INTERVAL_S, _MAX_INTERVAL_S = 1, 3600


def _text(name: str, value: Any, *, longest: int = 255) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(f"{name} must be text that is not empty")
    text = value.strip()
    if len(text) > longest or any(ord(letter) < 32 for letter in text):
        raise InvalidInput(f"{name} must be one line of at most {longest} characters")
    return text


def _optional_text(name: str, value: Any) -> str | None:
    return None if value in (None, "") else _text(name, value)


def _hostname(name: str, value: Any) -> str:
    text = _text(name, value)
    if not _HOSTNAME.fullmatch(text):
        raise InvalidInput(f"{name} {text!r} is not a host name: letters, digits, dots and hyphens")
    return text


def _ip_address(name: str, value: Any) -> str | None:
    if value in (None, ""):
        return None
    try:
        return str(ipaddress.ip_address(str(value).strip()))
    except ValueError:
        raise InvalidInput(
            f"{name} {str(value)!r} is not an IPv4 or IPv6 address; leave it empty to reach the host by its hostname"
        ) from None


def _port(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip().isdecimal():
        raise InvalidInput(f"{name} must be a whole number from 1 to 65535, not {value!r}")
    port = int(value)
    if not 1 <= port <= 65535:
        raise InvalidInput(f"{name} must be from 1 to 65535, not {port}")
    return port


def _username(name: str, value: Any) -> str:
    text = _text(name, value, longest=64)
    if re.search(r"\s", text):
        raise InvalidInput(f"{name} {text!r} has a blank in it")
    return text


def _host_key(name: str, value: Any) -> str | None:
    """One entry or several, see `host_keys`."""
    if value in (None, ""):
        return None
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(f"{name} must be text")
    return host_keys.normalised(
        name, _text(name, value.strip().replace("\r\n", "\n").replace("\n", ", "), longest=16384)
    )


def _operating_system(name: str, value: Any) -> str | None:
    from hps_platform.dialects import SYSTEMS

    if value in (None, ""):
        return None
    text = str(value).strip().lower()
    if text not in SYSTEMS:
        raise InvalidInput(f"{name} {str(value)!r} is none of {', '.join(SYSTEMS)}; leave it empty to recognise it")
    return text


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(f"{name} must be true or false")
    return value


def _tags(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise InvalidInput(f"{name} must be a list of words")
    return sorted({_text(name, tag, longest=64) for tag in value})


def _families(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{where} must be an object with families as names")
    if unknown := [name for name in value if name not in FAMILIES]:
        raise InvalidInput(f"{where}: no metric family {unknown[0]!r}: choose of {', '.join(FAMILIES)}")
    return value


def _intervals(where: str, value: Any) -> dict[str, float]:
    chosen = {}
    for family, seconds in _families(where, value).items():
        number = not isinstance(seconds, bool) and isinstance(seconds, int | float)
        if not number or not _MIN_INTERVAL_S <= seconds <= _MAX_INTERVAL_S:
            raise InvalidInput(
                f"{where}.{family} must be {_MIN_INTERVAL_S} to {_MAX_INTERVAL_S} seconds, not {seconds!r}"
            )
        chosen[family] = seconds
    return chosen


def _commands(where: str, value: Any) -> dict[str, str]:
    return {
        family: _text(f"{where}.{family}", command, longest=1000) for family, command in _families(where, value).items()
    }


def _disabled(where: str, value: Any) -> list[str]:
    if not isinstance(value, list | tuple):
        raise InvalidInput(f"{where} must be a list of families")
    return sorted(_families(where, dict.fromkeys(map(str, value))))


def _time_zone(where: str, value: Any) -> str:
    text = _text(where, value, longest=64)
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(f"{where} {text!r} is no time zone: as in Europe/Vienna or UTC") from None
    return text


def _group(where: str, value: Any) -> str:
    return _text(where, value, longest=64)


def _maintenance(where: str, value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list | tuple):
        raise InvalidInput(f"{where} must be a list of windows")
    return [_window(f"{where}[{number}]", window) for number, window in enumerate(value)]


def _window(where: str, value: Any) -> dict[str, Any]:
    """One of the two forms of `analysis.maintenance`."""
    if isinstance(value, Mapping) and set(value) == {"from", "until"}:
        try:
            since, until = (maintenance.moment(str(value[name]), ZoneInfo("UTC")) for name in ("from", "until"))
        except ValueError:
            raise InvalidInput(f"{where}: from and until must be moments, as in 2026-03-01T22:00") from None
        if until <= since:
            raise InvalidInput(f"{where}: until must be after from")
        return {name: str(value[name]) for name in ("from", "until")}
    if not isinstance(value, Mapping) or set(value) != {"days", "start", "end"}:
        raise InvalidInput(
            f'{where} must be {{"from": "2026-03-01T22:00", "until": "2026-03-02T04:00"}}'
            ' or {"days": ["sat"], "start": "22:00", "end": "04:00"}'
        )
    days = value["days"]
    if not isinstance(days, list | tuple) or not days or set(map(str, days)) - set(maintenance.DAYS):
        raise InvalidInput(f"{where}.days must be a list of {', '.join(maintenance.DAYS)}")
    for name in ("start", "end"):
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", str(value[name])):
            raise InvalidInput(f"{where}.{name} must be a time of day, as in 22:00")
    return {
        "days": [day for day in maintenance.DAYS if day in days],
        "start": str(value["start"]),
        "end": str(value["end"]),
    }


def jump_address(name: str, value: Any) -> str:
    """`user@host:port`, with the port always, an IPv6 address in brackets."""
    found = _JUMP_ADDRESS.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise InvalidInput(f"{name} {value!r} is not an address: user@host:port")
    host = found["host"] or f"[{found['ip']}]"
    (_ip_address if found["ip"] else _hostname)(name, found["ip"] or host)
    return f"{_username(name, found['user'])}@{host}:{_port(name, found['port'] or 22)}"


def _jump_entry(where: str, value: Any) -> str | dict[str, str]:
    if isinstance(value, str):
        if "@" in value:
            raise InvalidInput(
                f"{where} {value!r}: a host that is not registered is given with its key: "
                '{"address": "user@host:port", "host_key": "SHA256:…"}'
            )
        return _hostname(where, value)
    if not isinstance(value, Mapping) or set(value) - {"address", "host_key"} or "address" not in value:
        raise InvalidInput(f'{where} must be the name of a server or {{"address": "user@host:port", "host_key": "…"}}')
    entry = {"address": jump_address(f"{where}.address", value["address"])}
    if pin := _host_key(f"{where}.host_key", value.get("host_key")):
        entry["host_key"] = pin
    return entry


def _jump(where: str, value: Any) -> list[str | dict[str, str]]:
    """Whether the names are registered is up to `jumps`."""
    if not isinstance(value, list | tuple):
        raise InvalidInput(f"{where} must be a list of jump hosts, in the order they are passed")
    if len(value) > _MOST_JUMPS:
        raise InvalidInput(f"{where} has {len(value)} jump hosts; at most {_MOST_JUMPS} do")
    return [_jump_entry(f"{where}[{number}]", entry) for number, entry in enumerate(value)]


def _timeouts(where: str, value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{where} must be an object: {', '.join(_TIMEOUTS_S)}")
    for name, seconds in value.items():
        if name not in _TIMEOUTS_S:
            raise InvalidInput(f"{where} has no {name!r}: it knows {', '.join(_TIMEOUTS_S)}")
        least, most = _TIMEOUTS_S[name]
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not least <= seconds <= most:
            raise InvalidInput(f"{where}.{name} must be {least} to {most} seconds, not {seconds!r}")
    return dict(value)


_SETTINGS: dict[str, Callable[[str, Any], Any]] = {
    "intervals": _intervals,
    "commands": _commands,
    "disabled": _disabled,
    "group": _group,
    "time_zone": _time_zone,
    "maintenance": _maintenance,
    "jump": _jump,
    "timeouts": _timeouts,
    "legacy_ssh": _flag,
}


def _settings(name: str, value: Any) -> dict[str, Any]:
    """`{"intervals": {family: seconds}, "commands": {family: command line}, "disabled": [family], "group": name,
    "time_zone": name, "maintenance": [window], "jump": [host], "timeouts": {"connect": s, "command": s},
    "legacy_ssh": bool}`, all of them optional."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{name} must be an object")
    if unknown := [key for key in value if key not in _SETTINGS]:
        raise InvalidInput(f"{name} has no {unknown[0]!r}: it knows {', '.join(_SETTINGS)}")
    return {key: _SETTINGS[key](f"{name}.{key}", part) for key, part in value.items()}


def _secret(name: str, value: Any) -> SecretStr | None:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value in (None, ""):
        return None
    if not isinstance(value, str) or "\0" in value:
        raise InvalidInput(f"{name} must be text")
    return SecretStr(value)


def _jump_credentials(name: str, value: Any) -> SecretStr | None:
    """`{"user@host:port": {"password", "private_key", "passphrase", "certificate"}}`, also as JSON text; kept so."""
    text = _secret(name, value) if isinstance(value, str | SecretStr | None) else None
    if text is None and not value:
        return None
    try:
        chosen = json.loads(text.get_secret_value()) if text else value
    except json.JSONDecodeError:
        raise InvalidInput(f"{name} is not JSON") from None
    if not isinstance(chosen, Mapping):
        raise InvalidInput(f"{name} must be an object with addresses as names, as in settings.jump")
    kept: dict[str, dict[str, str]] = {}
    for address, secrets in chosen.items():
        key = jump_address(name, address)
        where = f"{name}.{key}"
        if not isinstance(secrets, Mapping) or set(secrets) - _JUMP_SECRETS:
            raise InvalidInput(f"{where} must be an object with some of {', '.join(sorted(_JUMP_SECRETS))}")
        clear = {part: found for part in secrets if (found := _secret(f"{where}.{part}", secrets[part]))}
        if "private_key" in clear:
            check_private_key(clear["private_key"], clear.get("passphrase"), clear.get("certificate"), where=where)
        kept[key] = {part: secret.get_secret_value() for part, secret in clear.items()}
    return SecretStr(json.dumps(kept, sort_keys=True)) if kept else None


FIELDS: dict[str, Callable[[str, Any], Any]] = {
    "hostname": _hostname,
    "ip_address": _ip_address,
    "ssh_port": _port,
    "ssh_username": _username,
    "ssh_password": _secret,
    "ssh_private_key": _secret,
    "ssh_key_passphrase": _secret,
    "ssh_certificate": _secret,
    "ssh_jump_credentials": _jump_credentials,
    "host_key": _host_key,
    "operating_system": _operating_system,
    "architecture": _optional_text,
    "is_active": _flag,
    "owner": _optional_text,
    "organisation": _optional_text,
    "tags": _tags,
    "settings": _settings,
}
"""Every field that a person can set, with its check."""


def checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, normalised; secrets become `SecretStr`. Raises `InvalidInput` at the first that doesn't do."""
    if unknown := [name for name in fields if name not in FIELDS]:
        raise InvalidInput(f"a server has no field {unknown[0]!r}: it has {', '.join(FIELDS)}")
    return {name: FIELDS[name](name, value) for name, value in fields.items()}


def check_private_key(
    key: SecretStr, passphrase: SecretStr | None, certificate: SecretStr | None = None, *, where: str = ""
) -> None:
    """Raises `InvalidInput` unless the passphrase opens this private key (OpenSSH or PEM; RSA, ECDSA, Ed25519), and
    the certificate is one of this key for logging in. `where` stands before the part's name in a refusal."""
    names = [f"{where}.{part}" if where else f"ssh_{part}" for part in ("private_key", "key_passphrase", "certificate")]
    key_name, passphrase_name, certificate_name = names
    data = key.get_secret_value().strip().encode() + b"\n"
    password = passphrase.get_secret_value().encode() if passphrase else None
    load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in data else load_pem_private_key
    try:
        private = load(data, password)
    except TypeError:
        if passphrase:
            raise InvalidInput(f"{passphrase_name} is given, but {key_name} is not encrypted") from None
        raise InvalidInput(f"{key_name} is encrypted: {passphrase_name} is needed") from None
    except (ValueError, UnsupportedAlgorithm):
        # The library's own text may quote what it was given.
        if passphrase:
            raise InvalidInput(f"{passphrase_name} does not open {key_name}") from None
        raise InvalidInput(
            f"{key_name} is not a private key in OpenSSH or PEM format (RSA, ECDSA or Ed25519)"
        ) from None
    if certificate is not None:
        _check_certificate(certificate_name, certificate, private.public_key())


def _check_certificate(name: str, text: SecretStr, public_key: Any) -> None:
    try:
        certificate = load_ssh_public_identity(text.get_secret_value().strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        certificate = None
    if not isinstance(certificate, SSHCertificate):
        raise InvalidInput(f"{name} is not an OpenSSH certificate: the content of a file like id_ed25519-cert.pub")
    if certificate.type is not SSHCertificateType.USER:
        raise InvalidInput(f"{name} is a certificate for hosts, not for logging in")
    of_key, of_certificate = (
        key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) for key in (public_key, certificate.public_key())
    )
    if of_key != of_certificate:
        raise InvalidInput(f"{name} belongs to another private key")
    if problem := host_keys.validity(certificate):
        raise InvalidInput(f"{name} {problem}")
