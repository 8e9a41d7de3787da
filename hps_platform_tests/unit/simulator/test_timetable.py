"""Incidents: how many, when, and from when they can be seen."""

import json
from pathlib import Path

import numpy as np
import pytest

from hps_platform.stack.simulator import incidents, timetable
from hps_platform.stack.simulator.incidents import WEEK
from hps_platform.stack.simulator.world import World, minute_of
from hps_platform_tests.unit.simulator.conftest import EPOCH

WEEKS = (-2, -1, 0)


@pytest.fixture(scope="module")
def truths(world: World) -> list[timetable.Truth]:
    """Three weeks of incidents."""
    return timetable.timetable(world, WEEKS)


def test_at_most_one_incident_per_host_and_week(world: World) -> None:
    for week in range(-2, 20):
        plan = world.plans.week(week)
        begin = world.epoch_minute + week * WEEK
        assert plan
        for incident in plan.values():
            assert begin <= incident.start < incident.end <= begin + WEEK


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_a_demo_shows_one_soon_and_has_one_just_behind(seed: int) -> None:
    world = World(seed, EPOCH)
    last = world.plans.week(-1).values()
    assert any(world.epoch_minute - 1440 < incident.end <= world.epoch_minute for incident in last)
    coming = world.plans.week(0).values()
    assert any(incident.start - world.epoch_minute < 20 for incident in coming)
    assert sum(incident.start - world.epoch_minute < 360 for incident in coming) >= 3


@pytest.mark.parametrize("seed", [1, 2])
def test_every_incident_shows_in_its_metric(seed: int) -> None:
    world = World(seed, EPOCH)
    planned = [i for week in (-2, -1, 0) for i in world.plans.week(week).values()]
    assert len(timetable.timetable(world, (-2, -1, 0))) == len(planned)


def test_all_kinds_happen(truths: list[timetable.Truth], world: World) -> None:
    kinds = {i.kind for week in range(-2, 10) for i in world.plans.week(week).values()}
    assert kinds == set(incidents.KINDS)
    assert {truth.host for truth in truths} <= {host.hostname for host in world.hosts}


def test_detectable_at_is_the_first_minute_beyond_four_deviations(truths: list[timetable.Truth], world: World) -> None:
    for truth in truths[:12]:
        assert truth.start <= truth.detectable_at < truth.end
        assert truth.detectable_at == truth.seen_in[truth.metric]
        start, count = minute_of(truth.start), minute_of(truth.end) - minute_of(truth.start)
        undisturbed = world.undisturbed(truth.host)
        before = timetable.metrics(undisturbed, start - 14 * 1440, 14 * 1440)[truth.metric]
        usual = timetable.metrics(undisturbed, start, count)[truth.metric]
        shown = timetable.metrics(world.machine(truth.host), start, count)[truth.metric]
        halves = (np.arange(start - 14 * 1440, start) % 1440) // 30
        medians = np.array([np.median(before[halves == half]) for half in range(48)])
        rest = before - medians[halves]
        sd = 1.4826 * np.median(np.abs(rest - np.median(rest)))
        far = np.abs(shown - usual)
        place = minute_of(truth.detectable_at) - start
        assert far[place] > 4 * sd
        # With the step of printing as the least deviation, nothing before it counts.
        assert (far[:place] <= 4 * max(sd, 1.0)).all()


def test_without_incidents_the_machine_is_the_same_outside_of_them(world: World, truths: list[timetable.Truth]) -> None:
    truth = truths[0]
    start = minute_of(truth.start)
    machine, undisturbed = world.machine(truth.host), world.undisturbed(truth.host)
    assert np.array_equal(machine.minutes(start - 300, 300), undisturbed.minutes(start - 300, 300))
    assert not np.array_equal(machine.minutes(start, 20), undisturbed.minutes(start, 20))


def test_the_ground_truth_is_json_and_the_same_again(world: World, tmp_path: Path) -> None:
    path = tmp_path / "incidents.json"
    written = timetable.write(world, path, (-1,))
    content = json.loads(path.read_text())
    assert content["seed"] == 7
    assert len(content["incidents"]) == len(written)
    assert set(content["incidents"][0]) >= {"host", "kind", "start", "detectable_at", "end", "family", "metric"}
    again = tmp_path / "again.json"
    timetable.write(World(7, EPOCH), again, (-1,))
    assert again.read_text() == path.read_text()


def test_a_file_system_that_fills_is_cleaned_up_again(world: World) -> None:
    found = next(
        incident
        for week in range(-2, 30)
        for incident in world.plans.week(week).values()
        if incident.kind == incidents.FILESYSTEM_FILLING
    )
    machine = world.machine(found.host)
    used = timetable.metrics(machine, found.start - 10, found.end - found.start + 60)["used_pct"]
    assert used[found.end - found.start] > used[0] + 20
    assert used[-1] < used[0] + 20
