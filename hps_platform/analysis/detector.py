"""The detector of one server: Isolation Forest with context, four complements, one calibrated score.

`fit` learns from a frame of metrics, `Detector.score` judges rows causally, `state` and `restore` turn a detector into
plain arrays and scikit-learn objects and back. Whether a score is an alarm belongs to `hps_platform.analysis.budget`,
where models are kept to `hps_platform.model_registry`.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hps_platform.analysis import budget, explain, features
from hps_platform.analysis.accuracy import Bools
from hps_platform.analysis.calibration import CEILING, Tail, fit_tail
from hps_platform.analysis.features import Floats, Grid, Scale
from hps_platform.analysis.members import BIAS, FOREST, MEMBERS, REGRESSION, Member, State, View, bias, surprise
from hps_platform.errors import InvalidInput, ModelUntrusted, NotEnoughData

FORMAT = 4
"""Of `Detector.state`; raised when its meaning changes."""
FOLDS = 3
TRIMMED = 0.02
TRIM_SPAN = 10.0
"""The share of training rows that is taken for incidents and not learnt from, and over how many rows it is judged."""
SMOOTHING_S = 120.0
LASTING_S = features.HOUR_S
"""Over how long scores are averaged lightly, and over how long they are remembered."""
_LEAD_S = 6 * features.HOUR_S
WARM_UP_S = 30 * features.HOUR_S
"""How much history before the first row to judge makes its score what it will always be."""
MIN_HISTORY_S = features.DAY_S


@dataclass(frozen=True)
class Scores:
    """One entry a row of the frame that was scored. Rows without enough context are NaN in all three.

    `score` is 0 to 12, higher is stranger; `forest_score` is the Isolation Forest's own `decision_function`.
    `weights` (rows x columns) says how much each column contributes, its largest first in `explain.top`.
    """

    times: Floats
    score: Floats
    forest_score: Floats
    weights: Floats
    values: Floats
    columns: tuple[str, ...]

    @property
    def anomaly_score(self) -> Floats:
        """-1 (strangest) to 0."""
        return np.where(np.isnan(self.score), np.nan, -self.score / CEILING)


@dataclass(frozen=True)
class Detector:
    """What was learnt. `held_times`, `held_scores`: the training rows' scores by models that had not seen them; `usual`
    and `habit`: what is usual of each metric, and how strange the server usually is, at each time of day; `judges`: the
    members whose mean is the score.
    """

    columns: tuple[str, ...]
    step_s: float
    value_scale: Scale
    context_scale: Scale
    members: dict[str, State]
    tails: dict[str, Tail]
    held_times: Floats
    held_scores: Floats
    usual: Floats
    habit: Floats
    parameters: dict[str, Any] = field(default_factory=dict)
    judges: tuple[Member, ...] = MEMBERS

    def score(self, frame: pl.DataFrame, history: pl.DataFrame | None = None) -> Scores:
        """Judge every row of `frame`, in its order; `history` are rows before it, which only give context.

        Rows of `history` at or after the frame's first one are ignored. A column that the frame lacks counts as not
        measured. Raises `InvalidInput` for a frame without usable timestamps.
        """
        times = features.epoch_seconds(frame)
        order = np.argsort(times, kind="stable")
        ordered = frame[order] if (order[1:] < order[:-1]).any() else frame
        rows, before = _with_history(ordered, history, self.columns)
        grid = features.to_grid(rows, self.columns, self.step_s)
        # What came long before gives context only, and is not judged itself.
        first = max(0, int(grid.slots[before]) - lead(self.step_s)) if before < len(grid.slots) else 0
        view = self.view(grid).part(first, len(grid.values))
        slots = grid.slots[before:] - first
        judged = features.warm(grid)[first:]
        ensemble, forest_raw = self.ensemble(view)
        smoothed = smooth(np.where(judged, ensemble, np.nan), self.step_s)
        surprises, biases = surprise(self.members[REGRESSION.name], view), bias(self.members[BIAS.name], view)
        weights = explain.weights(surprises, biases, view)
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        known = judged[slots][back]
        offset = self.members[FOREST.name]["forest"].offset_
        return Scores(
            times=times,
            score=np.where(known, smoothed[slots][back], np.nan),
            forest_score=np.where(known, (-forest_raw - offset)[slots][back], np.nan),
            weights=weights[slots][back],
            values=grid.values[first:][slots][back],
            columns=self.columns,
        )

    def levels(self, days: Sequence[int], times: Floats, scores: Floats, alarms_per_day: float) -> dict[int, float]:
        """Alarm levels of days (since 1970) from ascending `times` and their scores; see `budget.daily_levels`.

        For a model's first week the rows it was trained on stand in, and no later level is below theirs.
        """
        return budget.daily_levels(
            days, times, self.above_habit(times, scores), alarms_per_day, self._initial_level(alarms_per_day)
        )

    def _initial_level(self, alarms_per_day: float) -> float:
        held = self.above_habit(self.held_times, self.held_scores)
        return budget.initial_level(self.held_times, held, alarms_per_day)

    def above_habit(self, times: Floats, scores: Floats) -> Floats:
        """What is compared with an alarm level: the score less what is habitual at that time of day."""
        return budget.above_habit(times, scores, self.habit)

    def flag(self, scores: Scores, alarms_per_day: float, past: tuple[Floats, Floats] | None = None) -> Bools:
        """Which rows are alarms under the budget, looking backwards only; `past` = times and scores from before."""
        order = np.argsort(scores.times, kind="stable")
        before = (past[0], self.above_habit(*past)) if past is not None else None
        times, excess = scores.times[order], self.above_habit(scores.times, scores.score)[order]
        flags = np.empty(len(order), dtype=bool)
        flags[order], _ = budget.flag(times, excess, alarms_per_day, before, self._initial_level(alarms_per_day))
        return flags

    def view(self, grid: Grid) -> View:
        """What the members read of a grid."""
        return _view(grid, self.value_scale, self.context_scale)

    def ensemble(self, view: View) -> tuple[Floats, Floats]:
        """The score of each slot, not yet smoothed, and the forest's own."""
        raw = {member.name: member.score(self.members[member.name], view) for member in _each(*self.judges, FOREST)}
        return self.together(raw), raw[FOREST.name]

    def together(self, raw: dict[str, Floats]) -> Floats:
        """One score from those of the members."""
        return _together(self.tails, raw)

    def state(self) -> dict[str, Any]:
        """Arrays, numbers, texts and scikit-learn objects only: a stored model must not need our classes."""
        return {
            "format": FORMAT,
            "columns": list(self.columns),
            "step_s": self.step_s,
            "value_scale": self.value_scale.state(),
            "context_scale": self.context_scale.state(),
            "members": self.members,
            "tails": {name: tail.state() for name, tail in self.tails.items()},
            "held_times": self.held_times,
            "held_scores": self.held_scores,
            "usual": self.usual,
            "habit": self.habit,
            "parameters": self.parameters,
        }


def restore(state: dict[str, Any]) -> Detector:
    """A detector from its `state`; `ModelUntrusted` for one of another format."""
    if state.get("format") != FORMAT:
        raise ModelUntrusted(f"the model's format is {state.get('format')!r}, this program reads {FORMAT}: train anew")
    return Detector(
        columns=tuple(state["columns"]),
        step_s=state["step_s"],
        value_scale=Scale.restore(state["value_scale"]),
        context_scale=Scale.restore(state["context_scale"]),
        members=state["members"],
        tails={name: Tail.restore(tail) for name, tail in state["tails"].items()},
        held_times=state["held_times"],
        held_scores=state["held_scores"],
        usual=state["usual"],
        habit=state["habit"],
        parameters=state["parameters"],
    )


def fit(
    frame: pl.DataFrame,
    *,
    columns: Sequence[str] | None = None,
    seed: int = 0,
    judges: tuple[Member, ...] = MEMBERS,
) -> Detector:
    """Learn a server's normal behaviour from `frame` (`timestamp` and numbers); the same seed gives the same model.

    Columns without a value in a tenth of the rows are left out. `NotEnoughData` below 24 hours of rows. `judges` other
    than the shipped ones are for comparison only: such a detector can't be stored.
    """
    chosen = usable_columns(frame, columns)
    ordered = frame.sort("timestamp")
    step_s = features.median_step_s(ordered)
    measured = ordered.filter(pl.any_horizontal(pl.col(chosen).is_not_null())).height * step_s
    if measured < MIN_HISTORY_S * 0.98:
        raise NotEnoughData(
            f"{measured / features.HOUR_S:.1f} hours of samples, and 24 are needed to know a server's normal behaviour"
        )
    grid = features.to_grid(ordered, chosen, step_s)
    rows = np.flatnonzero(features.warm(grid))
    context = features.context(grid)
    value_scale, context_scale = features.fit_scale(grid.values[rows]), features.fit_scale(context[rows])
    view = View(value_scale.apply(grid.values), context_scale.apply(context), np.isnan(grid.values), step_s)
    held = _cross_fit(view, rows, seed, judges)
    normal = _without_strangest(held, rows)
    tails = {name: fit_tail(scores[normal]) for name, scores in held.items()}
    mean = _together(tails, held)
    times, held_scores = features.epoch_seconds(ordered), smooth(mean, step_s)[grid.slots]
    return Detector(
        columns=chosen,
        step_s=step_s,
        value_scale=value_scale,
        context_scale=context_scale,
        members={member.name: member.fit(view, normal, seed) for member in _each(*judges, FOREST, REGRESSION, BIAS)},
        tails=tails,
        held_times=times,
        held_scores=held_scores,
        usual=explain.usual(times, grid.values[grid.slots]),
        habit=budget.habit(times, held_scores),
        parameters={
            "members": [member.name for member in judges],
            "folds": FOLDS,
            "trimmed": TRIMMED,
            "smoothing_s": SMOOTHING_S,
            "seed": seed,
            "step_s": step_s,
            "trees": 200,
        },
        judges=judges,
    )


def usable_columns(frame: pl.DataFrame, columns: Sequence[str] | None = None) -> tuple[str, ...]:
    """Those of `columns` (default: every numeric one) with a value in at least a tenth of the rows."""
    found = features.numeric_columns(frame)
    named = [name for name in (columns or found) if name in found]
    chosen = tuple(name for name in named if frame[name].count() >= max(1, len(frame) // 10))
    if not chosen:
        raise NotEnoughData("no metric has values in this range") if named else InvalidInput("no numeric column")
    return chosen


def lead(step_s: float) -> int:
    """On how many slots before it a slot's score depends, beyond their part in its context."""
    return max(200, round(_LEAD_S / step_s))


def smooth(score: Floats, step_s: float) -> Floats:
    """A light moving average over the rows before, or that of the last hour where it is higher.

    One strange minute counts, two count more; and after a strange hour the next minute is not normal at once.
    """
    from scipy.signal import lfilter

    known = ~np.isnan(score)
    both = np.column_stack([np.where(known, score, 0.0), known])
    sums = lfilter([1.0], [1.0, -_kept(step_s)], both, axis=0)
    light = np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(score)), where=known)
    hour = _lasting(step_s)
    totals = np.cumsum(np.column_stack([light, known]), axis=0)
    totals[hour:] -= totals[:-hour].copy()
    lasting = np.divide(totals[:, 0], totals[:, 1], out=np.zeros(len(score)), where=known)
    return np.where(known, np.maximum(light, lasting), np.nan)


class Smoothing:
    """`smooth` of one score after another."""

    def __init__(self, step_s: float, before: Floats) -> None:
        """`before`: the scores before the first."""
        self._kept = _kept(step_s)
        self._sum = self._weight = 0.0
        self._lights: deque[float] = deque(maxlen=_lasting(step_s))
        for score in before.tolist():
            self.push(score)

    def push(self, score: float) -> float:
        """The next score, smoothed; NaN for NaN."""
        known = not math.isnan(score)
        self._sum = self._kept * self._sum + (score if known else 0.0)
        self._weight = self._kept * self._weight + known
        light = self._sum / self._weight if known else math.nan
        self._lights.append(light)
        if not known:
            return math.nan
        lights = [one for one in self._lights if not math.isnan(one)]
        return max(light, sum(lights) / len(lights))


def _kept(step_s: float) -> float:
    return max(0.0, 1.0 - 2.0 / (SMOOTHING_S / step_s + 1.0))


def _lasting(step_s: float) -> int:
    return max(1, round(LASTING_S / step_s))


def _cross_fit(view: View, rows: NDArray[np.int64], seed: int, judges: Sequence[Member]) -> dict[str, Floats]:
    """Each member's scores of blocks of time by a fit on the other blocks; NaN outside `rows`."""
    held = {member.name: np.full(len(view.value), np.nan) for member in judges}
    blocks = np.array_split(rows, FOLDS)
    for number, block in enumerate(blocks):
        others = np.concatenate([other for position, other in enumerate(blocks) if position != number])
        first, last = int(block[0]), int(block[-1]) + 1
        around = view.part(first, last)
        for member in judges:
            held[member.name][block] = member.score(member.fit(view, others, seed), around)[block - first]
    return held


def _each(*members: Member) -> list[Member]:
    """Without repetitions, in order."""
    return list({member.name: member for member in members}.values())


def _together(tails: dict[str, Tail], raw: dict[str, Floats]) -> Floats:
    """The score of all members: the mean of their strangeness."""
    mean: Floats = np.mean([tail.strangeness(raw[name]) for name, tail in tails.items()], axis=0)
    return mean


def _without_strangest(held: dict[str, Floats], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows without the strangest of them, ten minutes taken together.

    A history holds incidents. What is learnt from them as normal would not be found again, and as the far end of the
    calibration they would make the next one look ordinary.
    """
    tails = {name: fit_tail(scores[rows]) for name, scores in held.items()}
    mean = pl.Series(_together(tails, held)[rows]).ewm_mean(span=TRIM_SPAN, adjust=True).to_numpy()
    kept: NDArray[np.int64] = rows[mean < np.quantile(mean, 1 - TRIMMED)]
    return kept


def _view(grid: Grid, value_scale: Scale, context_scale: Scale) -> View:
    return View(
        value_scale.apply(grid.values), context_scale.apply(features.context(grid)), np.isnan(grid.values), grid.step_s
    )


def plain(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """`timestamp` in UTC and the columns as numbers; one that the frame lacks is null."""
    return frame.select(
        pl.col("timestamp").cast(pl.Datetime("us", "UTC")),
        *((pl.col(name) if name in frame.columns else pl.lit(None)).cast(pl.Float64).alias(name) for name in columns),
    )


def _with_history(
    frame: pl.DataFrame, history: pl.DataFrame | None, columns: Sequence[str]
) -> tuple[pl.DataFrame, int]:
    """Rows of history before the frame's first, then the frame; and how many of the former there are."""
    if history is None or history.is_empty() or frame.is_empty():
        return plain(frame, columns), 0
    earlier = history.filter(pl.col("timestamp") < frame["timestamp"][0]).sort("timestamp")
    return pl.concat([plain(earlier, columns), plain(frame, columns)]), len(earlier)
