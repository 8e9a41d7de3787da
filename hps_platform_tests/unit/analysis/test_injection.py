"""Anomalies put into a server's minutes."""

from itertools import pairwise

import numpy as np
import polars as pl

from hps_platform.analysis.injection import FROZEN, KINDS, SHIFT, SIZES, inject
from hps_platform_tests.unit.analysis.series import metrics

COLUMNS = ("cpu", "packets", "memory", "errors")


def test_the_same_seed_puts_in_the_same_of_every_kind_and_size() -> None:
    week = metrics(10.5)
    spoilt, found = inject(week, COLUMNS)
    again, same = inject(week, COLUMNS)
    assert (found, spoilt.equals(again)) == (same, True)
    every = [(kind, size) for kind in KINDS for size in SIZES]
    assert sorted((one.kind, one.size) for one in found) == sorted(4 * every)
    assert inject(week, COLUMNS, seed=1)[1] != found


def test_only_those_rows_are_changed() -> None:
    week = metrics(7)
    spoilt, found = inject(week, COLUMNS)
    touched = {(row, one.column) for one in found for row in range(one.first, one.last)}
    for name in COLUMNS:
        changed = (spoilt[name] != week[name]).arg_true().to_list()
        assert {(row, name) for row in changed} <= touched
    assert spoilt["timestamp"].equals(week["timestamp"])
    assert all(later.first > one.last for one, later in pairwise(found))


def test_a_shift_moves_by_its_size_and_a_frozen_sensor_stands_still() -> None:
    week = metrics(7)
    spoilt, found = inject(week, ("cpu",))
    shifts = sorted((one for one in found if one.kind == SHIFT), key=lambda one: one.size)
    moves = [(spoilt["cpu"] - week["cpu"])[one.first : one.last].to_numpy() for one in shifts]
    assert all(np.ptp(move) < 1e-9 for move in moves)
    assert moves[-1][0] > 3 * moves[0][0] > 0
    for one in (one for one in found if one.kind == FROZEN):
        assert spoilt["cpu"][one.first : one.last].n_unique() == 1


def test_metrics_that_never_move_are_left_alone_and_gaps_stay_gaps() -> None:
    day = metrics(1).with_columns(
        errors=pl.lit(0.0), memory=pl.when(pl.int_range(pl.len()) % 3 > 0).then("memory").otherwise(None)
    )
    spoilt, found = inject(day, COLUMNS)
    assert 3 <= len(found) <= 5
    assert {one.column for one in found} <= {"cpu", "packets", "memory"}
    assert spoilt["memory"].is_null().equals(day["memory"].is_null())
    assert inject(day, ("errors",))[1] == []
