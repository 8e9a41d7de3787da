"""What the Isolation Forest saw in one scored minute: Shapley values by metric, made when somebody asks."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from hps_platform.detection.training import model_name
from hps_platform.errors import ModelNotFound
from hps_platform.model_registry import ModelRegistry
from hps_platform.store import detections, minutes, model_files
from hps_platform.store.database import Database

COMPARED = timedelta(days=1)
"""The usual is taken from the day before the minute: every hour of the day once."""
ASIDE = timedelta(hours=1)
"""Without the last hour: what led to an incident is not usual."""


def attribution(db: Database, registry: ModelRegistry, server_id: int, timestamp: datetime) -> dict[str, Any]:
    """Why the forest scored that minute as it did: `forest_score`, `expected` (its mean over usual minutes of the day
    before), `values` (by metric its part of the difference, negative where it made the minute more anomalous, the most
    anomalous first), `background` (how many usual minutes) and `model_version`, the one that judged the minute.

    `NotFound` for a minute that was not scored, `ModelNotFound`, `ModelUntrusted` where its model can't be opened,
    `NotEnoughData` where the day before has hardly any usual minute.
    """
    from hps_platform.analysis import detector, shapley

    name = model_name(server_id)
    with db.connection() as conn:
        version = detections.result(conn, server_id, timestamp)["model_version"]
        if version is None:
            raise ModelNotFound(f"it is not known which model judged that minute of server {server_id}")
        known = model_files.model_file(conn, name, int(version))
        begin = timestamp - COMPARED - timedelta(seconds=detector.WARM_UP_S)
        rows = minutes.read(conn, server_id, begin, timestamp + timedelta(minutes=1))
        scores = detections.scores(conn, server_id, timestamp - COMPARED - ASIDE, timestamp - ASIDE)
    usual = scores.filter(~pl.col("is_anomaly"))["timestamp"]
    found = shapley.attribute(
        registry.load(name, int(version), known.sha256), rows, rows["timestamp"].is_in(usual.implode()).to_list()
    )
    ordered = sorted(found.values.items(), key=lambda one: (one[1], one[0]))
    return {**asdict(found), "values": dict(ordered), "model_version": version}
