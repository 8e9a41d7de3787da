"""What a stack remembers of itself: `<data dir>/stack.json`, readable by its owner only.

`settings` holds generated secrets, ports and the addresses of the embedded services; `hps_platform.settings` reads them
in every process of the platform. `ports` holds those that no setting names. `services` is the list as it was started,
for `status`, `logs` and `down`, which then need no settings of the start.
"""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from hps_platform.errors import SettingsError, StackError
from hps_platform.settings import RECORD, Settings, variable
from hps_platform.stack.ports import free_port, is_free

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PORTS = ("app_port", "dagster_port", "mlflow_port", "kafka_port", "postgres_port")
ADDRESSES = ("database_host", "database_port", "kafka_bootstrap_servers", "mlflow_tracking_uri", "dagster_url")
DAGSTER = ("dagster-code", "dagster-daemon", "dagster-webserver")


@dataclass
class Record:
    """The content of the file; `save()` replaces it as a whole."""

    data_dir: Path
    identity: str = field(default_factory=lambda: secrets.token_hex(8))
    settings: dict[str, Any] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    services: list[dict[str, Any]] = field(default_factory=list)
    extra: list[dict[str, Any]] = field(default_factory=list)
    environment: str = ""
    supervisor_password: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @classmethod
    def load(cls, data_dir: Path) -> "Record | None":
        """The record of a data directory that a stack was started in, else None."""
        path = data_dir / RECORD
        try:
            content = json.loads(path.read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise StackError(f"{path} belongs to another account: run as that account") from error
        except json.JSONDecodeError as error:
            raise SettingsError(f"{path} is damaged ({error}): restore it, or remove it to record anew") from error
        known = {name for name in cls.__dataclass_fields__ if name != "data_dir"}
        return cls(data_dir, **{name: value for name, value in content.items() if name in known})

    @property
    def mark(self) -> str:
        """What every process of this stack carries in its environment; a copied data directory has another one."""
        return f"{self.identity} {self.data_dir.resolve()}"

    def save(self) -> None:
        """Write the file: whole or not at all, never readable by others."""
        content = asdict(self)
        del content["data_dir"]
        path = self.data_dir / RECORD
        beside = path.with_suffix(".new")
        try:
            beside.unlink(missing_ok=True)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(content, file, indent=1, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except OSError as error:
            raise unusable(self.data_dir, error) from error

    def port(self, name: str, *, keep: bool = False) -> int:
        """The port of a listener that no setting names: the recorded one while it is free (or `keep`), else a new."""
        chosen = self.ports.get(name)
        if chosen is None or not (keep or is_free(chosen)):
            chosen = self.ports[name] = free_port()
        return chosen


def unusable(path: Path, error: OSError) -> StackError:
    """The error for a data directory that can't be written to."""
    return StackError(
        f"the data directory {path} can't be written ({error.strerror}): free some space there or correct its "
        f"permissions, or choose another with --data-dir or {variable('data_dir')}"
    )


def external(settings: Settings, record: Record | None) -> frozenset[str]:
    """Names of the services whose address is somebody else's.

    An address that equals the recorded one of the embedded service counts as embedded: exporting `hps env` changes
    nothing.
    """
    known = record.settings if record else {}
    found: set[str] = set()
    host, port = settings.database_host, settings.database_port
    same_host = host == known.get("database_host") or (host in _LOOPBACK and known.get("database_host") in _LOOPBACK)
    if host and not (same_host and port == known.get("database_port")):
        found.add("postgres")
    if _differs(settings.kafka_bootstrap_servers, known.get("kafka_bootstrap_servers")):
        found.add("kafka")
    if _differs(settings.mlflow_tracking_uri, known.get("mlflow_tracking_uri")):
        found.add("mlflow")
    if _differs(settings.dagster_url, known.get("dagster_url")):
        found.update(DAGSTER)
    return frozenset(found)


def _differs(address: str, recorded: object) -> bool:
    def plain(text: object) -> str:
        return str(text or "").rstrip("/").replace("//localhost", "//127.0.0.1").removeprefix("localhost:")

    return bool(address) and plain(address) != plain(recorded)


def reachable(settings: Settings) -> str:
    """Where this machine itself reaches what listens on the bind address, as it stands in a URL."""
    bound = settings.bind_address
    if bound in ("0.0.0.0", "::", "localhost"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{bound}]" if ":" in bound else bound


def remember(settings: Settings, record: Record, elsewhere: frozenset[str]) -> Settings:
    """Complete the record's settings (secrets, ports, embedded addresses); the settings that follow from it."""
    known = record.settings
    chosen: dict[str, Any] = {name: getattr(settings, name) for name in _PORTS}
    generators = {"field_encryption_key": _fernet_key, "secret_key": _token}
    for name, generate in generators.items():
        # One that the operator set stays with the operator: it is not written down.
        if getattr(settings, name).get_secret_value() in ("", known.get(name)):
            chosen[name] = known.get(name) or generate()
    if "postgres" in elsewhere:
        for name in ("database_host", "database_port"):
            known.pop(name, None)
    else:
        chosen |= _embedded_postgres(settings, known)
    for service, name, address in (
        ("kafka", "kafka_bootstrap_servers", f"127.0.0.1:{settings.kafka_port}"),
        ("mlflow", "mlflow_tracking_uri", f"http://{reachable(settings)}:{settings.mlflow_port}"),
        ("dagster-webserver", "dagster_url", f"http://{reachable(settings)}:{settings.dagster_port}"),
    ):
        if service in elsewhere:
            known.pop(name, None)
        else:
            chosen[name] = address
    known |= chosen
    secret = ("field_encryption_key", "secret_key", "postgres_password")
    return settings.model_copy(
        update={name: SecretStr(value) if name in secret else value for name, value in chosen.items()}
    )


def _embedded_postgres(settings: Settings, known: dict[str, Any]) -> dict[str, Any]:
    made_with, given = known.get("postgres_password"), settings.postgres_password.get_secret_value()
    if made_with and given not in ("", made_with):
        raise SettingsError(
            f"{variable('postgres_password')} is not the password that the embedded PostgreSQL was made with: unset it"
        )
    if known.get("postgres_user", settings.postgres_user) != settings.postgres_user:
        raise SettingsError(
            f"{variable('postgres_user')}={settings.postgres_user!r}: the embedded PostgreSQL was made for "
            f"{known['postgres_user']!r}; unset it"
        )
    return {
        "postgres_password": made_with or given or secrets.token_urlsafe(24),
        "postgres_user": settings.postgres_user,
        "postgres_db": settings.postgres_db,
        "database_host": "127.0.0.1",
        "database_port": settings.postgres_port,
    }


def _token() -> str:
    return secrets.token_urlsafe(32)


def _fernet_key() -> str:
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()
