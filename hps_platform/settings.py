"""Every setting, in one class: environment, then `.env`, then what the local stack recorded in the data directory.

`HPS_*` is ours; the older names of `docs/operations.md` are accepted as they are. `hps up` records the addresses and
secrets of the services it embeds in `<data dir>/stack.json` (mode 0600); every other process of the platform finds
them here, so nothing has to be exported. Nothing in this module connects to anything.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from hps_platform.errors import SettingsError

RECORD = "stack.json"
"""Name of the local stack's record in the data directory; `hps_platform.stack` writes it."""


def default_data_dir() -> Path:
    """`$XDG_DATA_HOME/hps-platform`, or `~/.local/share/hps-platform`."""
    import os

    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "hps-platform"


class Settings(BaseSettings):
    """One instance describes one platform. Raise `SettingsError` through `load()`, which all callers use."""

    model_config = SettingsConfigDict(
        env_prefix="HPS_", env_file=".env", env_file_encoding="utf-8", extra="ignore", populate_by_name=True
    )

    # Where things live and listen
    data_dir: Path = Field(default_factory=default_data_dir, description="Everything the platform keeps here")
    bind_address: str = Field("127.0.0.1", description="Address that the web app and the UIs listen on")
    app_port: int = Field(8050, ge=1, le=65535, description="Web app and REST API")
    dagster_port: int = Field(3000, ge=1, le=65535, description="Dagster UI")
    mlflow_port: int = Field(5000, ge=1, le=65535, description="MLflow UI")
    kafka_port: int = Field(9092, ge=1, le=65535, description="Embedded Kafka broker")
    postgres_port: int = Field(5433, ge=1, le=65535, description="Embedded PostgreSQL")
    public_url: str = Field("", description="Address under which browsers reach the app, when a proxy stands before it")

    # The first account
    admin_user: str = Field("admin", min_length=1, description="Name of the first account")
    admin_password: SecretStr | None = Field(
        None, description="Password of the first account; generated and printed once when empty"
    )

    # PostgreSQL
    database_host: str = Field(
        "", validation_alias=AliasChoices("DATABASE_HOST", "HPS_DATABASE_HOST"), description="PostgreSQL of your own"
    )
    database_port: int = Field(
        5432,
        ge=1,
        le=65535,
        validation_alias=AliasChoices("DATABASE_PORT", "HPS_DATABASE_PORT"),
        description="Port of DATABASE_HOST",
    )
    postgres_db: str = Field(
        "hps", validation_alias=AliasChoices("POSTGRES_DB", "HPS_POSTGRES_DB"), description="The platform's database"
    )
    postgres_user: str = Field(
        "hps", validation_alias=AliasChoices("POSTGRES_USER", "HPS_POSTGRES_USER"), description="Its owner"
    )
    postgres_password: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices("POSTGRES_PASSWORD", "HPS_POSTGRES_PASSWORD"),
        description="Its owner's password",
    )
    dagster_db: str = Field("hps_dagster", description="Dagster's database on the same server")
    mlflow_db: str = Field("hps_mlflow", description="MLflow's database on the same server")
    postgres_bin_dir: Path | None = Field(
        None, description="Programs of an installed PostgreSQL (15 or newer) to use instead of the packaged ones"
    )

    query_dsn: SecretStr = Field(
        SecretStr(""), description="A read replica's postgresql:// URL, for the questions of the web app and API"
    )
    query_timeout_s: float = Field(20.0, gt=0, le=600, description="How long one question to the history may take")

    # Kafka
    kafka_bootstrap_servers: str = Field(
        "",
        validation_alias=AliasChoices("KAFKA_BOOTSTRAP_SERVERS", "HPS_KAFKA_BOOTSTRAP_SERVERS"),
        description="Kafka of your own",
    )
    kafka_partitions: int = Field(12, ge=1, le=1000, description="Partitions of each family's topic")
    kafka_replication: int = Field(1, ge=1, le=5, description="Replication factor of the topics")
    kafka_retention_hours: int = Field(168, ge=1, description="How long topics keep their messages")
    kafka_consumer_batch_interval: float = Field(
        2.0,
        gt=0,
        le=60,
        validation_alias=AliasChoices("KAFKA_CONSUMER_BATCH_INTERVAL", "HPS_KAFKA_CONSUMER_BATCH_INTERVAL"),
        description="Seconds between two commits of landing",
    )
    kafka_consumer_max_buffer_size: int = Field(
        50_000,
        ge=100,
        validation_alias=AliasChoices("KAFKA_CONSUMER_MAX_BUFFER_SIZE", "HPS_KAFKA_CONSUMER_MAX_BUFFER_SIZE"),
        description="Messages that landing takes into one commit at most",
    )
    event_days: int = Field(
        90, ge=31, description="Days that collectors' events are kept; availability looks back 30 days"
    )
    spool_max_mb: int = Field(
        1024, ge=1, description="Megabytes on disk for messages that wait for Kafka; past it the oldest are dropped"
    )
    spool_max_hours: float = Field(72.0, gt=0, description="Messages that wait for Kafka for longer are dropped")
    java_home: Path | None = Field(
        None, validation_alias=AliasChoices("JAVA_HOME", "HPS_JAVA_HOME"), description="Java 17 or newer for Kafka"
    )

    # MLflow and Dagster
    mlflow_tracking_uri: str = Field(
        "",
        validation_alias=AliasChoices("MLFLOW_TRACKING_URI", "HPS_MLFLOW_TRACKING_URI"),
        description="MLflow server of your own",
    )
    dagster_url: str = Field("", description="Dagster webserver of your own")
    landing_groups: int = Field(
        1, ge=1, le=64, description="How many landing runs share the partitions of the topics, each with a fixed part"
    )
    landing_window_minutes: float = Field(10.0, gt=0, le=720, description="How long one landing run lasts")
    alert_budget: float = Field(0.25, gt=0, le=100, description="Anomaly alarms allowed per server and day")
    training_jobs: int = Field(2, ge=0, le=1024, description="Models that are trained at once; 0 for one a core")
    training_backend: Literal["threading", "loky", "dask"] = Field(
        "threading", description="Where models are trained: threads, processes (loky) or a Dask cluster"
    )
    dask_scheduler: str = Field("", description="Address of the Dask cluster's scheduler, such as tcp://dask:8786")

    # The archive, and how long what stays
    archive_url: str = Field(
        "",
        description="Where archived days go: a directory, or a URL such as s3://bucket/hps",
    )
    archive_after_days: int = Field(
        2, ge=1, le=3650, description="Days after which a day is archived; less than topics keep their messages"
    )
    archive_raw_text: bool = Field(True, description="Whether the text that each sample was read from is archived too")
    raw_retention_days: int = Field(30, ge=1, le=36500, description="Days that samples stay in the tables")
    minute_retention_days: int = Field(90, ge=1, le=36500, description="Days that rollups of a minute stay")
    hour_retention_days: int = Field(1826, ge=31, le=36500, description="Days that rollups of an hour stay")
    family_retention_days: str = Field(
        "", description="Other days for a family's samples, minutes and hours, comma-separated: process=7/30/365"
    )
    dead_letter_retention_days: int = Field(90, ge=1, le=36500, description="Days that dead letters stay")
    anomaly_retention_days: int = Field(400, ge=1, le=36500, description="Days that scored minutes and their runs stay")

    # The web app
    field_encryption_key: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices("FIELD_ENCRYPTION_KEY", "HPS_FIELD_ENCRYPTION_KEY"),
        description="Fernet keys for stored secrets, comma-separated, the newest first",
    )
    secret_key: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices("SECRET_KEY", "HPS_SECRET_KEY"),
        description="Key that signs cookies",
    )
    allowed_hosts: str = Field(
        "localhost,127.0.0.1,[::1]",
        validation_alias=AliasChoices("ALLOWED_HOSTS", "HPS_ALLOWED_HOSTS"),
        description="Host names that the web app answers to, comma-separated; * for any",
    )
    session_hours: int = Field(12, ge=1, le=720, description="How long a sign-in lasts")
    debug: bool = Field(
        False,
        validation_alias=AliasChoices("DEBUG", "HPS_DEBUG"),
        description="Verbose logs",
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")

    @field_validator("data_dir", "postgres_bin_dir", "java_home", mode="after")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value is not None else None

    @field_validator("postgres_bin_dir", "java_home", "admin_password", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("archive_url", mode="after")
    @classmethod
    def _directory_or_url(cls, value: str) -> str:
        directory = value and "://" not in value
        return str(Path(value).expanduser().absolute()) if directory else value.rstrip("/")

    @field_validator("log_level", mode="after")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return value.upper()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        named = (init_settings, env_settings, dotenv_settings)
        return (*named, _RecordSource(settings_cls, named))

    @cached_property
    def allowed_host_list(self) -> list[str]:
        return [host.strip() for host in self.allowed_hosts.split(",") if host.strip()]

    def dsn(self, database: str | None = None, *, driver: str = "") -> str:
        """A PostgreSQL URL; `driver` such as `psycopg2` gives SQLAlchemy's spelling of it."""
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        user, password = quote(self.postgres_user, safe=""), quote(self.postgres_password.get_secret_value(), safe="")
        host = self.database_host or "127.0.0.1"
        port = self.database_port if self.database_host else self.postgres_port
        return f"{scheme}://{user}:{password}@{host}:{port}/{quote(database or self.postgres_db, safe='')}"

    @property
    def queries_dsn(self) -> str:
        """Where questions about history go: the replica, or else the platform's database."""
        return self.query_dsn.get_secret_value() or self.dsn()

    @property
    def bootstrap(self) -> str:
        return self.kafka_bootstrap_servers or f"127.0.0.1:{self.kafka_port}"

    @property
    def tracking_uri(self) -> str:
        return self.mlflow_tracking_uri or f"http://127.0.0.1:{self.mlflow_port}"

    @property
    def dagster_address(self) -> str:
        return self.dagster_url or f"http://127.0.0.1:{self.dagster_port}"

    @property
    def app_address(self) -> str:
        return self.public_url or f"http://127.0.0.1:{self.app_port}"


class _RecordSource(PydanticBaseSettingsSource):
    """What the local stack recorded, for whatever the sources before it leave open."""

    def __init__(self, settings_cls: type[BaseSettings], before: tuple[PydanticBaseSettingsSource, ...]) -> None:
        super().__init__(settings_cls)
        self._before = before

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False  # values come from __call__ as a whole

    def __call__(self) -> dict[str, Any]:
        data_dir = next((found["data_dir"] for source in self._before if "data_dir" in (found := source())), None)
        path = (Path(data_dir).expanduser() if data_dir else default_data_dir()) / RECORD
        try:
            record = json.loads(path.read_text())
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return {}
        except json.JSONDecodeError as error:
            raise SettingsError(f"{path} is damaged ({error}): restore it, or remove it to record anew") from error
        recorded: dict[str, Any] = record.get("settings", {})
        chosen: dict[str, Any] = {}
        for source in reversed(self._before):
            chosen |= source()
        host = chosen.get("DATABASE_HOST") or chosen.get("HPS_DATABASE_HOST") or chosen.get("database_host")
        if host and host != recorded.get("database_host"):
            # A server of the user's own: the embedded one's port and password are not its.
            for name in ("database_host", "database_port", "postgres_user", "postgres_password", "postgres_db"):
                recorded.pop(name, None)
        return {name: value for name, value in recorded.items() if name in self.settings_cls.model_fields}


def variable(field_name: str) -> str:
    """The environment variable that sets a field: `HPS_APP_PORT`, `DATABASE_HOST`."""
    alias = Settings.model_fields[field_name].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return f"HPS_{field_name.upper()}"


def load(**overrides: Any) -> Settings:
    """The settings in force; `SettingsError` names the variable that is wrong, in one line."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        where = str(first["loc"][0]) if first["loc"] else "settings"
        shown = variable(where) if where in Settings.model_fields else where
        text = str(first["msg"]).removeprefix("Value error, ")
        raise SettingsError(f"{shown}={first.get('input')!r}: {text}") from error
