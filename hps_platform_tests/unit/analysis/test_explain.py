"""Contributions."""

import numpy as np
import pytest

from hps_platform.analysis import explain
from hps_platform.analysis.members import View


def test_the_heaviest_come_first_and_at_most_five() -> None:
    shares = np.array([[0.1, 0.5, 0.1, 0.1, 0.1, 0.1], [0, 0, 0, 0, 0, 1.0]])
    assert explain.top(shares).tolist() == [[1, 0, 2, 3, 4], [5, 0, 1, 2, 3]]


def test_what_is_usual_depends_on_the_hour() -> None:
    times = 60.0 * np.arange(2 * 1440, dtype=np.float64)
    values = np.where((times % 86_400) < 43_200, 10.0, 50.0)[:, None]
    ranges = explain.usual(times, np.hstack([values, np.full_like(values, np.nan)]))
    assert ranges.shape == (24, 2, 2)
    assert ranges[3, 0].tolist() == [10, 10]
    assert ranges[20, 0].tolist() == [50, 50]
    assert np.isnan(ranges[:, 1]).all()


def test_an_hour_never_measured_takes_the_days_range() -> None:
    times = 60.0 * np.arange(120, dtype=np.float64)
    ranges = explain.usual(times, np.linspace(0, 100, 120)[:, None])
    assert ranges[23, 0, 0] == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize(("step_s", "first"), [(60.0, "lasting"), (300.0, "now")])
def test_what_lasts_counts_more_than_a_blip_within_five_minutes(step_s: float, first: str) -> None:
    rows = 30
    surprises = np.zeros((rows, 2))
    surprises[-10:, 0], surprises[-1, 1] = 6.0, 9.0
    nothing = np.zeros((rows, 2))
    view = View(nothing, np.hstack([nothing] * 5), np.zeros((rows, 2), dtype=bool), step_s)
    weights = explain.weights(surprises, nothing, view)
    assert ("lasting", "now")[int(weights[-1].argmax())] == first


def test_what_has_been_on_one_side_of_its_forecasts_counts_more_than_what_has_not() -> None:
    nothing = np.zeros((30, 2))
    surprises, biases = nothing + 2.0, nothing + np.array([0.0, 5.0])
    view = View(nothing, np.hstack([nothing] * 5), np.zeros((30, 2), dtype=bool), 60.0)
    assert explain.weights(surprises, biases, view)[-1].argmax() == 1
