"""What a click on a point tells of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from dash_app.pages.history.origin import told
from hps_platform.metrics import FAMILIES
from hps_platform_tests.unit.pages.fleet import shown

AT = datetime(2026, 3, 2, 12, 0, 2, 500_000, tzinfo=UTC)
ROW = dict.fromkeys(FAMILIES["netstat"].by_name) | {"interface": "en0", "ipkts": 1200, "ipkts_s": 3.25}


def found(**more: Any) -> dict[str, Any]:
    return {
        "metric": "netstat",
        "server_id": 7,
        "timestamp": AT,
        "partition": "netstat_metrics_p20260302",
        "rows": [ROW],
        "topic": "hps.netstat",
        "kafka_partition": 3,
        "kafka_offset": 4711,
        "command": "netstat -in",
        "exit_code": 0,
        "raw": "Name  Mtu <b>",
        "parser": "aix/1",
        "collector": "c1",
        "session": "s1",
        "seq": 9,
        "note": None,
        "run_id": "0123456789",
        "run_url": "http://dagster/runs/0123456789",
        "predecessor": {"timestamp": AT - timedelta(minutes=1), "topic": "hps.netstat"}
        | {"kafka_partition": 3, "kafka_offset": 4710},
        "reparsed": {"parser": "aix/1", "equal": True, "rows": [ROW], "message": None},
        "anomaly": {
            "anomaly_score": -0.41,
            "model_version": "3",
            "mlflow_url": "http://mlflow/#/models/hps.7/versions/3",
        },
        **more,
    }


def test_the_whole_way_is_told() -> None:
    text = shown(told(found(), AT))
    for part in ("netstat -in", "hps.netstat[3] 4711", "hps.netstat[3] 4710", "http://dagster/runs/0123456789"):
        assert part in text
    for part in ("netstat_metrics_p20260302", "the same rows", "versions/3", "session s1, sample 9", "en0", "3.25"):
        assert part in text
    assert "12:00:02.500 UTC" in text
    assert "stands for several samples" not in text
    assert "Drops" not in text  # what was not printed has no column


def test_a_point_of_a_bucket_shows_its_first_sample() -> None:
    assert "stands for several samples" in shown(told(found(), AT - timedelta(seconds=30)))


def test_a_message_that_is_gone_and_text_that_reads_otherwise_today() -> None:
    gone = found(command=None, raw=None, reparsed=None, run_id=None, note="Kafka keeps messages since noon only")
    text = shown(told(gone, AT))
    assert "Kafka keeps messages since noon only" in text
    assert "not written down" in text
    assert "Output" not in text
    other = found(reparsed={"parser": "aix/2", "equal": False, "rows": [], "message": None})
    assert "aix/2 gives 0 rows today" in shown(told(other, AT))
