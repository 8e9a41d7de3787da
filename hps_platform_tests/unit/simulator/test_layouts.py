"""Layouts: each rendering laid beside the captured output that it names.

The values of a capture, put through the simulator's own formats, have to give the capture back.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from hps_platform.stack.simulator.history import history
from hps_platform.stack.simulator.live import Live
from hps_platform.stack.simulator.render import SYSTEMS, Once, Stream, aix, hpux, linux, solaris
from hps_platform.stack.simulator.world import World
from hps_platform_tests.unit.simulator.conftest import COMMANDS, EPOCH, ONE_OF_EACH

FIXTURES = Path(__file__).parents[4] / "shared" / "fixtures"
pytestmark = pytest.mark.shared_fixtures


def fixture_lines(name: str) -> list[str]:
    """The lines of a capture without the blanks at their ends."""
    return [line.rstrip() for line in (FIXTURES / name).read_text(encoding="utf-8").splitlines()]


def number(word: str) -> float | int:
    """A word of a capture as a number."""
    return float(word) if "." in word else int(word)


def numbers(line: str) -> tuple[float | int, ...]:
    """All numbers of a line."""
    return tuple(number(word) for word in re.findall(r"-?\d+(?:\.\d+)?", line))


def rows_after(name: str, header: str) -> list[str]:
    """The lines that follow the heading, up to the next empty one."""
    lines = fixture_lines(name)
    found = lines[lines.index(header.strip("\n").splitlines()[-1].rstrip()) + 1 :]
    return found[: found.index("")] if "" in found else found


def after_name(line: str) -> tuple[str | float | int, ...]:
    """A row that begins with a name: the name, then numbers."""
    name, *rest = line.split()
    return (name, *(number(word) for word in rest))


def before_name(line: str) -> tuple[str | float | int, ...]:
    """A row that ends with a name."""
    *rest, name = line.split()
    return (*(number(word) for word in rest), name)


def mounted(line: str) -> tuple[str | float | int, ...]:
    """A row of df: device, numbers and percentages, mount point."""
    device, *rest, mount = line.split()
    return (device, *(number(word.rstrip("%")) for word in rest), mount)


def names_then_counts(line: str) -> tuple[str | float | int, ...]:
    """A row of netstat -i: name, mtu, network, address, then counters."""
    name, mtu, network, address, *rest = line.split()
    return (name, int(mtu), network, address, *(number(word) for word in rest))


def linux_interface(line: str) -> tuple[str | float | int, ...]:
    """A row of /proc/net/dev."""
    name, _, rest = line.partition(":")
    return (name.strip(), *numbers(rest))


AIX_NETSTAT = aix.NETSTAT_NAMES + aix.NETSTAT_COUNTS
LAYOUTS: list[tuple[str, str, str, Callable[[str], tuple[object, ...]]]] = [
    (aix.VMSTAT.fixture, aix.VMSTAT_SHARED, aix.VMSTAT_SHARED_ROW, numbers),
    ("aix/vmstat-1-5-dedicated-1.txt", aix.VMSTAT_DEDICATED, aix.VMSTAT_ROW, numbers),
    ("aix/iostat-d-hugetotals-1.txt", aix.IOSTAT_HEADER, aix.IOSTAT_ROW, after_name),
    ("linux/vmstat-n-2-3-debian12.txt", linux.VMSTAT_HEADER, linux.VMSTAT_ROW, numbers),
    ("linux/iostat-dkx-1-2-debian12.txt", linux.IOSTAT_HEADER, linux.IOSTAT_ROW, after_name),
    ("linux/procnetdev-debian12.txt", linux.NET_HEADER, linux.NET_ROW, linux_interface),
    ("solaris/iostat-xn-twoblocks-1.txt", solaris.IOSTAT_HEADER, solaris.IOSTAT_ROW, before_name),
    ("solaris/netstat-in-hugecounters-1.txt", solaris.NETSTAT_HEADER, solaris.NETSTAT_ROW, names_then_counts),
    ("solaris/df-k-3.txt", solaris.DF_HEADER, solaris.DF_ROW, mounted),
    ("hpux/vmstat-1-4-1.txt", hpux.VMSTAT_HEADER, hpux.VMSTAT_ROW, numbers),
    ("hpux/netstat-i-1.txt", hpux.NETSTAT_HEADER, hpux.NETSTAT_ROW, names_then_counts),
    ("hpux/bdf-hpux1-vxfs-1.txt", hpux.BDF_HEADER, hpux.BDF_ROW, mounted),
]


@pytest.mark.parametrize(("name", "header", "form", "values"), LAYOUTS, ids=[layout[0] for layout in LAYOUTS])
def test_the_formats_give_the_capture_back(
    name: str, header: str, form: str, values: Callable[[str], tuple[object, ...]]
) -> None:
    lines = fixture_lines(name)
    for heading in header.strip("\n").splitlines():
        assert heading.rstrip() in lines
    rows = [row for row in rows_after(name, header) if row not in header]
    assert rows
    for row in rows:
        assert (form % values(row)).rstrip() == row


def test_aix_netstat_also_where_the_address_is_missing() -> None:
    name = "aix/netstat-in-1.txt"
    assert aix.NETSTAT_HEADER.rstrip() in fixture_lines(name)
    for row in rows_after(name, aix.NETSTAT_HEADER):
        words = row.split()
        names = (words[0], int(words[1]), words[2], words[3] if len(words) == 9 else "")
        assert (AIX_NETSTAT % (*names, *(int(word) for word in words[-5:]))).rstrip() == row


def test_aix_df_rows_and_heading_words() -> None:
    """The heading of the capture was edited by hand: its words count; the columns are those of the rows."""
    name = "aix/df-k-1.txt"
    heading, *rows = fixture_lines(name)
    assert heading.split() == aix.DF_HEADER.split()
    checked = 0
    for row in rows:
        # The capture's Iused column is one narrower than that of other captures of AIX, and long names shift a row.
        device, size, free, used, inodes, inodes_used, mount = row.split()
        if size != "-" and len(device) <= 13:
            ours = aix.DF_ROW % (
                device,
                int(size),
                int(free),
                int(used[:-1]),
                int(inodes),
                int(inodes_used[:-1]),
                mount,
            )
            assert ours.split() == row.split()
            assert ours[: ours.index("%")].rstrip() == row[: row.index("%")]
            checked += 1
    assert checked > 5


def test_solaris_vmstat_pays_back_what_overflows() -> None:
    name = "solaris/vmstat-2-2-1.txt"
    kinds, heading, *rows = fixture_lines(name)
    ours = solaris.VMSTAT_HEADER.splitlines()
    assert kinds == ours[0]
    assert re.sub(r"vc -- -- --", "s0 s1 s2 s3", heading) == ours[1]
    for row in rows[:1]:
        assert solaris.vmstat_row(tuple(int(word) for word in row.split())).rstrip() == row


def test_svmon_and_lsps() -> None:
    lines = fixture_lines("aix/svmon-G-2.txt")
    values: list[object] = [
        int(word) for word in re.findall(r"(?<![\w.])\d+(?= |$)", "\n".join(lines[1:7]), re.MULTILINE)
    ]
    values.insert(5, "Ded")
    small, medium = numbers(lines[9][12:]), numbers(lines[10][12:])
    assert (aix.SVMON % (*values, *small, *medium)).splitlines() == lines[:11]
    for name in ("aix/lsps-s-6.1a-1.txt", "aix/lsps-s-5.3b-1.txt"):
        text = "\n".join(fixture_lines(name)).rstrip()
        assert (aix.LSPS % numbers(text)).rstrip() == text


def test_swapinfo_and_swap() -> None:
    text = "\n".join(fixture_lines("hpux/swapinfo-t-2.txt"))
    dev, reserve, memory, total = (numbers(line) for line in text.splitlines()[2:6])
    ours = hpux.SWAPINFO % (*dev[:4], *reserve, *memory, *total[:4])
    assert ours.replace("Mb", "Kb").rstrip() == text.rstrip()
    (line,) = fixture_lines("solaris/swap-s-1.txt")
    assert (solaris.SWAP % numbers(line)).rstrip() == line


def test_linux_df_and_meminfo(world: World) -> None:
    machine = world.machine("lindb01")
    _, _, text = next(history(machine, EPOCH - timedelta(minutes=10), EPOCH, "df -kP"))
    ours, captured = text.splitlines(), fixture_lines("linux/df-kP-debian12.txt")
    assert re.sub(" +", " ", ours[0]) == re.sub(" +", " ", captured[0])
    for lines in (ours, captured):
        # All but the first and last column end where their headings do.
        for row in lines[1:]:
            for heading in ("1024-blocks", "Used", "Available", "Capacity"):
                assert row[lines[0].index(heading) + len(heading) - 1] in "0123456789%"
                assert row[lines[0].index(heading) + len(heading)] == " "
    _, _, text = next(history(machine, EPOCH - timedelta(minutes=10), EPOCH, "cat /proc/meminfo"))
    captured = fixture_lines("linux/meminfo-debian12.txt")
    known = {line.split(":")[0]: line for line in captured}
    for line in text.splitlines():
        label = line.split(":")[0]
        if label in known:
            assert line.rpartition(" kB")[1] == known[label].rpartition(" kB")[1]
    assert [line.split(":")[0] for line in text.splitlines()][:35] == [line.split(":")[0] for line in captured][:35]


def test_the_first_lines_of_iostat(world: World) -> None:
    preamble = linux.ANSWERS["iostat", "dkx"]
    assert isinstance(preamble, Stream)
    ours = preamble.preamble(world.host("lindb01"), EPOCH.timestamp()).splitlines()
    captured = fixture_lines(preamble.fixture)
    shape = re.compile(r"[\w./-]+")
    assert [shape.sub("x", line.strip()) for line in ours] == [shape.sub("x", line) for line in captured[:2]]


@pytest.mark.parametrize("os", list(SYSTEMS))
def test_process_tables_have_the_systems_own_headings(world: World, os: str) -> None:
    # What POSIX calls the columns that no capture of this system has.
    known = {"ELAPSED", "VSZ", "S", "PPID", "USER", "%CPU"}
    for path in (FIXTURES / os).glob("ps-*.txt"):
        known.update(path.read_text(encoding="utf-8", errors="replace").split("\n")[0].split())
    name = next(name for name in ONE_OF_EACH if world.host(name).os == os)
    _, _, text = next(history(world.machine(name), EPOCH - timedelta(minutes=10), EPOCH, COMMANDS[os]["process"]))
    heading, *rows = text.splitlines()
    assert set(heading.split()) <= known
    assert len(heading.split()) == len(COMMANDS[os]["process"].split(","))
    at = heading.index("PID") + 3
    assert all(row[:at].strip().isdigit() for row in rows if len(row.split()[0]) <= at)


@pytest.mark.parametrize("os", list(SYSTEMS))
def test_every_named_capture_exists(os: str) -> None:
    module = SYSTEMS[os]
    answers: list[Once | Stream] = [*module.ANSWERS.values(), *getattr(module, "FILES", {}).values()]
    for answer in answers:
        if answer.fixture:
            assert answer.fixture.startswith(f"{os}/")
            assert (FIXTURES / answer.fixture).is_file()
    assert (FIXTURES / module.PS_FIXTURE).is_file()
    assert sum(not answer.fixture for answer in answers) <= 1


def test_an_interval_report_has_headings_as_often_as_the_real_tool(world: World) -> None:
    captured = fixture_lines("aix/vmstat-repeated-headers-1.txt")
    places = [place for place, line in enumerate(captured) if line.startswith("kthr")]
    between = places[1] - places[0] - 3
    assert aix.VMSTAT.repeat == between
    state = Live(world.machine("aixlpar01")).state(EPOCH.timestamp(), 2.0)
    assert len(aix.VMSTAT.reports(world.host("aixlpar01"), state, 2.0)) == 1
