"""Starts that can't succeed: one line that says why and what to do, and nothing left behind."""

import os
import shutil
import socket
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from hps_platform import settings as settings_module
from hps_platform import stack
from hps_platform.errors import StackError
from hps_platform.stack.ports import free_port
from hps_platform.stack.record import Record
from hps_platform.stack.supervisor import leftovers


def refused(data_dir: Path, *before: str, **variables: str) -> str:
    """The one line on stderr of an `hps up` that fails."""
    done = subprocess.run(
        [*before, sys.executable, "-m", "hps_platform.cli", "up", "--detach"],
        check=False,
        env=os.environ | {"HPS_DATA_DIR": str(data_dir)} | variables,
        capture_output=True,
        text=True,
        timeout=120,
        cwd="/",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = refused(tmp_path / "file" / "data")
    assert line.startswith(f"hps: the data directory {tmp_path}/file/data can't be written (Not a directory)")
    assert "--data-dir or HPS_DATA_DIR" in line


def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    """The limit on file sizes stands for the full disk: a write fails half-way."""
    line = refused(tmp_path / "data", "sh", "-c", 'ulimit -f 1; exec "$@"', "sh")
    assert "can't be written (File too large): free some space there" in line


def test_a_disk_that_is_all_but_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**7, 10**7))
    with pytest.raises(StackError, match=r"only 10 MB are free .* 512 MB are needed .*--data-dir or HPS_DATA_DIR"):
        stack.start(settings_module.load(data_dir=tmp_path))


def test_a_busy_port_is_named_with_its_holder(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refused(tmp_path / "data", HPS_KAFKA_PORT=port)
    assert line.startswith(f"hps: port {port} for kafka is taken by ")
    assert f"(pid {os.getpid()}" in line
    assert line.endswith("set HPS_KAFKA_PORT")
    record = Record.load(tmp_path / "data")
    assert record is not None
    assert leftovers(record) == []


def test_a_bad_setting_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "data", HPS_APP_PORT="eighty").startswith("hps: HPS_APP_PORT='eighty': ")


def test_a_postgres_folder_without_programs(tmp_path: Path) -> None:
    line = refused(tmp_path / "data", HPS_POSTGRES_BIN_DIR=str(tmp_path))
    assert line == f"hps: {tmp_path} has no initdb: set HPS_POSTGRES_BIN_DIR to the programs of a PostgreSQL"


def test_an_external_server_that_does_not_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    variables = {"DATABASE_HOST": "127.0.0.1", "DATABASE_PORT": port, "POSTGRES_PASSWORD": "x"}
    for name in ("APP", "DAGSTER", "MLFLOW", "KAFKA"):
        variables[f"HPS_{name}_PORT"] = str(free_port())
    line = refused(tmp_path / "data", **variables)
    assert line == f"hps: postgres at 127.0.0.1:{port}, which is not run here, does not answer"
    record = Record.load(tmp_path / "data")
    assert record is not None
    assert leftovers(record) == []


def test_down_status_and_env_where_nothing_was_started(tmp_path: Path) -> None:
    def hps(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hps_platform.cli", *arguments],
            check=False,
            env=os.environ | {"HPS_DATA_DIR": str(tmp_path / "none")},
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert hps("down").returncode == 0
    assert "never started in this data directory" in hps("status").stdout
    assert hps("status", "--json").returncode == 1
    env = hps("env")
    assert env.returncode == 1
    assert "no stack was started" in env.stderr
    assert not (tmp_path / "none").exists()
