"""Shapley values: against the definition, and of a forest's score."""

from itertools import permutations

import numpy as np
import polars as pl
import pytest

from hps_platform.analysis import detector, shapley
from hps_platform.errors import InvalidInput, NotEnoughData
from hps_platform_tests.unit.analysis.series import metrics, with_hog


def test_it_is_the_mean_over_all_orders_of_what_a_player_adds() -> None:
    worth = np.random.default_rng(5).normal(size=16)
    added = np.zeros((24, 4))
    for row, order in enumerate(permutations(range(4))):
        there = 0
        for player in order:
            added[row, player] = worth[there | 1 << player] - worth[there]
            there |= 1 << player
    assert shapley._shapley(worth, 4) == pytest.approx(added.mean(axis=0), abs=1e-12)


def test_the_hog_made_the_forest_suspicious() -> None:
    frame = metrics(3)
    model = detector.fit(frame[: 2 * 1440])
    rows = with_hog(frame, 3 * 1440 - 20, 3 * 1440)
    usual = [2 * 1440 <= number < 3 * 1440 - 60 for number in range(len(rows))]
    found = shapley.attribute(model, rows, usual)
    assert found.expected + sum(found.values.values()) == pytest.approx(found.forest_score, abs=1e-12)
    assert found.forest_score == pytest.approx(model.score(rows[-1:], rows[:-1]).forest_score[0], abs=1e-9)
    assert min(found.values, key=lambda name: found.values[name]) == "cpu"
    assert found.values["cpu"] < found.forest_score - found.expected + 0.02
    assert found.background == shapley.BACKGROUND
    assert shapley.attribute(model, rows, usual) == found


def test_without_anything_to_compare_with_it_says_so() -> None:
    frame = metrics(2)
    model = detector.fit(frame)
    with pytest.raises(NotEnoughData, match="9 usual minutes before it, and 10 are needed"):
        shapley.attribute(model, frame, [1000 <= number < 1009 for number in range(len(frame))])
    wide = pl.DataFrame({"timestamp": frame["timestamp"], **{f"m{n}": frame["cpu"] for n in range(13)}})
    with pytest.raises(InvalidInput, match="13 metrics"):
        shapley.attribute(detector.fit(wide), wide, [True] * len(wide))
