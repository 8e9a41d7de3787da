"""From a frame of metrics to what the detector sees: a regular grid, and each metric in its context.

Everything here looks backwards only: the features of a row depend on that row and on earlier ones. Which members read
which features belongs to `hps_platform.analysis.members`; where the metrics come from to `hps_platform.store.minutes`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hps_platform.errors import InvalidInput

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

DAY_S = 86_400.0
HOUR_S = 3_600.0
LONG_GAP_S = 2 * DAY_S
_ENOUGH_MOVES = 20
_SPREAD_OF = 3
CONTEXTS = ("value", "change", "hour", "spread", "yesterday")
"""The five views of a metric, in the order of the feature matrix's blocks."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Metrics on a regular time axis: `values[slots[i]]` is input row `i`; slots without a row are all NaN.

    A silence of more than two days is closed to two days and the rest of a day, so that the time of day stays right
    and a forgotten clock can't ask for gigabytes.
    """

    columns: tuple[str, ...]
    step_s: float
    values: Floats
    slots: Whole
    origin_s: float

    @property
    def day(self) -> int:
        """Steps in a day, at least one."""
        return max(1, round(DAY_S / self.step_s))

    @property
    def hour(self) -> int:
        """Steps in an hour, at least two, so that an hour's average has something to average."""
        return max(2, round(HOUR_S / self.step_s))


def median_step_s(frame: pl.DataFrame) -> float:
    """The usual distance of two rows in seconds, from the timestamps alone; 60 for fewer than two rows."""
    seconds = np.diff(np.sort(epoch_seconds(frame)))
    seconds = seconds[seconds > 0]
    return float(np.median(seconds)) if seconds.size else 60.0


def epoch_seconds(frame: pl.DataFrame) -> Floats:
    """`timestamp` as seconds since 1970; `InvalidInput` when the column is missing, null or no time."""
    if "timestamp" not in frame.columns:
        raise InvalidInput("there is no column `timestamp`")
    stamps = frame["timestamp"]
    if not isinstance(stamps.dtype, pl.Datetime):
        raise InvalidInput(f"`timestamp` holds {stamps.dtype}, not times")
    if stamps.null_count():
        raise InvalidInput("`timestamp` is empty in some rows")
    return stamps.dt.epoch("us").to_numpy().astype(np.float64) / 1e6


def numeric_columns(frame: pl.DataFrame) -> tuple[str, ...]:
    """The columns a detector can read, in the frame's order: numbers and booleans, without `timestamp`."""
    return tuple(
        name
        for name, dtype in frame.schema.items()
        if name != "timestamp" and (dtype.is_numeric() or dtype == pl.Boolean)
    )


def to_grid(frame: pl.DataFrame, columns: Sequence[str], step_s: float) -> Grid:
    """Lay the frame, sorted by `timestamp`, on a grid; a column it lacks is all NaN, as are infinities.

    Two rows closer than a step get neighbouring slots, never the same one: no row's features then depend on a row
    after it.
    """
    seconds = epoch_seconds(frame)
    gaps = np.diff(seconds, prepend=seconds[:1])
    if (gaps < 0).any():
        raise InvalidInput("rows are not in the order of their timestamps")
    gaps = shortened(gaps)
    order = np.arange(len(seconds), dtype=np.int64)
    wanted = np.rint(np.cumsum(gaps) / step_s).astype(np.int64)
    slots = np.maximum.accumulate(wanted - order) + order
    values = np.full((int(slots[-1]) + 1 if len(slots) else 0, len(columns)), np.nan)
    for position, name in enumerate(columns):
        if name in frame.columns:
            values[slots, position] = frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
    values[~np.isfinite(values)] = np.nan
    return Grid(tuple(columns), step_s, values, slots, float(seconds[0]) if len(seconds) else 0.0)


def shortened(gaps: Floats) -> Floats:
    """Silences in seconds, those of more than two days closed to two days and the rest of a day."""
    return np.where(gaps > LONG_GAP_S, LONG_GAP_S + np.mod(gaps, DAY_S), gaps)


def context(grid: Grid) -> Floats:
    """Each metric as value, change, distance from the last hour, spread of the last hour, distance from yesterday.

    Shape: slots x (5 * metrics), in blocks by `CONTEXTS`; NaN where a view has nothing to look at. "The last hour" is
    an exponentially weighted mean of the slots before; "yesterday" a mean of half an hour around the same time of the
    day before, in which the later half has also been over for a day.
    """
    half = max(1, grid.hour // 4)
    frame = _frame(grid.values)
    names = frame.columns
    every = pl.col(names)
    hour = frame.select(every.ewm_mean(span=grid.hour, adjust=True, ignore_nulls=False).forward_fill().shift(1))
    spread = frame.select(
        every.ewm_std(span=grid.hour, adjust=True, ignore_nulls=False, min_samples=_SPREAD_OF).forward_fill()
    )
    smooth = frame.select(every.rolling_mean(2 * half + 1, min_samples=1, center=True).shift(grid.day))
    value = grid.values
    change = np.vstack([np.full((min(1, len(value)), value.shape[1]), np.nan), np.diff(value, axis=0)])
    spread_values = np.where(np.isnan(value), np.nan, _array(spread))
    return np.hstack([value, change, value - _array(hour), spread_values, value - _array(smooth)])


class Following:
    """`context` of one slot after another, each from what the slots before left behind: one row of 5 * metrics."""

    def __init__(self, before: Floats, day: int, hour: int) -> None:
        """`before`: the slots before, a day and a few hours of them; `day` and `hour` are a `Grid`'s."""
        columns = before.shape[1]
        self._half, self._day = max(1, hour // 4), day
        self._kept = 1.0 - 2.0 / (hour + 1.0)
        self._values = Trail(np.empty((0, columns)), day + self._half + 1)
        self._last = np.full(columns, np.nan)
        # Of the exponentially weighted rows: how many, their mean, the sum of products of the weights of any two (which
        # is what makes a variance unbiased), the sum of squared distances from the mean, and that sum of weights.
        self._seen, self._mean = np.zeros(columns), np.full(columns, np.nan)
        self._pairs, self._squares, self._weight = np.zeros(columns), np.zeros(columns), np.zeros(columns)
        for row in before:
            self.push(row)

    def push(self, row: Floats) -> Floats:
        """The context of the next slot, whose values are `row`, NaN for not measured."""
        average, change = self._mean, row - self._last
        self._last = row
        self._values.push(row)
        values = self._values.rows
        around = values[: len(values) - self._day + self._half if len(values) > self._day else 0]
        there = ~np.isnan(around)
        with np.errstate(invalid="ignore", divide="ignore"):
            yesterday = np.where(there, around, 0.0).sum(axis=0) / there.sum(axis=0)
            spread = self._spread(row)
        return np.concatenate([row, change, row - average, spread, row - yesterday])

    def _spread(self, row: Floats) -> Floats:
        """The weighted standard deviation with `row` in it; NaN where it is NaN."""
        present = ~np.isnan(row)
        old = self._kept * self._weight
        self._weight = old + present
        distance = np.where(present & (self._seen > 0), row - self._mean, 0.0)
        self._mean = np.where(present, np.where(self._seen > 0, self._mean + distance / self._weight, row), self._mean)
        self._pairs = self._kept**2 * self._pairs + np.where(present, 2 * old, 0.0)
        self._squares = self._kept * self._squares + np.where(present, old / self._weight * distance**2, 0.0)
        self._seen = self._seen + present
        variance = self._squares * self._weight / self._pairs
        return np.where(present & (self._seen >= _SPREAD_OF), np.sqrt(variance), np.nan)


class Trail:
    """The last `kept` rows of a table that grows at its end."""

    def __init__(self, rows: NDArray[Any], kept: int) -> None:
        self._kept = kept
        self._room = np.empty((4 * kept, *rows.shape[1:]), dtype=rows.dtype)
        self._end = min(kept, len(rows))
        self._room[: self._end] = rows[len(rows) - self._end :]

    def push(self, row: NDArray[Any]) -> None:
        if self._end == len(self._room):
            self._room[: self._kept] = self._room[-self._kept :]
            self._end = self._kept
        self._room[self._end] = row
        self._end += 1

    @property
    def rows(self) -> NDArray[Any]:
        return self._room[max(0, self._end - self._kept) : self._end]


def warm(grid: Grid) -> NDArray[np.bool_]:
    """Which slots have enough of the hour before them to be judged; false just after a start and a long silence."""
    present = (~np.isnan(grid.values).all(axis=1)).astype(np.float64)
    needed = warm_after(grid.hour)
    total = np.cumsum(present)
    window = np.concatenate([np.zeros(grid.hour), total])[: len(total)]
    enough: NDArray[np.bool_] = (total - window) > needed
    return enough & (present > 0)


def warm_after(hour: int) -> int:
    """More than how many of the last `hour` slots must have been measured for one to be judged."""
    return min(10, max(2, hour // 2))


@dataclass(frozen=True, slots=True)
class Scale:
    """Robust scale of each column; `apply` gives asinh((x - centre) / width), 0 for NaN, so that nothing explodes."""

    centre: Floats
    width: Floats

    def apply(self, values: Floats) -> Floats:
        scaled = np.arcsinh((values - self.centre) / self.width)
        return np.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0)

    def state(self) -> dict[str, Any]:
        return {"centre": self.centre, "width": self.width}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> "Scale":
        return cls(state["centre"], state["width"])


def fit_scale(values: Floats, floor: float = 1e-3) -> Scale:
    """Median, and the interquartile range or a tenth of the standard deviation, whichever is wider.

    A column that hardly moves is also as wide as its smaller movements (a quarter of them are smaller), so that a lost
    packet now and then is no sensation. One that never moved is as wide as a hundredth of its level and never narrower
    than `floor`: it stays silent while it stays put, and speaks up when it moves.
    """
    seen = np.where(np.isnan(values).all(axis=0), 0.0, values)
    low, centre, high = np.nanquantile(seen, (0.25, 0.5, 0.75), axis=0)
    width = np.maximum(high - low, 0.1 * np.nanstd(seen, axis=0))
    least = 1e-9 * np.maximum(1.0, np.abs(centre))
    for column in np.flatnonzero(high - low <= least):
        moves = np.abs(seen[:, column] - centre[column])
        moves = moves[moves > least[column]]
        if moves.size >= _ENOUGH_MOVES:
            width[column] = max(width[column], float(np.quantile(moves, 0.25)))
    still = np.maximum(np.abs(centre) * 0.01, floor)
    return Scale(centre, np.where(width > least, width, still))


def _frame(values: Floats) -> pl.DataFrame:
    """Polars columns `0`, `1`, ... with null for NaN."""
    return pl.DataFrame(values, schema=[str(i) for i in range(values.shape[1])]).with_columns(pl.all().fill_nan(None))


def _array(frame: pl.DataFrame) -> Floats:
    array: Floats = frame.fill_null(np.nan).to_numpy().astype(np.float64)
    return array
