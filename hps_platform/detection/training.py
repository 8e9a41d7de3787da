"""Training: a server's minutes become a detector, registered in MLflow, its hash in PostgreSQL, champion in the end."""

import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from hps_platform.errors import HpsError
from hps_platform.model_registry import Card, ModelRegistry
from hps_platform.store import minutes, model_files, servers
from hps_platform.store.database import Database
from hps_platform.store.model_files import ModelFile
from hps_platform.store.servers import Server

if TYPE_CHECKING:
    from hps_platform.analysis.detector import Detector

logger = logging.getLogger(__name__)

DAYS = 14
RENEWED_AFTER = timedelta(days=7)
YOUNG = timedelta(days=7)
"""A model of less history than this knows no weekly habits; it is renewed daily until it has seen a week."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A version that has just become champion; `start` and `end` bound the minutes it learnt from."""

    server_id: int
    hostname: str
    name: str
    version: int
    rows: int
    start: datetime
    end: datetime
    seconds: float


@dataclass
class TrainingReport:
    """`kept`: servers whose champion is still young enough; `failed`: reasons by hostname."""

    trained: list[Trained] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def model_name(server_id: int) -> str:
    return f"hps.{server_id}"


def train(
    db: Database, registry: ModelRegistry, server_id: int, *, now: datetime | None = None, days: float = DAYS
) -> Trained:
    """Trains one server's model on its last `days` and makes it the champion.

    `NotEnoughData` below 24 hours of minutes, `NotFound`, `RegistryUnavailable`; the champion then stays as it was.
    """
    from hps_platform.analysis import detector

    started = time.perf_counter()
    now = now or datetime.now(UTC)
    with db.connection() as conn:
        server = servers.get_server(conn, server_id)
        frame = minutes.read(conn, server_id, now - timedelta(days=days), now)
    frame = frame.select("timestamp", *minutes.FEATURES)
    learnt = detector.fit(frame)
    name = model_name(server_id)
    version, sha256 = registry.register(name, learnt, _card(server, frame, learnt, time.perf_counter() - started))
    with db.connection() as conn:
        model_files.register_model_file(conn, name, version, sha256)
    # Only now: a champion whose hash is not in the database could not be loaded.
    registry.promote(name, version)
    start, end = frame["timestamp"][0], frame["timestamp"][-1]
    seconds = time.perf_counter() - started
    logger.info("%s: version %d trained on %d minutes in %.1f s", server.hostname, version, len(frame), seconds)
    return Trained(server_id, server.hostname, name, version, len(frame), start, end, seconds)


def train_all(
    db: Database,
    registry: ModelRegistry,
    *,
    now: datetime | None = None,
    days: float = DAYS,
    only_due: bool = False,
) -> TrainingReport:
    """Trains every active server, or with `only_due` those without a model or with one that is due for renewal.

    A server that fails is reported and does not stop the others; only an MLflow or PostgreSQL that is away does.
    """
    now = now or datetime.now(UTC)
    registry.ping()
    report = TrainingReport()
    with db.connection() as conn:
        active = servers.list_servers(conn, active_only=True)
        newest = model_files.newest(conn)
        oldest = {server.id: minutes.oldest(conn, server.id) for server in active}
    for server in active:
        if only_due and not _due(newest.get(model_name(server.id)), oldest[server.id], now):
            report.kept.append(server.id)
            continue
        try:
            report.trained.append(train(db, registry, server.id, now=now, days=days))
        except HpsError as error:
            if error.retryable:
                raise
            report.failed[server.hostname] = str(error)
        except Exception as error:  # one server's odd data must not cost the others their model
            logger.exception("training %s failed", server.hostname)
            report.failed[server.hostname] = f"{type(error).__name__}: {error}"
    return report


def _due(model: ModelFile | None, oldest: datetime | None, now: datetime) -> bool:
    if model is None:
        return True
    age = now - model.created_at
    young = oldest is not None and model.created_at - oldest < YOUNG
    return age >= RENEWED_AFTER or (young and age >= timedelta(days=1))


def _card(server: Server, frame: pl.DataFrame, learnt: "Detector", seconds: float) -> Card:
    import numpy as np

    held = learnt.held_scores[np.isfinite(learnt.held_scores)]
    start, end = frame["timestamp"][0], frame["timestamp"][-1]
    quantiles = {f"held_out_score_p{share:g}": float(np.percentile(held, share)) for share in (50, 90, 99, 99.9)}
    return Card(
        hostname=server.hostname,
        parameters={
            **learnt.parameters,
            "features": ",".join(learnt.columns),
            "training_start": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            "training_end": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            "data_fingerprint": fingerprint(frame),
        },
        metrics={"training_rows": float(len(frame)), "training_seconds": seconds, **quantiles, **_nulls(frame)},
        tags={
            "server_id": str(server.id),
            "operating_system": server.operating_system or "",
            "training_start": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            "training_end": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            "training_rows": str(len(frame)),
            "data_fingerprint": fingerprint(frame),
        },
        example=frame.select("timestamp", *learnt.columns).head(5),
    )


def _nulls(frame: pl.DataFrame) -> Mapping[str, float]:
    """Share of minutes without a value, of the features that miss some."""
    missing = {name: frame[name].null_count() / len(frame) for name in frame.columns if name != "timestamp"}
    return {f"missing_{name}": share for name, share in missing.items() if share}


def fingerprint(frame: pl.DataFrame) -> str:
    """SHA-256 over times and values, the same for the same data on every machine."""
    digest = hashlib.sha256()
    for series in frame:
        digest.update(series.name.encode())
        plain = series.dt.epoch("us") if series.name == "timestamp" else series.cast(pl.Float64)
        digest.update(plain.is_null().to_numpy().tobytes())
        digest.update(plain.fill_null(0).to_numpy().tobytes())
    return digest.hexdigest()
