"""The model of a machine: same seed, same machine; rhythm; counters; at any time, asked in any order."""

from datetime import timedelta

import numpy as np
import pytest

from hps_platform.errors import NotFound
from hps_platform.stack.simulator.model import NET_ROWS, ROW, ROWS
from hps_platform.stack.simulator.world import World
from hps_platform_tests.unit.simulator.conftest import EPOCH, ONE_OF_EACH


def test_the_same_seed_is_the_same_machine_and_another_seed_another(world: World) -> None:
    first = world.epoch_minute - 3000
    for name in ONE_OF_EACH:
        mine = world.machine(name).minutes(first, 200)
        again = World(7, EPOCH).machine(name).minutes(first, 200)
        other = World(8, EPOCH).machine(name).minutes(first, 200)
        assert np.array_equal(mine, again)
        assert not np.allclose(mine[ROW["us"]], other[ROW["us"]])


def test_a_minute_is_the_same_whatever_else_is_asked_for(world: World) -> None:
    machine = world.machine("lindb01")
    first = world.epoch_minute - 5000
    together = machine.minutes(first, 3000)
    assert np.allclose(together[:, 1234], machine.minutes(first + 1234, 1)[:, 0], rtol=1e-12)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_states_are_possible(world: World, name: str) -> None:
    machine = world.machine(name)
    states = machine.minutes(machine.origin, 14 * 1440)
    assert states.shape == (len(ROWS), 14 * 1440)
    assert np.isfinite(states).all()
    assert (states >= 0).all()
    assert (states[ROW["us"]] + states[ROW["sy"]] + states[ROW["wa"]] <= 100.01).all()
    assert (states[ROW["comp"]] + states[ROW["cache"]] < machine.host.memory_kb).all()
    assert (states[ROW["busy1"]] <= 100).all()


def test_days_are_busier_than_nights_and_weekends_quieter(world: World) -> None:
    machine = world.undisturbed("aixapp01")
    # 2026-02-23 is a Monday, 2026-02-28 a Saturday.
    monday = int((EPOCH - timedelta(days=8, hours=9, minutes=7)).timestamp()) // 60
    busy = machine.minutes(monday, 7 * 1440)[[ROW["us"], ROW["sy"]]].sum(axis=0).reshape(7, 24, 60).mean(axis=2)
    assert busy[:5, 9:16].mean() > 2 * busy[:5, 21:24].mean()
    assert busy[5:, 9:16].mean() < 0.8 * busy[:5, 9:16].mean()


def test_load_moves_together(world: World) -> None:
    machine = world.undisturbed("lindb01")
    # By day: at night the backup is a load of its own.
    day = machine.origin - machine.origin % 1440 + 1440
    states = np.hstack([machine.minutes(day + 1440 * number + 420, 900) for number in range(7)])
    related = np.corrcoef(states[[ROW[name] for name in ("us", "r", "sysc", "ipkts0", "rs1")]])
    assert related.min() > 0.5


def test_counters_grow_with_the_traffic_and_do_not_depend_on_the_order_of_questions(world: World) -> None:
    machine = world.machine("soldb01")
    first = world.epoch_minute - 700
    before, after = machine.counters(first), machine.counters(first + 60)
    rates = machine.minutes(first, 60)[ROW[NET_ROWS[0]] : ROW[NET_ROWS[0]] + len(NET_ROWS)]
    # Each minute adds a whole number.
    assert np.allclose(after - before, 60.0 * rates.sum(axis=1), rtol=1e-6, atol=0.5 * rates.shape[1])
    assert np.allclose(machine.counters(first), before, rtol=1e-12)


def test_an_unknown_host_is_named(world: World) -> None:
    with pytest.raises(NotFound, match="nowhere01"):
        world.machine("nowhere01")


def test_sizes_of_the_fleet(world: World) -> None:
    assert [host.os for host in world.hosts].count("aix") == 4
    assert [host.os for host in world.hosts].count("linux") == 4
    assert [host.os for host in world.hosts].count("solaris") == 2
    assert [host.os for host in world.hosts].count("hpux") == 2
    assert sum(host.entitlement is not None for host in world.hosts) == 2
    for host in world.hosts:
        assert (len(host.disks), len(host.interfaces), len(host.mounts)) == (4, 3, 10)
        assert 60 <= host.process_count <= 150


def test_a_larger_fleet_has_names_of_its_own() -> None:
    assert len({host.hostname for host in World(1, EPOCH, 1000).hosts}) == 1000
