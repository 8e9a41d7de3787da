"""Has a server become another one: the population stability index of each metric and of the score, and odd days.

PSI compares shares of minutes in the tenths of a reference: 0 is the same, 0.1 little, 0.25 much (Siddiqi, Credit Risk
Scorecards, 2006). When drift is a reason to act belongs to `hps_platform.detection.drift`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from hps_platform.analysis.features import Floats

MUCH = 0.25
SCORE = "score"
_TENTHS = np.linspace(0.1, 0.9, 9)
_LEAST = 1e-3
_ODD_HOURS = 6
_COMPARED_DAYS = 3


@dataclass(frozen=True, slots=True)
class Drift:
    """PSI of each metric and of the score (None where it is not known)."""

    features: Mapping[str, float]
    score: float | None

    @property
    def drifted(self) -> bool:
        """Half of the metrics have moved much, or the scores have: one metric alone is an incident at most."""
        moved = sum(psi >= MUCH for psi in self.features.values())
        return (2 * moved >= len(self.features) > 0) or (self.score is not None and self.score >= MUCH)


def reference(frame: pl.DataFrame, columns: Sequence[str], scores: Floats) -> dict[str, Any]:
    """What later minutes are compared with, as plain lists for JSON: edges and shares by metric, and `score`."""
    series = {name: _values(frame, name) for name in columns}
    return {
        "features": {name: _histogram(values) for name, values in series.items()},
        SCORE: _histogram(scores),
    }


def measure(known: Mapping[str, Any], frame: pl.DataFrame, scores: Floats | None = None) -> Drift:
    """The drift of these minutes, and of their scores, against a `reference`."""
    features = {name: psi(parts, _values(frame, name)) for name, parts in known["features"].items()}
    return Drift(features, psi(known[SCORE], scores) if scores is not None and scores.size else None)


def psi(known: Mapping[str, Sequence[float]], values: Floats) -> float:
    """Population stability index of values against one histogram of a `reference`; missing values are a share too."""
    expected = np.maximum(np.asarray(known["shares"]), _LEAST)
    found = np.maximum(_shares(np.asarray(known["edges"]), values), _LEAST)
    return float(((found - expected) * np.log(found / expected)).sum())


def odd_days(frame: pl.DataFrame, columns: Sequence[str]) -> list[date]:
    """UTC days unlike every other one: in at least six of their hours, some metric's median lies farther outside what
    the same hour of the other days shows than those differ among themselves. An outage is such a day; a weekend among
    weekends is not. Empty with fewer than four days."""
    stamp = pl.col("timestamp")
    hours = frame.group_by(day=stamp.dt.date(), hour=stamp.dt.hour()).agg(pl.col(list(columns)).median())
    days = hours["day"].unique().sort().to_list()
    if len(days) <= _COMPARED_DAYS:
        return []
    medians = np.full((len(days), 24, len(columns)), np.nan)
    places = {day: place for place, day in enumerate(days)}
    for day, hour, *values in hours.iter_rows():
        medians[places[day], hour] = [np.nan if value is None else value for value in values]
    least = _least_widths(medians)
    return [day for place, day in enumerate(days) if _odd_hours(medians, place, least) >= _ODD_HOURS]


def _least_widths(medians: Floats) -> Floats:
    """Half of its usual range any metric may move, since few others may be alike by chance; and a twentieth of its
    level."""
    flat = medians.reshape(-1, medians.shape[2])
    seen = np.where(np.isnan(flat).all(axis=0), 0.0, flat)
    low, middle, high = np.nanquantile(seen, (0.1, 0.5, 0.9), axis=0)
    widths: Floats = np.maximum.reduce([0.5 * (high - low), 0.05 * np.abs(middle), np.full(len(low), 1e-6)])
    return widths


def _odd_hours(medians: Floats, place: int, least: Floats) -> int:
    others = np.delete(medians, place, axis=0)
    enough = np.isfinite(others).sum(axis=0) >= _COMPARED_DAYS
    low = np.where(enough, np.min(np.where(np.isnan(others), np.inf, others), axis=0), -np.inf)
    high = np.where(enough, np.max(np.where(np.isnan(others), -np.inf, others), axis=0), np.inf)
    width = np.where(enough, np.maximum(np.where(enough, high, 0.0) - np.where(enough, low, 0.0), least), 0.0)
    outside = (medians[place] > high + width) | (medians[place] < low - width)
    return int(outside.any(axis=1).sum())


def _values(frame: pl.DataFrame, name: str) -> Floats:
    if name not in frame.columns:
        return np.full(len(frame), np.nan)
    values: Floats = frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return values


def _histogram(values: Floats) -> dict[str, list[float]]:
    seen = values[np.isfinite(values)]
    edges = np.unique(np.quantile(seen, _TENTHS)) if seen.size else np.empty(0)
    return {"edges": edges.tolist(), "shares": _shares(edges, values).tolist()}


def _shares(edges: Floats, values: Floats) -> Floats:
    """The share of values up to each edge, past the last one, and missing; 0 everywhere without values."""
    seen = np.isfinite(values)
    counts = np.bincount(np.searchsorted(edges, values[seen], side="left"), minlength=len(edges) + 1)
    shares: Floats = np.append(counts, (~seen).sum()) / max(1, len(values))
    return shares
