"""Spelling and choice of bucket widths."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hps_platform.errors import InvalidInput
from hps_platform.history.intervals import at_least, seconds, spelled


@pytest.mark.parametrize(("text", "width"), [("10s", 10), ("5m", 300), ("1h", 3600), ("1d", 86_400), ("90m", 5400)])
def test_spelling(text: str, width: int) -> None:
    assert seconds(text) == width


@pytest.mark.parametrize(
    "text", ["", "0s", "5", "m", "1.5h", "-1m", "1w", "10 s", "99999999d", "367d", "1h; DROP TABLE"]
)
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        seconds(text)
    assert "\n" not in str(refused.value)


@settings(deadline=None)
@given(st.integers(1, 366 * 86_400))
def test_spelled_is_read_back(width: int) -> None:
    assert seconds(spelled(width)) == width


@settings(deadline=None)
@given(st.floats(0.001, 366 * 86_400))
def test_the_chosen_width_is_wide_enough_and_aligned_to_days(width: float) -> None:
    chosen = at_least(width)
    assert chosen >= width
    assert 86_400 % chosen == 0 or chosen % 86_400 == 0
