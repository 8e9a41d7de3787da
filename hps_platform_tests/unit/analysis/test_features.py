"""The grid and the context features."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from hps_platform.analysis import features
from hps_platform.errors import InvalidInput
from hps_platform_tests.unit.analysis.series import START, metrics


def at(*minutes: float) -> pl.DataFrame:
    stamps = [START + timedelta(minutes=minute) for minute in minutes]
    return pl.DataFrame({"timestamp": stamps, "x": [float(i) for i in range(len(stamps))]})


def test_rows_lie_where_their_time_is() -> None:
    grid = features.to_grid(at(0, 1, 2, 5), ["x"], 60)
    assert grid.slots.tolist() == [0, 1, 2, 5]
    assert np.isnan(grid.values[3:5]).all()
    assert grid.values[[0, 1, 2, 5], 0].tolist() == [0, 1, 2, 3]


def test_rows_closer_than_a_step_never_share_a_slot() -> None:
    grid = features.to_grid(at(0, 0, 0.1, 1, 2), ["x"], 60)
    assert grid.slots.tolist() == [0, 1, 2, 3, 4]
    assert not np.isnan(grid.values).any()


def test_a_long_silence_is_closed_but_the_time_of_day_stays() -> None:
    silent_days = 400
    grid = features.to_grid(at(0, 1, 1 + 60 * 24 * silent_days + 90), ["x"], 60)
    assert len(grid.values) == 1 + 1 + 2 * 1440 + 90
    assert (grid.slots[2] - grid.slots[1]) % 1440 == 90


def test_a_column_that_is_missing_is_all_nan_and_infinities_count_as_missing() -> None:
    frame = at(0, 1).with_columns(x=pl.Series([1.0, float("inf")]))
    grid = features.to_grid(frame, ["x", "gone"], 60)
    assert np.isnan(grid.values[:, 1]).all()
    assert np.isnan(grid.values[1, 0])


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"x": [1.0]}),
        pl.DataFrame({"timestamp": ["2026-03-02"], "x": [1.0]}),
        pl.DataFrame({"timestamp": [START, None], "x": [1.0, 2.0]}),
    ],
)
def test_frames_without_usable_times_are_refused(frame: pl.DataFrame) -> None:
    with pytest.raises(InvalidInput):
        features.epoch_seconds(frame)


def test_rows_out_of_order_are_refused() -> None:
    with pytest.raises(InvalidInput, match="order"):
        features.to_grid(at(2, 1), ["x"], 60)


def test_views_of_a_metric() -> None:
    frame = pl.DataFrame(
        {"timestamp": [START + timedelta(minutes=i) for i in range(1500)], "x": [float(i % 1440) for i in range(1500)]}
    )
    grid = features.to_grid(frame, ["x"], 60)
    value, change, hour, spread, yesterday = features.context(grid).T
    assert value[10] == 10
    assert change[10] == 1
    assert np.isnan(change[0])
    assert np.isnan(hour[0])
    assert 0 < hour[100] < 60  # a rising value is above the mean of the hour before
    assert spread[100] > 0
    assert np.isnan(yesterday[1400])
    assert yesterday[1470] == pytest.approx(0, abs=1e-9)


def test_no_view_depends_on_later_rows() -> None:
    frame = metrics(1.5)
    columns = features.numeric_columns(frame)
    cut = 1800
    changed = frame.with_columns(
        pl.when(pl.int_range(pl.len()) >= cut).then(pl.col(name) * 7 + 3).otherwise(name).alias(name)
        for name in columns
    )
    before = features.context(features.to_grid(frame, columns, 60))[:cut]
    after = features.context(features.to_grid(changed, columns, 60))[:cut]
    assert np.array_equal(before, after, equal_nan=True)


def test_the_first_minutes_and_those_after_a_silence_are_not_warm() -> None:
    grid = features.to_grid(at(*range(100), *range(400, 500)), ["x"], 60)
    warm = features.warm(grid)[grid.slots]
    assert not warm[:10].any()
    assert warm[10:100].all()
    assert not warm[100:110].any()
    assert warm[110:].all()


def test_a_column_that_never_moved_is_neither_silent_nor_hysterical_when_it_does() -> None:
    scale = features.fit_scale(np.full((100, 1), 50.0))
    assert scale.apply(np.array([[50.0]])).item() == 0
    assert 0 < scale.apply(np.array([[51.0]])).item() < 3
    assert scale.apply(np.array([[np.nan]])).item() == 0


def test_rare_blips_set_the_width_of_a_column_that_hardly_moves() -> None:
    values = np.zeros((10_000, 1))
    values[::250] = 0.05
    scale = features.fit_scale(values)
    assert scale.apply(np.array([[0.05]])).item() < 1.5
    assert scale.apply(np.array([[50.0]])).item() > 6
