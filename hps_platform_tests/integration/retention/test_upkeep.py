"""The nightly job as Dagster runs it, and `hps archive` as a person types it, with nothing but settings."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner, Result

from hps_platform.cli import archive as cli
from hps_platform.defs import maintenance
from hps_platform.defs.resources import Platform
from hps_platform.errors import InvalidInput, NotFound
from hps_platform.metrics import FAMILIES
from hps_platform.store import partitions
from hps_platform.store.database import Connection
from hps_platform_tests.integration.retention.test_retention import damage, raw_days, record, stored
from hps_platform_tests.integration.store import samples

VMSTAT = FAMILIES["vmstat"]


def today() -> datetime:
    """A run of many tests may begin on the day before."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture(autouse=True)
def _settings(migrated_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dsn = conninfo_to_dict(migrated_dsn)
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "HPS_DATA_DIR": str(tmp_path),
        "HPS_ARCHIVE_RAW_TEXT": "false",
        "DATABASE_HOST": str(dsn["host"]),
        "DATABASE_PORT": str(dsn["port"]),
        "POSTGRES_USER": str(dsn["user"]),
        "POSTGRES_PASSWORD": str(dsn["password"]),
        "POSTGRES_DB": str(dsn["dbname"]),
    }.items():
        monkeypatch.setenv(name, value)


def upkeep() -> dict[str, bool]:
    """Runs the night's work on samples; returns which checks passed."""
    chosen = [maintenance.archive, maintenance.expired, maintenance.old_rows]
    checks = [maintenance.intact, maintenance.nothing_overdue]
    done = dg.materialize([*chosen, *checks], resources={"platform": Platform()}, raise_on_error=True)
    return {one.check_name: one.passed for one in done.get_asset_check_evaluations()}


def hps(*arguments: str) -> Result:
    result = CliRunner().invoke(cli.app, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_night_and_a_morning_after(conn: Connection, tmp_path: Path) -> None:
    begin = today() - timedelta(days=40)
    samples.land(conn, VMSTAT, samples.frame(VMSTAT, samples.every(7200, 12 * 12, begin)))
    before = stored(conn, VMSTAT)
    assert upkeep() == {"intact": True, "nothing_overdue": True}
    assert raw_days(conn, VMSTAT) == [(begin + timedelta(days=number)).date() for number in (10, 11)]
    assert (tmp_path / "archive" / "family=vmstat" / f"date={begin:%Y-%m-%d}").is_dir()

    listed = [json.loads(line) for line in hps("list", "--json").stdout.splitlines()]
    assert [one["rows"] for one in listed] == [24] * 12
    shown = hps("list", "--family", "vmstat").stdout
    assert f"{begin:%Y-%m-%d}" in shown
    assert "archive and tables" in shown

    for number in range(10):
        said = hps("restore", "--day", f"{begin + timedelta(days=number):%Y-%m-%d}").stdout
        assert "vmstat" in said
        assert "24 rows restored" in said
    assert stored(conn, VMSTAT).equals(before)
    with pytest.raises(NotFound, match="is archived"):
        hps("restore", "--day", "2020-01-01")
    with pytest.raises(InvalidInput, match="no day"):
        hps("restore", "--day", "yesterday")


def test_a_damaged_file_turns_the_checks_red(conn: Connection) -> None:
    begin = today() - timedelta(days=33)
    samples.land(conn, VMSTAT, samples.frame(VMSTAT, samples.every(7200, 12, begin)))
    assert upkeep() == {"intact": True, "nothing_overdue": True}
    damage(record(conn, VMSTAT, begin.date()).url)
    assert upkeep() == {"intact": False, "nothing_overdue": True}
    assert "DAMAGED" in hps("list").stdout
    assert partitions.listing(conn, [VMSTAT.table]) == []
