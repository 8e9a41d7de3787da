"""Single members of the detector, and the scale their distances are measured on."""

import numpy as np
import pytest

from hps_platform.analysis import members
from hps_platform.analysis.features import Floats
from hps_platform.analysis.members import BIAS, LAGS, REGRESSION, View

DAY = 1440


def view_of(value: Floats) -> View:
    """Scaled values in minutes, NaN for missing."""
    there = np.nan_to_num(value)
    return View(there, np.tile(there, 5), np.isnan(value), 60.0)


def days(count: int, seed: int) -> Floats:
    """A metric of noise, one that goes its way slowly, and one that jumps now and then."""
    random = np.random.default_rng(seed)
    rows = random.normal(0, 0.1, (count * DAY, 3))
    for row in range(1, len(rows)):
        rows[row, 1] += 0.9 * rows[row - 1, 1]
    rows[:, 2] += np.where(random.random(len(rows)) < 0.01, 3.0, 0.0)
    return rows


@pytest.fixture(scope="module")
def learnt() -> dict[str, members.State]:
    view = view_of(days(4, 1))
    return {member.name: member.fit(view, np.arange(len(view.value)), 0) for member in (REGRESSION, BIAS)}


def test_normal_distances_are_as_wide_as_their_standard_deviation() -> None:
    normal = np.random.default_rng(1).normal(0, 3, (20_000, 1))
    assert members.width(normal)[0] == pytest.approx(3, rel=0.05)
    assert members.quartile_width(normal)[0] == pytest.approx(3, rel=0.05)


def test_a_metric_that_jumps_now_and_then_is_wider_than_its_quartiles() -> None:
    distances = np.random.default_rng(1).normal(0, 1, (20_000, 3))
    distances[::100, 1] += 40.0
    distances[:20, 2] += 40.0  # one incident in a thousand rows
    calm, jumpy, once = members.width(distances)
    assert jumpy > 10 * calm
    assert once < 1.3 * calm
    assert members.width(np.zeros((100, 1)))[0] == 0.01


def test_the_regression_is_less_surprised_by_what_often_jumps(learnt: dict[str, members.State]) -> None:
    test = days(1, 2)
    test[500, 0], test[900, 2] = 3.0, 3.0
    scores = REGRESSION.score(learnt["regression"], view_of(test))
    assert scores[500] > 5 * scores[900]


def test_a_slow_leak_is_seen_by_its_bias_though_no_minute_of_it_is_strange(learnt: dict[str, members.State]) -> None:
    test = days(1, 2)
    test[600:690, 1] += np.linspace(0, 2, 90)
    regression, bias = (member.score(learnt[member.name], view_of(test)) for member in (REGRESSION, BIAS))
    assert np.median(bias[630:690]) > 1.5 * np.quantile(bias[100:600], 0.99)
    assert np.median(regression[615:690]) < np.quantile(regression[:600], 0.99)


def test_a_single_jump_is_little_of_a_bias(learnt: dict[str, members.State]) -> None:
    test = days(1, 2)
    usual = BIAS.score(learnt["bias"], view_of(test))
    test[700, 0] = 500.0
    jumped = view_of(test)
    assert BIAS.score(learnt["bias"], jumped)[700] < 2 * usual.max()
    assert REGRESSION.score(learnt["regression"], jumped)[700] > 20


def test_a_gap_leaves_no_bias_behind(learnt: dict[str, members.State]) -> None:
    """What comes after it is far from a forecast that was made from nothing."""
    holed = days(1, 2) + 5.0
    holed[600:640] = np.nan
    view = view_of(holed)
    after = BIAS.score(learnt["bias"], view)[640 : 640 + LAGS]
    assert REGRESSION.score(learnt["regression"], view)[640] > 10
    assert (np.diff(after) <= 1e-9).all()


def test_a_bias_depends_on_no_more_than_its_reach(learnt: dict[str, members.State]) -> None:
    view = view_of(days(1, 2))
    alone, whole = (BIAS.score(learnt["bias"], one)[-1] for one in (view.last(BIAS.reach(60.0)), view))
    assert alone == pytest.approx(whole, abs=1e-9)
    assert BIAS.reach(900.0) == LAGS + 1
