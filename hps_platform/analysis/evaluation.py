"""Evaluate the shipped detector on data at hand: fit on one frame, score another causally, compare with labels.

The code is the one that production runs; only where rows come from and where scores go differs.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from hps_platform.analysis import accuracy, budget, detector, explain
from hps_platform.analysis.features import Floats, epoch_seconds
from hps_platform.analysis.members import MEMBERS, Member
from hps_platform.errors import InvalidInput


@dataclass(frozen=True)
class Evaluation:
    """`scores`: one row a test row, same order: `timestamp, anomaly_score, is_anomaly, contributions`; rows without
    enough context have null, false, null. `report`: plain numbers for JSON."""

    scores: pl.DataFrame
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cause:
    """Which columns an event shows in, as whoever labelled it found: rows `first` to `last` of the test, inclusive."""

    first: int
    last: int
    columns: frozenset[str]


def evaluate(
    train: pl.DataFrame,
    test: pl.DataFrame,
    labels: pl.DataFrame | None = None,
    *,
    alarms_per_day: float = budget.DEFAULT,
    seed: int = 0,
    judges: tuple[Member, ...] = MEMBERS,
    causes: Sequence[Cause] = (),
) -> Evaluation:
    """`train` and `test` have `timestamp` and numeric columns, `labels` has `timestamp` and `label` (0 or 1).

    Training rows just before the test give its first rows their context. `InvalidInput` for frames that do not fit.
    `judges` are the members whose mean is the score. With labels the report says how often one of an event's `causes`
    heads the contributions at its lowest score.
    """
    if test.is_empty():
        raise InvalidInput("there are no rows to score")
    began = time.perf_counter()
    learnt = detector.fit(train, seed=seed, judges=judges)
    fitted = time.perf_counter()
    scores = learnt.score(test, train)
    flags = learnt.flag(scores, alarms_per_day, (learnt.held_times, learnt.held_scores))
    scored = time.perf_counter()
    known, order = np.isfinite(scores.score), np.argsort(scores.times, kind="stable")
    frame = test.select("timestamp").with_columns(
        anomaly_score=pl.Series(scores.anomaly_score).fill_nan(None),
        is_anomaly=pl.Series(flags),
        contributions=pl.when(pl.Series(known)).then(_contributions(scores)),
    )
    report: dict[str, Any] = {
        "train_rows": len(train),
        "test_rows": len(test),
        "scored_rows": int(known.sum()),
        "columns": list(learnt.columns),
        "step_s": learnt.step_s,
        "budget": alarms_per_day,
        "anomalies": int(flags.sum()),
        "episodes": len(budget.episodes(scores.times[order], flags[order])),
        **speed(began, fitted, scored, len(test)),
        "score_seconds": round(scored - fitted, 3),
    }
    if labels is not None:
        found = compared(test, labels, scores.score, flags, step_s=learnt.step_s, first=learnt.columns[0])
        report["labels"] = {**found, "cause_first": _cause_first(scores, causes)}
    return Evaluation(frame, report)


def speed(began: float, fitted: float, scored: float, rows: int) -> dict[str, float]:
    """How long learning took, and how many rows were judged a second, by three looks at the clock."""
    return {"train_seconds": round(fitted - began, 3), "rows_per_s": round(rows / max(scored - fitted, 1e-9))}


def _cause_first(scores: detector.Scores, causes: Sequence[Cause]) -> float | None:
    """Of the events that show in what was scored, the share at whose lowest score one of their causes is on top."""
    hits = []
    for cause in causes:
        rows = np.arange(cause.first, min(cause.last + 1, len(scores.score)))
        rows = rows[np.isfinite(scores.score[rows])]
        if not rows.size or cause.columns.isdisjoint(scores.columns):
            continue
        worst = rows[[int(np.argmax(scores.score[rows]))]]
        hits.append(scores.columns[int(explain.top(scores.weights[worst])[0, 0])] in cause.columns)
    return _rounded(float(np.mean(hits))) if hits else None


def _contributions(scores: detector.Scores) -> pl.Series:
    order = explain.top(scores.weights)
    rows = np.arange(len(order))[:, None]
    names = np.asarray(scores.columns, dtype=object)[order].ravel().tolist()
    weights = scores.weights[rows, order].ravel()
    flat = pl.DataFrame({"column": pl.Series(names, dtype=pl.String), "weight": weights})
    grouped = flat.select(row=pl.Series(np.repeat(rows.ravel(), order.shape[1])), part=pl.struct("column", "weight"))
    return grouped.group_by("row", maintain_order=True).agg("part")["part"]


def compared(
    test: pl.DataFrame, labels: pl.DataFrame, scores: Floats, flags: accuracy.Bools, *, step_s: float, first: str
) -> dict[str, Any]:
    """What scores (higher is stranger, NaN for none) and alarms of the test's rows are worth against labels.

    The window of VUS is the period of the metric `first`.
    """
    if not {"timestamp", "label"} <= set(labels.columns):
        raise InvalidInput("labels need the columns `timestamp` and `label`")
    zone = pl.col("timestamp").cast(pl.Datetime("us", "UTC"))
    known = labels.select(zone, pl.col("label").cast(pl.Float64) > 0).unique("timestamp", keep="last")
    joined = test.select(zone).join(known, on="timestamp", how="left", maintain_order="left")
    if joined["label"].null_count():
        raise InvalidInput(f"{joined['label'].null_count()} rows of the test have no label")
    order = np.argsort(epoch_seconds(test), kind="stable")
    label = joined["label"].to_numpy()[order].astype(bool)
    series = test[first].cast(pl.Float64).fill_null(strategy="forward").fill_null(0.0).to_numpy()[order]
    window = accuracy.period(series)
    quality = accuracy.alarms(flags[order], label, step_s=step_s, gap=round(budget.MERGE_GAP_S / step_s))
    numbers = {"vus_pr": accuracy.vus_pr(np.nan_to_num(scores[order]), label, window), **asdict(quality)}
    rounded = {name: _rounded(value) for name, value in numbers.items()}
    return {"vus_window": window, **rounded}


def _rounded(value: float) -> float | None:
    if isinstance(value, int):
        return value
    return round(value, 4) if math.isfinite(value) else None
