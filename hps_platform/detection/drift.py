"""Drift: does a server still look like what its champion learnt? Measured once a day, and a reason to train anew."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from hps_platform.store import detections, minutes, model_files
from hps_platform.store.database import Connection, Database
from hps_platform.store.model_files import ModelDrift

DAYS = 7
"""A whole week: of a shorter time, the weekend would be drift."""
MEASURED_EVERY = timedelta(days=1)


def drifts(db: Database) -> list[ModelDrift]:
    """What was last measured of every model, by name."""
    with db.connection() as conn:
        return list(model_files.drifts(conn).values())


def measure(conn: Connection, server_id: int, name: str, version: int, now: datetime) -> ModelDrift | None:
    """Measures the server's last week against the champion's training minutes and keeps the result.

    None for a champion younger than a day, one without a reference (from before drift was measured), a borrowed one,
    and a server without minutes.
    """
    from hps_platform.analysis import drift
    from hps_platform.analysis.calibration import CEILING

    known = model_files.model_file(conn, name, version)
    if known.reference is None or known.borrowed_from is not None or now - known.created_at < MEASURED_EVERY:
        return None
    start = now - timedelta(days=DAYS)
    frame = minutes.read(conn, server_id, start, now)
    if frame.is_empty():
        return None
    scores = -CEILING * detections.scores(conn, server_id, start, now)["anomaly_score"].to_numpy()
    found = drift.measure(known.reference, frame, scores)
    kept = ModelDrift(name, version, dict(found.features), found.score, found.drifted, now)
    model_files.keep_drift(conn, kept)
    return kept


def stale(measured: Mapping[str, ModelDrift], name: str, version: int, now: datetime) -> bool:
    """Whether the model's drift is to be measured (again)."""
    last = measured.get(name)
    return last is None or last.version != version or now - last.measured_at >= MEASURED_EVERY
