"""`hps bench score`: how fast a detector is trained, judges many rows, and judges one, on one core.

The data is made up: metrics of a server with a daily rhythm at one-minute steps. All times are CPU time: of many rows
the best of a few rounds, of one row the median over many.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from statistics import median

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it publishes no types

from hps_platform.analysis import detector
from hps_platform.analysis.features import DAY_S
from hps_platform.analysis.flat_forest import FlatForest
from hps_platform.analysis.live import Live
from hps_platform.analysis.members import FOREST
from hps_platform.stack.bench import Report, Tell, report

STEP_S = 60
_START = datetime(2026, 3, 2, tzinfo=UTC)
_SINGLE = 500


def run(*, rows: int, columns: int, rounds: int, tell: Tell) -> Report:
    """Trains on `rows` of `columns` metrics and judges as many others."""
    started = time.monotonic()
    data = made_up(2 * rows, columns)
    train, test = data.head(rows), data.tail(rows)
    with threadpool_limits(limits=1):
        tell(f"training on {rows} rows of {columns} metrics")
        train_s = min(_cpu(lambda: detector.fit(train)) for _ in range(rounds))
        learnt = detector.fit(train)
        tell("judging many rows")
        score_s = min(_cpu(lambda: learnt.score(test, train)) for _ in range(rounds))
        tell("judging one row after another")
        live = Live(learnt, train)
        values = test.drop("timestamp").to_numpy()
        moments = test["timestamp"].dt.epoch("s").to_list()
        single = [_cpu(partial(live.judge, moments[row], values[row])) for row in range(min(_SINGLE, rows))]
        forest = FlatForest(learnt.members[FOREST.name]["forest"])
        context = np.random.default_rng(2).normal(size=(_SINGLE, 5 * columns))
        forest_single = [_cpu(partial(forest.score, row)) for row in context]
    parameters = {"rows": rows, "columns": columns, "rounds": rounds, "single_rows": len(single)}
    return report(
        "score",
        parameters,
        started,
        {
            "rows_per_s": round(rows / score_s),
            "single_row_ms": round(1e3 * median(single), 4),
            "forest_single_row_ms": round(1e3 * median(forest_single), 4),
            "train_s": round(train_s, 3),
        },
    )


def made_up(rows: int, columns: int, seed: int = 1) -> pl.DataFrame:
    """`timestamp` and `columns` metrics that follow a daily rhythm more or less, and one another."""
    random = np.random.default_rng(seed)
    rhythm = np.sin(2 * np.pi * STEP_S * np.arange(rows) / DAY_S)
    load = 40 + 25 * rhythm + np.convolve(random.normal(0, 4, rows + 9), np.full(10, 0.1), "valid")
    shares = random.uniform(0.1, 1, columns)
    values = load[:, None] * shares + random.normal(0, 2, (rows, columns))
    first = int(_START.timestamp())
    stamps = pl.from_epoch(pl.Series(np.arange(first, first + rows * STEP_S, STEP_S)), "s")
    metrics = pl.DataFrame(values, schema=[f"metric_{number}" for number in range(columns)])
    return metrics.insert_column(
        0, stamps.dt.replace_time_zone("UTC").cast(pl.Datetime("us", "UTC")).alias("timestamp")
    )


def _cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
