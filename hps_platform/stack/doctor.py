"""`hps doctor`: what the platform needs of this machine, and the one thing to do about each thing that is missing."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil

from hps_platform.errors import HpsError
from hps_platform.settings import Settings, variable
from hps_platform.stack import jars, ports
from hps_platform.stack.control import embedded_postgres, status
from hps_platform.stack.java import find_java
from hps_platform.stack.record import Record, external
from hps_platform.stack.unprivileged import NAMESPACE

Level = Literal["ok", "note", "missing"]
_FREE_GB = 5
_MEMORY_GB = 4
_DAGSTER = ("dagster", "dagster-webserver", "dagster-postgres")


@dataclass(frozen=True, slots=True)
class Finding:
    """`note` means that the platform runs, with something less."""

    subject: str
    level: Level
    found: str
    to_do: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Every check, in the order in which one would look. Starts nothing and writes nothing."""
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _python,
        _machine,
        _data_dir,
        _postgres,
        _kafka,
        _ports,
        _keys,
        _tools,
        _running,
    )
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += check(settings)
        except HpsError as error:
            findings.append(Finding(check.__name__.strip("_"), "missing", str(error), "see the text"))
    return findings


def _python(_: Settings) -> Iterator[Finding]:
    yield Finding("Python", "ok", f"{platform.python_version()} in {sys.prefix}")
    versions = {name: metadata.version(name) for name in _DAGSTER}
    text = ", ".join(f"{name} {version}" for name, version in versions.items())
    together = versions["dagster"] == versions["dagster-webserver"]
    to_do = "" if together else "run make setup: these two must be of one version"
    yield Finding("Dagster", "ok" if together else "missing", text, to_do)
    yield Finding("MLflow", "ok", metadata.version("mlflow"))


def _machine(_: Settings) -> Iterator[Finding]:
    total = psutil.virtual_memory().total / 1e9
    text = f"{total:.1f} GB, {os.cpu_count()} cores"
    if total < _MEMORY_GB:
        yield Finding("memory", "note", text, f"the whole stack wants {_MEMORY_GB} GB: run services elsewhere")
    else:
        yield Finding("memory", "ok", text)


def _data_dir(settings: Settings) -> Iterator[Finding]:
    place = settings.data_dir
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        choose = f"correct the permissions, or set {variable('data_dir')}"
        yield Finding("data directory", "missing", f"{settings.data_dir}: {place} can't be written", choose)
        return
    free = shutil.disk_usage(place).free / 1e9
    text = f"{settings.data_dir}, {free:.0f} GB free"
    if free < _FREE_GB:
        yield Finding("data directory", "missing", text, f"free some space, or set {variable('data_dir')}")
    else:
        yield Finding("data directory", "ok", text)


def _postgres(settings: Settings) -> Iterator[Finding]:
    if "postgres" in external(settings, Record.load(settings.data_dir)):
        yield Finding("PostgreSQL", "ok", f"your own at {settings.database_host}:{settings.database_port}")
        return
    if os.geteuid() == 0:
        yield from _namespaces()
    if not settings.data_dir.exists():
        program = embedded_programs(settings)
        found = "its programs are there" if program.exists() else f"{program} is missing"
        yield Finding(
            "PostgreSQL", "ok" if program.exists() else "missing", found, "" if program.exists() else "make setup"
        )
        return
    database = embedded_postgres(settings)
    yield Finding("PostgreSQL", "ok", f"{database.version()[1]} in {database.bin_dir}")


def embedded_programs(settings: Settings) -> Path:
    """The `postgres` program that would be run."""
    from hps_platform.stack.postgres import packaged_programs

    return (settings.postgres_bin_dir or packaged_programs()) / "postgres"


def _namespaces() -> Iterator[Finding]:
    allowed = subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    if allowed:
        yield Finding("user namespaces", "ok", "PostgreSQL can run below a closed home directory")
    else:
        text = "refused by the kernel: PostgreSQL's data will lie in /var/lib/hps-platform, under the account postgres"
        yield Finding("user namespaces", "note", text, "start as an ordinary user to keep it in the data directory")


def _kafka(settings: Settings) -> Iterator[Finding]:
    if "kafka" in external(settings, Record.load(settings.data_dir)):
        yield Finding("Kafka", "ok", f"your own at {settings.bootstrap}")
        return
    java = find_java(settings.java_home)
    yield Finding("Java", "ok", f"{java.version} from {java.origin}: {java.program}")
    missing = jars.missing()
    if missing:
        fetch = "hps up fetches them from Maven Central: it needs a connection once"
        yield Finding("Kafka's jars", "note", f"{len(missing)} of {len(jars.locked())} are not in the cache", fetch)
    else:
        yield Finding("Kafka's jars", "ok", f"{len(jars.locked())}, checked, in {jars.cache_folder()}")


def _ports(settings: Settings) -> Iterator[Finding]:
    own = {one.port for one in status(settings) if one.pid is not None}
    for name in ("app_port", "dagster_port", "mlflow_port", "kafka_port", "postgres_port"):
        port = getattr(settings, name)
        if port in own:
            yield Finding(f"port {port}", "ok", "used by this stack")
        elif ports.is_free(port):
            yield Finding(f"port {port}", "ok", "free")
        else:
            taken = f"taken by {ports.describe_holder(port)}"
            yield Finding(f"port {port}", "missing", taken, f"end that, or set {variable(name)}")


def _keys(settings: Settings) -> Iterator[Finding]:
    from cryptography.fernet import Fernet

    text = settings.field_encryption_key.get_secret_value()
    if not text:
        yield Finding("encryption key", "ok", "hps up will generate one")
        return
    try:
        for key in text.split(","):
            Fernet(key.strip())
    except ValueError:
        generate = "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
        found = f"{variable('field_encryption_key')} is not a list of Fernet keys"
        yield Finding("encryption key", "missing", found, f"make one with: {generate}")
    else:
        yield Finding("encryption key", "ok", f"{len(text.split(','))} in use")


def _tools(_: Settings) -> Iterator[Finding]:
    wanted = (
        ("OpenSSH server", ("sshd", "/usr/sbin/sshd"), "openssh-server", "this machine is not part of the demo"),
        ("sysstat", ("iostat",), "sysstat", "this machine shows no disks in the demo"),
        ("Chromium", ("chromium", "chromium-browser", "google-chrome"), "chromium", "the browser tests can't run"),
    )
    for subject, names, package, without in wanted:
        found = next((path for name in names if (path := shutil.which(name))), None)
        if found:
            yield Finding(subject, "ok", found)
        else:
            yield Finding(subject, "note", f"not installed: {without}", f"apt-get install {package}")


def _running(settings: Settings) -> Iterator[Finding]:
    statuses = status(settings)
    if not any(one.pid or one.state == "external" for one in statuses):
        yield Finding("stack", "ok", "not running: hps up starts it")
        return
    for one in statuses:
        if not one.healthy:
            yield Finding(one.name, "missing", f"{one.state}: {one.message}", f"hps logs {one.name}")
    if all(one.healthy for one in statuses):
        yield Finding("stack", "ok", f"running, {len(statuses)} services well")
