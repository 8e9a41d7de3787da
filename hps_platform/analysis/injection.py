"""Anomalies put into a server's own minutes, to see what a model finds: the same ones for every model of a server.

Four kinds, of three sizes each. Sizes are in widths of the metric (its interquartile range, see `features.fit_scale`),
so that they mean the same on every server. What is made of the findings belongs to `hps_platform.detection.promotion`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from hps_platform.analysis.features import HOUR_S, Floats, fit_scale

SPIKE, SHIFT, LEAK, FROZEN = "spike", "level shift", "slow leak", "frozen sensor"
KINDS = (SPIKE, SHIFT, LEAK, FROZEN)
SIZES = (2.0, 4.0, 8.0)
"""Widths that a metric is moved by; a frozen sensor keeps its value for 1, 2 or 4 hours instead."""
_LASTS_S = {SPIKE: 180.0, SHIFT: HOUR_S, LEAK: 4 * HOUR_S}
_FROZEN_S = dict(zip(SIZES, (HOUR_S, 2 * HOUR_S, 4 * HOUR_S), strict=True))
_APART_S = 5 * HOUR_S
"""From one beginning to the next: longer than any of them and the hour that it disturbs."""
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Injection:
    """`column` is abnormal from row `first` up to, not including, row `last`."""

    kind: str
    column: str
    size: float
    first: int
    last: int


def inject(
    frame: pl.DataFrame, columns: Sequence[str], *, step_s: float = 60.0, seed: int = 0
) -> tuple[pl.DataFrame, list[Injection]]:
    """The frame with up to 48 anomalies in it, in the order of their rows, and what they are.

    One every five hours from the second hour on, kinds, sizes and metrics mixed by the seed; a short frame holds fewer.
    Values that were not measured stay so. Metrics that never move are left alone.
    """
    values = frame.select(pl.col(list(columns)).cast(pl.Float64)).fill_null(np.nan).to_numpy(writable=True)
    moving = [position for position in range(len(columns)) if _moves(values[:, position])]
    if not moving:
        return frame, []
    widths = fit_scale(values).width
    random = np.random.default_rng(seed)
    kinds = [(kind, size) for _ in range(_ROUNDS) for kind in KINDS for size in SIZES]
    order, metrics = random.permutation(len(kinds)), random.permutation(moving)
    found: list[Injection] = []
    for place, number in enumerate(order.tolist()):
        kind, size = kinds[number]
        first = round((place * _APART_S + 2 * HOUR_S) / step_s)
        last = first + max(1, round(_LASTS_S.get(kind, _FROZEN_S[size]) / step_s))
        if last > len(frame):
            break
        column = int(metrics[place % len(metrics)])
        part = values[first:last, column]
        values[first:last, column] = _moved(part, kind, size * float(widths[column]))
        found.append(Injection(kind, columns[column], size, first, last))
    changed = {name: pl.Series(values[:, position]).fill_nan(None) for position, name in enumerate(columns)}
    return frame.with_columns(**changed), found


def _moves(values: Floats) -> bool:
    """Whether half of the minutes differ from the one before: only then a frozen sensor is news."""
    seen = values[np.isfinite(values)]
    return seen.size > 1 and float(np.mean(np.diff(seen) != 0)) >= 0.5


def _moved(values: Floats, kind: str, by: float) -> Floats:
    if kind == LEAK:
        return values + by * np.linspace(0.0, 1.0, len(values))
    if kind == FROZEN:
        seen = values[np.isfinite(values)]
        return np.where(np.isfinite(values), seen[0], np.nan) if seen.size else values
    return values + by
