"""Contributions and sentences."""

import numpy as np
import pytest

from hps_platform.analysis import explain
from hps_platform.analysis.explain import Contribution


def part(column: str, weight: float, *, observed: float | None = 98.0, low: float | None = 12.0) -> Contribution:
    return Contribution(column, weight, observed, low, None if low is None else 30.0)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([part("disk", 0.8)], "Disk busy 98 %, usually 12 to 30 % at this hour."),
        (
            [part("disk", 0.5), part("queue", 0.3), part("x", 0.01)],
            "Disk busy 98 %, usually 12 to 30 % at this hour; also run queue.",
        ),
        ([part("x", 0.9, observed=1234.5678, low=None)], "X 1,235."),
        ([part("x", 0.9, observed=None, low=30.0)], "X not measured, usually 30 at this hour."),
        ([], "No single metric stands out; their combination does."),
    ],
)
def test_sentences(parts: list[Contribution], text: str) -> None:
    names = {"disk": ("disk busy", "%"), "queue": ("Run queue", "threads")}
    assert explain.sentence(parts, names) == text


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
