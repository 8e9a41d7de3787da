"""History: the texts of the past, and that live goes on where they end."""

from datetime import timedelta
from itertools import islice, pairwise

import numpy as np
import pytest

from hps_platform.errors import InvalidInput
from hps_platform.stack.simulator.history import history
from hps_platform.stack.simulator.live import Live
from hps_platform.stack.simulator.model import ROW
from hps_platform.stack.simulator.world import World
from hps_platform_tests.unit.simulator.conftest import COMMANDS, EPOCH, ONE_OF_EACH


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.parametrize("family", ["vmstat", "iostat", "netstat", "memory"])
def test_one_text_a_minute(world: World, name: str, family: str) -> None:
    machine = world.machine(name)
    command = COMMANDS[machine.host.os][family].format(60)
    start = EPOCH - timedelta(hours=3)
    texts = list(history(machine, start, EPOCH, command))
    assert [stamp for stamp, _, _ in texts] == [start + timedelta(minutes=minute) for minute in range(180)]
    assert {asked for _, asked, _ in texts} == {command}
    assert len({text for _, _, text in texts}) > 100
    assert all(text.endswith("\n") for _, _, text in texts)


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.parametrize("family", ["process", "filesystem"])
def test_tables_every_ten_minutes(world: World, name: str, family: str) -> None:
    machine = world.machine(name)
    texts = list(history(machine, EPOCH - timedelta(hours=3), EPOCH, COMMANDS[machine.host.os][family]))
    assert len(texts) == 18
    assert all(stamp.minute % 10 == 0 for stamp, _, _ in texts)
    rows = texts[0][2].count("\n") - 1
    assert rows >= (60 if family == "process" else 10)


def test_parts_of_a_history_make_the_whole(world: World) -> None:
    machine = world.machine("aixlpar01")
    middle = EPOCH - timedelta(hours=20)
    for family in ("vmstat", "netstat", "process"):
        command = COMMANDS["aix"][family].format(60)
        whole = list(history(machine, EPOCH - timedelta(hours=40), EPOCH, command))
        parts = [
            *history(machine, EPOCH - timedelta(hours=40), middle, command),
            *history(machine, middle, EPOCH, command),
        ]
        assert parts == whole


def test_a_history_is_the_same_again(world: World) -> None:
    for family, command in COMMANDS["hpux"].items():
        texts = [
            list(islice(history(some.machine("hpuxdb01"), EPOCH - timedelta(days=3), EPOCH, command.format(60)), 30))
            for some in (world, World(7, EPOCH))
        ]
        assert texts[0] == texts[1], family


def test_history_and_live_meet_without_a_step(world: World) -> None:
    """Minutes of live reports average to the minutes of the history, within the noise of seconds."""
    for name in ONE_OF_EACH:
        machine = world.undisturbed(name)
        live = Live(machine)
        # A quiet hour: no backup, whose edges are steeper than a straight line between minutes.
        first = world.epoch_minute + 5
        minutes = machine.minutes(first, 20)
        seconds = np.array(
            [
                np.mean([live.state(60.0 * minute + second, 2.0)[:, 0] for second in range(2, 61, 2)], axis=0)
                for minute in range(first, first + 20)
            ]
        ).T
        for row in ("us", "sy", "sysc", "cs", "in", "ipkts0", "comp", "rs1", "svc1"):
            off = np.abs(seconds[ROW[row]] - minutes[ROW[row]]) / minutes[ROW[row]]
            assert off.mean() < 0.05, (name, row)
        assert abs(seconds[ROW["r"]].mean() - minutes[ROW["r"]].mean()) < 0.35


def test_a_live_report_over_a_minute_is_that_of_the_history(world: World) -> None:
    machine = world.undisturbed("lindb01")
    live = Live(machine)
    minute = world.epoch_minute + 30
    report, state = live.state(60.0 * (minute + 1), 60.0)[:, 0], machine.minutes(minute, 1)[:, 0]
    for row in ("us", "sysc", "ipkts0", "comp"):
        assert report[ROW[row]] == pytest.approx(state[ROW[row]], rel=0.05)


def test_counters_go_on_from_history_into_live(world: World) -> None:
    machine = world.machine("linweb02")
    live = Live(machine)
    last = machine.counters(world.epoch_minute)
    assert np.allclose(live.counters(60.0 * world.epoch_minute), last)
    steps = [live.counters(60.0 * world.epoch_minute + second) for second in range(0, 300, 5)]
    assert all((after >= before).all() for before, after in pairwise(steps))
    assert np.allclose(live.counters(60.0 * (world.epoch_minute + 5)), machine.counters(world.epoch_minute + 5))


def test_a_command_without_history_is_refused(world: World) -> None:
    for command in ("uname -a", "mpstat 1"):
        with pytest.raises(InvalidInput, match="no history"):
            next(history(world.machine("aixdb01"), EPOCH - timedelta(hours=1), EPOCH, command))


def test_an_incident_is_in_the_process_table(world: World) -> None:
    from hps_platform.stack.simulator import incidents

    plan = world.plans.week(0).values()
    found = next(incident for incident in plan if incident.kind != incidents.NETWORK_ERRORS)
    machine = world.machine(found.host)
    command = COMMANDS[machine.host.os]["process"]
    middle = (found.start + found.ramp + 12) // 10 * 10
    at = EPOCH + timedelta(minutes=middle - world.epoch_minute)
    (_, _, during), (_, _, before) = (
        next(history(machine, moment, moment + timedelta(minutes=10), command))
        for moment in (at, at - timedelta(minutes=middle - found.start + 20))
    )
    assert during.count("\n") == before.count("\n") + 1
