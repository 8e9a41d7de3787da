"""`hps parse`: rows on standard output, messages on standard error, outcomes as exit codes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hps_platform.cli.parse import app
from hps_platform_tests.unit.dialects.cases import FIXTURES

_RUNNER = CliRunner()


def test_rows() -> None:
    file = FIXTURES / "aix/iostat/default.txt"

    result = _RUNNER.invoke(app, ["--os", "aix", "--command", "iostat -d 2", str(file)])

    assert result.exit_code == 0
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["disk"] for row in rows] == ["hdisk0", "hdisk4", "cd0"] * 2
    assert rows[0]["kb_read_s"] is None
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("os", "command", "text", "code", "said"),
    [
        ("linux", "df", "", 3, "no data"),
        ("linux", "df", "bash: df: command not found\n", 4, "failed: bash: df: command not found"),
        ("linux", "df", "Dateisystem 1K-Bl\u00f6cke\n/dev/a 1 2 3 4\n", 5, "unknown"),
        ("linux", "mpstat", "cpu\n", 5, "does not read 'mpstat'"),
        ("plan9", "df", "x", 5, "no dialect for 'plan9'"),
    ],
)
def test_outcomes(os: str, command: str, text: str, code: int, said: str) -> None:
    result = _RUNNER.invoke(app, ["--os", os, "--command", command], input=text)

    assert result.exit_code == code
    assert result.stdout == ""
    assert said in result.stderr


def test_bytes_that_are_no_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "output"
    file.write_bytes("Propri\u00e9t\u00e9\n".encode("latin-1") + (FIXTURES / "hpux/vmstat/planned.txt").read_bytes())

    result = _RUNNER.invoke(app, ["--os", "hpux", "--command", "vmstat 2", str(file)])

    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2


def test_rows_that_came_twice_are_mentioned() -> None:
    file = FIXTURES / "linux/filesystem/mounted_twice.txt"

    result = _RUNNER.invoke(app, ["--os", "linux", "--command", "df", str(file)])

    assert result.exit_code == 0
    assert "1 rows came twice" in result.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = _RUNNER.invoke(app, ["--os", "linux", "--command", "df", str(tmp_path / "none")])

    assert result.exit_code == 2
    assert "No such file" in result.stderr
