"""A real MLflow server for tests: one process, SQLite, artefacts in a temporary directory."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from hps_platform.stack.ports import free_port

_STARTS_WITHIN_S = 240.0


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tracking URI of the session's MLflow server."""
    root: Path = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--artifacts-destination", (root / "artifacts").as_uri()]
    environment = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{root}/mlflow.db",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    command = [sys.executable, "-m", "hps_platform.mlflow_server", *options]
    with (root / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=root)
    uri = f"http://127.0.0.1:{port}"
    try:
        _await_health(server, uri, root / "log")
        yield uri
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _await_health(server: "subprocess.Popen[bytes]", uri: str, log: Path) -> None:
    gives_up_at = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < gives_up_at:
        assert server.poll() is None, log.read_text()
        try:
            if httpx.get(f"{uri}/health", timeout=2).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)  # between two looks at the condition, until the time above is over
    raise AssertionError(f"MLflow did not start within {_STARTS_WITHIN_S:g} s:\n{log.read_text()}")
