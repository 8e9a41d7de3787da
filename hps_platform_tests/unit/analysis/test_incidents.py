"""From anomalous minutes to incidents: what is put together, what is not, how grave it is and how it is told."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from hps_platform.analysis import incidents, words
from hps_platform.analysis.explain import Contribution
from hps_platform.analysis.incidents import Minute

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DISK = Contribution("disk_busy_pct", 0.8, 98.0, 12.0, 30.0)
QUEUE = Contribution("run_queue", 0.2, 9.0, 1.0, 3.0)
CPU = Contribution("cpu_busy_pct", 0.9, 99.0, 5.0, 20.0)


def minutes(
    numbers: Iterable[int], *, server: int = 1, score: float = -0.4, causes: tuple[Contribution, ...] = (DISK, QUEUE)
) -> list[Minute]:
    return [Minute(server, NOW + timedelta(minutes=number), score, causes) for number in numbers]


def test_gaps_of_up_to_fifteen_minutes_are_within_an_episode() -> None:
    rows = [*minutes([0, 1, 17], causes=(DISK,)), *minutes([5], score=-0.7, causes=(CPU,)), *minutes([34])]
    first, second = incidents.episodes(reversed(rows))
    assert (first.start, first.end, first.minutes) == (NOW, NOW + timedelta(minutes=18), 4)
    assert first.peak.at == NOW + timedelta(minutes=5)
    assert first.heads == ("disk_busy_pct", "cpu_busy_pct")
    assert second.start == NOW + timedelta(minutes=34)


def test_servers_do_not_join_each_others_episodes() -> None:
    assert len(incidents.episodes([*minutes([0, 2]), *minutes([1, 3], server=2)])) == 2


@pytest.mark.parametrize(("servers", "needed"), [(1, 2), (100, 2), (101, 3), (1000, 20)])
def test_an_incident_of_the_fleet_takes_two_servers_and_two_percent(servers: int, needed: int) -> None:
    assert incidents.needed(servers) == needed


def test_same_time_and_same_kind_on_enough_servers_is_one_incident() -> None:
    queue = (QUEUE,)
    rows = [
        *minutes([0, 1, 2]),
        *minutes([4], server=2, score=-0.9),
        *minutes([3, 40], server=3, causes=queue),  # of another kind, and later
        *minutes([6], server=4),  # begins more than five minutes after the first
    ]
    episodes = incidents.episodes(rows)
    found = incidents.incidents(episodes, 50)
    assert [[one.server_id for one in incident.episodes] for incident in found] == [[1, 2], [3], [4], [3]]
    assert (found[0].peak.server_id, found[0].minutes, found[0].end) == (2, 4, NOW + timedelta(minutes=5))
    assert [len(one.episodes) for one in incidents.incidents(episodes, 500)] == [1] * 5


def test_incidents_are_no_lesson_but_an_endless_one_is_in_the_end() -> None:
    def hours(*numbers: float) -> list[tuple[float, float]]:
        spans = [(at(begin), at(until)) for begin, until in zip(numbers[::2], numbers[1::2], strict=True)]
        found = incidents.unlearnt(spans, NOW, at(240))
        return [((begin - NOW) / timedelta(hours=1), (until - NOW) / timedelta(hours=1)) for begin, until in found]

    def at(hour: float) -> datetime:
        return NOW + timedelta(hours=hour)

    assert hours(-3, -1, 10, 11, 11.5, 12, 239, 260) == [(9.75, 13), (238.75, 240)]
    assert hours(-1, 2) == [(0, 3)]
    assert hours(100, 400) == [(99.75, 125)]  # its first day
    assert hours(*(number for day in range(9) for number in (24 * day + 1, 24 * day + 23))) == [
        (0.75, 24),
        (24.75, 48),
        (48.75, 62.25),  # a quarter of all, the oldest first
    ]
    assert incidents.unlearnt([(NOW, at(5))], at(240), at(240)) == []


def test_how_grave_it_is() -> None:
    def of(score: float, *servers: int) -> incidents.Incident:
        rows = [minute for server in servers for minute in minutes([0], server=server, score=score)]
        return incidents.incidents(incidents.episodes(rows), 10)[0]

    assert [incidents.severity(of(score, 1), {}) for score in (-0.2, -0.3, -0.7)] == ["low", "medium", "high"]
    assert incidents.severity(of(-0.2, 1, 2), {}) == "high"
    assert incidents.severity(of(-0.9, 1), {1: {"*": "low"}}) == "low"
    assert incidents.severity(of(-0.9, 1), {1: {"*": "low", "disk_busy_pct": "critical"}}) == "critical"


def test_one_plain_sentence() -> None:
    alone, fleet = (
        incidents.incidents(incidents.episodes(rows), 10)[0]
        for rows in (minutes([0]), [*minutes([0]), *minutes([1], server=2, score=-0.8)])
    )
    told = "Disk hdisk3 busy 98.0 %, usually 12.0 to 30.0 % at this hour; also run queue."
    assert incidents.sentence(alone, "aix01", "hdisk3") == told
    assert incidents.sentence(fleet, "aix02", "hdisk3") == f"2 servers at the same time, aix02 the strangest: {told}"
    assert words.sentence([Contribution("net_errs_s", 1.0, 50.0, 0.0, 0.0)], "en0") == (
        "Network errors 50 packets/s (mostly en0), usually 0 packets/s at this hour."
    )
    assert words.sentence([Contribution("disk_busy_pct", 1.0, 50.0, None, None)]) == "Busiest disk 50.0 %."
    assert words.sentence([]) == words.NOTHING_ALONE
