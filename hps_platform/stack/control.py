"""Start, end and status of a stack: what `hps up`, `hps down` and `hps status` do.

The data directory names the stack. Starting is idempotent; ending also takes what a killed supervisord left behind.
"""

import fcntl
import hashlib
import json
import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from hps_platform.errors import StackError
from hps_platform.settings import Settings, variable
from hps_platform.stack import health, ports, services
from hps_platform.stack.kafka import Kafka
from hps_platform.stack.postgres import Postgres
from hps_platform.stack.record import DAGSTER, Record, external, remember, unusable
from hps_platform.stack.sequence import Start, Step, port_taken, reason
from hps_platform.stack.services import Service
from hps_platform.stack.supervisor import Program, Supervisor, end, leftovers
from hps_platform.stack.unprivileged import remove_fallback

log = logging.getLogger(__name__)

NAMES = ("postgres", "kafka", "mlflow", *DAGSTER, "collector", "app")
_NEEDED_MB = 512
_ENDED = "run/ended"
_DATABASES = ("postgres", "kafka")
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stack:
    """A started stack: the settings that hold in it, its services, and the first account's password if it was made."""

    settings: Settings
    services: tuple[Service, ...]
    password: str | None


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One line of `hps status`."""

    name: str
    state: str
    healthy: bool
    pid: int | None
    port: int | None
    url: str | None
    rss_mb: float
    restarts: int
    message: str


def start(settings: Settings, *, extra: Sequence[Service] | None = None, progress: Tell = lambda _: None) -> Stack:
    """Start what does not run yet, and return when all is well; raises `StackError` and leaves nothing half started.

    `extra` replaces the additional services of an earlier start; None keeps them.
    """
    _usable(settings.data_dir)
    with _alone(settings.data_dir):
        record = Record.load(settings.data_dir) or Record(settings.data_dir)
        elsewhere = external(settings, record)
        given, settings = settings, remember(settings, record, elsewhere)
        environment = services.base_environment(given, record)
        fingerprint = _fingerprint(environment)
        supervisor = Supervisor(record)
        runs = supervisor.pid() is not None
        if runs and record.environment and record.environment != fingerprint:
            progress("settings have changed: starting anew")
            _end(record, supervisor)
            runs = False
        if not runs:
            end(leftovers(record), grace_s=5)
        record.port("kafka_controller", keep=runs)
        record.port("dagster_code", keep=runs)
        record.port("supervisor", keep=runs)
        record.environment = fingerprint
        record.save()
        (settings.data_dir / _ENDED).unlink(missing_ok=True)
        try:
            return _bring_up(
                settings,
                record,
                elsewhere=elsewhere,
                extra=extra,
                environment=environment,
                runs=runs,
                progress=progress,
            )
        except OSError as error:
            raise unusable(settings.data_dir, error) from error


def _bring_up(
    settings: Settings,
    record: Record,
    *,
    elsewhere: frozenset[str],
    extra: Sequence[Service] | None,
    environment: dict[str, str],
    runs: bool,
    progress: Tell,
) -> Stack:
    supervisor = Supervisor(record)
    if not runs:
        _require_ports(settings, elsewhere)
    listed = _catalogue(settings, record, elsewhere, progress)
    added = [services.of_record(entry) for entry in record.extra] if extra is None else list(extra)
    record.extra = [service.recorded() for service in added]
    listed += added
    record.services = [service.recorded() for service in listed]
    record.save()
    supervisor.write(listed)
    if runs:
        supervisor.reload()
    else:
        supervisor.launch(environment)
    account = _Account()
    try:
        Start(supervisor, settings, listed, _steps(settings, account), progress).run()
    except BaseException:
        if not runs:
            _end(record, supervisor)
        raise
    return Stack(settings, tuple(listed), account.password)


@dataclass
class _Account:
    password: str | None = None


def _steps(settings: Settings, account: _Account) -> list[Step]:
    def databases() -> None:
        from hps_platform.store.provision import create_databases

        create_databases(settings.dsn(), settings.postgres_db, settings.dagster_db, settings.mlflow_db)

    def schema() -> None:
        from hps_platform.store.database import migrate

        logging.getLogger("alembic").setLevel(logging.WARNING)
        migrate(settings.dsn())

    def topics() -> None:
        from hps_platform.stream import ensure_topics

        ensure_topics(
            settings.bootstrap,
            partitions=settings.kafka_partitions,
            replication=settings.kafka_replication,
            retention_hours=settings.kafka_retention_hours,
        )

    def first_account() -> None:
        from hps_platform.access import ensure_first_account
        from hps_platform.store.database import Database

        given = settings.admin_password.get_secret_value() if settings.admin_password else None
        with Database(settings.dsn(), max_size=1) as database:
            account.password = ensure_first_account(database, settings.admin_user, given)

    return [
        Step("databases", ("postgres",), databases, "there"),
        Step("schema", ("databases",), schema, "up to date"),
        Step("topics", ("kafka",), topics, "there"),
        Step("account", ("schema",), first_account, "there"),
    ]


def set_up(settings: Settings, progress: Tell = lambda _: None) -> str | None:
    """What `start` does once between the databases and the rest: databases, schema, topics, first account.

    For servers that are run otherwise (`hps migrate`). Returns the first account's password when it was generated.
    """
    account = _Account()
    for step in _steps(settings, account):
        step.run()
        progress(f"{step.name}: {step.words}")
    return account.password


def _catalogue(settings: Settings, record: Record, elsewhere: frozenset[str], progress: Tell) -> list[Service]:
    """Make the files that services need, and list them."""
    services.write_dagster_home(settings)
    database, broker = embedded_postgres(settings), embedded_kafka(settings, record)

    def postgres() -> Service:
        database.initialise()
        return services.postgres(settings, database.command, database.confinement.note)

    def kafka() -> Service:
        broker.prepare(progress)
        return services.kafka(settings, broker.command)

    with ThreadPoolExecutor(2) as pool:
        embedded = {"postgres": postgres, "kafka": kafka}
        made = {name: pool.submit(make) for name, make in embedded.items() if name not in elsewhere}
        listed = {name: future.result() for name, future in made.items()}
    others = [
        services.mlflow(settings),
        *services.dagster(settings, record),
        services.collector(),
        services.app(settings),
    ]
    listed |= {service.name: service for service in others}
    listed |= {name: services.somebody_elses(name, settings) for name in elsewhere}
    return [listed[name] for name in NAMES]


def embedded_postgres(settings: Settings) -> Postgres:
    """The server that `hps up` runs, for these settings."""
    return Postgres(
        settings.data_dir,
        port=settings.postgres_port,
        user=settings.postgres_user,
        password=settings.postgres_password.get_secret_value(),
        bin_dir=settings.postgres_bin_dir,
    )


def embedded_kafka(settings: Settings, record: Record) -> Kafka:
    """The broker that `hps up` runs, for these settings."""
    controller = record.port("kafka_controller", keep=True)
    return Kafka(
        settings.data_dir / "kafka",
        port=settings.kafka_port,
        controller_port=controller,
        java_home=settings.java_home,
    )


def stop(settings: Settings, *, progress: Tell = lambda _: None) -> bool:
    """End every process of the stack within 15 s; whether there was one. Data stays."""
    if not settings.data_dir.is_dir():
        return False
    with _alone(settings.data_dir):
        record = Record.load(settings.data_dir)
        return record is not None and _end(record, Supervisor(record), progress)


def _end(record: Record, supervisor: Supervisor, progress: Tell = lambda _: None) -> bool:
    """First what uses the databases, then these, then supervisord, then whatever carries the stack's mark."""
    pid = supervisor.pid()
    supervisor.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    (record.data_dir / _ENDED).touch()
    try:
        if pid is not None:
            names = [name for name, program in supervisor.programs().items() if program.pid is not None]
            _stop_all(supervisor, [name for name in names if name not in _DATABASES], 5, progress)
            _stop_all(supervisor, [name for name in names if name in _DATABASES], 9, progress)
            supervisor.shutdown()
            psutil.wait_procs([psutil.Process(pid)], timeout=3)
    except (StackError, psutil.NoSuchProcess) as error:
        log.debug("supervisord went while it was ended: %s", error)
    rest = leftovers(record)
    end(rest, grace_s=2)
    return pid is not None or bool(rest)


def _stop_all(supervisor: Supervisor, names: Sequence[str], timeout_s: float, progress: Tell) -> None:
    """Return when they have ended; supervisord itself kills what has not after its `stop_wait_s`."""
    for name in names:
        supervisor.stop(name)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        left = [name for name, program in supervisor.programs().items() if program.pid is not None and name in names]
        if not left:
            break
        time.sleep(0.05)
    if names:
        progress(f"ended: {', '.join(names)}")


def ended_in_order(data_dir: Path) -> bool:
    """Whether the stack of a data directory was ended by `stop`, not by a kill."""
    return (data_dir / _ENDED).exists()


def status(settings: Settings) -> list[ServiceStatus]:
    """State and health of every service, asked now; `stopped` for all when nothing runs."""
    record = Record.load(settings.data_dir)
    if record is None or not record.services:
        nothing = "never started in this data directory"
        return [ServiceStatus(name, "stopped", False, None, None, None, 0.0, 0, nothing) for name in NAMES]
    settings = remember(settings, record, external(settings, record))
    supervisor = Supervisor(record)
    ended = ended_in_order(settings.data_dir)
    trouble = "" if ended or supervisor.pid() else "supervisord was killed: hps up starts everything again"
    try:
        programs = supervisor.programs()
    except StackError as error:
        programs, trouble = {}, str(error)
    listed = [services.of_record(entry) for entry in record.services]
    with ThreadPoolExecutor(len(listed)) as pool:
        return list(pool.map(lambda one: _status(one, programs.get(one.name), settings, supervisor, trouble), listed))


def _status(
    service: Service, program: Program | None, settings: Settings, supervisor: Supervisor, trouble: str
) -> ServiceStatus:
    state = "external" if service.external else program.state if program else "stopped"
    pid = program.pid if program and not service.external else None
    healthy, message = False, trouble or "not running"
    if state in ("running", "starting", "external"):
        healthy, message = health.ask(service.health, settings)
        if healthy and program and service.health.kind == "process":
            uptime = program.description.partition("uptime")[2].strip(" ,")
            message = f"running for {uptime}" if uptime else message
    elif program is not None and state in ("backoff", "fatal"):
        message = port_taken(service, program) or reason(supervisor.logs / f"{service.name}.log")
    if service.note:
        message = f"{message}; {service.note}"
    memory = round(health.memory_mb(pid), 1) if pid else 0.0
    restarts = program.restarts if program else 0
    return ServiceStatus(service.name, state, healthy, pid, service.port, service.url, memory, restarts, message)


def as_json(statuses: Sequence[ServiceStatus]) -> dict[str, Any]:
    """The object that `hps status --json` prints."""
    return {"ok": all(one.healthy for one in statuses), "services": [asdict(one) for one in statuses]}


def purge(settings: Settings) -> list[Path]:
    """Remove the data of a stack that has ended; the folders that were removed."""
    if Record.load(settings.data_dir) is None:
        return []
    removed = remove_fallback(settings.data_dir)
    shutil.rmtree(settings.data_dir)
    return [settings.data_dir, *removed]


def _require_ports(settings: Settings, elsewhere: frozenset[str]) -> None:
    wanted = (
        ("postgres", "postgres_port", "127.0.0.1"),
        ("kafka", "kafka_port", "127.0.0.1"),
        ("mlflow", "mlflow_port", settings.bind_address),
        ("dagster-webserver", "dagster_port", settings.bind_address),
        ("app", "app_port", settings.bind_address),
    )
    for service, name, host in wanted:
        if service not in elsewhere:
            ports.require_free(getattr(settings, name), service, variable(name), host)


def _usable(data_dir: Path) -> None:
    """Raise when the data directory can't be made or written to, or its disk is all but full."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = data_dir / ".writable"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
        free_mb = shutil.disk_usage(data_dir).free / 1e6
    except OSError as error:
        raise unusable(data_dir, error) from error
    if free_mb < _NEEDED_MB:
        raise StackError(
            f"only {free_mb:.0f} MB are free for {data_dir}, {_NEEDED_MB} MB are needed to start: "
            f"free some space, or choose another disk with --data-dir or {variable('data_dir')}"
        )


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Keeps two starts or ends of the same stack from meeting."""
    try:
        file = (data_dir / ".lock").open("w")
    except OSError as error:
        raise unusable(data_dir, error) from error
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(f"another hps up or down is at work in {data_dir}: wait for it") from error
        yield


def _fingerprint(environment: dict[str, str]) -> str:
    """Of what processes see of the settings; other variables of a shell may differ from start to start."""
    names = {variable(name) for name in Settings.model_fields}
    seen = {name: value for name, value in environment.items() if name in names} | {"python": sys.executable}
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()
