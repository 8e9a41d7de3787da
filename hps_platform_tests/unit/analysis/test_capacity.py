"""Outlooks on made-up growth: when a disk is full, and what can't be said."""

import numpy as np
import pytest

from hps_platform.analysis.capacity import HORIZON_DAYS, daily_peaks, outlook, trend_of, week_on_week
from hps_platform.analysis.forecasting import Floats
from hps_platform.errors import NotEnoughData


def filling(days: int, *, start: float, per_day: float, noise: float = 0.3, seed: int = 5) -> Floats:
    hours = np.arange(days * 24)
    made: Floats = start + per_day * hours / 24 + np.random.default_rng(seed).normal(0, noise, len(hours))
    return made


def test_a_disk_that_fills_steadily_is_full_when_arithmetic_says() -> None:
    found = outlook(filling(60, start=40, per_day=0.5), limit=100, low=0)
    assert found.trend.direction == "up"
    assert found.trend.per_week == pytest.approx(3.5, rel=0.05)
    assert found.trend.confidence > 0.99
    assert found.runway is not None
    dates = [found.runway.p10, found.runway.p50, found.runway.p90]
    assert dates == sorted(dates, key=lambda days: days or 1000)
    assert found.runway.p50 == pytest.approx((100 - 70) / 0.5, abs=3)
    assert found.runway.reason is None
    assert len(found.bands.p50) == HORIZON_DAYS
    assert found.backtest.mase[28] < found.backtest.naive_mase[28]


def test_what_has_no_trend_has_no_date() -> None:
    found = outlook(filling(50, start=60, per_day=0), limit=100)
    assert found.trend.direction == "flat"
    assert found.runway is not None
    assert (found.runway.p10, found.runway.p50, found.runway.p90) == (None, None, None)
    assert (found.runway.reason or "").startswith("flat: no trend is certain")


def test_what_falls_or_hardly_grows_says_so() -> None:
    for values, reason in (
        (filling(50, start=60, per_day=-0.4), "falling: it moves away from the limit"),
        (filling(50, start=10, per_day=0.05, noise=0.01), "not within a year at this pace"),
    ):
        found = outlook(values, limit=100).runway
        assert found is not None
        assert (found.p50, found.reason) == (None, reason)


def test_noise_takes_the_late_date_away() -> None:
    found = outlook(filling(40, start=40, per_day=0.35, noise=7.0), limit=100).runway
    assert found is not None
    assert found.p50 is not None
    assert found.p90 is None or found.p90 > found.p50 + 20


def test_a_limit_that_is_reached_is_reached_today() -> None:
    found = outlook(filling(20, start=99, per_day=0.1), limit=100).runway
    assert found is not None
    assert (found.p10, found.p50, found.p90) == (0, 0, 0)


def test_weekly_rhythm_is_kept() -> None:
    day = np.arange(42 * 24) // 24
    values = np.where(day % 7 < 5, 80.0, 20.0) + np.random.default_rng(1).normal(0, 1, len(day))
    ahead = outlook(values).bands.p50
    assert (ahead[[5, 6, 12, 13]] < 40).all()
    assert (ahead[:5] > 60).all()


def test_too_short_a_history_is_said() -> None:
    with pytest.raises(NotEnoughData, match="13 days of history: an outlook needs 14 days"):
        outlook(filling(13, start=1, per_day=1))
    with pytest.raises(NotEnoughData, match="0 days"):
        daily_peaks(np.full(400, np.nan))
    holes = np.full(24 * 20, np.nan)
    holes[::24] = 1.0
    with pytest.raises(NotEnoughData, match="hardly any samples"):
        daily_peaks(holes)


def test_confidence_is_no_better_than_a_coin_where_nothing_moves() -> None:
    still = trend_of(np.full(30, 5.0))
    assert (still.direction, still.per_week, still.confidence) == ("flat", 0.0, 0.5)


def test_days_that_resemble_each_other_are_no_proof() -> None:
    random = np.random.default_rng(2)
    certain = 0
    for _ in range(40):
        shocks = random.normal(0, 1, 56)
        values = np.zeros(56)
        for day in range(1, 56):
            values[day] = 0.7 * values[day - 1] + shocks[day]
        certain += trend_of(values).direction != "flat"
    assert certain <= 8


def test_week_on_week() -> None:
    assert week_on_week(np.r_[np.full(168, 10.0), np.full(168, 12.0)]) == (12.0, 10.0)
    assert week_on_week(np.r_[np.full(168, np.nan), np.full(168, 12.0)]) is None
    assert week_on_week(np.full(10, 1.0)) is None
