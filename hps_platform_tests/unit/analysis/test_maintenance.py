"""Maintenance windows: once and weekly, over midnight, in the server's own time zone."""

from datetime import UTC, datetime

from hps_platform.analysis.maintenance import windows

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
SUNDAY = datetime(2026, 3, 8, tzinfo=UTC)


def _at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


def test_a_window_that_is_given_once_is_cut_to_the_range() -> None:
    settings = {"maintenance": [{"from": "2026-03-01T22:00:00+00:00", "until": "2026-03-02T04:00:00Z"}]}
    assert windows(settings, MONDAY, SUNDAY) == [(MONDAY, _at(2, 4))]


def test_moments_without_an_offset_are_in_the_servers_time_zone() -> None:
    settings = {
        "time_zone": "America/New_York",
        "maintenance": [{"from": "2026-03-03T00:00", "until": "2026-03-03T01:30"}],
    }
    assert windows(settings, MONDAY, SUNDAY) == [(_at(3, 5), _at(3, 6, 30))]


def test_a_weekly_window_may_end_on_the_next_day() -> None:
    settings = {"maintenance": [{"days": ["mon", "fri"], "start": "22:00", "end": "04:00"}]}
    assert windows(settings, MONDAY, SUNDAY) == [(_at(2, 22), _at(3, 4)), (_at(6, 22), _at(7, 4))]


def test_one_that_began_the_day_before_the_range_is_seen() -> None:
    settings = {"maintenance": [{"days": ["sun"], "start": "22:00", "end": "04:00"}]}
    assert windows(settings, MONDAY, _at(2, 12)) == [(MONDAY, _at(2, 4))]


def test_weekly_times_follow_the_zone_through_its_change_of_clocks() -> None:
    settings = {
        "time_zone": "Europe/Vienna",
        "maintenance": [{"days": ["sat", "sun"], "start": "12:00", "end": "13:00"}],
    }
    # Clocks go forward on Sunday, 29 March 2026.
    assert windows(settings, datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC)) == [
        (_at(28, 11), _at(28, 12)),
        (_at(29, 10), _at(29, 11)),
    ]


def test_windows_that_overlap_are_united() -> None:
    settings = {
        "maintenance": [
            {"from": "2026-03-03T00:00", "until": "2026-03-03T02:00"},
            {"from": "2026-03-03T01:00", "until": "2026-03-03T03:00"},
        ]
    }
    assert windows(settings, MONDAY, SUNDAY) == [(_at(3, 0), _at(3, 3))]
