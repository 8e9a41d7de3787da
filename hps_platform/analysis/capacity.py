"""Capacity: where the busiest hours of days are heading over a quarter, and when they reach a limit.

It looks at a series' daily peaks: capacity is what must be there when most is asked for. Hour by hour and a week ahead:
`hps_platform.analysis.forecasting`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hps_platform.analysis.forecasting import DAY, WEEK, Backtest, Bands, Floats, naive_scale
from hps_platform.errors import NotEnoughData

HORIZON_DAYS = 90
FARTHEST_DAYS = 365
"""Beyond a year a date says nothing."""
LEAST_DAYS = 14
FITTED_DAYS = 56
TRIED = (2, 4, 7, 10, 14, 21, 28, 35, 42)
"""How many days before its end a series is forecast again, to see how far off that would have been."""
CERTAIN = 0.95
_TAIL = 0.1
_HOURS_OF_A_DAY = 6
_GROWTHS = (0.0, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Trend:
    """`direction`: up, down or flat. `per_week` in the metric's unit (Theil and Sen's slope).

    `confidence`, from 0.5 to 1, that the slope has the right sign (Mann and Kendall's test, its variance corrected for
    days that resemble the day before); below `CERTAIN` the direction is flat.
    """

    direction: str
    per_week: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Runway:
    """Days until the limit is reached: with a chance of one in ten, more likely than not, and nine in ten.

    None where that is not within `FARTHEST_DAYS`; `reason` then says why.
    """

    limit: float
    p10: int | None
    p50: int | None
    p90: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """`bands`: daily peaks of the next `HORIZON_DAYS`; in `backtest`, steps ahead are days."""

    bands: Bands
    trend: Trend
    runway: Runway | None
    backtest: Backtest


def outlook(values: Floats, *, limit: float | None = None, low: float = -np.inf, high: float = np.inf) -> Outlook:
    """From an hourly series, oldest first, NaN for hours without a value; its days end with its newest hour.

    P50 goes on from the last week's level along the trend, where that is certain, with the week's rhythm. P10 and P90
    lie as far from it as forecasts from the origins `TRIED` were off, wider with time as fast as these were.
    `NotEnoughData` below `LEAST_DAYS` days.
    """
    peaks = daily_peaks(values)
    ahead, trend = _ahead(peaks, FARTHEST_DAYS)
    origins = [len(peaks) - before for before in TRIED if len(peaks) - before >= WEEK]
    off = np.stack([_off(peaks, origin) for origin in origins])
    growth = _growth(off)
    lower, upper = _margins(off / growth[: off.shape[1]])
    bands = Bands(*(np.clip(ahead + margin * growth, low, high) for margin in (lower, 0.0, upper)))
    return Outlook(
        Bands(*(band[:HORIZON_DAYS] for band in (bands.p10, bands.p50, bands.p90))),
        trend,
        None if limit is None else _runway(float(peaks[-1]), bands, trend, limit),
        _backtest(peaks, origins, off, growth[: off.shape[1]]),
    )


def daily_peaks(values: Floats) -> Floats:
    """The highest hour of each day, oldest first; a day with few hours has its neighbours' straight line."""
    seen = np.flatnonzero(~np.isnan(values))
    count = (len(values) - int(seen[0])) // DAY if seen.size else 0
    if count < LEAST_DAYS:
        raise NotEnoughData(f"{count} days of history: an outlook needs {LEAST_DAYS} days")
    days = values[len(values) - count * DAY :].reshape(count, DAY)
    known = (~np.isnan(days)).sum(axis=1) >= _HOURS_OF_A_DAY
    if known.mean() < 0.5:
        raise NotEnoughData(f"{count - int(known.sum())} of {count} days have hardly any samples")
    peaks = np.nanmax(days[known], axis=1)
    filled: Floats = np.interp(np.arange(count), np.flatnonzero(known), peaks)
    return filled


def week_on_week(values: Floats) -> tuple[float, float] | None:
    """Means of the last seven days and of the seven before; None unless both have half of their hours."""
    hours = WEEK * DAY
    halves = [values[-hours:], values[-2 * hours : -hours]]
    if any((~np.isnan(half)).sum() < hours / 2 for half in halves):
        return None
    this, before = (float(np.nanmean(half)) for half in halves)
    return this, before


def trend_of(peaks: Floats) -> Trend:
    """Of equally spaced values; flat with confidence 0.5 where nothing moves."""
    count = len(peaks)
    later, earlier = np.triu_indices(count, 1)[::-1]
    rises = peaks[later] - peaks[earlier]
    slope = float(np.median(rises / (later - earlier)))
    left = peaks - slope * np.arange(count)
    left = left - left.mean()
    alike = float((left[1:] @ left[:-1]) / max(float(left @ left), 1e-300))
    alike = min(max(alike + (1 + 4 * alike) / count, 0.0), 0.95)  # few values show less of it (Kendall 1954)
    variance = count * (count - 1) * (2 * count + 5) / 18 * (1 + alike) / (1 - alike)
    score = abs(float(np.sign(rises).sum())) / math.sqrt(variance)
    confidence = 0.5 * (1 + math.erf(score / math.sqrt(2)))
    certain = confidence >= CERTAIN and slope != 0
    return Trend(("up" if slope > 0 else "down") if certain else "flat", slope * WEEK, confidence)


def _ahead(peaks: Floats, count: int) -> tuple[Floats, Trend]:
    """P50 of the `count` days after the last of `peaks`, and the trend it follows."""
    known = peaks[-FITTED_DAYS:]
    trend = trend_of(known)
    slope = trend.per_week / WEEK if trend.direction != "flat" else 0.0
    left = known - slope * (np.arange(len(known)) - (len(known) - 1))
    level = float(np.median(left[-WEEK:]))
    day = np.arange(1, count + 1)
    ahead: Floats = level + slope * day + _rhythm(left)[(day - 1) % WEEK]
    return ahead, trend


def _rhythm(left: Floats) -> Floats:
    """What each of the next seven days usually has above or below the week's median; 0 before there are four weeks."""
    weeks = len(left) // WEEK
    if weeks < 4:
        return np.zeros(WEEK)
    shaped = left[-4 * WEEK :].reshape(4, WEEK)
    rhythm: Floats = np.median(shaped - np.median(shaped, axis=1, keepdims=True), axis=0)
    return rhythm


def _off(peaks: Floats, origin: int) -> Floats:
    """Observed less forecast, by days after `origin`; NaN beyond the series' end."""
    off = np.full(max(TRIED), np.nan)
    seen = peaks[origin:]
    off[: len(seen)] = seen - _ahead(peaks[:origin], len(seen))[0]
    return off


def _growth(off: Floats) -> Floats:
    """How many times wider than at once a band is, by days ahead: like that power of the weeks that fits `off` best."""
    weeks = 1 + np.arange(FARTHEST_DAYS) / WEEK
    near, far = off[:, :WEEK], off[:, WEEK:]
    if np.isnan(far).all():
        return np.sqrt(weeks)
    tried = weeks[: off.shape[1]]

    def unevenness(power: float) -> float:
        scaled = np.abs(off) / tried**power
        first, then = (float(np.nanmean(part)) for part in (scaled[:, : near.shape[1]], scaled[:, near.shape[1] :]))
        return abs(math.log((first + 1e-12) / (then + 1e-12)))

    growth: Floats = weeks ** min(_GROWTHS, key=unevenness)
    return growth


def _margins(off: Floats) -> tuple[float, float]:
    known = off[~np.isnan(off)]
    lower, upper = np.quantile(known, [_TAIL, 1 - _TAIL])
    return min(float(lower), 0.0), max(float(upper), 0.0)


def _backtest(peaks: Floats, origins: Sequence[int], off: Floats, growth: Floats) -> Backtest:
    """Against the same day of the week before, by days ahead."""
    scale = naive_scale(peaks, season=WEEK)
    mase: dict[int, float] = {}
    naive_mase: dict[int, float] = {}
    for days in (WEEK, 4 * WEEK):
        whole = [number for number, origin in enumerate(origins) if len(peaks) - origin >= days]
        if whole and not math.isnan(scale):
            naive = [np.resize(peaks[origins[number] - WEEK : origins[number]], days) for number in whole]
            came = [peaks[origins[number] : origins[number] + days] for number in whole]
            mase[days] = float(np.abs(off[whole, :days]).mean()) / scale
            naive_mase[days] = float(np.abs(np.stack(came) - np.stack(naive)).mean()) / scale
    return Backtest(len(origins), mase, naive_mase, _coverage(off / growth))


def _coverage(off: Floats) -> float | None:
    within, known = 0, 0
    for left_out in range(len(off) if len(off) > 1 else 0):
        lower, upper = _margins(np.delete(off, left_out, axis=0))
        seen = off[left_out][~np.isnan(off[left_out])]
        within, known = within + int(((seen >= lower) & (seen <= upper)).sum()), known + len(seen)
    return within / known if known else None


def _runway(newest: float, bands: Bands, trend: Trend, limit: float) -> Runway:
    if newest >= limit:
        return Runway(limit, 0, 0, 0, None)
    # Whoever is higher with a chance of one in ten is there early with that chance.
    p10, p50, p90 = (_first(band, limit) for band in (bands.p90, bands.p50, bands.p10))
    if trend.direction == "flat":
        return Runway(limit, None, None, None, f"flat: no trend is certain (confidence {trend.confidence:.0%})")
    if trend.direction == "down":
        return Runway(limit, None, None, None, "falling: it moves away from the limit")
    if p50 is None:
        return Runway(limit, None, None, None, "not within a year at this pace")
    if p90 is None:
        return Runway(limit, p10, p50, None, "noisy: it may as well not be reached within a year")
    return Runway(limit, p10, p50, p90, None)


def _first(band: Floats, limit: float) -> int | None:
    """Days until the band is at the limit."""
    there = np.flatnonzero(band >= limit)
    return int(there[0]) + 1 if there.size else None
