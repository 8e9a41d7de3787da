"""The scorecard of incidents."""

from datetime import UTC, datetime, timedelta

from hps_platform.analysis import scorecard
from hps_platform.analysis.scorecard import Alarm, Incident

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def minute(offset: float) -> datetime:
    return NOON + timedelta(minutes=offset)


def incident(host: str, *, seen_in: frozenset[str] = frozenset()) -> Incident:
    return Incident(host, minute(0), minute(3), minute(60), "vmstat", "cpu_busy_pct", seen_in)


def alarm(host: str, first: float, last: float, metric: str = "cpu_busy_pct") -> Alarm:
    return Alarm(host, minute(first), minute(last), metric)


def test_what_is_found_missed_late_and_false() -> None:
    card = scorecard.score(
        [incident("a"), incident("b"), incident("c", seen_in=frozenset({"run_queue"})), incident("d")],
        [
            alarm("a", 5, 20),
            alarm("a", 40, 41, "net_errs_s"),  # the same incident again: neither counted twice nor false
            alarm("a", 400, 401),  # false
            alarm("c", 20, 30, "run_queue"),
            alarm("d", 70, 71, "net_errs_s"),  # soon after its end
            alarm("e", 5, 6),  # false: another host
        ],
        {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.5, "e": 0.5},
    )
    assert [one.delay for one in card.found] == [
        timedelta(minutes=2),
        None,
        timedelta(minutes=17),
        timedelta(minutes=67),
    ]
    assert card.summary() == {
        "incidents": 4,
        "flagged": 3,
        "flagged_within_10_min": 1,
        "right_metric_on_top": 2,
        "median_delay_min": 17.0,
        "worst_delay_min": 67.0,
        "false_alarms": 2,
        "server_days": 4.0,
        "false_alarms_per_server_day": 0.5,
    }


def test_an_alarm_before_it_is_detectable_counts_as_at_once() -> None:
    card = scorecard.score([incident("a")], [alarm("a", 1, 2)], {"a": 1})
    assert card.found[0].delay == timedelta(0)
    running = scorecard.score([incident("a")], [alarm("a", -30, 5)], {"a": 1})
    assert running.found[0].delay == timedelta(0)


def test_fleets_are_put_together_and_nothing_is_nothing() -> None:
    card = scorecard.score([incident("a")], [alarm("a", 5, 6)], {"a": 2})
    both = scorecard.together([card, scorecard.score([incident("b")], [], {"b": 2})])
    assert (both.flagged, both.server_days, len(both.found)) == (1, 4, 2)
    empty = scorecard.score([], [], {})
    assert empty.false_alarms_per_server_day == 0
    assert empty.summary()["median_delay_min"] is None
