"""Fewer points on a line, so that its shape and its peaks stay: min-max-LTTB by line and column. Pure."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from tsdownsample import MinMaxDownsampler, MinMaxLTTBDownsampler

_FEWEST = 6
"""Points that any column of a line keeps at least, room permitting."""

Indices = npt.NDArray[np.intp]
Times = npt.NDArray[np.int64]


def thin(frame: pl.DataFrame, line: str, key: str | None, columns: Sequence[str], points: int) -> pl.DataFrame:
    """At most `points` moments of each `line`, whole rows, in the order of `frame`, which is ascending by `timestamp`.

    A moment is kept with all of its keys, so that they can still be put together. Columns and keys share the points.
    Where `<column>_min` and `<column>_max` are there, the lowest of the one and the highest of the other stay too.
    """
    if frame.height <= points:
        return frame
    kept = []
    for rows in frame.with_row_index("row").partition_by(line, maintain_order=True):
        if rows["timestamp"].n_unique() > points:
            moments = pl.Series(_moments(rows, key, columns, points)).cast(rows.schema["timestamp"])
            kept.append(rows.filter(pl.col("timestamp").is_in(moments.implode()))["row"])
        else:
            kept.append(rows["row"])
    return frame[pl.concat(kept).sort()]


def _moments(rows: pl.DataFrame, key: str | None, columns: Sequence[str], points: int) -> Times:
    parts = rows.partition_by(key) if key is not None else [rows]
    share = max(points // max(len(columns) * len(parts), 1), _FEWEST)
    kept: list[Times] = []
    for part in parts:
        times = part["timestamp"].to_physical().to_numpy()
        for name in columns:
            extremes = [one for one in (f"{name}_min", f"{name}_max") if one in part.columns]
            kept.append(times[_shape(times, part[name], share // 2 if extremes else share)])
            kept += [times[_extremes(part[one], share // 4)] for one in extremes]
    moments = np.unique(np.concatenate(kept))
    if len(moments) > points:
        moments = moments[np.linspace(0, len(moments) - 1, points).astype(np.intp)]
    return moments


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
