"""Made-up metrics for the detector's tests."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

START = datetime(2026, 3, 2, tzinfo=UTC)


def metrics(days: float, *, seed: int = 3, start: datetime = START, step_s: float = 60.0) -> pl.DataFrame:
    """A load with a daily rhythm, a rate that follows it, memory that drifts, and errors that hardly ever happen."""
    random = np.random.default_rng(seed)
    n = int(days * 86_400 / step_s)
    rhythm = 0.5 + 0.4 * np.sin(2 * np.pi * np.arange(n) * step_s / 86_400)
    return pl.DataFrame(
        {
            "timestamp": pl.Series([start + timedelta(seconds=step_s * i) for i in range(n)]).cast(
                pl.Datetime("us", "UTC")
            ),
            "cpu": 40 * rhythm + random.normal(0, 2, n),
            "packets": 900 * rhythm + random.normal(0, 30, n),
            "memory": 55 + np.cumsum(random.normal(0, 0.02, n)),
            "errors": np.where(random.random(n) < 0.004, 0.05, 0.0),
        }
    )


def with_hog(frame: pl.DataFrame, first: int, last: int) -> pl.DataFrame:
    """The same with all processors taken in these rows."""
    row = pl.int_range(pl.len())
    return frame.with_columns(cpu=pl.when((row >= first) & (row < last)).then(98.0).otherwise("cpu"))
