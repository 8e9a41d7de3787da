"""Whether a server has become another one."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from hps_platform.analysis import drift
from hps_platform.analysis.features import Floats
from hps_platform_tests.unit.analysis.series import START, metrics

COLUMNS = ("cpu", "packets", "memory", "errors")


def normal(seed: int, level: float = 0.0) -> Floats:
    return np.random.default_rng(seed).normal(level, 1, 5_000)


@pytest.mark.parametrize(("level", "least", "most"), [(0.0, 0.0, 0.02), (0.3, 0.05, 0.15), (1.0, 0.6, 1.5)])
def test_psi_grows_with_the_distance(level: float, least: float, most: float) -> None:
    known = drift.reference(pl.DataFrame({"a": normal(1)}), ["a"], normal(2))
    found = drift.measure(known, pl.DataFrame({"a": normal(3, level)}), normal(4, level))
    assert least <= found.features["a"] <= most
    assert found.score is not None
    assert least <= found.score <= most
    assert found.drifted == (level == 1.0)


def test_what_stopped_being_measured_has_drifted_and_a_constant_has_not() -> None:
    known = drift.reference(pl.DataFrame({"a": normal(1), "b": np.zeros(5_000)}), ["a", "b"], normal(2))
    silent = pl.DataFrame({"a": [None] * 500, "b": np.zeros(500)}, schema_overrides={"a": pl.Float64})
    found = drift.measure(known, silent)
    assert found.features["a"] > 1
    assert found.features["b"] == pytest.approx(0)
    assert found.score is None


def test_a_reference_is_plain_json() -> None:
    import json

    known = drift.reference(metrics(1), COLUMNS, normal(2))
    assert json.loads(json.dumps(known)) == known


def test_a_day_of_outage_is_odd_and_a_weekend_is_not() -> None:
    frame = metrics(14)
    weekend = pl.col("timestamp").dt.weekday() >= 6
    idle = frame.with_columns(cpu=pl.when(weekend).then(pl.col("cpu") * 0.2).otherwise("cpu"))
    assert drift.odd_days(idle, COLUMNS) == []
    day = (START + timedelta(days=9)).date()
    outage = pl.when(pl.col("timestamp").dt.date() == day)
    for name, value in (("packets", 0.0), ("cpu", 98.0)):
        assert drift.odd_days(idle.with_columns(outage.then(value).otherwise(name).alias(name)), COLUMNS) == [day]


def test_three_days_are_too_few_to_call_one_odd() -> None:
    frame = metrics(3)
    last = pl.col("timestamp") >= START + timedelta(days=2)
    assert drift.odd_days(frame.with_columns(cpu=pl.when(last).then(98.0).otherwise("cpu")), COLUMNS) == []
