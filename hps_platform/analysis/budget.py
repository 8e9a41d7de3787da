"""The alert budget: how strange a row must be so that a server wakes somebody at most so often.

Each UTC day's level is the one at which the server's own scores of the seven days before would have raised no more
alarm episodes than the budget allows, nor more than their share on the last day and the last three, nor alarmed for
more than a small part of these: the second rule ends a storm of alarms when a machine starts a new life. Nor is it ever
below the one that would have kept the budget over the training data. It follows drift, looks backwards only, and needs
no labels. What an alarm then does (cooldown, severity) belongs to `anomaly_thresholds` and their readers.
"""

import bisect
from collections.abc import Iterator, Sequence

import numpy as np

from hps_platform.analysis.accuracy import Bools
from hps_platform.analysis.features import DAY_S, Floats

PRESETS = (0.1, 0.25, 0.5)
"""Alarm episodes per server and day that people choose from; any positive number works."""
DEFAULT = 0.25
TRAILING_DAYS = 7
MERGE_GAP_S = 600.0
FLOOR = 2.0
"""Never alarm below this score: a mean tail probability of 1 % is no news, however quiet the week was."""
_ALARMED_AT_MOST = 0.05
_SPLIT_AT_MOST = 8
_PARTS = 144
_HABIT_DAYS = 4
_STORM_DAYS = (1, 3)
_STORM_TIME = 0.015


def level(times: Floats, scores: Floats, allowed: int, *, merging: bool = True) -> float:
    """The lowest score above which no more than `allowed` alarm episodes would have been raised.

    `times` ascend, in seconds; NaN scores are skipped. With `merging`, peaks of one long incident that grow together
    further down count as one episode there, as long as no more than a twentieth of the time would have been alarmed;
    without it, the level is where episode number `allowed + 1` begins. Without scores there is no ground for an alarm:
    infinity.
    """
    seen = np.isfinite(scores)
    times, scores = times[seen], scores[seen]
    if not scores.size:
        return float("inf")
    order = np.argsort(-scores, kind="stable").tolist()
    found = float(scores[order[0]])
    longest = int(_ALARMED_AT_MOST * len(order))
    raised: list[float] = []  # times of the rows taken so far, strangest first
    count = 0
    for rank, row in enumerate(order):
        if scores[row] <= FLOOR:
            return FLOOR if count <= allowed else max(found, FLOOR)
        time = float(times[row])
        place = bisect.bisect_left(raised, time)
        joins = place > 0 and time - raised[place - 1] <= MERGE_GAP_S
        joins_next = place < len(raised) and raised[place] - time <= MERGE_GAP_S
        count += 1 - int(joins) - int(joins_next)
        raised.insert(place, time)
        if count <= allowed:
            found = float(scores[order[rank + 1]]) if rank + 1 < len(order) else FLOOR
        elif not merging or count > allowed + _SPLIT_AT_MOST:
            break
        if merging and rank >= longest:
            break
    return max(found, FLOOR)


def habit(times: Floats, scores: Floats) -> Floats:
    """How strange a server usually is at each time of day: 144 numbers, one for each ten minutes (UTC) of a day.

    A nightly backup is as strange as any incident, but at its hour it is no news. Of the highest score within ten
    minutes before and after, the median over the days, less what is usual all day long; never negative. All 0 with
    fewer than four days.
    """
    table = np.zeros(_PARTS)
    if not times.size:
        return table
    slots = np.floor_divide(times, DAY_S / _PARTS).astype(np.int64)
    first = int(slots[0])
    peaks = np.full(int(slots[-1]) - first + 3, np.nan)
    np.fmax.at(peaks, slots - first + 1, scores)
    around = np.fmax(peaks[1:-1], np.fmax(peaks[:-2], peaks[2:]))
    parts = np.arange(first, first + len(around)) % _PARTS
    for part in range(_PARTS):
        days = around[(parts == part) & np.isfinite(peaks[1:-1])]
        if days.size >= _HABIT_DAYS:
            table[part] = np.median(days)
    return np.maximum(table - np.median(table), 0.0)


def above_habit(times: Floats, scores: Floats, usual: Floats) -> Floats:
    """Scores less what is habitual at their time of day, not below 0: what levels are compared with."""
    parts = np.floor_divide(times, DAY_S / _PARTS).astype(np.int64) % _PARTS
    return np.maximum(scores - usual[parts], 0.0)


def daily_levels(
    days: Sequence[int], times: Floats, scores: Floats, budget: float, initial: float | None = None
) -> dict[int, float]:
    """The level of each day (days since 1970), from the scores before that day began; no later row changes it.

    `times` ascend, in seconds. Where scores began less than seven days before, `initial` stands in (see
    `initial_level`); without it a part of the budget is taken, so that a server's second day is not judged as if a
    week had been quiet, and a day with nothing before it has the level infinity. No level is below `initial`: a quiet
    week does not turn into news what was not in all the time that was learnt from.
    """
    levels = {}
    for day in days:
        end = day * DAY_S
        first, last = np.searchsorted(times, (end - TRAILING_DAYS * DAY_S, end)).tolist()
        covered = min(TRAILING_DAYS, (end - float(times[first])) / DAY_S) if first < last else 0.0
        if initial is not None and covered < TRAILING_DAYS - 0.5:
            week = initial
        else:
            week = level(times[first:last], scores[first:last], _allowed(budget * covered))
        levels[day] = max([week, initial or FLOOR, *_storms(times[first:last], scores[first:last], end, budget)])
    return levels


def _storms(times: Floats, scores: Floats, end: float, budget: float) -> Iterator[float]:
    """The levels that would have ended a storm in the last day and the last three, as far as there are scores: by how
    many episodes there would have been, and by how much of the time."""
    for days in _STORM_DAYS:
        first = int(np.searchsorted(times, end - days * DAY_S))
        if first < len(times) and (days == 1 or end - times[first] > (days - 0.5) * DAY_S):
            yield level(times[first:], scores[first:], max(1, _allowed(budget * days)), merging=False)
            known = scores[first:][np.isfinite(scores[first:])]
            if known.size:
                yield float(np.quantile(known, 1 - _STORM_TIME))


def initial_level(held_times: Floats, held_scores: Floats, budget: float) -> float:
    """The level for a model's first week, and the least one later: what would have kept the budget over the rows it was
    trained on, judged by models that had not seen them."""
    if not held_times.size:
        return float("inf")
    days = (float(held_times[-1]) - float(held_times[0])) / DAY_S
    return level(held_times, held_scores, _allowed(budget * days))


def _allowed(episodes: float) -> int:
    """A budget in whole episodes, to the nearest; less than one is none."""
    return int(episodes + 0.5 + 1e-9) if episodes >= 1 - 1e-9 else 0


def day_of(times: Floats) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The UTC day of each time, in days since 1970."""
    days: np.ndarray[tuple[int], np.dtype[np.int64]] = np.floor_divide(times, DAY_S).astype(np.int64)
    return days


def flag(
    times: Floats,
    scores: Floats,
    budget: float,
    past: tuple[Floats, Floats] | None = None,
    initial: float | None = None,
) -> tuple[Bools, Floats]:
    """Which rows are past their day's level, and the level of each; `past` = times and scores from before.

    `times` ascend. Only rows before `times[0]` are taken from `past`. A NaN score is never flagged.
    """
    all_times, all_scores = times, scores
    if past is not None and times.size:
        before = past[0] < times[0]
        all_times = np.concatenate([past[0][before], times])
        all_scores = np.concatenate([past[1][before], scores])
    days = day_of(times)
    levels = daily_levels(np.unique(days).tolist(), all_times, all_scores, budget, initial)
    limits = np.array([levels[day] for day in days.tolist()], dtype=np.float64)
    return past_limits(scores, limits), limits


def past_limits(scores: Floats, limits: Floats) -> Bools:
    """Which scores are above their limit; a NaN never is."""
    flags: Bools = np.nan_to_num(scores, nan=-1.0) > limits
    return flags


def episodes(times: Floats, flags: Bools) -> list[tuple[int, int]]:
    """Alarm episodes as (first row, last row): flagged rows not more than ten minutes apart are one episode."""
    flagged = np.flatnonzero(flags)
    if not flagged.size:
        return []
    begins = np.flatnonzero(np.diff(times[flagged], prepend=-np.inf) > MERGE_GAP_S)
    ends = np.append(begins[1:] - 1, flagged.size - 1)
    return list(zip(flagged[begins].tolist(), flagged[ends].tolist(), strict=True))
