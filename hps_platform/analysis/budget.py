"""The alert budget: how strange a row must be so that a server wakes somebody at most so often.

Each UTC day's level is the one at which the server's own scores of the seven days before would have raised no more
alarm episodes than the budget allows. It follows drift, looks backwards only, and needs no labels. What an alarm then
does (cooldown, severity) belongs to `anomaly_thresholds` and their readers.
"""

import bisect
from collections.abc import Sequence

import numpy as np

from hps_platform.analysis.accuracy import Bools, runs
from hps_platform.analysis.features import DAY_S, Floats

PRESETS = (0.1, 0.25, 0.5)
"""Alarm episodes per server and day that people choose from; any positive number works."""
DEFAULT = 0.25
TRAILING_DAYS = 7
MERGE_GAP_S = 600.0
FLOOR = 2.0
"""Never alarm below this score: a mean tail probability of 1 % is no news, however quiet the week was."""


def level(times: Floats, scores: Floats, allowed: int) -> float:
    """The score at which episode number `allowed + 1` would begin: alarm above it, and no more than `allowed` begin.

    `times` ascend, in seconds; NaN scores are skipped. Without scores there is no ground for an alarm: infinity.
    """
    seen = np.isfinite(scores)
    times, scores = times[seen], scores[seen]
    if not scores.size:
        return float("inf")
    raised: list[float] = []  # times of the rows taken so far, strangest first
    episodes = 0
    for row in np.argsort(-scores, kind="stable").tolist():
        if scores[row] <= FLOOR:
            break
        time = float(times[row])
        place = bisect.bisect_left(raised, time)
        joins = place > 0 and time - raised[place - 1] <= MERGE_GAP_S
        joins_next = place < len(raised) and raised[place] - time <= MERGE_GAP_S
        episodes += 1 - int(joins) - int(joins_next)
        if episodes > allowed:
            return float(scores[row])
        raised.insert(place, time)
    return FLOOR


def daily_levels(
    days: Sequence[int], times: Floats, scores: Floats, budget: float, known_from: float | None = None
) -> dict[int, float]:
    """The level of each day (days since 1970), from the scores before that day began; no later row changes it.

    `known_from` (seconds) is when scores began, by default the first of `times`: of a shorter past, a part of the
    budget is taken, so that a server's second day is not judged as if seven had been quiet.
    """
    levels = {}
    for day in days:
        end = day * DAY_S
        start = end - TRAILING_DAYS * DAY_S
        first, last = np.searchsorted(times, (start, end))
        begin = max(start, known_from if known_from is not None else float(times[0]) if times.size else end)
        levels[day] = level(times[first:last], scores[first:last], int(budget * max(end - begin, 0.0) / DAY_S + 1e-9))
    return levels


def day_of(times: Floats) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The UTC day of each time, in days since 1970."""
    days: np.ndarray[tuple[int], np.dtype[np.int64]] = np.floor_divide(times, DAY_S).astype(np.int64)
    return days


def flag(
    times: Floats, scores: Floats, budget: float, past: tuple[Floats, Floats] | None = None
) -> tuple[Bools, Floats]:
    """Which rows are past their day's level, and the level of each; `past` = times and scores from before.

    Only rows before `times[0]` are taken from `past`. A NaN score is never flagged.
    """
    before = (past[0] < times[0]) if past is not None and times.size else np.zeros(0, dtype=bool)
    all_times, all_scores = times, scores
    if past is not None and before.any():
        all_times = np.concatenate([past[0][before], times])
        all_scores = np.concatenate([past[1][before], scores])
    days = day_of(times)
    levels = daily_levels(np.unique(days).tolist(), all_times, all_scores, budget)
    limits = np.array([levels[day] for day in days.tolist()], dtype=np.float64)
    return np.nan_to_num(scores, nan=-1.0) > limits, limits


def episodes(times: Floats, flags: Bools) -> list[tuple[int, int]]:
    """Alarm episodes as (first row, last row): flagged rows not more than ten minutes apart are one episode."""
    found: list[tuple[int, int]] = []
    for first, last in runs(flags):
        if found and times[first] - times[found[-1][1]] <= MERGE_GAP_S:
            found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return found
