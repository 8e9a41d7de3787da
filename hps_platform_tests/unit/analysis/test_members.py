"""Single members of the detector, and the scale their distances are measured on."""

import numpy as np
import pytest

from hps_platform.analysis import members
from hps_platform.analysis.features import Floats
from hps_platform.analysis.members import REGRESSION, View

DAY = 1440


def view_of(value: Floats) -> View:
    """Scaled values in minutes, NaN for missing."""
    there = np.nan_to_num(value)
    return View(there, np.tile(there, 5), np.isnan(value), 60.0)


def days(count: int, seed: int) -> Floats:
    """A metric of noise, and one that also jumps now and then."""
    random = np.random.default_rng(seed)
    rows = random.normal(0, 0.1, (count * DAY, 2))
    rows[:, 1] += np.where(random.random(len(rows)) < 0.01, 3.0, 0.0)
    return rows


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


def test_the_regression_scores_a_jump_less_where_jumps_are_frequent() -> None:
    train, test = view_of(days(4, 1)), days(1, 2)
    learnt = REGRESSION.fit(train, np.arange(len(train.value)), 0)
    test[500, 0], test[900, 1] = 3.0, 3.0
    scores = REGRESSION.score(learnt, view_of(test))
    assert scores[500] > 5 * scores[900]
    surprises = np.abs(members.surprise(learnt, view_of(test)))
    assert surprises[900, 1] > 20  # as an explanation it keeps its weight
