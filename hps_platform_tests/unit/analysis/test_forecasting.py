"""Forecasts of made-up hours: known rhythms, gaps, too little of it, and bands that hold what came."""

import numpy as np
import pytest

from hps_platform.analysis.forecasting import HORIZON, Floats, forecast, naive_scale
from hps_platform.errors import NotEnoughData


def rhythm(noise: float = 2.0, *, hours: int = 24 * 35, seed: int = 3) -> Floats:
    """Busy days, quiet nights, and noise."""
    clean = 40 + 25 * np.sin(2 * np.pi * np.arange(hours) / 24)
    made: Floats = clean + np.random.default_rng(seed).normal(0, noise, hours)
    return made


def test_the_usual_day_is_forecast_and_the_band_holds_it() -> None:
    values = rhythm()
    known, came = values[:-HORIZON], values[-HORIZON:]
    made = forecast(known)
    naive = np.tile(known[-24:], 7)
    assert np.abs(made.bands.p50 - came).mean() < 0.9 * np.abs(naive - came).mean()
    within = ((came >= made.bands.p10) & (came <= made.bands.p90)).mean()
    assert 0.65 < within < 0.95
    assert made.backtest is not None
    assert made.backtest.origins == 9
    assert made.backtest.mase[24] < made.backtest.naive_mase[24]
    assert made.backtest.mase[168] < made.backtest.naive_mase[168]
    assert made.backtest.coverage is not None
    assert 0.7 < made.backtest.coverage < 0.95


def test_a_golden_forecast() -> None:
    made = forecast(rhythm(noise=1.0, hours=24 * 10), low=0)
    chosen = [made.bands.p10[0], made.bands.p50[0], made.bands.p90[0], made.bands.p50[100], made.bands.p90[167]]
    assert chosen == pytest.approx([38.5999, 39.6863, 40.5599, 61.2993, 34.3480], abs=1e-4)


def test_gaps_are_bridged_and_do_not_count_as_zero() -> None:
    values = rhythm(noise=0.5, hours=24 * 12)
    whole = forecast(values).bands.p50
    holed = values.copy()
    holed[-100:-90] = np.nan
    holed[::17] = np.nan
    assert np.abs(forecast(holed).bands.p50 - whole).max() < 3


def test_a_series_that_never_changes_stays_as_it_is() -> None:
    made = forecast(np.full(24 * 9, 7.0))
    assert made.backtest is None
    assert set(made.bands.p10) == set(made.bands.p50) == set(made.bands.p90) == {7.0}


def test_one_that_hardly_ever_changes_has_no_scale_to_measure_errors_in() -> None:
    values = np.full(24 * 20, 50.0)
    values[3] += 1e-12
    assert np.isnan(naive_scale(values))
    made = forecast(values)
    assert made.backtest is not None
    assert made.backtest.mase == {}
    assert np.allclose(made.bands.p50, 50)


def test_bounds_hold() -> None:
    values = np.clip(rhythm(noise=10.0) + 30, 0, 100)
    made = forecast(values, low=0, high=100).bands
    assert made.p10.min() >= 0
    assert made.p90.max() <= 100
    assert (made.p10 <= made.p50).all()
    assert (made.p50 <= made.p90).all()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full(500, np.nan), "there are no samples of it"),
        (np.r_[np.full(500, np.nan), 1.0, 2.0], "2 hours of history: a forecast needs 8 days"),
        (rhythm()[: 24 * 7 + 5], "7 days of history: a forecast needs 8 days"),
        (np.r_[rhythm(), np.full(24 * 7, np.nan)], "no samples for 7 days: what comes after"),
        (np.where(np.arange(840) % 3 == 0, rhythm(), np.nan), "67% of the last 28 days have no samples"),
    ],
)
def test_what_is_missing_is_said(values: Floats, reason: str) -> None:
    with pytest.raises(NotEnoughData, match=reason):
        forecast(values)
