"""What is recorded with a model in MLflow: parameters, metrics, tags, example rows, drawings, and what to measure drift
against."""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from hps_platform.detection.promotion import Learnt
from hps_platform.model_registry import Card, charts
from hps_platform.store import model_files
from hps_platform.store.servers import Server

if TYPE_CHECKING:
    from hps_platform.analysis.features import Floats


def card(server: Server, result: Learnt, seconds: float) -> Card:
    import numpy as np

    frame, learnt = result.rows, result.detector
    held = learnt.held_scores[np.isfinite(learnt.held_scores)]
    start, end = frame["timestamp"][0], frame["timestamp"][-1]
    printed = fingerprint(frame)
    quantiles = {f"held_out_score_p{share:g}": float(np.percentile(held, share)) for share in (50, 90, 99, 99.9)}
    return Card(
        hostname=server.hostname,
        parameters={
            **learnt.parameters,
            "features": ",".join(learnt.columns),
            "training_start": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            "training_end": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            "data_fingerprint": printed,
        },
        metrics={
            "training_rows": float(len(frame)),
            "training_seconds": seconds,
            **quantiles,
            **_nulls(frame),
            **result.metrics,
        },
        tags={
            "server_id": str(server.id),
            "operating_system": server.operating_system or "",
            "training_start": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            "training_end": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            "training_rows": str(len(frame)),
            "data_fingerprint": printed,
            "gate": model_files.PROMOTED if result.passed else model_files.REJECTED,
            "gate_reason": result.reason,
        },
        example=frame.select("timestamp", *learnt.columns).head(5),
        files=_files(result),
    )


def _files(result: Learnt) -> dict[str, bytes]:
    import numpy as np

    held = result.detector.held_scores
    return {
        "score_distribution.svg": _distribution(held[np.isfinite(held)]),
        "calibration.svg": _calibration(held[np.isfinite(held)]),
        "top_features.svg": charts.bars("Share in the strangeness of the last day", result.influence),
        "reference.json": json.dumps(result.reference).encode(),
        "features.json": json.dumps(list(result.detector.columns)).encode(),
    }


def _distribution(held: "Floats") -> bytes:
    import numpy as np

    counts, edges = np.histogram(held, bins=48, range=(0.0, max(float(held.max()), 1.0)))
    heights = np.log10(1 + counts).tolist()
    return charts.columns("Scores of held-out minutes", edges.tolist(), heights, "score; height: log10(1 + minutes)")


def _calibration(held: "Floats") -> bytes:
    """Each score against the share of held-out minutes that are as strange: on the diagonal they say the same."""
    import numpy as np

    ranked = np.sort(held)[::-1]
    ranks = np.unique(np.geomspace(1, len(ranked), 60).astype(int)) - 1
    expected = -np.log10((ranks + 1) / len(ranked))
    points = list(zip(expected.tolist(), ranked[ranks].tolist(), strict=True))
    return charts.line("Calibration", points, ("-log10 of the share of minutes as strange", "score"))


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
