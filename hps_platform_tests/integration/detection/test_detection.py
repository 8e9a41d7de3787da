"""Training, scoring and reading, against a real PostgreSQL and a real MLflow server."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import joblib
import numpy as np
import pytest

from hps_platform import detection
from hps_platform.analysis import detector
from hps_platform.errors import Conflict, InvalidInput, ModelNotFound, ModelUntrusted, NotEnoughData, NotFound
from hps_platform.model_registry import ModelRegistry
from hps_platform.store import minutes, model_files
from hps_platform_tests.integration.detection import samples
from hps_platform_tests.integration.detection.conftest import Platform

END = samples.START + timedelta(days=3)
HOG_START, HOG_END = (samples.START + timedelta(minutes=m) for m in samples.HOG)


def in_hog(moment: datetime) -> bool:
    return HOG_START <= moment < HOG_END


@pytest.fixture(scope="module")
def scored(platform: Platform) -> Platform:
    report = detection.score_new(platform.db, platform.registry, now=END + timedelta(minutes=5), whole_history=True)
    assert report.skipped.keys() == {"young", "empty"}
    assert report.servers == 1
    assert 4_300 < report.minutes <= 4_320
    assert report.anomalies > 0
    return platform


def test_a_server_with_too_little_history_gets_no_model_and_does_not_stop_the_others(platform: Platform) -> None:
    report = detection.train_all(platform.db, platform.registry, now=END)
    assert [one.hostname for one in report.trained] == ["busy"]
    assert "24 are needed" in report.failed["young"]
    assert report.failed.keys() == {"young", "empty"}
    with pytest.raises(NotEnoughData):
        detection.train(platform.db, platform.registry, platform.young, now=END)


def test_only_servers_that_are_due_are_trained(platform: Platform) -> None:
    report = detection.train_all(platform.db, platform.registry, only_due=True, now=END)
    assert report.trained == []
    assert report.kept == [platform.busy]


def test_a_version_carries_what_it_was_made_of(platform: Platform) -> None:
    newest = platform.registry.versions(f"hps.{platform.busy}")[0]
    assert newest.aliases == ("champion",)
    assert newest.tags["hostname"] == "busy"
    assert newest.tags["training_start"] == "2026-03-02T00:00:00Z"
    assert 4_200 < int(newest.tags["training_rows"]) <= 4_320  # what the first model found anomalous is left out
    assert newest.tags["gate"] == "promoted"
    assert len(newest.tags["data_fingerprint"]) == 64
    parameters, metrics = platform.registry.run(newest.run_id)
    assert "cpu_busy_pct" in parameters["features"]
    assert metrics["training_rows"] == int(newest.tags["training_rows"])
    assert metrics["injected"] > 10
    with platform.db.connection() as conn:
        assert model_files.model_file(conn, newest.name, newest.version).sha256 == newest.tags["sha256"]


def test_the_hog_is_found_and_told(scored: Platform) -> None:
    rows, count = detection.anomalies(scored.db, server_id=scored.busy, page_size=200)
    assert count == len(rows)
    found = [row for row in rows if in_hog(row["timestamp"])]
    assert found
    assert [row["timestamp"] for row in rows] == sorted((row["timestamp"] for row in rows), reverse=True)
    worst = min(found, key=lambda row: row["anomaly_score"])
    assert worst["hostname"] == "busy"
    assert -1 <= worst["anomaly_score"] < -0.3
    assert worst["contributions"][0]["column"] in {"cpu_busy_pct", "run_queue"}
    assert len(worst["contributions"]) == 5
    assert {"cpu_busy_pct", "net_pkts_s", "us", "sy", "idle"} <= worst["metric_values"].keys()
    one = detection.anomaly(scored.db, scored.busy, worst["timestamp"])
    assert one == worst


def test_normal_scheduled_minutes_keep_scores_only(scored: Platform) -> None:
    rows, count = detection.anomalies(scored.db, server_id=scored.busy, only_anomalies=False, page_size=1000)
    assert count > 4_300
    normal = [row for row in rows if not row["is_anomaly"]]
    assert normal
    assert all(row["metric_values"] == {} and row["contributions"] == [] for row in normal)


def test_scoring_again_finds_nothing_new_and_rescoring_replaces(scored: Platform) -> None:
    before = detection.anomalies(scored.db, server_id=scored.busy, only_anomalies=False)[1]
    again = detection.score_new(scored.db, scored.registry, now=END + timedelta(minutes=5))
    assert (again.servers, again.minutes) == (1, 0)
    since = END - timedelta(hours=3)
    replaced = detection.score_new(scored.db, scored.registry, now=END + timedelta(minutes=5), since=since)
    assert 170 < replaced.minutes <= 180
    assert detection.anomalies(scored.db, server_id=scored.busy, only_anomalies=False)[1] == before


def test_new_minutes_get_the_score_that_the_whole_history_gave_them(scored: Platform) -> None:
    since = END - timedelta(hours=1)
    known = detection.scored_minutes(scored.db, scored.busy, since, END)
    detection.score_new(scored.db, scored.registry, now=END + timedelta(minutes=5), since=since)
    again = detection.scored_minutes(scored.db, scored.busy, since, END)
    assert len(known) == len(again) > 55
    assert np.abs(known["anomaly_score"].to_numpy() - again["anomaly_score"].to_numpy()).max() < 1e-9


def test_a_run_on_demand_stays_apart(scored: Platform) -> None:
    before = detection.anomalies(scored.db, server_id=scored.busy, only_anomalies=False)[1]
    start, end = HOG_START - timedelta(hours=12), HOG_START + timedelta(hours=12)
    end = min(end, END)
    found = detection.run_on_demand(scored.db, scored.registry, scored.busy, start, end)
    total = int((end - start).total_seconds() // 60)
    assert found.summary["total_points"] == len(found.results) == total
    assert found.summary["anomalies_detected"] == found.results["is_anomaly"].sum() > 0
    assert found.summary["anomaly_rate"] == pytest.approx(100 * found.summary["anomalies_detected"] / total, abs=0.01)
    assert found.summary["execution_time_seconds"] > 0
    values = found.results["metric_values"].to_list()
    assert all({"us", "sy", "idle", "cpu_busy_pct"} <= row.keys() for row in values)
    assert detection.anomalies(scored.db, server_id=scored.busy, only_anomalies=False)[1] == before
    kept, count = detection.anomalies(scored.db, run_id=found.run_id, only_anomalies=False, page_size=1000)
    assert count == total
    assert all(row["metric_values"] for row in kept)
    run = detection.runs(scored.db, trigger="on_demand")[0][0]
    assert (run["run_id"], run["status"], run["total_points_analyzed"]) == (found.run_id, "completed", total)
    scheduled = detection.scored_minutes(scored.db, scored.busy, start, end)
    both = scheduled.join(found.results, on="timestamp", suffix="_demanded")
    assert np.abs(both["anomaly_score"].to_numpy() - both["anomaly_score_demanded"].to_numpy()).max() < 1e-9
    assert both["is_anomaly"].to_list() == both["is_anomaly_demanded"].to_list()


def test_bad_requests_are_refused(scored: Platform) -> None:
    with pytest.raises(InvalidInput, match="End time must be after start time"):
        detection.run_on_demand(scored.db, scored.registry, scored.busy, END, END)
    with pytest.raises(InvalidInput, match="31 days"):
        detection.run_on_demand(scored.db, scored.registry, scored.busy, END - timedelta(days=40), END)
    with pytest.raises(ModelNotFound, match="no model yet"):
        detection.run_on_demand(scored.db, scored.registry, scored.young, samples.START, END)
    with pytest.raises(NotFound):
        detection.run_on_demand(scored.db, scored.registry, 4_711, samples.START, END)
    with pytest.raises(NotFound):
        detection.anomalies(scored.db, run_id="none")
    with pytest.raises(NotFound):
        detection.anomaly(scored.db, scored.busy, END + timedelta(days=9))


def test_a_range_without_samples_gives_no_results(scored: Platform) -> None:
    start = samples.START - timedelta(days=20)
    found = detection.run_on_demand(scored.db, scored.registry, scored.busy, start, start + timedelta(hours=1))
    assert found.summary["total_points"] == 0
    assert found.summary["anomaly_rate"] == 0
    assert found.results.is_empty()


def test_a_failing_run_is_kept_with_its_reason(scored: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(minutes, "read", broken)
    with pytest.raises(RuntimeError):
        detection.run_on_demand(scored.db, scored.registry, scored.busy, samples.START, END)
    run = detection.runs(scored.db, trigger="on_demand")[0][0]
    assert (run["status"], run["error_message"]) == ("failed", "the disk is on fire")


@pytest.fixture
def threshold_id(scored: Platform) -> Iterator[int]:
    added = detection.add_threshold(scored.db, {"server_id": scored.busy, "anomaly_score_threshold": -1.0})
    yield added["id"]
    detection.remove_threshold(scored.db, added["id"])


def test_a_threshold_for_any_metric_silences_what_is_milder(scored: Platform, threshold_id: int) -> None:
    span = HOG_START - timedelta(hours=1), HOG_START + timedelta(hours=1)
    assert detection.run_on_demand(scored.db, scored.registry, scored.busy, *span).summary["anomalies_detected"] == 0
    mild = detection.update_threshold(scored.db, threshold_id, {"anomaly_score_threshold": -0.1})
    assert mild["metric_name"] == "*"
    assert detection.run_on_demand(scored.db, scored.registry, scored.busy, *span).summary["anomalies_detected"] > 0
    detection.update_threshold(scored.db, threshold_id, {"anomaly_score_threshold": -1.0, "is_active": False})
    assert detection.run_on_demand(scored.db, scored.registry, scored.busy, *span).summary["anomalies_detected"] > 0


def test_thresholds_are_kept_per_server_and_metric(scored: Platform, threshold_id: int) -> None:
    assert [one["id"] for one in detection.thresholds(scored.db, scored.busy)] == [threshold_id]
    assert detection.thresholds(scored.db, scored.young) == []
    kept = detection.threshold(scored.db, threshold_id)
    assert (kept["severity_level"], kept["alert_cooldown_minutes"], kept["enable_alerts"]) == ("medium", 30, True)
    with pytest.raises(Conflict):
        detection.add_threshold(scored.db, {"server_id": scored.busy})
    with pytest.raises(NotFound):
        detection.add_threshold(scored.db, {"server_id": 4_711})
    with pytest.raises(InvalidInput):
        detection.add_threshold(scored.db, {"server_id": scored.busy, "metric_name": "us", "severity_level": "hot"})
    with pytest.raises(InvalidInput):
        detection.update_threshold(scored.db, threshold_id, {"anomaly_score_threshold": 0.5})
    with pytest.raises(InvalidInput, match="colour"):
        detection.update_threshold(scored.db, threshold_id, {"colour": "red"})
    with pytest.raises(NotFound):
        detection.threshold(scored.db, 4_711)
    with pytest.raises(NotFound):
        detection.remove_threshold(scored.db, 4_711)


def test_scoring_goes_on_from_the_cache_while_mlflow_is_away(scored: Platform) -> None:
    away = ModelRegistry("http://127.0.0.1:9", cache_dir=scored.cache, timeout_s=2)
    report = detection.score_new(scored.db, away, now=END + timedelta(minutes=5), since=END - timedelta(minutes=30))
    assert "does not answer" in report.note
    assert report.minutes > 25


def test_a_model_file_that_was_tampered_with_is_not_loaded(scored: Platform, tmp_path: Path) -> None:
    name = f"hps.{scored.busy}"
    version = scored.registry.champions()[name]
    fresh = ModelRegistry(scored.registry.tracking_uri, cache_dir=tmp_path)
    with pytest.raises(ModelUntrusted):
        fresh.load(name, version, "0" * 64)


def test_contributions_and_values_are_plain_json(scored: Platform) -> None:
    rows, _ = detection.anomalies(scored.db, server_id=scored.busy, page_size=5)
    for row in rows:
        assert json.loads(json.dumps(row["contributions"])) == row["contributions"]
        assert sum(part["weight"] for part in row["contributions"]) <= 1.001


def test_runs_of_one_day_are_one_run(scored: Platform) -> None:
    before = detection.runs(scored.db, server_id=scored.busy, trigger="scheduled")[1]
    with scored.db.connection() as conn:
        later = samples.frames(scored.busy, 2 / 24, start=END, seed=7)
        samples.land(conn, later)
    for minute in (21, 41, 61):
        report = detection.score_new(scored.db, scored.registry, now=END + timedelta(minutes=minute))
        assert report.minutes == 20 + (minute == 21)
    runs, count = detection.runs(scored.db, server_id=scored.busy, trigger="scheduled")
    assert count == before + 1
    assert runs[0]["total_points_analyzed"] == 60 + 1
    assert runs[0]["run_id"] != str(uuid4())


def test_champions_that_this_program_wrote_are_not_opened_to_see_whether_they_can_be(
    scored: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joblib, "load", pytest.fail)
    registry = ModelRegistry(scored.registry.tracking_uri, cache_dir=scored.cache)
    assert detection.train_all(scored.db, registry, now=END, only_due=True).kept == [scored.busy]


def test_a_champion_of_another_release_is_refused_and_replaced_within_the_hour(
    scored: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade: what is registered was written by a release with another format."""
    name, now = f"hps.{scored.busy}", END + timedelta(hours=2)
    old = scored.registry.champions()[name]
    upgraded = ModelRegistry(scored.registry.tracking_uri, cache_dir=tmp_path)
    monkeypatch.setattr(detector, "FORMAT", detector.FORMAT + 1)

    report = detection.score_new(scored.db, upgraded, now=now)
    assert report.skipped["busy"].startswith("nothing is judged until the next hourly training: the model's format is")
    with pytest.raises(ModelUntrusted):
        detection.run_on_demand(scored.db, upgraded, scored.busy, HOG_START, HOG_END)

    trained = detection.train_all(scored.db, upgraded, now=END, only_due=True)
    assert trained.refused.keys() == {"busy"}
    (one,) = trained.trained
    assert (one.hostname, one.promoted, one.reason) == ("busy", True, "the first model of this server")
    assert upgraded.champions()[name] == one.version > old
    assert "busy" not in detection.score_new(scored.db, upgraded, now=now).skipped
    assert detection.train_all(scored.db, upgraded, now=END, only_due=True).kept == [scored.busy]


def test_incidents_are_left_out_of_training_but_false_alarms_are_not(scored: Platform) -> None:
    def share() -> float:
        version = detection.train(scored.db, scored.registry, scored.busy, now=END).version
        run_id = scored.registry.version(f"hps.{scored.busy}", version).run_id
        return scored.registry.run(run_id)[1]["incident_share"]

    detection.refresh_incidents(scored.db, now=END)
    found, count = detection.list_incidents(scored.db, server_id=scored.busy, end=END)
    assert any(in_hog(one["peak_at"]) for one in found)
    before = share()
    assert 40 / 4_320 < before <= 0.25
    for one in found:
        detection.false_alarm(scored.db, one["id"], "ada")
    assert count > 0
    assert share() == 0
