"""Availability by day: which states count, and which time is left out of account."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hps_platform.history.availability import of

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_host_that_was_away_for_a_quarter_of_a_day() -> None:
    states = [(START - HOUR, "up"), (START + 6 * HOUR, "unreachable"), (START + 12 * HOUR, "degraded")]
    found = of(states, [], START, START + 48 * HOUR)
    assert [day.available_pct for day in found.days] == [75.0, 100.0]
    assert found.available_pct == 87.5


def test_time_that_says_nothing_about_the_host_is_left_out() -> None:
    states = [
        (START + 1 * HOUR, "up"),
        (START + 3 * HOUR, "paused"),
        (START + 10 * HOUR, "connecting"),
        (START + 11 * HOUR, "auth_failed"),
    ]
    unknown = [(START + 12 * HOUR, START + 24 * HOUR)]
    (day,) = of(states, unknown, START, START + 24 * HOUR).days
    assert (day.known_s, day.available_pct) == (3 * 3600, 66.667)


def test_an_outage_within_maintenance_is_none() -> None:
    states = [(START, "up"), (START + 2 * HOUR, "unreachable"), (START + 3 * HOUR, "up")]
    found = of(states, [(START + 2 * HOUR, START + 3 * HOUR)], START, START + 24 * HOUR)
    assert found.available_pct == 100.0
    assert found.days[0].known_s == 23 * 3600


def test_nothing_is_said_of_days_before_the_first_state() -> None:
    found = of([(START + 30 * HOUR, "up")], [], START, START + 48 * HOUR)
    assert [day.available_pct for day in found.days] == [None, 100.0]
    assert of([], [], START, START + 24 * HOUR).available_pct is None


@given(
    changes=st.lists(st.tuples(st.integers(-100, 3000), st.sampled_from(["up", "slow", "unreachable", "paused"]))),
    spans=st.lists(st.tuples(st.integers(0, 2880), st.integers(1, 600)), max_size=5),
)
def test_known_time_never_exceeds_the_range(changes: list[tuple[int, str]], spans: list[tuple[int, int]]) -> None:
    states = [(START + timedelta(minutes=minute), state) for minute, state in sorted(changes)]
    unknown = [(START + timedelta(minutes=at), START + timedelta(minutes=at + long)) for at, long in spans]
    found = of(states, unknown, START, START + 48 * HOUR)
    assert len(found.days) == 2
    for day in found.days:
        assert 0 <= day.known_s <= 86_400
        assert day.available_pct is None or 0 <= day.available_pct <= 100
