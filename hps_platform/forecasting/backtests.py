"""What forecasts were worth, over all servers: from the rolling backtest of each, into MLflow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hps_platform.analysis import capacity, forecasting
from hps_platform.forecasting.nightly import HORIZONS
from hps_platform.model_registry import ModelRegistry
from hps_platform.store import forecasts as stored
from hps_platform.store.database import Database

EXPERIMENT = "hps-forecasts"
COVERED = (0.6, 0.95)
"""Between these the share of steps within P10 and P90, meant to be 0.8, is nothing to complain about."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Rolling backtests of one horizon, over all series that have one.

    By steps ahead (hours of a week's forecasts, days of a quarter's): medians of MASE and of the seasonal naive's MASE,
    and the share of series on which ours is lower. `coverage`: mean share of steps between P10 and P90.
    """

    horizon_days: int
    series: int
    mase: Mapping[int, float]
    naive_mase: Mapping[int, float]
    better: Mapping[int, float]
    coverage: float | None

    def metrics(self) -> dict[str, float]:
        """One number a name, as `7d_mase_24`."""
        named = {"mase": self.mase, "naive_mase": self.naive_mase, "better_share": self.better}
        flat = {f"{name}_{steps}": value for name, by_steps in named.items() for steps, value in by_steps.items()}
        flat |= {"series": float(self.series)} | ({} if self.coverage is None else {"coverage": self.coverage})
        return {f"{self.horizon_days}d_{name}": value for name, value in flat.items()}


@dataclass(frozen=True, slots=True)
class Noted:
    """`run_id` of the MLflow run; None when there was nothing to note."""

    run_id: str | None
    metrics: dict[str, float]


def rated(db: Database) -> list[Scores]:
    """How forecasts like the newest did on days already past, by horizon; a horizon without a backtest is left out."""
    with db.connection() as conn:
        found = stored.find(conn)
    tested = {horizon: [one.backtest for one in found if one.horizon_days == horizon] for horizon in HORIZONS}
    return [_scores(horizon, some) for horizon, all_of in tested.items() if (some := [one for one in all_of if one])]


def note(db: Database, registry: ModelRegistry) -> Noted:
    """The scores as one run of the experiment `EXPERIMENT`; `RegistryUnavailable`."""
    metrics = {name: value for scores in rated(db) for name, value in scores.metrics().items()}
    if not metrics:
        return Noted(None, {})
    parameters = {
        "members": "SeasonalNaive(24), median and mean of 7 days by hour, DynamicOptimizedTheta(24)",
        "theta_days": forecasting.THETA_DAYS,
        "origins_days_before": forecasting.TRIED,
        "quarter": "Theil-Sen trend of daily peaks",
        "quarter_origins_days_before": capacity.TRIED,
    }
    return Noted(registry.log_run(EXPERIMENT, "nightly backtest", parameters=parameters, metrics=metrics), metrics)


def complaints(rating: Sequence[Scores]) -> list[str]:
    """What is wrong with the forecasts, in sentences: worse than the seasonal naive, bands too narrow or too wide."""
    wrong = []
    for scores in rating:
        for steps, error in scores.mase.items():
            naive = scores.naive_mase[steps]
            if scores.horizon_days == HORIZONS[0] and error > naive:
                wrong.append(f"{steps} hours ahead the error is {error:.2f}, the seasonal naive's {naive:.2f}")
        if scores.coverage is not None and not COVERED[0] <= scores.coverage <= COVERED[1]:
            wrong.append(f"{scores.coverage:.0%} of the {scores.horizon_days} days' steps lie between P10 and P90")
    return wrong


def _scores(horizon: int, tested: Sequence[Mapping[str, Any]]) -> Scores:
    steps = sorted({int(step) for one in tested for step in one["mase"]})
    pairs = {step: _pairs(tested, str(step)) for step in steps}
    covered = [one["coverage"] for one in tested if one["coverage"] is not None]
    return Scores(
        horizon,
        len(tested),
        {step: float(np.median(pair[:, 0])) for step, pair in pairs.items()},
        {step: float(np.median(pair[:, 1])) for step, pair in pairs.items()},
        {step: float((pair[:, 0] < pair[:, 1]).mean()) for step, pair in pairs.items()},
        float(np.mean(covered)) if covered else None,
    )


def _pairs(tested: Sequence[Mapping[str, Any]], step: str) -> forecasting.Floats:
    """MASE and the naive's of each series that has them so many steps ahead."""
    return np.array([(one["mase"][step], one["naive_mase"][step]) for one in tested if step in one["mase"]])
