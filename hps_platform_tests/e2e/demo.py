"""A whole demo: every service, the simulated fleet, two days of history, models and anomalies."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from hps_platform import settings
from hps_platform.stack import control
from hps_platform.stack.ports import free_port

DAYS = 2
SEED = 11
USERNAME, PASSWORD = "ada", "a password for tests only"
_PORTS = ("app_port", "dagster_port", "mlflow_port", "kafka_port", "postgres_port")


@dataclass(frozen=True)
class DemoApp:
    """A running demo. `environment` is what `hps` needs to find it."""

    url: str
    username: str
    password: str
    data_dir: Path
    environment: dict[str, str]

    def hps(self, *arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Runs the command line against this demo."""
        command = [sys.executable, "-m", "hps_platform.cli", *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=timeout_s
        )

    def status(self) -> dict[str, dict[str, Any]]:
        """What `hps status --json` prints, by service; without a process of its own each time."""
        return {entry["name"]: entry for entry in self._asked()["services"]}

    def well(self) -> bool:
        """Whether every service is."""
        return bool(self._asked()["ok"])

    def _asked(self) -> dict[str, Any]:
        return control.as_json(control.status(self.settings()))

    def settings(self) -> settings.Settings:
        """The settings that hold in this demo."""
        return settings.load(data_dir=self.data_dir)

    def client(self) -> httpx.Client:
        """An API client with a token."""
        client = httpx.Client(base_url=self.url, timeout=30.0)
        answer = client.post("/api/auth/token/", json={"username": self.username, "password": self.password})
        answer.raise_for_status()
        client.headers["Authorization"] = f"Token {answer.json()['token']}"
        return client


@contextmanager
def demo(data_dir: Path) -> Iterator[DemoApp]:
    """A demo for as long as the context lasts; a failure to start shows what `hps demo` said."""
    known = {settings.variable(name) for name in settings.Settings.model_fields}
    environment = {name: value for name, value in os.environ.items() if name not in known}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    ports = {name: free_port() for name in _PORTS}
    environment |= {settings.variable(name): str(port) for name, port in ports.items()}
    environment |= {
        "HPS_DATA_DIR": str(data_dir),
        "HPS_ADMIN_USER": USERNAME,
        "HPS_ADMIN_PASSWORD": PASSWORD,
        "HPS_SIMULATOR_TRACE": str(data_dir / "printed.txt"),
    }
    app = DemoApp(f"http://127.0.0.1:{ports['app_port']}", USERNAME, PASSWORD, data_dir, environment)
    try:
        started = app.hps("demo", "--seed", str(SEED), "--days", str(DAYS), timeout_s=600)
        assert started.returncode == 0, f"hps demo ended with {started.returncode}:\n{started.stderr[-4000:]}"
        yield app
    finally:
        ended = app.hps("down", timeout_s=60)
        assert ended.returncode == 0, ended.stderr
