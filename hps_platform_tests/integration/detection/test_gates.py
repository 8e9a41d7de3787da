"""A server's models over time: borrowed, promoted, rejected, rolled back; by services and command line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from cryptography.fernet import Fernet
from typer.testing import CliRunner

from hps_platform import detection
from hps_platform.cli import models
from hps_platform.detection import Workers
from hps_platform.errors import Conflict, ModelNotFound, RegistryUnavailable
from hps_platform.model_registry import ModelRegistry
from hps_platform.store import model_files, servers
from hps_platform.store.database import Database
from hps_platform.store.secrets import SecretBox
from hps_platform_tests.integration.detection import samples
from hps_platform_tests.integration.environment import lead_to
from hps_platform_tests.integration.services import NewDatabase

DAYS = 4
END = samples.START + timedelta(days=DAYS)


@dataclass(frozen=True)
class Fleet:
    db: Database
    registry: ModelRegistry
    old: int
    new: int
    name: str


def outage(rows: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The machine does nothing but wait for its disks."""
    stuck = {"r": 90, "us": 1.0, "sy": 98.0, "idle": 1.0}
    vmstat = rows["vmstat"].with_columns(
        pl.lit(value).cast(rows["vmstat"].schema[name]).alias(name) for name, value in stuck.items()
    )
    return {**rows, "vmstat": vmstat, "iostat": rows["iostat"].with_columns(busy_pct=pl.lit(100.0).cast(pl.Float32))}


@pytest.fixture(scope="module")
def fleet(new_migrated: NewDatabase, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two of a kind: one with five days of samples, the fifth of which is an outage, and one with two hours."""
    box = SecretBox(Fernet.generate_key().decode())
    with Database(new_migrated()) as db:
        with db.connection() as conn:
            # The MLflow server is shared: models of other tests have the first numbers.
            conn.execute("ALTER TABLE servers ALTER COLUMN id RESTART WITH 7001")
            fields = {"ssh_username": "monitor", "operating_system": "AIX", "tags": ["database"]}
            old, new = (servers.add_server(conn, box, {**fields, "hostname": host}).id for host in ("old", "new"))
            samples.land(conn, samples.frames(old, DAYS))
            samples.land(conn, outage(samples.frames(old, 1, start=END, seed=2)))
            samples.land(conn, samples.frames(new, 2 / 24, start=END - timedelta(hours=2)))
        registry = ModelRegistry(mlflow_uri, cache_dir=tmp_path_factory.mktemp("data") / "models")
        yield Fleet(db, registry, old, new, detection.model_name(old))


def story(fleet: Fleet) -> list[tuple[int, str]]:
    return [(event.version, event.event) for event in detection.model_events(fleet.db, fleet.name)]


def test_models_come_and_go(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    first = detection.train_all(fleet.db, fleet.registry, now=END, workers=Workers(2))
    assert first.failed == {}
    own, copy = sorted(first.trained, key=lambda one: one.hostname == "new")
    assert (own.version, own.promoted, own.reason) == (1, True, "the first model of this server")
    assert (copy.promoted, copy.borrowed_from) == (True, "old")
    lent = fleet.registry.versions(detection.model_name(fleet.new))[0]
    assert (lent.tags["hostname"], lent.tags["borrowed_from"], lent.tags["gate"]) == ("new", "old", "borrowed")
    scored = detection.score_new(fleet.db, fleet.registry, now=END)
    assert (scored.servers, scored.skipped) == (2, {})
    assert scored.minutes > 60
    told = {run["server_id"]: run["borrowed_from"] for run in detection.runs(fleet.db)[0]}
    assert told == {fleet.old: None, fleet.new: "old"}

    good = detection.train(fleet.db, fleet.registry, fleet.old, now=END)
    assert (good.version, good.promoted) == (2, True), good.reason

    bad = detection.train(fleet.db, fleet.registry, fleet.old, now=END + timedelta(days=1))
    assert (bad.version, bad.promoted) == (3, False)
    assert "hold an outage" in bad.reason
    assert fleet.registry.champions()[fleet.name] == 2
    newest, older, _ = fleet.registry.versions(fleet.name)
    assert (newest.aliases, older.aliases) == (("challenger",), ("champion",))
    assert (newest.tags["gate"], newest.tags["gate_reason"]) == ("rejected", bad.reason)
    assert [event.version for event in detection.rejected(fleet.db)] == [3]

    away = ModelRegistry("http://127.0.0.1:9", cache_dir=fleet.registry._cache, timeout_s=1)
    with pytest.raises(RegistryUnavailable):
        detection.train_all(fleet.db, away, now=END)
    with pytest.raises(RegistryUnavailable):
        detection.rollback(fleet.db, away, fleet.name)
    assert story(fleet) == [(3, "rejected"), (2, "promoted"), (1, "promoted")]

    on_command_line(fleet, monkeypatch)
    with pytest.raises(Conflict, match="the first champion"):
        detection.rollback(fleet.db, fleet.registry, fleet.name)
    with pytest.raises(ModelNotFound):
        detection.promote(fleet.db, fleet.registry, fleet.name, 9, "a guess")
    with pytest.raises(Conflict, match="already"):
        detection.promote(fleet.db, fleet.registry, fleet.name, 1, "twice")


def on_command_line(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back to the first version, to the rejected one by hand, and back again."""
    there = {"MLFLOW_TRACKING_URI": fleet.registry.tracking_uri, "HPS_DATA_DIR": str(fleet.registry._cache.parent)}
    lead_to(monkeypatch, fleet.db.dsn, **there)
    hps = CliRunner()
    back = json.loads(hps.invoke(models.app, ["rollback", "old", "--reason", "too loud", "--json"]).stdout)
    assert (back["version"], back["event"]) == (1, "rolled_back")
    assert back["reason"] == "rolled back from version 2: too loud"
    assert fleet.registry.champions()[fleet.name] == 1
    assert "version 3 is the champion now" in hps.invoke(models.app, ["promote", "old", "3"]).stdout
    assert "version 1 is the champion again" in hps.invoke(models.app, ["rollback", "old", "--version", "1"]).stdout
    shown = json.loads(hps.invoke(models.app, ["show", "old", "--json"]).stdout)
    assert [event["event"] for event in shown["events"]][:3] == ["rolled_back", "promoted", "rolled_back"]
    listed = hps.invoke(models.app, ["list"]).stdout
    assert "version 1 rolled back: rolled back from version 3" in listed
    assert "the model of old stands in" in listed


def test_drift_is_measured_once_a_day_and_a_reason_to_train(fleet: Fleet) -> None:
    later = END + timedelta(days=1)
    champion = fleet.registry.champions()[fleet.name]
    with fleet.db.connection() as conn:
        conn.execute("UPDATE model_files SET created_at = %s WHERE name = %s", (END - timedelta(hours=1), fleet.name))
        found = detection.drift.measure(conn, fleet.old, fleet.name, champion, later)
        assert model_files.drifts(conn)[fleet.name] == found
    assert found is not None
    assert found.features["cpu_busy_pct"] > found.features["net_pkts_s"]
    assert not detection.drift.stale({fleet.name: found}, fleet.name, champion, later)
    assert detection.drift.stale({fleet.name: found}, fleet.name, champion, later + timedelta(days=1))


def test_artefacts_outside_the_tracking_server_are_written_by_its_library(tmp_path: Path) -> None:
    from hps_platform.model_registry.rest import Rest

    rest = Rest("http://127.0.0.1:9", 1)
    rest.upload(tmp_path.as_uri(), {"MLmodel": b"{}", "data/model.joblib": b"content"})
    assert rest.download(tmp_path.as_uri(), "data/model.joblib") == b"content"
    with pytest.raises(RegistryUnavailable, match="artefact store"):
        rest.download(tmp_path.as_uri(), "data/other")
