"""What benchmarks stand on: PostgreSQL, Kafka and other processes, on free ports below a temporary directory.

Everything ends with the `Ground` that started it, also when the benchmark is interrupted. A running stack is neither
asked nor touched: its settings do not reach the processes started here.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TypeVar

import psutil
from cryptography.fernet import Fernet

from hps_platform import stream
from hps_platform.errors import KafkaUnavailable, StackError
from hps_platform.stack import unprivileged
from hps_platform.stack.kafka import Kafka
from hps_platform.stack.ports import free_port
from hps_platform.stack.postgres import Postgres
from hps_platform.store.database import migrate

T = TypeVar("T")
_LEAVE_S = 10.0


class Ground:
    """A temporary directory and what runs in it."""

    def __init__(self, folder: Path, closing: ExitStack) -> None:
        self.folder = folder
        self.key = Fernet.generate_key().decode()
        self.dsn = ""
        self.bootstrap = ""
        self._closing = closing
        self._environment: dict[str, str] = {
            "HPS_DATA_DIR": str(folder),
            "FIELD_ENCRYPTION_KEY": self.key,
            "POLARS_MAX_THREADS": "1",  # as the stack runs landing
        }

    def postgres(self) -> Postgres:
        """A server with a database of the newest schema; `dsn` leads to it."""
        password = secrets.token_urlsafe(24)
        server = Postgres(self.folder / "postgres", port=free_port(), password=password)
        self._closing.callback(unprivileged.remove_fallback, self.folder / "postgres")
        server.initialise()
        server.start()
        self._closing.callback(server.stop)
        server.create_databases("hps")
        self.dsn = server.dsn("hps")
        migrate(self.dsn)
        self._environment |= {
            "DATABASE_HOST": server.host,
            "DATABASE_PORT": str(server.port),
            "POSTGRES_DB": "hps",
            "POSTGRES_USER": server.user,
            "POSTGRES_PASSWORD": password,
        }
        return server

    def kafka(self) -> psutil.Process:
        """A broker without topics; `bootstrap` leads to it."""
        broker = Kafka(self.folder / "kafka", port=free_port(), controller_port=free_port())
        broker.prepare()
        before = {child.pid for child in psutil.Process().children()}
        self._closing.callback(broker.stop)
        broker.start()
        self.bootstrap = self._environment["KAFKA_BOOTSTRAP_SERVERS"] = broker.bootstrap
        return next(child for child in psutil.Process().children() if child.pid not in before)

    def run_module(self, name: str, *arguments: str) -> "Part":
        """Starts a module of the platform."""
        return self.run(name, (sys.executable, "-m", *arguments))

    def run(self, name: str, command: Sequence[str]) -> "Part":
        """Starts a process that knows the addresses of what runs here."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HPS_")}
        logged = self.folder / f"{name}.log"
        with logged.open("wb") as output:
            process = subprocess.Popen(
                list(command),
                cwd=self.folder,  # where no `.env` lies
                env={**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
            )
        part = Part(name, process, logged)
        self._closing.callback(part.stop)
        return part


class Part:
    """A process that a benchmark started."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", logged: Path) -> None:
        self.name = name
        self.process = process
        self.watched = psutil.Process(process.pid)
        self.logged = logged

    def check(self) -> None:
        """Raises `StackError` with the last line of its log when it has ended."""
        if self.process.poll() is not None:
            tail = self.logged.read_text(errors="replace").strip().splitlines()[-1:]
            raise StackError(f"{self.name} ended with {self.process.returncode}: {' '.join(tail)}")

    def wait_for(self, what: str, look: Callable[[], T | None], within_s: float, *, every_s: float = 0.2) -> T:
        """What `look` gives as soon as it gives something; raises `StackError` when time is over or it has ended."""
        deadline = time.monotonic() + within_s
        while not (found := look()):
            self.check()
            if time.monotonic() > deadline:
                raise StackError(f"{self.name}: {what} not within {within_s:.0f} s")
            time.sleep(every_s)
        return found

    def output(self, within_s: float) -> bytes:
        """What it prints until it ends, which it must do well."""
        try:
            printed, _ = self.process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            raise StackError(f"{self.name} did not end within {within_s:.0f} s") from None
        if self.process.returncode != 0:
            self.check()
        return printed

    def stop(self) -> None:
        """Ends it."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_LEAVE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(_LEAVE_S)
        if self.process.stdout is not None:
            self.process.stdout.close()


def _ended(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def ground() -> Iterator[Ground]:
    """A new one; nothing of it is left afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="hps-bench-"))
    before = signal.signal(signal.SIGTERM, _ended)
    try:
        with ExitStack() as closing:
            closing.callback(shutil.rmtree, folder, ignore_errors=True)
            yield Ground(folder, closing)
    finally:
        signal.signal(signal.SIGTERM, before)


def start_collector(base: Ground) -> Part:
    """The collector as `hps collect` runs it, with the topics it needs and no server yet; after `postgres`, `kafka`."""
    collector = base.run_module("collector", "hps_platform.cli", "collect")
    topics = set(stream.topics())

    def there() -> bool:
        try:
            return {topic for topic, _ in stream.watermarks(base.bootstrap, topics)} >= topics
        except KafkaUnavailable:
            return False

    collector.wait_for("its topics", there, 60.0)
    return collector


def pause(seconds: float, *parts: Part) -> None:
    """Waits, as long as all parts live."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        for part in parts:
            part.check()
        time.sleep(min(5.0, left))


class Cpu:
    """CPU shares of processes, as parts of one core, from when this is made."""

    def __init__(self, **processes: psutil.Process) -> None:
        self._processes = processes
        self._began = time.monotonic()
        self._before = {name: _cpu_s(process) for name, process in processes.items()}
        self._machine = _machine_s()

    def shares(self) -> dict[str, float]:
        """By name; `foreign` is what others on this machine used."""
        wall = time.monotonic() - self._began
        used = {name: _cpu_s(process) - self._before[name] for name, process in self._processes.items()}
        foreign = max(0.0, _machine_s() - self._machine - sum(used.values()))
        return {name: round(value / wall, 4) for name, value in {**used, "foreign": foreign}.items()}


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _machine_s() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
