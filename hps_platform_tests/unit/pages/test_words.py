"""Values, ages and anomalies as people read them."""

from datetime import UTC, datetime, timedelta

import pytest

from dash_app import anomalies
from dash_app.components import choices, states, text
from hps_platform.errors import InvalidInput
from hps_platform.metrics import FAMILIES
from hps_platform_tests.unit.pages.fleet import LINUX, NOW, anomaly


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (None, "%", "–"),
        (97.24, "%", "97.2 %"),
        (0.0, "KiB", "0 KiB"),
        (1536.0, "KiB", "1.5 MiB"),
        (3 * 1024**2, "KiB/s", "3.0 GiB/s"),
        (1023.0, "bytes/s", "1023 B/s"),
        (12_345.0, "packets/s", "12.3 k packets/s"),
        (14.0, "packets/s", "14 packets/s"),
        (647.3, "packets/s", "647 packets/s"),
        (0.0333, "packets/s", "0.033 packets/s"),
        (0.0, "packets/s", "0 packets/s"),
        (0.00001, "1/s", "below 0.001/s"),
        (2_500_000.0, "1/s", "2.5 M/s"),
        (4.25, "ms", "4.2 ms"),
        (90_061.0, "s", "1 d 1 h"),
        (3.0, "", "3"),
        (-2048.0, "KiB", "-2.0 MiB"),
    ],
)
def test_quantities(value: float | None, unit: str, shown: str) -> None:
    assert text.quantity(value, unit) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (3900, "1 h 5 min"),
        (180_000, "2 d 2 h"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


def test_ages_and_moments_name_their_zone() -> None:
    assert text.ago(None) == "never"
    assert text.ago(NOW - timedelta(minutes=12), NOW) == "12 min ago"
    assert text.ago(NOW, NOW) == "just now"
    assert text.clock(NOW) == "2026-03-02 12:00 UTC"
    assert text.score(-0.625) == "−0.62"


def test_lists_of_words() -> None:
    assert text.listing([]) == ""
    assert text.listing(["a"]) == "a"
    assert text.listing(["a", "b", "c"]) == "a, b and c"
    assert text.listing([*"abcdef"]) == "a, b, c and 3 more"
    assert text.count(1, "server") == "1 server"
    assert text.count(1200, "server") == "1 200 servers"


def test_an_anomaly_in_one_sentence() -> None:
    assert anomalies.told(anomaly(0)) == (
        "Disk throughput 175.8 MiB/s, usually 800 KiB/s to 23.4 MiB/s at this hour; also run queue."
    )
    assert anomalies.told({"contributions": []}) == "No single metric stands out; their combination does."


def test_what_may_be_at_this_hour_but_not_now() -> None:
    row = {
        "contributions": [
            {"column": "disk_busy_pct", "weight": 1.0, "observed": 9.0, "usual_low": 2.0, "usual_high": 80.0}
        ]
    }
    assert anomalies.told(row) == "Busiest disk 9.0 %, not expected now, though it may be 2.0 to 80.0 % at this hour."


def test_systems_by_name_and_version() -> None:
    assert states.facts("aix", "7.2", "ppc64") == "AIX 7.2 ppc64"
    assert states.facts("linux", "Debian GNU/Linux 12") == "Debian GNU/Linux 12"
    assert states.facts(None, None) == "Unknown system"


def test_a_contribution_of_an_older_model_is_told_from_the_values() -> None:
    row = {"contributions": [{"column": "cpu_busy_pct", "weight": 1.0}], "metric_values": {"cpu_busy_pct": 98.0}}
    assert anomalies.told(row) == "CPU busy 98.0 %."


def test_minutes_close_together_are_one_episode_per_server() -> None:
    rows = [anomaly(1, score=-0.3), anomaly(2, score=-0.8), anomaly(7), anomaly(20), anomaly(1, server_id=LINUX)]
    found = anomalies.episodes(rows)
    assert [(one.hostname, one.minutes, one.span) for one in found] == [
        ("lnx01", 1, "11:59"),
        ("aix01", 3, "11:53–11:59"),
        ("aix01", 1, "11:40"),
    ]
    assert found[1].worst["anomaly_score"] == -0.8
    assert found[1].length == "7 min"
    assert found[1].address == "/anomalies?server=1&at=2026-03-02T11:58:00Z"


def test_an_episode_over_midnight_names_the_day() -> None:
    rows = [
        {**anomaly(0), "timestamp": datetime(2026, 3, day, hour, minute, tzinfo=UTC)}
        for day, hour, minute in ((1, 23, 58), (2, 0, 1))
    ]
    assert anomalies.episodes(rows)[0].span == "23:58–2026-03-02 00:01"


def test_the_way_from_an_anomaly_to_history() -> None:
    assert anomalies.history_address(anomaly(0)) == (
        "/history?servers=1&family=iostat&columns=kb_s&from=2026-03-02T11:00:00Z&to=2026-03-02T13:00:00Z"
    )


def test_what_the_detector_looks_at_exists() -> None:
    for feature in anomalies.FEATURES.values():
        assert set(feature.columns) <= set(FAMILIES[feature.family].by_name)


def test_every_state_of_a_server_has_words_of_its_own() -> None:
    known = ("up", "connecting", "degraded", "auth_failed", "key_changed", "unreachable", "paused", "pending_host_key")
    labels = {states.state(name).label for name in known}
    assert len(labels) == len(known)
    assert states.state("key_changed").urgency > states.state("degraded").urgency > states.state("up").urgency
    assert states.state("some_new_state").label == "Some new state"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-03-02T12:00:00Z", NOW),
        ("2026-03-02 12:00", NOW),
        ("2026-03-02 12:00:00.0000", NOW),
        ("2026-03-02 12:00:00.00000000", NOW),
        ("2026-03-02T13:00:00+01:00", NOW),
        (NOW.timestamp() * 1000, NOW),
        ("", None),
        (None, None),
    ],
)
def test_moments_of_controls_addresses_and_axes(written: str | float | None, meant: datetime | None) -> None:
    assert choices.moment(written) == meant


def test_windows() -> None:
    assert choices.window({}, NOW) == (NOW - timedelta(days=1), NOW)
    assert choices.window({"range": "1h"}, NOW) == (NOW - timedelta(hours=1), NOW)
    assert choices.window({"range": "nonsense"}, NOW) == (NOW - timedelta(days=1), NOW)
    assert choices.window({"from": "2026-03-01"}, NOW) == (datetime(2026, 3, 1, tzinfo=UTC), NOW)
    with pytest.raises(InvalidInput, match="End time must be after start time"):
        choices.window({"from": "2026-03-02T12:00:00Z", "to": "2026-03-02T12:00:00Z"}, NOW)
    with pytest.raises(InvalidInput, match="is no time"):
        choices.window({"from": "yesterday"}, NOW)
    with pytest.raises(InvalidInput, match="there is no metric"):
        choices.metric("vmstat.nonsense")
