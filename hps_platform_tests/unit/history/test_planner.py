"""Which resolution is tried first for a range, and that there is always a wider one."""

from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hps_platform.history.planner import FINER, widths
from hps_platform.store.schema import Grain

HOUR, DAY = 3600, 86_400


@pytest.mark.parametrize(
    ("span_s", "width"),
    [
        *[(HOUR, None), (6 * HOUR, None), (12 * HOUR, 60), (DAY, 60), (7 * DAY, 60), (30 * DAY, 3600)],
        *[(90 * DAY, 3600), (500 * DAY, 3600), (501 * DAY, 6 * HOUR), (5 * 365 * DAY, 6 * HOUR)],
    ],
)
def test_a_chart_of_1200_points_of_samples_each_2_s(span_s: float, width: int | None) -> None:
    assert next(widths(span_s, 1200, 2.0)) == width


def test_what_raw_samples_do_not_reach_is_read_from_rollups() -> None:
    assert next(widths(HOUR, 1200, 2.0, finest=Grain.MINUTE)) == 60
    assert next(widths(2 * DAY, 1200, 2.0, finest=Grain.HOUR)) == 3600


def test_rates_are_of_buckets() -> None:
    assert next(widths(HOUR, 1200, 60.0, rate=True)) == 10


@given(st.floats(1, 5 * 366 * DAY), st.integers(1, 2000), st.sampled_from([2.0, 60.0]), st.sampled_from([None, *Grain]))
def test_widths_grow_and_the_first_is_near_what_was_asked(
    span_s: float, points: int, sample_s: float, finest: Grain | None
) -> None:
    tried = list(islice(widths(span_s, points, sample_s, finest=finest), 6))
    held = [span_s / (width or sample_s) for width in tried]
    assert held[0] <= points * FINER
    known = [width for width in tried if width is not None]
    assert all(before < after for before, after in pairwise(known))
    assert tried.index(None) == 0 if None in tried else True
    assert finest is None or known[0] >= finest.seconds
