"""Anomaly detection over REST with a model in a real MLflow: on demand, history, plot data, runs, thresholds."""

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hps_platform import detection
from hps_platform.model_registry import ModelRegistry
from hps_platform.store import rollups
from hps_platform_tests.integration.api.conftest import Web
from hps_platform_tests.integration.detection import samples

API = "/api/anomaly-detection"
END = samples.START + timedelta(days=3)
HOG_START, HOG_END = (samples.START + timedelta(minutes=minute) for minute in samples.HOG)


def moment(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(scope="module")
def busy(web: Web, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server with three days of samples, a champion, and its scores; the application knows its registry."""
    cache: Path = tmp_path_factory.mktemp("models")
    registry = ModelRegistry(mlflow_uri, cache_dir=cache)
    data = web.app.state.data
    known = data.registry
    data.registry = registry
    with web.admin as client:
        number: int = client.post("/api/servers/", json={"hostname": "busy", "ssh_username": "m"}).json()["id"]
        with web.db.connection() as conn:
            samples.land(conn, samples.frames(number, 3))
        with web.db.connection() as conn:
            rollups.refresh(conn)
        detection.train(web.db, registry, number, now=END)
        report = detection.score_new(web.db, registry, now=END + timedelta(minutes=5), whole_history=True)
        assert report.anomalies > 0
        yield number
        client.delete(f"/api/servers/{number}/")
    data.registry = known


def get(web: Web, path: str, **query: Any) -> Any:
    with web.viewer as client:
        answer = client.get(f"{API}/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_on_demand(web: Web, busy: int) -> None:
    start, end = HOG_START - timedelta(hours=1), HOG_END
    with web.viewer as client:
        answer = client.post(f"{API}/", json={"server_id": str(busy), "start": moment(start), "end": moment(end)})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert list(found) == ["results", "summary", "run_id"]
    assert uuid.UUID(found["run_id"])
    minutes = found["results"]
    assert list(minutes[0]) == ["timestamp", "is_anomaly", "anomaly_score", "metric_values"]
    assert [row["timestamp"] for row in minutes] == sorted(row["timestamp"] for row in minutes)
    assert minutes[0]["timestamp"] == moment(start)
    assert all(-1 <= row["anomaly_score"] <= 0 for row in minutes)
    assert all({"us", "sy", "idle", "cpu_busy_pct"} <= set(row["metric_values"]) for row in minutes)
    anomalous = [row["timestamp"] for row in minutes if row["is_anomaly"]]
    assert anomalous
    assert all(moment(HOG_START) <= one for one in anomalous)
    summary = found["summary"]
    assert list(summary) == ["total_points", "anomalies_detected", "anomaly_rate", "execution_time_seconds"]
    assert summary["total_points"] == len(minutes) == 100
    assert summary["anomalies_detected"] == len(anomalous)
    assert summary["anomaly_rate"] == pytest.approx(100 * len(anomalous) / len(minutes), abs=0.01)
    runs = get(web, "runs/", server_id=busy, trigger="on_demand")
    assert runs["results"][0]["run_id"] == found["run_id"]
    assert runs["results"][0]["status"] == "completed"


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"start": "2026-03-04T10:00:00Z", "end": "2026-03-04T10:00:00Z"}, 422, "End time must be after start time"),
        ({"start": "2026-03-04T10:00:00Z", "end": "2026-03-03T10:00:00Z"}, 422, "End time must be after start time"),
        ({"start": "soon", "end": "2026-03-03T10:00:00Z"}, 422, "start: "),
        ({"start": "2026-03-04T10:00:00Z"}, 422, "end: Field required"),
        ({"start": "2026-01-01T00:00:00Z", "end": "2026-03-03T00:00:00Z"}, 422, "days"),
        (
            {"start": "2026-03-03T10:00:00Z", "end": "2026-03-04T10:00:00Z", "server_id": 999999},
            404,
            "no server 999999",
        ),
        ({"start": "2026-03-03T10:00:00Z", "end": "2026-03-04T10:00:00Z", "server_id": "x"}, 422, "server_id: "),
    ],
)
def test_refusals(web: Web, busy: int, body: dict[str, Any], status: int, detail: str) -> None:
    with web.viewer as client:
        answer = client.post(f"{API}/", json={"server_id": busy, **body})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert detail in answer.json()["detail"]


def test_a_server_without_a_model_is_told_so(web: Web, busy: int, server_id: int) -> None:
    assert busy
    with web.viewer as client:
        body = {"server_id": server_id, "start": "2026-03-03T10:00:00Z", "end": "2026-03-04T10:00:00Z"}
        answer = client.post(f"{API}/", json=body)
    assert answer.status_code == 404
    assert "no model yet" in answer.json()["detail"]


def test_history_is_newest_first_and_of_anomalies_unless_all_are_asked_for(web: Web, busy: int) -> None:
    found = get(web, "history/", server_id=busy)
    assert list(found) == ["count", "next", "previous", "results"]
    assert found["count"] >= 1
    first = found["results"][0]
    assert first["is_anomaly"] is True
    assert first["hostname"] == "busy"
    assert first["metric_values"]["us"] > 0
    assert set(first["contributions"][0]) == {"column", "weight"}
    assert first["forest_score"] is not None

    everything = get(web, "history/", server_id=busy, is_anomaly="all", page_size=1000)
    assert everything["count"] > 4_000
    times = [row["timestamp"] for row in everything["results"]]
    assert times == sorted(times, reverse=True)
    normal = next(row for row in everything["results"] if not row["is_anomaly"])
    assert normal["metric_values"] == {}
    with web.viewer as client:
        second = client.get(everything["next"]).json()
    assert second["previous"] is not None
    assert second["results"][0]["timestamp"] < times[-1]

    within = get(web, "history/", server_id=busy, start=moment(HOG_START), end=moment(HOG_END))
    assert 0 < within["count"] <= found["count"]
    assert get(web, "history/", server_id=busy, end=moment(samples.START))["results"] == []
    with web.viewer as client:
        for query, status in (
            ("is_anomaly=perhaps", 422),
            ("server_id=999999", 404),
            ("page_size=1001", 422),
            ("start=2026-03-03&end=2026-03-02", 422),
        ):
            assert client.get(f"{API}/history/?{query}").status_code == status, query


def test_attribution_of_a_minute(web: Web, busy: int) -> None:
    worst = min(
        get(web, "history/", server_id=busy, start=moment(HOG_START), end=moment(HOG_END))["results"],
        key=lambda row: row["anomaly_score"],
    )
    found = get(web, "attribution/", server_id=busy, timestamp=worst["timestamp"])
    assert found["forest_score"] == pytest.approx(worst["forest_score"], abs=1e-6)
    assert found["expected"] + sum(found["values"].values()) == pytest.approx(found["forest_score"], abs=1e-9)
    assert found["expected"] > found["forest_score"]
    assert list(found["values"].values()) == sorted(found["values"].values())
    assert {"cpu_busy_pct", "run_queue"} <= set(list(found["values"])[:3])
    assert (found["background"], found["model_version"]) == (48, worst["model_version"])
    with web.viewer as client:
        for at, status in ((END + timedelta(days=1), 404), (samples.START + timedelta(minutes=30), 422)):
            query: dict[str, Any] = {"server_id": busy, "timestamp": moment(at)}
            assert client.get(f"{API}/attribution/", params=query).status_code == status


def test_plot_data(web: Web, busy: int) -> None:
    found = get(web, "plot-data/", server_id=busy, start=moment(HOG_START), end=moment(HOG_END))
    assert list(found) == ["timestamp", "values", "anomaly_score", "is_anomaly"]
    length = len(found["timestamp"])
    assert length == samples.HOG[1] - samples.HOG[0]
    assert len(found["anomaly_score"]) == len(found["is_anomaly"]) == length
    assert {"cpu_busy_pct", "us", "sy", "idle"} <= set(found["values"])
    assert all(len(values) == length for values in found["values"].values())
    assert max(found["values"]["cpu_busy_pct"]) > 90
    assert any(found["is_anomaly"])
    assert get(web, "plot-data/", server_id=busy)["timestamp"] == []
    with web.viewer as client:
        assert client.get(f"{API}/plot-data/").status_code == 422
        assert client.get(f"{API}/plot-data/?server_id=999999").status_code == 404


def test_runs(web: Web, busy: int) -> None:
    found = get(web, "runs/", server_id=busy, trigger="scheduled")
    run = found["results"][0]
    assert run["status"] == "completed"
    assert run["total_points_analyzed"] > 4_000
    assert run["anomaly_rate"] == pytest.approx(100 * run["anomalies_detected"] / run["total_points_analyzed"])
    assert "cpu_busy_pct" in run["model_features"]
    assert run["completed_at"].endswith("Z")
    with web.viewer as client:
        assert client.get(f"{API}/runs/?trigger=never").status_code == 422
        assert client.get(f"{API}/runs/?server_id=999999").status_code == 404


def test_thresholds(web: Web, server_id: int) -> None:
    with web.admin as client:
        made = client.post(f"{API}/thresholds/", json={"server_id": server_id})
        assert made.status_code == 201, made.text
        threshold = made.json()
        assert threshold == {
            "id": threshold["id"],
            "server_id": server_id,
            "metric_name": "*",
            "anomaly_score_threshold": -0.1,
            "severity_level": "medium",
            "enable_alerts": True,
            "alert_cooldown_minutes": 30,
            "is_active": True,
        }
        path = made.headers["location"]
        assert client.get(path).json() == threshold
        assert client.post(f"{API}/thresholds/", json={"server_id": server_id}).status_code == 409
        changed = client.patch(path, json={"anomaly_score_threshold": -0.3, "severity_level": "high"})
        assert changed.json() == {**threshold, "anomaly_score_threshold": -0.3, "severity_level": "high"}
        replaced = client.put(path, json={"server_id": server_id, "metric_name": "run_queue"})
        assert replaced.json() == {**threshold, "metric_name": "run_queue"}
        listed = client.get(f"{API}/thresholds/?server_id={server_id}").json()
        assert (listed["count"], listed["results"]) == (1, [replaced.json()])
        for body, status in (
            ({"server_id": server_id, "anomaly_score_threshold": 0.5}, 422),
            ({"server_id": server_id, "severity_level": "terrible"}, 422),
            ({"server_id": server_id, "alert_cooldown_minutes": -1}, 422),
            ({"server_id": server_id, "nonsense": 1}, 422),
            ({"server_id": 999999}, 404),
            ({}, 422),
        ):
            assert client.post(f"{API}/thresholds/", json=body).status_code == status, body
        assert client.patch(path, json={"is_active": "perhaps"}).status_code == 422
        assert client.delete(path).status_code == 204
        assert client.get(path).status_code == 404
        assert client.delete(path).status_code == 404
        assert client.patch(path, json={"is_active": False}).status_code == 404


def test_only_administrators_change_thresholds(web: Web, server_id: int) -> None:
    with web.viewer as client:
        assert client.get(f"{API}/thresholds/").status_code == 200
        assert client.post(f"{API}/thresholds/", json={"server_id": server_id}).status_code == 403
        assert client.delete(f"{API}/thresholds/1/").status_code == 403
