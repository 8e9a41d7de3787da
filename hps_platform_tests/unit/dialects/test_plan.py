"""Collection plans: what is run on a host, how often, and that one's own commands are taken as they are."""

import pytest

from hps_platform import dialects
from hps_platform.dialects import DIALECTS, SYSTEMS, PlannedCommand, parse, plan
from hps_platform.dialects.dialect import Dialect, Plan
from hps_platform.errors import InvalidInput
from hps_platform.metrics import FAMILIES
from hps_platform_tests.unit.dialects.cases import families_of


@pytest.mark.parametrize("os", SYSTEMS)
def test_one_command_a_family_that_the_dialect_reads_itself(os: str) -> None:
    planned = plan(os)

    assert [command.family for command in planned] == families_of(os)
    for command in planned:
        assert parse(os, command.command, "").family == command.family
        assert command.command.startswith(("LC_ALL=C ", "env LC_ALL=C "))
        assert command.stream == (command.family in ("vmstat", "iostat", "lpar"))
        assert command.interval_s == FAMILIES[command.family].interval_s


LINES = [(os, line) for os, dialect in DIALECTS.items() for line in dialect.plan]


@pytest.mark.parametrize(("os", "line"), LINES, ids=str)
def test_every_way_of_a_plan_is_one_that_the_dialect_reads_itself(os: str, line: Plan) -> None:
    for command in (line.command, line.once):
        if command:
            assert parse(os, command.replace("{interval}", "2"), "").family == line.family
            assert "LC_ALL=C" in command
            assert line.needs


@pytest.mark.parametrize(("os", "line"), LINES, ids=str)
def test_commands_only_read(os: str, line: Plan) -> None:
    for command in (line.command, line.once):
        # -Z of AIX netstat and -r of entstat set counters back; nothing of ours writes a file.
        assert not {"-Z", "-r", "rm", ">", ">>"} & set(command.split())


def test_intervals() -> None:
    planned = {command.family: command for command in plan("linux", {"vmstat": 5, "iostat": 60, "process": 120})}

    assert planned["vmstat"] == PlannedCommand("vmstat", "LC_ALL=C vmstat -n 5", True, 5.0)
    assert planned["iostat"] == PlannedCommand("iostat", "LC_ALL=C iostat -dxk 10 2", False, 60.0)
    assert planned["process"].interval_s == 120.0


def test_a_long_interval_takes_one_report_where_none_is_the_average_since_boot() -> None:
    planned = {command.family: command for command in plan("aix", {"lpar": 60})}

    assert planned["lpar"] == PlannedCommand("lpar", "LC_ALL=C lparstat 10 1", False, 60.0)


def test_disks_of_hp_ux_are_read_with_sar_where_it_is() -> None:
    def disks(*tools: str, every_s: float = 2) -> str:
        planned = plan("hpux", {"iostat": every_s}, tools=tools)
        return next(command.command for command in planned if command.family == "iostat")

    assert disks() == "LC_ALL=C iostat 2"
    assert disks("iostat") == "LC_ALL=C iostat 2"
    assert disks("iostat", "sar") == "LC_ALL=C sar -d 2 9999999 & LC_ALL=C iostat 2"
    assert disks("iostat", "/usr/sbin/sar") == "LC_ALL=C /usr/sbin/sar -d 2 9999999 & LC_ALL=C iostat 2"
    assert disks("iostat", "sar", every_s=60) == "LC_ALL=C sar -d 10 1 & LC_ALL=C iostat 10 2; wait"


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


@pytest.fixture
def several_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two systems' ways to one family, of which the later ones need other tools."""
    readers = DIALECTS["linux"].readers
    ways = (
        Plan("process", "LC_ALL=C ps -eo pid,args", unless="busybox:ps"),
        Plan("process", "LC_ALL=C ps -o pid,args"),
        Plan("memory", "LC_ALL=C free; LC_ALL=C cat /proc/meminfo"),
        Plan("memory", "LC_ALL=C cat /proc/meminfo"),
        Plan("vmstat", "LC_ALL=C vmstat -n {interval}", once="LC_ALL=C vmstat {interval} 3"),
    )
    monkeypatch.setitem(DIALECTS, "linux", Dialect("linux", 1, ways, readers, DIALECTS["linux"].preamble))


def _commands(*tools: str, **intervals: float) -> dict[str, str]:
    return {planned.family: planned.command for planned in plan("linux", intervals, tools=tools)}


@pytest.mark.usefixtures("several_ways")
def test_the_first_way_that_a_hosts_tools_allow() -> None:
    assert _commands()["process"] == "LC_ALL=C ps -eo pid,args"
    assert _commands("ps", "free")["process"] == "LC_ALL=C ps -eo pid,args"
    assert _commands("ps", "busybox:ps")["process"] == "LC_ALL=C ps -o pid,args"
    assert _commands("free", "/proc/meminfo")["memory"] == "LC_ALL=C free; LC_ALL=C cat /proc/meminfo"
    assert _commands("ps", "/proc/meminfo")["memory"] == "LC_ALL=C cat /proc/meminfo"


@pytest.mark.usefixtures("several_ways")
def test_without_any_possible_way_the_preferred_one_is_tried_and_its_failure_told() -> None:
    assert _commands("ps")["memory"] == "LC_ALL=C free; LC_ALL=C cat /proc/meminfo"


@pytest.mark.usefixtures("several_ways")
def test_a_program_that_is_not_on_the_search_path_is_called_by_its_path() -> None:
    commands = _commands("/usr/sbin/ps", "/opt/bin/free", "/proc/meminfo", "/sbin/vmstat")

    assert commands["process"] == "LC_ALL=C /usr/sbin/ps -eo pid,args"
    assert commands["memory"] == "LC_ALL=C /opt/bin/free; LC_ALL=C cat /proc/meminfo"
    assert commands["vmstat"] == "LC_ALL=C /sbin/vmstat -n 2"
    assert parse("linux", commands["process"], "").family == "process"


@pytest.mark.usefixtures("several_ways")
def test_a_way_may_have_a_command_of_its_own_for_long_intervals() -> None:
    assert _commands("vmstat", vmstat=60)["vmstat"] == "LC_ALL=C vmstat 10 3"


def test_hosts_are_asked_for_every_tool_of_their_plan() -> None:
    for os, line in LINES:
        for tool in line.needs:
            assert tool in dialects.IDENTIFY, (os, tool)
