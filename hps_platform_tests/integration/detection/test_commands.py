"""`hps detect run` and `hps models`, against a real PostgreSQL and a real MLflow server."""

import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from hps_platform.cli import detect, models
from hps_platform.errors import InvalidInput, NotFound
from hps_platform_tests.integration.detection import samples
from hps_platform_tests.integration.detection.conftest import Platform
from hps_platform_tests.integration.environment import lead_to

FROM = f"--from={samples.START + timedelta(days=2, hours=12):%Y-%m-%dT%H:%M}"
TO = f"--to={samples.START + timedelta(days=2, hours=18):%Y-%m-%dT%H:%M}"


@pytest.fixture
def hps(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A command line whose settings lead to the test's servers."""
    there = {"MLFLOW_TRACKING_URI": platform.registry.tracking_uri, "HPS_DATA_DIR": str(platform.cache.parent)}
    lead_to(monkeypatch, platform.db.dsn, **there)
    return CliRunner()


def test_a_range_is_scored_and_told(hps: CliRunner) -> None:
    ran = hps.invoke(detect.app, ["run", "--server=busy", FROM, TO])
    assert ran.exit_code == 0, ran.output
    assert "of 360 minutes are anomalous" in ran.stdout
    assert "cpu busy" in ran.stdout.lower()
    answered = hps.invoke(detect.app, ["run", "--server=busy", FROM, TO, "--json"])
    content = json.loads(answered.stdout)
    assert content.keys() == {"results", "summary", "run_id"}
    assert content["summary"]["total_points"] == len(content["results"]) == 360
    first = content["results"][0]
    assert first["timestamp"] == "2026-03-04T12:00:00Z"
    assert {"us", "sy", "idle"} <= first["metric_values"].keys()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (["run", "--server=nobody", FROM, TO], NotFound, "hps server list"),
        (["run", "--server=busy", FROM, "--to=yesterday"], InvalidInput, "is no time"),
        (["run", "--server=busy", FROM, FROM.replace("from", "to")], InvalidInput, "End time must be after start time"),
    ],
)
def test_what_can_not_be_done_is_said(hps: CliRunner, arguments: list[str], error: type[Exception], text: str) -> None:
    ran = hps.invoke(detect.app, arguments)
    assert isinstance(ran.exception, error)
    assert text in str(ran.exception)


def test_models_are_listed_and_shown(hps: CliRunner, platform: Platform) -> None:
    listed = json.loads(hps.invoke(models.app, ["list", "--json"]).stdout)
    own = next(row for row in listed if row["name"] == f"hps.{platform.busy}")
    assert (own["hostname"], own["training_rows"], own["aliases"]) == ("busy", 4320, ["champion"])
    assert "busy" in hps.invoke(models.app, ["list"]).stdout
    for name in ("busy", str(platform.busy), f"hps.{platform.busy}"):
        shown = json.loads(hps.invoke(models.app, ["show", name, "--json"]).stdout)
        assert shown["name"] == f"hps.{platform.busy}"
        assert shown["parameters"]["training_start"] == "2026-03-02T00:00:00Z"
    assert "data_fingerprint" in hps.invoke(models.app, ["show", "busy"]).stdout
    assert isinstance(hps.invoke(models.app, ["show", "nobody"]).exception, NotFound)
