"""What detection found, and the thresholds people set: plain rows for pages, API and scripts."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

import polars as pl

from hps_platform.errors import NotFound
from hps_platform.store import detections, minutes
from hps_platform.store import thresholds as stored
from hps_platform.store.database import Database


def anomalies(
    db: Database,
    *,
    server_id: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    only_anomalies: bool = True,
    run_id: str | None = None,
    page: int = 1,
    page_size: int = 50,
) -> tuple[list[dict[str, Any]], int]:
    """Scored minutes, newest first, and how many there are in all; of scheduled scoring, or of one run.

    Each: `server_id, hostname, timestamp, is_anomaly, anomaly_score, metric_values, contributions, forest_score,
    run_id, model_version`.
    """
    with db.connection() as conn:
        return detections.history(
            conn,
            server_id=server_id,
            start=start,
            end=end,
            only_anomalies=only_anomalies,
            run_id=_run_id(run_id) if run_id else None,
            limit=page_size,
            offset=(page - 1) * page_size,
        )


def anomaly(db: Database, server_id: int, timestamp: datetime) -> dict[str, Any]:
    """One scheduled minute, fields as in `anomalies`; `NotFound`."""
    with db.connection() as conn:
        return detections.result(conn, server_id, timestamp)


def scored_minutes(db: Database, server_id: int, start: datetime, end: datetime) -> pl.DataFrame:
    """Scheduled scores with what was measured, ascending: `timestamp, anomaly_score, is_anomaly`, the features,
    `us, sy, idle`; null where nothing is known. Features that the system never prints are left out."""
    with db.connection() as conn:
        scores = detections.scores(conn, server_id, start, end)
        measured = minutes.read(conn, server_id, start, end)
    printed = [name for name in measured.columns if measured[name].null_count() < len(measured)]
    values = measured.select("timestamp", *(name for name in printed if name != "timestamp"))
    return scores.join(values, on="timestamp", how="left").sort("timestamp")


def runs(
    db: Database, *, server_id: int | None = None, trigger: str | None = None, page: int = 1, page_size: int = 50
) -> tuple[list[dict[str, Any]], int]:
    """Runs, newest first, and how many there are in all; fields of `anomaly_detection_runs`, `run_id` as text."""
    with db.connection() as conn:
        found, count = detections.list_runs(
            conn, server_id=server_id, trigger=trigger, limit=page_size, offset=(page - 1) * page_size
        )
    return [{**asdict(run), "run_id": str(run.run_id)} for run in found], count


def thresholds(db: Database, server_id: int | None = None) -> list[dict[str, Any]]:
    with db.connection() as conn:
        return [asdict(one) for one in stored.list_thresholds(conn, server_id)]


def threshold(db: Database, threshold_id: int) -> dict[str, Any]:
    with db.connection() as conn:
        return asdict(stored.get_threshold(conn, threshold_id))


def add_threshold(db: Database, fields: Mapping[str, Any]) -> dict[str, Any]:
    """`Conflict` when that server has a threshold for that metric already, `NotFound` for an unknown server."""
    with db.connection() as conn:
        return asdict(stored.add_threshold(conn, fields))


def update_threshold(db: Database, threshold_id: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Changes only the fields given."""
    with db.connection() as conn:
        return asdict(stored.update_threshold(conn, threshold_id, fields))


def remove_threshold(db: Database, threshold_id: int) -> None:
    with db.connection() as conn:
        stored.remove_threshold(conn, threshold_id)


def _run_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(f"no detection run {text!r}") from None
