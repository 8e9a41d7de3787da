"""The members of the detector: five ways of being strange, each one pair of functions, fit and score.

What a member learnt is a dictionary of arrays and scikit-learn objects, so that a stored model needs none of our
classes. All read the same `View`; a higher score is stranger. Combining them belongs to
`hps_platform.analysis.detector`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hps_platform.analysis.features import Floats

State = dict[str, Any]
LAGS = 5
WINDOW = 5
CLUSTERS = 40
LASTING_S = 300.0
BIAS_S = 900.0
"""Over how long `BIAS` averages."""
FARTHEST = 50.0
_FARTHEST_ONCE = 8.0
"""Beyond how many standard deviations a distance, and one row's part in a bias, grows no more."""


def recent(rows: Floats, step_s: float, over_s: float = LASTING_S) -> Floats:
    """Each row averaged with those of the five minutes (or `over_s`) before it: what lasts counts, what flickers less.

    Rows as far apart as that stay as they are.
    """
    from scipy.signal import lfilter

    kept = kept_of(step_s, over_s)
    if kept <= 0.0:
        return rows
    total: Floats = lfilter([1.0], [1.0, -kept], rows, axis=0)
    return total * ((1.0 - kept) / (1.0 - kept ** np.arange(1.0, len(rows) + 1.0)))[:, None]


def kept_of(step_s: float, over_s: float = LASTING_S) -> float:
    """How much of the row before's weight in `recent` a row has."""
    span = max(1.0, over_s / step_s)
    return 1.0 - 2.0 / (span + 1.0)


class Recent:
    """`recent` of one row after another."""

    def __init__(self, step_s: float, before: Floats) -> None:
        """`before`: the rows before the first."""
        self._kept, self._count = kept_of(step_s), 0
        self._total = np.zeros(before.shape[1:])
        for row in before:
            self.push(row)

    def push(self, row: Floats) -> Floats:
        """The next row, averaged."""
        self._count += 1
        self._total = self._kept * self._total + row
        average: Floats = self._total * ((1.0 - self._kept) / (1.0 - self._kept**self._count))
        return average


@dataclass(frozen=True, slots=True)
class View:
    """What members read: `value` (slots x metrics) and `context` (slots x 5 metrics), both scaled, 0 for missing;
    `missing` says where `value` had nothing, `step_s` how far apart slots are."""

    value: Floats
    context: Floats
    missing: NDArray[np.bool_]
    step_s: float

    def part(self, first: int, last: int) -> "View":
        """The slots from `first` up to, not including, `last`."""
        return View(self.value[first:last], self.context[first:last], self.missing[first:last], self.step_s)

    def last(self, count: int) -> "View":
        """The newest `count` slots."""
        return View(self.value[-count:], self.context[-count:], self.missing[-count:], self.step_s)

    def lasting(self) -> Floats:
        """Values averaged over some five minutes; coarser data as they are."""
        return recent(self.value, self.step_s)

    def windows(self) -> Floats:
        """The last `WINDOW` rows of each slot side by side, newest first; before the start the first row is held."""
        held = np.vstack([np.repeat(self.value[:1], WINDOW - 1, axis=0), self.value])
        n = len(self.value)
        return np.hstack([held[WINDOW - 1 - back : WINDOW - 1 - back + n] for back in range(WINDOW)])

    def lags(self) -> Floats:
        """The `LAGS` rows before each slot side by side, newest first."""
        held = np.vstack([np.repeat(self.value[:1], LAGS, axis=0), self.value])
        n = len(self.value)
        return np.hstack([held[LAGS - back : LAGS - back + n] for back in range(1, LAGS + 1)])


@dataclass(frozen=True, slots=True)
class Member:
    """`fit(view, rows, seed)` learns from the chosen slots; `score(state, view)` judges every slot, by the slots from
    `reach(step_s)` - 1 before it."""

    name: str
    fit: Callable[[View, NDArray[np.int64], int], State]
    score: Callable[[State, View], Floats]
    reach: Callable[[float], int]


def _fit_forest(view: View, rows: NDArray[np.int64], seed: int) -> State:
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=200, max_samples=min(512, len(rows)), random_state=seed, n_jobs=1)
    return {"forest": forest.fit(view.context[rows])}


def _score_forest(state: State, view: View) -> Floats:
    scores: Floats = -state["forest"].score_samples(view.context)
    return scores


def _fit_covariance(view: View, rows: NDArray[np.int64], seed: int) -> State:
    """Ledoit-Wolf shrinkage of the covariance of the smoothed values; the seed is not needed."""
    from sklearn.covariance import ledoit_wolf

    data = view.lasting()[rows]
    mean = data.mean(axis=0)
    covariance, _ = ledoit_wolf(data - mean, assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    floor = 1e-6 * max(float(values.max()), 1e-12)
    return {"mean": mean, "whiten": vectors / np.sqrt(np.maximum(values, floor))}


def _score_covariance(state: State, view: View) -> Floats:
    distances: Floats = np.sqrt((((view.lasting() - state["mean"]) @ state["whiten"]) ** 2).sum(axis=1))
    return distances


def _fit_windows(view: View, rows: NDArray[np.int64], seed: int) -> State:
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it publishes no types

    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), 6_000)).astype(np.int64)]
    data = view.windows()[some]
    clusters = min(CLUSTERS, len(np.unique(data, axis=0)))
    # One thread: sums in another order would give another model on another machine.
    with threadpool_limits(limits=1):
        found = KMeans(clusters, n_init=1, max_iter=50, random_state=seed).fit(data)
    return {"centres": found.cluster_centers_.astype(np.float64)}


def _score_windows(state: State, view: View) -> Floats:
    centres = state["centres"]
    windows = view.windows()
    squares = (windows**2).sum(axis=1)[:, None] - 2 * windows @ centres.T + (centres**2).sum(axis=1)
    distances: Floats = np.sqrt(np.maximum(squares.min(axis=1), 0.0))
    return distances


def _fit_regression(view: View, rows: NDArray[np.int64], seed: int) -> State:
    """Ridge regression of every metric on the last `LAGS` rows of all of them; the seed is not needed."""
    inputs, target = view.lags()[rows], view.value[rows]
    centre, mean = inputs.mean(axis=0), target.mean(axis=0)
    moved = inputs - centre
    gram = moved.T @ moved
    gram[np.diag_indices_from(gram)] += 1e-2 * max(len(rows), 1)
    weights = np.linalg.solve(gram, moved.T @ (target - mean))
    residual = target - mean - moved @ weights
    middle = np.median(residual, axis=0)
    narrow = quartile_width(residual - middle)
    wider = width(residual - middle) / narrow
    return {"weights": weights, "bias": mean - centre @ weights + middle, "width": narrow, "wider": wider}


def quartile_width(distances: Floats, least: float = 1e-2) -> Floats:
    """A standard deviation for each column from its quartiles, whatever lies beyond; never less than `least`."""
    low, high = np.quantile(distances, (0.25, 0.75), axis=0)
    widths: Floats = np.maximum(np.maximum((high - low) / 1.349, 0.1 * distances.std(axis=0)), least)
    return widths


def width(distances: Floats, least: float = 1e-2) -> Floats:
    """A standard deviation for each column, from its quartiles or from the 199th of 200 distances, whichever is wider.

    Both are exact for a normal distribution. By its quartiles alone, a metric that jumps every now and then would drown
    all others in a mean of squares.
    """
    widths: Floats = np.maximum(quartile_width(distances, least), np.quantile(np.abs(distances), 0.995, axis=0) / 2.807)
    return widths


def expected(state: State, view: View) -> Floats:
    """What the regression expects of each metric, on the scale of `view.value`."""
    forecast: Floats = view.lags() @ state["weights"] + state["bias"]
    return forecast


def surprise(state: State, view: View) -> Floats:
    """Distance from the expectation in standard deviations by the quartiles, signed; 0 where the metric is missing."""
    return np.where(view.missing, 0.0, (view.value - expected(state, view)) / state["width"])


def surprising(state: State, surprises: Floats) -> Floats:
    """The regression's score of rows, from their `surprise`: of a metric that often jumps a jump counts for less."""
    return _size(surprises / state["wider"])


def _score_regression(state: State, view: View) -> Floats:
    return surprising(state, surprise(state, view))


def _size(distances: Floats) -> Floats:
    """The root mean square of each row of distances in standard deviations."""
    sizes: Floats = np.sqrt((np.minimum(np.abs(distances), FARTHEST) ** 2).mean(axis=1))
    return sizes


def _fit_bias(view: View, rows: NDArray[np.int64], seed: int) -> State:
    """The regression, and how far its surprises of a quarter of an hour usually are from cancelling out."""
    learnt = _fit_regression(view, rows, seed)
    biases = _biases(learnt, view)[rows]
    middle = np.median(biases, axis=0)
    return {**learnt, "middle": middle, "spread": width(biases - middle, 2e-2)}


def bias(state: State, view: View) -> Floats:
    """How far each metric has been on one side of its forecast lately, in standard deviations of that, signed; 0 where
    it is missing."""
    return np.where(view.missing, 0.0, (_biases(state, view) - state["middle"]) / state["spread"])


def biased(biases: Floats) -> Floats:
    """The bias member's score of rows, from their `bias`."""
    return _size(biases)


def _score_bias(state: State, view: View) -> Floats:
    return biased(bias(state, view))


def _biases(state: State, view: View) -> Floats:
    """The signed surprise averaged over a quarter of an hour (an EWMA chart, Roberts 1959).

    A regression on the last rows soon follows a leak or a shift, but stays wrong on the same side; a single jump hardly
    counts. A metric counts where it was measured in all the rows that its forecast is made from, so not after a gap.
    """
    clipped = np.clip(surprise(state, view), -_FARTHEST_ONCE, _FARTHEST_ONCE)
    holes = np.cumsum(np.vstack([np.zeros((LAGS + 1, view.missing.shape[1])), view.missing]), axis=0)
    before = holes[LAGS:-1] - holes[: -LAGS - 1]
    return recent(np.where(before > 0, 0.0, clipped), view.step_s, BIAS_S)


def own_rows(rows: int, step_s: float) -> int:
    """A reach of so many rows, whatever their step."""
    return rows


def _recent_reach(over_s: float, rows: int, step_s: float) -> int:
    """How far back `recent` of what is made of so many rows looks: what lies further has a weight below 1e-15."""
    kept = kept_of(step_s, over_s)
    return rows + (0 if kept <= 0.0 else math.ceil(math.log(1e-15) / math.log(kept)))


FOREST = Member("forest", _fit_forest, _score_forest, partial(own_rows, 1))
COVARIANCE = Member("covariance", _fit_covariance, _score_covariance, partial(_recent_reach, LASTING_S, 1))
WINDOWS = Member("windows", _fit_windows, _score_windows, partial(own_rows, WINDOW))
REGRESSION = Member("regression", _fit_regression, _score_regression, partial(own_rows, LAGS + 1))
BIAS = Member("bias", _fit_bias, _score_bias, partial(_recent_reach, BIAS_S, LAGS + 1))
MEMBERS = (FOREST, COVARIANCE, WINDOWS, REGRESSION, BIAS)
