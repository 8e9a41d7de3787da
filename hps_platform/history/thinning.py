"""Fewer points on a line, so that its shape and its peaks stay: min-max-LTTB by line and column. Pure."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from tsdownsample import MinMaxDownsampler, MinMaxLTTBDownsampler

_FEWEST = 6
"""Points that any column of a line keeps at least, room permitting."""

HOLE = 2.5
"""A line has a hole where its points lie more than so many steps apart."""

Indices = npt.NDArray[np.intp]
Times = npt.NDArray[np.int64]


def thin(
    frame: pl.DataFrame, line: str, key: str | None, columns: Sequence[str], points: int
) -> tuple[pl.DataFrame, float]:
    """At most `points` moments of each `line`, whole rows, in the order of `frame`, which is ascending by `timestamp`.

    A moment is kept with all of its keys, so that they can still be put together. Columns and keys share half of the
    points; the others are even, so that what is left out never looks like a hole, and the edges of holes. Where
    `<column>_min` and `<column>_max` are there, the lowest of the one and the highest of the other stay too.

    The second value is how many seconds apart moments lie at most between which something was left out, but no hole.
    """
    if frame.height <= points:
        return frame, 0.0
    kept, apart = [], 0
    for rows in frame.with_row_index("row").partition_by(line, maintain_order=True):
        if rows.height <= points or rows["timestamp"].n_unique() <= points:
            kept.append(rows["row"])
            continue
        told = rows.filter(pl.any_horizontal(pl.col(columns).is_not_null()))["timestamp"]
        times = (told if len(told) else rows["timestamp"]).unique().sort().to_physical().to_numpy()
        chosen = _moments(rows, times, key, columns, points)
        moments = pl.Series(chosen).cast(rows.schema["timestamp"])
        kept.append(rows.filter(pl.col("timestamp").is_in(moments.implode()))["row"])
        apart = max(apart, _apart(times, chosen))
    return frame[pl.concat(kept).sort()], apart / 1000


def _moments(rows: pl.DataFrame, times: Times, key: str | None, columns: Sequence[str], points: int) -> Times:
    even = _even(times, points // 2)
    parts = rows.partition_by(key) if key is not None else [rows]
    left = points - len(even)
    share = max(left // max(len(columns) * len(parts), 1), _FEWEST)
    kept: list[Times] = []
    for part in parts:
        own = part["timestamp"].to_physical().to_numpy()
        for name in columns:
            extremes = [one for one in (f"{name}_min", f"{name}_max") if one in part.columns]
            kept.append(own[_shape(own, part[name], share // 2 if extremes else share)])
            kept += [own[_extremes(part[one], share // 4)] for one in extremes]
    moments = np.unique(np.concatenate(kept))
    if len(moments) > left:
        moments = moments[np.linspace(0, len(moments) - 1, left).astype(np.intp)]
    return np.union1d(moments, even)


def _even(times: Times, points: int) -> Times:
    """The first moment of each of even steps, the last of all, and the edges of holes while they are few."""
    distances = np.diff(times)
    holes = np.flatnonzero(distances > HOLE * np.median(distances)) if len(distances) else np.zeros(0, np.intp)
    edges = np.unique(np.concatenate((holes, holes + 1)))
    if 2 * len(edges) > points:
        edges = edges[:0]
    steps = np.linspace(times[0], times[-1], max(points - len(edges), 2))
    even = np.union1d(np.minimum(np.searchsorted(times, steps), len(times) - 1), edges)
    chosen: Times = times[even]
    return chosen


def _apart(times: Times, kept: Times) -> int:
    """Milliseconds between neighbours of `kept` at most, without the widest hole between them that was there before."""
    at = np.searchsorted(times, kept)
    passed = np.flatnonzero(np.diff(at) > 1)
    if not len(passed):
        return 0
    distances = np.diff(times)
    widest = np.maximum.reduceat(distances, at[:-1])[passed]
    usual = np.median(distances)
    return int(np.max(np.diff(kept)[passed] - np.maximum(widest - usual, 0)))


def _shape(times: Times, values: pl.Series, points: int) -> Indices:
    there, numbers = _present(values)
    if len(there) <= points:
        return there
    # The shape alone may step over the very highest of several peaks.
    peaks = [int(numbers.argmin()), int(numbers.argmax())]
    shape = MinMaxLTTBDownsampler().downsample(times[there], numbers, n_out=max(points - len(peaks), 3))
    return there[np.concatenate((shape.astype(np.intp), peaks))]


def _extremes(values: pl.Series, points: int) -> Indices:
    there, numbers = _present(values)
    even = max(points - points % 2, 2)
    return there[MinMaxDownsampler().downsample(numbers, n_out=even)] if len(there) > even else there


def _present(values: pl.Series) -> tuple[Indices, npt.NDArray[np.float64]]:
    """Where there are values, and these."""
    numbers = values.cast(pl.Float64).to_numpy()
    there = np.flatnonzero(~np.isnan(numbers))
    return there, np.ascontiguousarray(numbers[there])
