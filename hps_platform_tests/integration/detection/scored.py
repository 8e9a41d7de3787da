"""What scheduled scoring would have written: minutes of which some are anomalous, without a model."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import polars as pl

from hps_platform.store import detections
from hps_platform.store.database import Database

START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
CAUSES = [
    {"column": "disk_busy_pct", "weight": 0.8, "observed": 98.0, "usual_low": 12.0, "usual_high": 30.0},
    {"column": "run_queue", "weight": 0.1, "observed": 9.0, "usual_low": 1.0, "usual_high": 3.0},
]


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def score(
    db: Database, server: int, anomalous: Mapping[int, float] | Iterable[int], until: int, since: int = 0
) -> None:
    """What scheduled scoring says of the minutes since then; rescoring when it was said before."""
    flagged = anomalous if isinstance(anomalous, Mapping) else dict.fromkeys(anomalous, -0.5)
    rows = pl.DataFrame(
        [
            {
                "timestamp": at(minute),
                "is_anomaly": minute in flagged,
                "anomaly_score": flagged.get(minute, -0.05),
                "forest_score": 0.1,
                "metric_values": None,
                "contributions": json.dumps(CAUSES) if minute in flagged else None,
            }
            for minute in range(since, until)
        ],
        schema_overrides={"metric_values": pl.String()},
    )
    run_id = uuid4()
    with db.connection() as conn:
        detections.clear_scheduled(conn, server, at(since), at(until))
        detections.begin_run(conn, run_id, server, detections.SCHEDULED, (at(since), at(until)), model_version="1")
        detections.save_results(conn, run_id, server, rows, trigger=detections.SCHEDULED, model_version="1")
        detections.complete_run(conn, run_id, at(until), points=len(rows), anomalies=len(flagged), seconds=0.1)
