"""Hourly forecasts: a week ahead, how far off they may be, and how good such forecasts were on days already past.

A series is seen as days of 24 hours that end with its newest hour. How long a limit is away belongs to
`hps_platform.analysis.capacity`; where hours come from and where forecasts go to `hps_platform.forecasting`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hps_platform.errors import NotEnoughData

Floats = NDArray[np.float64]

DAY = 24
WEEK = 7
HORIZON = WEEK * DAY
LEAST_DAYS = 8
"""A week to know the usual day by, and one more day to have tried it on."""
TRIED = (1, 2, 3, 5, 7, 9, 11, 13, 16)
"""How many days before its end a series is forecast again, to see how far off that would have been."""
THETA_DAYS = 28
_TAIL = 0.09
"""Less than a tenth, as overlapping days tell less than as many independent ones (measured: docs/forecasting.md)."""
_STILL = 1e-9


@dataclass(frozen=True, slots=True)
class Bands:
    """What will be exceeded nine times, five times and once of ten; arrays of one length, a value a step."""

    p10: Floats
    p50: Floats
    p90: Floats


@dataclass(frozen=True, slots=True)
class Backtest:
    """How forecasts from `origins` earlier moments did.

    `mase` and `naive_mase` (the seasonal naive's) by steps ahead: mean absolute error over that of the seasonal naive
    within the series (Hyndman and Koehler 2006); nothing of a series whose seasons are all alike. `coverage`: the share
    of steps between P10 and P90 when each origin's band comes from the other origins; None with one origin.
    """

    origins: int
    mase: dict[int, float]
    naive_mase: dict[int, float]
    coverage: float | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """The hours after a series' newest one. `backtest` is None for a series that never changed."""

    bands: Bands
    backtest: Backtest | None


def forecast(values: Floats, *, low: float = -np.inf, high: float = np.inf) -> Forecast:
    """The next `HORIZON` hours of an hourly series, oldest first, NaN for hours without a value.

    P50 is the mean of yesterday, the usual day (the hours' medians of a week), and the middle one of four members:
    these two, the week's mean day, and DynamicOptimizedTheta(24) of statsforecast. P10 and P90 lie as far from it as
    forecasts from the origins `TRIED` were off, by days ahead and by how much the hour of day usually varies (split
    conformal prediction with rolling origins). All are kept within [`low`, `high`].

    `NotEnoughData` says what is missing: fewer than `LEAST_DAYS` days, more gaps than values, a silent last day.
    """
    days = _days(values)
    filled = _filled(days)
    if np.ptp(days[~np.isnan(days)]) == 0:
        flat = np.full(HORIZON, filled[-1, -1])
        return Forecast(Bands(flat, flat, flat), None)
    ahead = _ahead(filled, len(filled))
    origins = [len(days) - before for before in TRIED if len(days) - before >= WEEK]
    off = np.stack([_off(days, filled, origin) for origin in origins])
    spread = _spread(days)
    lower, upper = _margins(off / spread)
    bands = (ahead + lower * spread, ahead, ahead + upper * spread)
    return Forecast(
        Bands(*(np.clip(band.ravel(), low, high) for band in bands)),
        _backtest(days, filled, origins, off, spread),
    )


def naive_scale(values: Floats, season: int = DAY) -> float:
    """The mean absolute difference of a value and the one a season before: what MASE is measured in.

    NaN where there is none to be had, or where it is nothing but noise of arithmetic beside the level.
    """
    steps = np.abs(values[season:] - values[:-season])
    steps = steps[~np.isnan(steps)]
    scale = float(steps.mean()) if steps.size else 0.0
    level = float(np.nanmax(np.abs(values), initial=0.0))
    return scale if scale > _STILL * max(level, _STILL) else float("nan")


def _days(values: Floats) -> Floats:
    """Shape days x 24, ending with the newest value; days before the first value are left out."""
    seen = np.flatnonzero(~np.isnan(values))
    if not seen.size:
        raise NotEnoughData("there are no samples of it")
    silent = len(values) - 1 - int(seen[-1])
    if silent >= DAY:
        raise NotEnoughData(
            f"no samples for {_spelled(silent)}: what comes after a silence that long is anyone's guess"
        )
    count = (len(values) - int(seen[0])) // DAY
    if count < LEAST_DAYS:
        hours = len(values) - int(seen[0])
        raise NotEnoughData(f"{_spelled(hours)} of history: a forecast needs {LEAST_DAYS} days")
    days = values[len(values) - count * DAY :].reshape(count, DAY)
    share = float(np.isnan(days[-THETA_DAYS:]).mean())
    if share > 0.5:
        raise NotEnoughData(f"{share:.0%} of the last {min(count, THETA_DAYS)} days have no samples")
    return days


def _spelled(hours: int) -> str:
    return f"{hours // DAY} days" if hours >= 2 * DAY else f"{hours} hours"


def _filled(days: Floats) -> Floats:
    """Hours without a value get the median of that hour in the week before, else of all days, else of all hours."""
    filled = days.copy()
    by_hour = np.array([_median(hour, _median(days.ravel(), 0.0)) for hour in days.T])
    for day in np.flatnonzero(np.isnan(days).any(axis=1)):
        for hour in np.flatnonzero(np.isnan(days[day])):
            filled[day, hour] = _median(filled[max(0, day - WEEK) : day, hour], by_hour[hour])
    return filled


def _median(values: Floats, otherwise: float) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else otherwise


def _ahead(filled: Floats, origin: int) -> Floats:
    """P50 of the seven days after the first `origin` days, knowing only these; shape 7 x 24."""
    week = filled[max(0, origin - WEEK) : origin]
    yesterday, usual, mean = (np.tile(day, (WEEK, 1)) for day in (week[-1], np.median(week, axis=0), week.mean(axis=0)))
    theta = _theta(filled[max(0, origin - THETA_DAYS) : origin])
    middle = np.median([yesterday, usual, mean, theta], axis=0)
    ahead: Floats = (yesterday + usual + middle) / 3
    return ahead


def _theta(known: Floats) -> Floats:
    """DynamicOptimizedTheta(24), seasons added, kept within what was seen; shape 7 x 24."""
    if np.ptp(known) <= _STILL * np.abs(known).max():
        return np.tile(known[-1], (WEEK, 1))
    from statsforecast.models import DynamicOptimizedTheta

    model = DynamicOptimizedTheta(season_length=DAY, decomposition_type="additive")
    ahead: Floats = np.clip(model.forecast(known.ravel(), HORIZON)["mean"], known.min(), known.max())
    return ahead.reshape(WEEK, DAY)


def _off(days: Floats, filled: Floats, origin: int) -> Floats:
    """Observed less forecast for the days after `origin`; shape 7 x 24, NaN where nothing was observed."""
    off = np.full((WEEK, DAY), np.nan)
    seen = days[origin : origin + WEEK]
    off[: len(seen)] = seen - _ahead(filled, origin)[: len(seen)]
    return off


def _spread(days: Floats) -> Floats:
    """How much each hour of day varies from day to day; shape 24, never 0."""
    recent = days[-2 * WEEK :]
    centre = np.array([_median(hour, 0.0) for hour in recent.T])
    around = np.array([_median(np.abs(hour - middle), 0.0) for hour, middle in zip(recent.T, centre, strict=True)])
    spread: Floats = around + max(0.5 * float(around.mean()), _STILL * (1 + float(np.abs(centre).max())))
    return spread


def _margins(off: Floats) -> tuple[Floats, Floats]:
    """Lower (at most 0) and upper (at least 0) margin by days ahead, each 7 x 1; a day further ahead is never surer.

    `off`: origins x 7 x 24. A day's margins come from what was off that many days ahead, one fewer and one more.
    """
    lower, upper = np.zeros(WEEK), np.zeros(WEEK)
    for day in range(WEEK):
        near = off[:, max(0, day - 1) : day + 2]
        near = near[~np.isnan(near)]
        if near.size:
            lower[day], upper[day] = np.quantile(near, [_TAIL, 1 - _TAIL])
    lower, upper = np.minimum.accumulate(np.minimum(lower, 0)), np.maximum.accumulate(np.maximum(upper, 0))
    return lower[:, None], upper[:, None]


def _backtest(days: Floats, filled: Floats, origins: Sequence[int], off: Floats, spread: Floats) -> Backtest:
    scale = naive_scale(days.ravel())
    naive = np.stack([np.tile(filled[origin - 1], (WEEK, 1)) for origin in origins])
    ahead = [days[origin : origin + WEEK] for origin in origins]
    naive_off = np.full_like(off, np.nan)
    for number, seen in enumerate(ahead):
        naive_off[number, : len(seen)] = seen - naive[number, : len(seen)]
    mase, naive_mase = ({} for _ in range(2)) if np.isnan(scale) else (_mase(one, scale) for one in (off, naive_off))
    return Backtest(len(origins), mase, naive_mase, _coverage(off / spread))


def _mase(off: Floats, scale: float) -> dict[int, float]:
    """Mean over the origins that saw all the days ahead, by hours ahead."""
    found = {}
    for count in (1, WEEK):
        whole = off[~np.isnan(off[:, count - 1]).all(axis=1), :count]
        if whole.size:
            found[count * DAY] = float(np.nanmean(np.abs(whole))) / scale
    return found


def _coverage(off: Floats) -> float | None:
    if len(off) < 2:
        return None
    within, known = 0, 0
    for left_out in range(len(off)):
        lower, upper = _margins(np.delete(off, left_out, axis=0))
        seen = ~np.isnan(off[left_out])
        inside = (off[left_out] >= lower - _STILL) & (off[left_out] <= upper + _STILL)
        within, known = within + int((inside & seen).sum()), known + int(seen.sum())
    return within / known if known else None
