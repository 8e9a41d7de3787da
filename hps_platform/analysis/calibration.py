"""Scores of different kinds on one scale: tail probabilities among the server's own held-out rows.

A member's score becomes p, the share of normal rows at least as strange: the empirical distribution for the bulk, a
generalised Pareto tail above its 98th percentile, so that rows stranger than any seen still differ. The common scale
is min(-log10 p, 12). Alarm thresholds belong to `hps_platform.analysis.budget`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hps_platform.analysis.features import Floats

CEILING = 12.0
"""Nothing is stranger than p = 1e-12; `anomaly_score` is -(mean score) / CEILING."""
TAIL = 0.98
_KNOTS = 512


@dataclass(frozen=True, slots=True)
class Tail:
    """A distribution as quantile knots, and a Pareto tail (`shape`, `scale`) beyond the last knot."""

    knots: Floats
    levels: Floats
    shape: float
    scale: float

    def strangeness(self, scores: Floats) -> Floats:
        """min(-log10 P(score or more), 12) for each row; NaN stays NaN."""
        bulk = 1.0 - np.interp(scores, self.knots, self.levels, left=0.0)
        excess = np.maximum(scores - self.knots[-1], 0.0) / self.scale
        if abs(self.shape) < 1e-6:
            tail = excess / np.log(10)
        else:
            tail = np.log10(np.maximum(1 + self.shape * excess, 1e-300)) / self.shape
        logs = np.where(excess > 0, -np.log10(1 - TAIL) + tail, -np.log10(np.maximum(bulk, 1 - TAIL)))
        return np.where(np.isnan(scores), np.nan, np.clip(logs, 0.0, CEILING))

    def state(self) -> dict[str, Any]:
        return {"knots": self.knots, "levels": self.levels, "shape": self.shape, "scale": self.scale}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> "Tail":
        return cls(state["knots"], state["levels"], state["shape"], state["scale"])


def fit_tail(scores: Floats) -> Tail:
    """The distribution of held-out scores. The tail is fitted by probability-weighted moments (Hosking and Wallis,
    Technometrics 1987): closed form, steady with the few hundred rows there are, and the same every time. Its shape
    is kept in [0, 0.5]: an end point would make every stranger row equally strange."""
    seen = scores[np.isfinite(scores)]
    levels = np.linspace(0.0, TAIL, _KNOTS)
    knots = np.maximum.accumulate(np.quantile(seen, levels))
    excess = np.sort(seen[seen > knots[-1]] - knots[-1])
    spread = max(float(knots[-1] - knots[_KNOTS // 2]), 1e-9)
    if excess.size < 10 or excess[-1] <= 0:
        return Tail(knots, levels, 0.0, spread)
    weights = (np.arange(excess.size, 0, -1) - 0.65) / excess.size
    mean, weighted = float(excess.mean()), float((weights * excess).mean())
    if mean <= 2 * weighted:
        shape, scale = 0.5, 2 * mean * weighted / mean
    else:
        shape = 2 - mean / (mean - 2 * weighted)
        scale = 2 * mean * weighted / (mean - 2 * weighted)
    shape = float(np.clip(shape, 0.0, 0.5))
    return Tail(knots, levels, shape, max(scale if 0 < shape < 0.5 else mean * (1 - shape), 1e-9))
