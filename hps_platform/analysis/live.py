"""One row after another, each judged in about a millisecond, with the scores that `Detector.score` gives for many.

Many rows at once cost less each in `hps_platform.analysis.detector`.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hps_platform.analysis import detector as detecting
from hps_platform.analysis import explain, features
from hps_platform.analysis.detector import Detector
from hps_platform.analysis.features import Floats
from hps_platform.analysis.flat_forest import FlatForest
from hps_platform.analysis.members import FOREST, REGRESSION, View
from hps_platform.errors import InvalidInput

_MEMBERS_READ = 100
"""How many rows back a member's score depends on, at most: what lies further has a weight below 1e-15."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one row, as `Scores` has them of many: all NaN without enough context, `weights` excepted."""

    score: float
    forest_score: float
    weights: Floats


class Live:
    """Follows one server. One thread at a time."""

    def __init__(self, detector: Detector, history: pl.DataFrame) -> None:
        """`history`: at least one row before the first to judge; a day and two hours of them give the full context."""
        self._detector = detector
        self._forest = FlatForest(detector.members[FOREST.name]["forest"])
        grid = features.to_grid(
            detecting.plain(history.sort("timestamp"), detector.columns), detector.columns, detector.step_s
        )
        if not len(grid.slots):
            raise InvalidInput("there is no row before the first to judge")
        self._day, self._hour = grid.day, grid.hour
        judged = features.warm(grid)
        view = detector.view(grid)
        ensemble, _ = detector.ensemble(view)
        self._values = _Tail(grid.values, round(detecting.WARM_UP_S / detector.step_s))
        self._scaled, self._context = _Tail(view.value, _MEMBERS_READ), _Tail(view.context, _MEMBERS_READ)
        self._scores = _Tail(np.where(judged, ensemble, np.nan), detecting.lead(detector.step_s))
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
        columns = len(self._detector.columns)
        self._values.push(np.full(columns, np.nan))
        self._scaled.push(np.zeros(columns))
        self._context.push(np.zeros(columns * len(features.CONTEXTS)))
        self._scores.push(np.nan)

    def _judge(self, row: Floats) -> Verdict:
        detector = self._detector
        self._values.push(row)
        values = self._values.rows
        self._scaled.push(detector.value_scale.apply(row))
        self._context.push(detector.context_scale.apply(features.latest_context(values, self._day, self._hour)))
        missing = np.isnan(values[-len(self._scaled.rows) :])
        view = View(self._scaled.rows, self._context.rows, missing, detector.step_s)
        strangeness = self._forest.score(view.context[-1])
        raw = {FOREST.name: np.array([strangeness])}
        for member in detector.judges:
            if member is not FOREST:
                raw[member.name] = member.score(detector.members[member.name], view)[-1:]
        present: NDArray[np.bool_] = np.asarray(~np.isnan(values[-self._hour :]).all(axis=1))
        known = bool(present[-1]) and int(present.sum()) > features.warm_after(self._hour)
        self._scores.push(detector.together(raw)[0] if known else np.nan)
        offset = float(detector.members[FOREST.name]["forest"].offset_)
        return Verdict(
            score=float(detecting.smooth(self._scores.rows, detector.step_s)[-1]),
            forest_score=-strangeness - offset if known else float("nan"),
            weights=explain.weights(detector.members[REGRESSION.name], view)[-1],
        )


class _Tail:
    """The last `kept` rows of a table that grows at its end."""

    def __init__(self, rows: NDArray[np.float64], kept: int) -> None:
        self._kept = kept
        self._room = np.empty((4 * kept, *rows.shape[1:]))
        self._end = min(kept, len(rows))
        self._room[: self._end] = rows[len(rows) - self._end :]

    def push(self, row: Floats | float) -> None:
        if self._end == len(self._room):
            self._room[: self._kept] = self._room[-self._kept :]
            self._end = self._kept
        self._room[self._end] = row
        self._end += 1

    @property
    def rows(self) -> Floats:
        return self._room[max(0, self._end - self._kept) : self._end]
