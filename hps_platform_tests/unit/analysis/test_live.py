"""Judging one row after another: the same as judging them at once."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import IsolationForest

from hps_platform.analysis import detector, features
from hps_platform.analysis.flat_forest import FlatForest
from hps_platform.analysis.live import Live
from hps_platform.errors import InvalidInput
from hps_platform_tests.unit.analysis.series import START, metrics

STEP_S = 300.0


def test_one_by_one_gives_what_all_at_once_gives() -> None:
    train = metrics(3, step_s=STEP_S)
    calm = metrics(0.5, seed=5, start=START + timedelta(days=3), step_s=STEP_S)
    row = pl.int_range(pl.len())
    test = calm.filter(~row.is_between(40, 60)).with_columns(
        memory=pl.when(row.is_between(20, 30)).then(None).otherwise("memory")
    )
    learnt = detector.fit(train)
    together = learnt.score(test, train)
    live = Live(learnt, train)
    values, moments = test.drop("timestamp").to_numpy(), test["timestamp"].dt.epoch("s").to_list()
    single = [live.judge(moment, value) for moment, value in zip(moments, values, strict=True)]
    for name in ("score", "forest_score"):
        one = np.array([getattr(verdict, name) for verdict in single])
        assert np.array_equal(np.isnan(one), np.isnan(getattr(together, name)))
        assert np.nanmax(np.abs(one - getattr(together, name))) < 1e-9
    assert np.isnan(together.score).sum() == 6  # just after the gap
    assert np.abs(np.array([verdict.weights for verdict in single]) - together.weights).max() < 1e-9
    with pytest.raises(InvalidInput, match="order"):
        live.judge(moments[0], values[0])
    with pytest.raises(InvalidInput, match="no row before"):
        Live(learnt, train.clear())


def test_the_context_of_the_last_slot_is_that_of_all() -> None:
    random = np.random.default_rng(1)
    values = np.where(random.random((700, 3)) < 0.2, np.nan, random.normal(size=(700, 3)).cumsum(axis=0))
    grid = features.Grid(("a", "b", "c"), STEP_S, values, np.arange(700), 0.0)
    whole = features.context(grid)
    following = features.Following(values[:2], grid.day, grid.hour)
    for last in range(2, 700):
        alone = following.push(values[last])
        assert np.allclose(alone, whole[last], rtol=0, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("rows", [2, 600])
def test_a_flat_forest_judges_as_the_forest_does(rows: int) -> None:
    data = np.random.default_rng(2).normal(size=(rows, 4))
    forest = IsolationForest(n_estimators=20, max_samples=min(rows, 128), random_state=1).fit(data)
    flat = FlatForest(forest)
    assert np.abs([flat.score(row) for row in data[:100]] + forest.score_samples(data[:100])).max() < 1e-12
