"""One row after another, each judged in about a millisecond, with the scores that `Detector.score` gives for many.

Many rows at once cost less each in `hps_platform.analysis.detector`.
"""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import polars as pl

from hps_platform.analysis import detector as detecting
from hps_platform.analysis import explain, features
from hps_platform.analysis.accuracy import Bools
from hps_platform.analysis.detector import Detector
from hps_platform.analysis.features import Floats, Trail
from hps_platform.analysis.flat_forest import FlatForest
from hps_platform.analysis.members import (
    BIAS,
    FOREST,
    LAGS,
    REGRESSION,
    Recent,
    View,
    bias,
    biased,
    surprise,
    surprising,
)
from hps_platform.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one row, as `Scores` has them of many: all NaN without enough context, `weights` excepted."""

    score: float
    forest_score: float
    weights: Floats


class Live:
    """Follows one server. One thread at a time."""

    def __init__(self, detector: Detector, history: pl.DataFrame) -> None:
        """`history`: at least one row before the first to judge; `detector.WARM_UP_S` of them give the full context."""
        self._detector = detector
        self._forest = FlatForest(detector.members[FOREST.name]["forest"])
        self._offset = float(detector.members[FOREST.name]["forest"].offset_)
        grid = features.to_grid(
            detecting.plain(history.sort("timestamp"), detector.columns), detector.columns, detector.step_s
        )
        if not len(grid.slots):
            raise InvalidInput("there is no row before the first to judge")
        view = detector.view(grid)
        ensemble, _ = detector.ensemble(view)
        scores = np.where(features.warm(grid), ensemble, np.nan)
        kept = max(member.reach(detector.step_s) for member in (*detector.judges, REGRESSION, BIAS))
        self._following = features.Following(
            grid.values[-round(detecting.WARM_UP_S / detector.step_s) :], grid.day, grid.hour
        )
        self._value, self._context = Trail(view.value, kept), Trail(view.context, kept)
        self._missing = Trail(view.missing, kept)
        around = view.last(detecting.lead(detector.step_s))
        self._odd = Recent(detector.step_s, explain.oddness(*_distances(detector, around), around))
        self._smoothing = detecting.Smoothing(detector.step_s, scores[-detecting.lead(detector.step_s) :])
        absent: Bools = np.all(view.missing[-grid.hour :], axis=1)
        self._present = deque((~absent).tolist(), maxlen=grid.hour)
        self._clock = float(features.epoch_seconds(history).max())
        self._since = 0.0
        self._slot = 0

    def judge(self, moment: float, row: Floats) -> Verdict:
        """The row at `moment` (seconds since 1970), in the order of the detector's columns, NaN for not measured.

        Raises `InvalidInput` for a moment before the last row's.
        """
        if moment < self._clock:
            raise InvalidInput("rows are not in the order of their timestamps")
        self._since += float(features.shortened(np.array([moment - self._clock]))[0])
        self._clock = moment
        slot = max(round(self._since / self._detector.step_s), self._slot + 1)
        for _ in range(slot - self._slot - 1):
            self._skip()
        self._slot = slot
        return self._judge(np.where(np.isfinite(row), row, np.nan))

    def _skip(self) -> None:
        """A slot without a row."""
        view = self._seen(np.full(len(self._detector.columns), np.nan))
        self._odd.push(explain.oddness(*self._newest(view), view.last(1))[0])
        self._smoothing.push(math.nan)

    def _seen(self, row: Floats) -> View:
        """The last slots, with `row` as the newest of them."""
        detector = self._detector
        missing = np.isnan(row)
        self._present.append(not missing.all())
        self._value.push(detector.value_scale.apply(row))
        self._context.push(detector.context_scale.apply(self._following.push(row)))
        self._missing.push(missing)
        return View(self._value.rows, self._context.rows, self._missing.rows, detector.step_s)

    def _newest(self, view: View) -> tuple[Floats, Floats]:
        """Surprise and bias of the newest slot: one row each."""
        members = self._detector.members
        around = view.last(BIAS.reach(self._detector.step_s))
        return surprise(members[REGRESSION.name], view.last(LAGS + 1))[-1:], bias(members[BIAS.name], around)[-1:]

    def _judge(self, row: Floats) -> Verdict:
        detector = self._detector
        view = self._seen(row)
        strangeness = self._forest.score(view.context[-1])
        surprises, biases = self._newest(view)
        raw = {
            FOREST.name: np.array([strangeness]),
            REGRESSION.name: surprising(detector.members[REGRESSION.name], surprises),
            BIAS.name: biased(biases),
        }
        for member in detector.judges:
            if member.name not in raw:
                around = view.last(member.reach(detector.step_s))
                raw[member.name] = member.score(detector.members[member.name], around)[-1:]
        known = self._present[-1] and sum(self._present) > features.warm_after(self._present.maxlen or 0)
        latest = view.last(1)
        lasting = self._odd.push(explain.oddness(surprises, biases, latest)[0])
        return Verdict(
            score=self._smoothing.push(float(detector.together(raw)[0]) if known else math.nan),
            forest_score=-strangeness - self._offset if known else math.nan,
            weights=explain.shares(lasting[None], latest.missing)[0],
        )


def _distances(detector: Detector, view: View) -> tuple[Floats, Floats]:
    """Surprise and bias of each slot."""
    return surprise(detector.members[REGRESSION.name], view), bias(detector.members[BIAS.name], view)
