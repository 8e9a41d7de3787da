"""Forecasts over HTTP: points, a runway, and honest reasons."""

from datetime import UTC, datetime

from hps_platform.store import forecasts
from hps_platform_tests.integration.api.conftest import Web

MADE = datetime(2026, 3, 20, 9, tzinfo=UTC)


def test_a_servers_forecasts(web: Web, server_id: int) -> None:
    runway = {"limit": 100.0, "p10": "2026-04-02", "p50": "2026-04-20", "p90": None, "reason": "noisy"}
    backtest = {"origins": 9, "mase": {"24": 0.6}, "naive_mase": {"24": 0.9}, "coverage": 0.8}
    made = [
        forecasts.Forecast(
            server_id,
            "fs_used_pct",
            "/var",
            7,
            MADE,
            MADE,
            3600,
            [1.0, 2.0],
            [2.0, 3.0],
            [3.0, 4.0],
            runway=runway,
            backtest=backtest,
        ),
        forecasts.Forecast(server_id, "cpu_busy_pct", "", 7, MADE, MADE, 3600, reason="no samples for 7 days"),
    ]
    with web.db.connection() as conn:
        forecasts.replace(conn, server_id, made)
    with web.viewer as viewer:
        answer = viewer.get("/api/forecasts/", params={"server_id": server_id})
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["server_id"], told["horizon_days"], len(told["results"])) == (server_id, 7, 7)
        by_metric = {one["metric"]: one for one in told["results"]}
        disk = by_metric["fs_used_pct"]
        assert (disk["key"], disk["unit"], disk["runway"], disk["reason"]) == ("/var", "%", runway, None)
        assert disk["points"][1] == {"timestamp": "2026-03-20T10:00:00Z", "p10": 2.0, "p50": 3.0, "p90": 4.0}
        assert disk["backtest"] == backtest
        assert by_metric["cpu_busy_pct"]["reason"] == "no samples for 7 days"
        assert by_metric["cpu_busy_pct"]["points"] == []
        assert by_metric["run_queue"]["reason"] == "there are no samples of this server yet"

        one = viewer.get("/api/forecasts/", params={"server_id": server_id, "metric": "fs_used_pct", "horizon": 90})
        assert [each["reason"] for each in one.json()["results"]] == ["there are no samples of this server yet"]
        for wrong in ({"metric": "nonsense"}, {"horizon": 8}):
            refused = viewer.get("/api/forecasts/", params={"server_id": server_id, **wrong})
            assert refused.status_code == 422
            assert refused.headers["Content-Type"] == "application/problem+json"
        assert viewer.get("/api/forecasts/", params={"server_id": 10**9}).status_code == 404
        assert viewer.get("/api/forecasts/").status_code == 422
