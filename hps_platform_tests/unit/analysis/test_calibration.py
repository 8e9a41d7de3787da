"""Tail probabilities."""

import numpy as np
import pytest

from hps_platform.analysis.calibration import CEILING, Tail, fit_tail


def test_the_share_of_rows_above_a_quantile_is_what_it_says() -> None:
    scores = np.random.default_rng(0).gamma(2, 1, 50_000)
    tail = fit_tail(scores)
    for share in (0.5, 0.1, 0.01, 0.001):
        told = tail.strangeness(np.array([np.quantile(scores, 1 - share)])).item()
        assert told == pytest.approx(-np.log10(share), abs=0.08)


def test_stranger_rows_never_get_a_lower_score_and_go_on_differing_beyond_the_data() -> None:
    scores = np.random.default_rng(1).normal(0, 1, 5_000)
    tail = fit_tail(scores)
    told = tail.strangeness(np.linspace(-10, 60, 2_000))
    assert (np.diff(told) >= 0).all()
    assert told[0] == 0
    assert told[-1] == CEILING
    far = tail.strangeness(scores.max() + np.array([0.5, 1.0]))
    assert far[1] > far[0] > 3


def test_heavy_and_constant_scores_are_survived() -> None:
    heavy = fit_tail(np.random.default_rng(2).pareto(1, 20_000))
    assert 0 <= heavy.shape <= 0.5
    constant = fit_tail(np.zeros(1_000))
    assert constant.strangeness(np.array([0.0])).item() < 2
    assert np.isfinite(constant.strangeness(np.array([1.0]))).all()


def test_nan_stays_nan_and_a_restored_tail_says_the_same() -> None:
    tail = fit_tail(np.random.default_rng(3).normal(0, 1, 1_000))
    again = Tail.restore(tail.state())
    asked = np.array([np.nan, -1, 0.5, 3, 9])
    assert np.array_equal(tail.strangeness(asked), again.strangeness(asked), equal_nan=True)
    assert np.isnan(tail.strangeness(asked)[0])
