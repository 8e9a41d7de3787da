"""The alert budget."""

import numpy as np
import pytest

from hps_platform.analysis import budget
from hps_platform.analysis.features import Floats

DAY = 1440


def minutes(days: float) -> Floats:
    return 60.0 * np.arange(int(days * DAY), dtype=np.float64)


def quiet(days: float, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).exponential(0.4, int(days * DAY))


def test_the_level_lets_as_many_episodes_through_as_allowed() -> None:
    times, scores = minutes(7), np.zeros(7 * DAY)
    for place, height in ((100, 9.0), (2_000, 8.0), (5_000, 7.0), (5_005, 6.5), (8_000, 6.0)):
        scores[place] = height
    assert budget.level(times, scores, 0) == 9
    assert budget.level(times, scores, 1) == 8
    # 7.0 and 6.5 are five minutes apart: one episode.
    assert budget.level(times, scores, 3) == 6
    assert budget.level(times, scores, 4) == budget.FLOOR


def test_peaks_that_grow_together_are_one_episode() -> None:
    times, scores = minutes(1), np.zeros(DAY)
    scores[[100, 108, 116]] = (9.0, 5.0, 8.0)
    assert budget.level(times, scores, 1, merging=False) == 8.0  # where they are still sixteen minutes apart
    assert budget.level(times, scores, 1) == budget.FLOOR
    assert budget.level(times, scores, 2) == budget.FLOOR


def test_a_long_incident_whose_peaks_grow_together_is_one_episode() -> None:
    times, scores = minutes(7), quiet(7)
    scores[3_000:3_060] = 5.0
    scores[[3_000, 3_020, 3_040, 3_059]] = (9.0, 8.0, 7.0, 6.0)
    assert budget.level(times, scores, 1) < 5.0
    assert budget.level(times, scores, 1, merging=False) == 8.0


def test_a_month_of_alarm_is_no_single_episode() -> None:
    times, scores = minutes(7), np.full(7 * DAY, 4.0)
    scores[::7] = 5.0
    assert budget.level(times, scores, 1) == 5.0


def test_what_happens_every_night_is_no_news() -> None:
    times, scores = minutes(8), quiet(8)
    night = (np.arange(8 * DAY) % DAY >= 120) & (np.arange(8 * DAY) % DAY < 150)
    scores[night] += 4.0
    usual = budget.habit(times, scores)
    assert usual.shape == (144,)
    assert (usual[12:15] > 3).all()
    assert np.median(usual) == 0
    excess = budget.above_habit(times, scores, usual)
    assert np.quantile(excess[night], 0.9) < 2
    assert (excess >= 0).all()
    scores[9] = np.nan
    assert np.isnan(budget.above_habit(times, scores, usual)[9])
    assert not budget.habit(minutes(3), quiet(3)).any()
    assert not budget.habit(np.zeros(0), np.zeros(0)).any()


def test_without_scores_nothing_is_an_alarm() -> None:
    assert budget.level(np.zeros(0), np.zeros(0), 3) == float("inf")
    assert budget.level(minutes(1), np.full(DAY, np.nan), 3) == float("inf")


@pytest.mark.parametrize("allowed", budget.PRESETS)
def test_a_quiet_server_alarms_about_as_often_as_the_budget_says(allowed: float) -> None:
    times, scores = minutes(90), quiet(90)
    flags, _ = budget.flag(times, scores, allowed)
    raised = len(budget.episodes(times, flags))
    assert raised <= 90 * allowed * 1.6 + 3


def test_changing_the_future_changes_no_flag_before_it() -> None:
    times, scores = minutes(20), quiet(20)
    cut = 15 * DAY + 700
    loud = scores.copy()
    loud[cut:] += 9
    assert (budget.flag(times, scores, 0.25)[0][:cut] == budget.flag(times, loud, 0.25)[0][:cut]).all()
    assert budget.flag(times, loud, 0.25)[0][cut:].any()


def test_a_day_judges_by_the_days_before_it() -> None:
    times, scores = minutes(9), quiet(9)
    scores[8 * DAY + 600] = 11.0
    flags, limits = budget.flag(times, scores, 0.25)
    assert flags[8 * DAY + 600]
    assert len(np.unique(limits[8 * DAY :])) == 1
    assert not flags[:DAY].any()  # nothing is known yet


def test_scores_from_before_and_an_initial_level_stand_in_for_a_past() -> None:
    times, scores = minutes(1) + 30 * 86_400, quiet(1)
    scores[700] = 11.0
    before = minutes(7) + 23 * 86_400
    assert budget.flag(times, scores, 0.25, (before, quiet(7, 5)))[0][700]
    assert budget.flag(times, scores, 0.25, None, 6.0)[0][700]
    assert not budget.flag(times, scores, 0.25)[0].any()


def test_a_quiet_week_makes_no_news_of_what_was_usual_before() -> None:
    times, scores = minutes(9), np.zeros(9 * DAY)
    scores[8 * DAY + 600] = 5.0
    assert budget.flag(times, scores, 0.25, None, 4.0)[0][8 * DAY + 600]
    assert not budget.flag(times, scores, 0.25, None, 6.0)[0].any()


def test_a_storm_raises_the_level_the_next_day() -> None:
    times, scores = minutes(9), quiet(9)
    storm = slice(7 * DAY, 9 * DAY)
    scores[storm] = np.where(
        np.arange(2 * DAY) % 60 == 0, 8.0 + np.random.default_rng(1).random(2 * DAY), scores[storm]
    )
    flags, _ = budget.flag(times, scores, 0.25)
    first, second = (
        len(budget.episodes(times[day], flags[day])) for day in (slice(7 * DAY, 8 * DAY), slice(8 * DAY, 9 * DAY))
    )
    assert first > 15
    assert second <= 4


def test_hours_of_alarm_raise_the_level_the_next_day_though_they_were_one_episode() -> None:
    times, scores = minutes(9), quiet(9)
    hump = 6.0 * np.sin(np.linspace(0, np.pi, 6 * 60))
    for day in (7, 8):
        scores[day * DAY + 600 : day * DAY + 960] = hump
    flags, _ = budget.flag(times, scores, 0.25)
    assert flags[7 * DAY : 8 * DAY].sum() > 180
    assert flags[8 * DAY :].sum() < 60


def test_episodes_are_merged_over_ten_minutes() -> None:
    times = np.array([0.0, 60, 120, 660, 1400, 1460])
    flags = np.array([True, True, False, True, True, False])
    assert budget.episodes(times, flags) == [(0, 3), (4, 4)]
