"""Collection plans: what is run on a host, how often, and that one's own commands are taken as they are."""

import pytest

from hps_platform.dialects import SYSTEMS, PlannedCommand, parse, plan
from hps_platform.errors import InvalidInput
from hps_platform.metrics import FAMILIES


@pytest.mark.parametrize("os", SYSTEMS)
def test_one_command_a_family_that_the_dialect_reads_itself(os: str) -> None:
    planned = plan(os)

    assert [command.family for command in planned] == list(FAMILIES)
    for command in planned:
        assert parse(os, command.command, "").family == command.family
        assert command.command.startswith("LC_ALL=C ")
        assert command.stream == (command.family in ("vmstat", "iostat"))
        assert command.interval_s == FAMILIES[command.family].interval_s


@pytest.mark.parametrize("os", SYSTEMS)
def test_commands_only_read(os: str) -> None:
    for command in plan(os):
        # -Z of AIX netstat and -r of entstat set counters back; nothing of ours writes a file.
        assert not {"-Z", "-r", "rm", ">", ">>"} & set(command.command.split())


def test_intervals() -> None:
    planned = {command.family: command for command in plan("linux", {"vmstat": 5, "iostat": 60, "process": 120})}

    assert planned["vmstat"] == PlannedCommand("vmstat", "LC_ALL=C vmstat -n 5", True, 5.0)
    assert planned["iostat"] == PlannedCommand("iostat", "LC_ALL=C iostat -dxk 10 2", False, 60.0)
    assert planned["process"].interval_s == 120.0


def test_repeating_commands_take_whole_seconds() -> None:
    planned = {command.family: command for command in plan("aix", {"vmstat": 0.5, "iostat": 2.6})}

    assert planned["vmstat"].command == "LC_ALL=C vmstat 1"
    assert planned["iostat"] == PlannedCommand("iostat", "LC_ALL=C iostat -d 3", True, 3.0)


def test_overrides_are_taken_as_they_are() -> None:
    overrides = {"vmstat": "/usr/bin/vmstat -I 4", "iostat": "iostat -Dl 5 2", "memory": "svmon -G"}

    planned = {command.family: command for command in plan("aix", overrides=overrides)}

    assert planned["vmstat"] == PlannedCommand("vmstat", "/usr/bin/vmstat -I 4", True, 4.0)
    assert planned["iostat"] == PlannedCommand("iostat", "iostat -Dl 5 2", False, 2.0)
    assert planned["memory"] == PlannedCommand("memory", "svmon -G", False, 10.0)


@pytest.mark.parametrize("override", ["uptime", "df -k", ""])
def test_an_override_must_be_of_its_family(override: str) -> None:
    with pytest.raises(InvalidInput, match="vmstat"):
        plan("aix", overrides={"vmstat": override})


def test_an_unknown_system_has_no_plan() -> None:
    with pytest.raises(InvalidInput, match="plan9"):
        plan("plan9")
