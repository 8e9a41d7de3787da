"""The services of a stack: what each one runs, needs first, listens on, and how one sees that it is well.

Only the list: files and databases are made by `postgres` and `kafka`, processes are kept by `supervisor`, health is
asked by `health`.
"""

import os
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

import hps_platform
from hps_platform.errors import StackError
from hps_platform.settings import Settings, variable
from hps_platform.stack.record import ADDRESSES, Record, reachable

Kind = Literal["postgres", "kafka", "http", "grpc", "daemon", "ssh", "collector", "process"]
CODE_LOCATION = "hps_platform"


@dataclass(frozen=True, slots=True)
class Health:
    """How a service is asked; `target` is a URL or host:port, `words` what a good answer means."""

    kind: Kind
    target: str
    words: str


@dataclass(frozen=True, slots=True)
class Service:
    """One supervised process. `after` names services that must be healthy, and steps that must be done, before it."""

    name: str
    command: tuple[str, ...]
    health: Health
    environment: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    port: int | None = None
    port_variable: str = ""
    url: str | None = None
    stop_signal: str = "TERM"
    stop_wait_s: int = 4
    start_timeout_s: float = 300.0
    external: bool = False
    note: str = ""
    children_outlive_it: bool = False

    def recorded(self) -> dict[str, Any]:
        """What `of_record` makes the same service of."""
        return asdict(self)


def of_record(entry: Mapping[str, Any]) -> Service:
    """The service that was recorded."""
    fields = {**entry, "health": Health(**entry["health"])}
    for name in ("command", "after"):
        fields[name] = tuple(fields[name])
    return Service(**fields)


def root_file(name: str) -> Path:
    """A file of the repository's top level, or the copy of it that is installed with the package."""
    package = Path(hps_platform.__file__).parent
    for candidate in (package.parent / name, package / "stack" / name):
        if candidate.is_file():
            return candidate
    raise StackError(f"{name} is missing beside the package in {package.parent}: install again")


def program(name: str) -> str:
    """A console script of this environment."""
    found = Path(sysconfig.get_path("scripts")) / name
    if not found.exists():
        raise StackError(f"{found} is missing: run make setup")
    return str(found)


def base_environment(settings: Settings, record: Record) -> dict[str, str]:
    """The environment of every process of the stack.

    What the record knows is left out, since `Settings` finds it there; what was set in the environment, in `.env` or in
    code is handed on, so that a process started again tomorrow sees what this start saw.
    """
    names = {variable(name) for name in Settings.model_fields} | {
        f"HPS_{name.upper()}" for name in Settings.model_fields
    }
    kept = {name: value for name, value in os.environ.items() if name not in names}
    # Without byte-code each Dagster run starts 4 s later.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in sorted(settings.model_fields_set - {"admin_password", "data_dir"}):
        value = getattr(settings, name)
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        known = record.settings.get(name)
        if plain is None or plain in ("", known) or (name in ADDRESSES and known is not None):
            continue
        kept[variable(name)] = str(plain)
    return kept | {
        "HPS_DATA_DIR": str(settings.data_dir),
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def dagster_environment(settings: Settings, record: Record) -> dict[str, str]:
    """What `dagster.yaml` and `workspace.yaml` name; a container sets the address of the code location itself."""
    return {
        "DAGSTER_HOME": str(settings.data_dir / "dagster"),
        "DAGSTER_POSTGRES_URL": settings.dsn(settings.dagster_db, driver="psycopg2"),
        "DAGSTER_CODE_HOST": os.environ.get("DAGSTER_CODE_HOST", "127.0.0.1"),
        "DAGSTER_CODE_PORT": os.environ.get("DAGSTER_CODE_PORT") or str(record.port("dagster_code", keep=True)),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        # Runs decode and commit in threads of their own; more of them only take turns.
        "POLARS_MAX_THREADS": "1",
    }


def mlflow(settings: Settings) -> Service:
    port, artifacts = settings.mlflow_port, settings.data_dir / "mlflow" / "artifacts"
    options = ("--host", settings.bind_address, "--port", str(port), "--artifacts-destination", artifacts.as_uri())
    return Service(
        "mlflow",
        (sys.executable, "-m", "hps_platform.mlflow_server", *options),
        Health("http", f"http://{reachable(settings)}:{port}/health", "answers GET /health"),
        environment={
            # With job execution on, and four workers, it would be 15 processes and 2.6 GB.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_BACKEND_STORE_URI": settings.dsn(settings.mlflow_db, driver="psycopg2"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        after=("databases",),
        port=port,
        port_variable=variable("mlflow_port"),
        url=f"http://{reachable(settings)}:{port}",
    )


def dagster(settings: Settings, record: Record) -> list[Service]:
    """Code location, daemon and webserver; `write_dagster_home` comes first."""
    environment = dagster_environment(settings, record)
    code = environment["DAGSTER_CODE_HOST"], environment["DAGSTER_CODE_PORT"]
    bind = code[0] if code[0] == "127.0.0.1" else settings.bind_address
    workspace = ("-w", str(root_file("workspace.yaml")))
    ui = f"http://{reachable(settings)}:{settings.dagster_port}"
    serve = ["api", "grpc", "--host", bind, "--port", code[1], "--location-name", CODE_LOCATION]
    root = str(root_file("workspace.yaml").parent)
    location = ["--module-name", "hps_platform.definitions", "--working-directory", root]
    return [
        Service(
            "dagster-code",
            (program("dagster"), *serve, *location, "--use-python-environment-entry-point"),
            Health("grpc", f"{code[0]}:{code[1]}", "serves the code location"),
            environment=environment,
            after=("schema", "topics"),
            port=int(code[1]),
            # Runs that were launched go on when the code location is started again.
            children_outlive_it=True,
        ),
        Service(
            "dagster-daemon",
            (program("dagster-daemon"), "run", *workspace),
            Health("daemon", settings.dagster_address, "sensors, schedules and the run queue are alive"),
            environment=environment,
            after=("dagster-code",),
        ),
        Service(
            "dagster-webserver",
            (program("dagster-webserver"), "-h", settings.bind_address, "-p", str(settings.dagster_port), *workspace),
            Health("http", f"{ui}/server_info", "answers GET /server_info"),
            environment=environment,
            after=("dagster-code",),
            port=settings.dagster_port,
            port_variable=variable("dagster_port"),
            url=ui,
        ),
    ]


def collector() -> Service:
    return Service(
        "collector",
        (sys.executable, "-m", "hps_platform.cli", "collect"),
        Health("collector", "", "collects"),
        after=("schema", "topics"),
    )


def app(settings: Settings) -> Service:
    return Service(
        "app",
        (sys.executable, "-m", "dash_app"),
        Health("http", f"http://{reachable(settings)}:{settings.app_port}/health/", "answers GET /health/"),
        after=("schema", "topics", "account"),
        port=settings.app_port,
        port_variable=variable("app_port"),
        url=settings.app_address,
    )


def postgres(settings: Settings, command: Callable[[], list[str]], note: str = "") -> Service:
    return Service(
        "postgres",
        tuple(command()),
        Health("postgres", f"127.0.0.1:{settings.postgres_port}", "accepts connections"),
        port=settings.postgres_port,
        port_variable=variable("postgres_port"),
        # SIGTERM would wait until every client has gone.
        stop_signal="INT",
        stop_wait_s=8,
        note=note,
    )


def kafka(settings: Settings, command: Callable[[], list[str]]) -> Service:
    return Service(
        "kafka",
        tuple(command()),
        Health("kafka", f"127.0.0.1:{settings.kafka_port}", "answers requests"),
        stop_wait_s=8,
        port=settings.kafka_port,
        port_variable=variable("kafka_port"),
    )


def somebody_elses(name: str, settings: Settings) -> Service:
    """A service that this stack uses and does not run."""
    server = f"{settings.database_host}:{settings.database_port}"
    found = {
        "postgres": (Health("postgres", server, "accepts connections"), None),
        "kafka": (Health("kafka", settings.bootstrap.split(",")[0], "answers requests"), None),
        "mlflow": (Health("http", f"{settings.tracking_uri.rstrip('/')}/health", "answers"), settings.tracking_uri),
        "dagster-code": (Health("daemon", settings.dagster_address, "runs elsewhere"), None),
        "dagster-daemon": (Health("daemon", settings.dagster_address, "is alive elsewhere"), None),
        "dagster-webserver": (Health("daemon", settings.dagster_address, "answers"), settings.dagster_address),
    }
    health, url = found[name]
    return Service(name, (), health, external=True, url=url)


def write_dagster_home(settings: Settings) -> None:
    """`DAGSTER_HOME` with the repository's `dagster.yaml`; what it names comes from `dagster_environment`."""
    home = settings.data_dir / "dagster"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    (home / "dagster.yaml").write_text(root_file("dagster.yaml").read_text())
