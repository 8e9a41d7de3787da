"""Forecasts from rollups to rows: servers with enough history, with hardly any, and with one family silent."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from typer.testing import CliRunner

from hps_platform import forecasting
from hps_platform.cli import forecast
from hps_platform.errors import InvalidInput, NotFound
from hps_platform.store import forecasts as stored
from hps_platform.store import servers
from hps_platform.store.database import Database
from hps_platform.store.secrets import SecretBox
from hps_platform_tests.integration.environment import lead_to
from hps_platform_tests.integration.forecasting.hourly import put

NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
END = datetime(2026, 3, 20, 9, tzinfo=UTC)


@pytest.fixture
def db(migrated_dsn: str) -> Iterator[Database]:
    with Database(migrated_dsn) as opened:
        yield opened


@pytest.fixture
def ids(db: Database) -> list[int]:
    """Sixteen days, the memory family silent for the last week, disks never heard of; two hours; nothing."""
    box = SecretBox(Fernet.generate_key().decode())
    with db.connection() as conn:
        names = [
            servers.add_server(conn, box, {"hostname": host, "ssh_username": "monitor"}).id
            for host in ("steady", "young", "empty")
        ]
        steady, young, _ = names
        put(conn, "vmstat", steady, END, 16 * 24, {"us": 20, "sy": 5, "r": 2})
        put(conn, "memory", steady, END - timedelta(days=7), 9 * 24, {"used_pct": 50})
        put(conn, "filesystem", steady, END, 16 * 24, {"mount": "/var", "used_pct": 60})
        put(conn, "vmstat", young, END, 2, {"us": 20, "sy": 5})
    return names


def hps(db: Database, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """What `hps forecast` prints, with settings that lead to the test's database."""
    lead_to(monkeypatch, db.dsn)
    ran = CliRunner().invoke(forecast.app, arguments)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def test_from_rollups_to_answers(db: Database, ids: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    steady, young, empty = ids
    report = forecasting.forecast_all(db, now=NOW)
    assert (report.servers, report.failed) == (3, {})

    found = {one["metric"]: one for one in forecasting.forecasts(db, steady)}
    assert list(found) == sorted(forecasting.METRICS)
    cpu = found["cpu_busy_pct"]
    assert (cpu["made_at"], len(cpu["points"]), cpu["reason"]) == (END, 168, None)
    assert [point["timestamp"] for point in cpu["points"][:2]] == [END, END + timedelta(hours=1)]
    for point in cpu["points"]:
        assert 25 < point["p10"] <= point["p50"] <= point["p90"] < 45
    assert cpu["trend"]["direction"] == "up"
    assert cpu["week_on_week"]["change"] > 0
    assert set(cpu["backtest"]["mase"]) == {"24", "168"}
    assert found["disk_busy_pct"]["reason"] == "there are no samples of it"
    assert found["mem_used_pct"]["reason"].startswith("no samples for 7 days")
    assert found["run_queue"]["runway"] is None

    (disk,) = forecasting.forecasts(db, steady, metric="fs_used_pct", horizon_days=90)
    assert (disk["key"], len(disk["points"]), disk["step_s"]) == ("/var", 90, 86_400)
    grown = 60 * (1.1 + 0.01 * 16)
    full = END + timedelta(days=(100 - grown) / 0.6)
    assert abs(datetime.fromisoformat(disk["runway"]["p50"]).date() - full.date()) <= timedelta(days=3)

    for one in forecasting.forecasts(db, young, now=NOW):
        assert (one["points"], one["made_at"]) == ([], END)
    assert forecasting.forecasts(db, young, metric="cpu_busy_pct")[0]["reason"] == (
        "2 hours of history: a forecast needs 8 days"
    )
    assert forecasting.forecasts(db, empty)[0]["reason"] == "there are no samples of it"

    scores = {one.horizon_days: one for one in forecasting.rated(db)}
    assert set(scores) == {7, 90}
    assert {"7d_mase_24", "7d_naive_mase_168", "7d_coverage", "90d_series"} <= set(
        {**scores[7].metrics(), **scores[90].metrics()}
    )

    lines = hps(db, monkeypatch, "--server", "steady", "--server", str(young)).splitlines()
    assert len(lines) == 1 + 2 * len(forecasting.METRICS)
    assert any("fs_used_pct" in line and "/var" in line and "100: about 2026-0" in line for line in lines)
    assert any("young" in line and "2 hours of history" in line for line in lines)
    told = json.loads(hps(db, monkeypatch, "--metric", "cpu_busy_pct", "--horizon", "90", "--json"))
    assert [(one["hostname"], len(one["points"])) for one in told] == [("empty", 0), ("steady", 90), ("young", 0)]

    with db.connection() as conn:
        before = stored.find(conn)
    forecasting.forecast_all(db, now=NOW, server_ids=[steady])
    with db.connection() as conn:
        assert stored.find(conn) == before


def test_before_the_first_night_the_reason_is_told(db: Database, ids: list[int]) -> None:
    steady, young, empty = ids

    def reason(server_id: int) -> str:
        return str(forecasting.forecasts(db, server_id, metric="run_queue", now=NOW)[0]["reason"])

    assert reason(empty) == "there are no samples of this server yet"
    assert reason(young) == "2 hours of history: a forecast needs 8 days"
    assert reason(steady).startswith("forecasts are made each night")
    assert forecasting.rated(db) == []
    with pytest.raises(InvalidInput, match="cpu_busy_pct"):
        forecasting.forecasts(db, steady, metric="nonsense")
    with pytest.raises(InvalidInput, match="7 or 90"):
        forecasting.forecasts(db, steady, horizon_days=8)
    with pytest.raises(NotFound):
        forecasting.forecasts(db, 10**6)
