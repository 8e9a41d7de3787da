"""The shell of a simulated machine: what it makes of command lines."""

import pytest

from hps_platform.stack.simulator.shell import Printed, Report, Reports, steps
from hps_platform.stack.simulator.world import World
from hps_platform_tests.unit.simulator.conftest import COMMANDS, ONE_OF_EACH


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_every_planned_command_is_known(world: World, name: str) -> None:
    host = world.host(name)
    for family, command in COMMANDS[host.os].items():
        found = steps(host, command.format(2))
        assert found
        assert all(isinstance(step, Reports if family in ("vmstat", "iostat", "lpar") else Report) for step in found)


def test_grep_with_alternatives(world: World) -> None:
    (step,) = steps(world.host("aixdb01"), "netstat -v | grep -E 'Bytes:|Errors:'")

    assert isinstance(step, Report)
    assert step.filtered("Packets: 1\nBytes: 2\nTransmit Errors: 0\n") == "Bytes: 2\nTransmit Errors: 0\n"


def test_interval_and_count(world: World) -> None:
    host = world.host("aixdb01")
    (step,) = steps(host, "LC_ALL=C /usr/bin/vmstat 5 3 2>/dev/null")
    assert isinstance(step, Reports)
    assert (step.interval_s, step.count) == (5.0, 3)
    (alone,) = steps(host, "vmstat")
    assert isinstance(alone, Reports)
    assert alone.interval_s is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("aixdb01", "ksh: mpstat:  not found.\n"),
        ("hpuxdb01", "sh: mpstat:  not found.\n"),
        ("lindb01", "-bash: mpstat: command not found\n"),
    ],
)
def test_a_missing_command_is_not_found(world: World, name: str, text: str) -> None:
    assert steps(world.host(name), "mpstat 2") == [Printed("", text, 127)]


@pytest.mark.parametrize("command", ["vmstat x", "vmstat -Z 2", "iostat -q 1", "vmstat 0"])
def test_a_wrong_option_gives_the_usage(world: World, command: str) -> None:
    (step,) = steps(world.host("aixdb01"), command)
    assert isinstance(step, Printed)
    assert step.exit_code == 1
    assert "usage" in step.stderr


def test_an_unknown_field_of_ps_is_named(world: World) -> None:
    (step,) = steps(world.host("linweb01"), "ps -eo pid,shoesize")
    assert step == Printed("", "ps: shoesize: unknown field\n", 1)


@pytest.mark.parametrize("command", ["", "  ;; ", "'unclosed", "a | b | c", "&& &&", "=", "\x00"])
def test_odd_lines_do_not_break_it(world: World, command: str) -> None:
    for step in steps(world.host("solapp01"), command):
        assert isinstance(step, Printed)


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("aixdb01", "AIX aixdb01 2 7 "),
        ("lindb01", "Linux lindb01 6.1"),
        ("soldb01", "SunOS soldb01 5.11 "),
        ("hpuxdb01", "HP-UX hpuxdb01 B.11.31 U ia64 "),
    ],
)
def test_identification(world: World, name: str, begins: str) -> None:
    (step,) = steps(world.host(name), "uname -a; echo anything")
    assert isinstance(step, Printed)
    lines = step.stdout.splitlines()
    assert lines[0].startswith(begins)
    assert f"hps.node={name}" in lines
    assert any(line.startswith("hps.cpus=") for line in lines)


def test_grep_behind_a_pipe(world: World) -> None:
    (step,) = steps(world.host("solapp01"), "prtconf | grep Memory")
    assert isinstance(step, Report)
    assert step.filtered("a\nMemory size: 1\nb\n") == "Memory size: 1\n"
