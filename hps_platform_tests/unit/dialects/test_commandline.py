"""Programs found in command lines of every shape."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hps_platform.dialects.commandline import Program, programs


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("vmstat 2", ["vmstat"]),
        ("LC_ALL=C vmstat 2", ["vmstat"]),
        ("LC_ALL=C UNIX95= ps -eo pid,args", ["ps"]),
        ("env LC_ALL=C LANG=C /usr/bin/vmstat 2", ["vmstat"]),
        ("sudo -n /usr/bin/svmon -G; LC_ALL=C lsps -s", ["svmon", "lsps"]),
        ("timeout 10 df -k 2>/dev/null", ["df"]),
        ("nice -n 10 ps -ef | grep -v 'a b' | head -5", ["ps"]),
        ("sudo -u monitor timeout -k 5 30s df -kP", ["df"]),
        ("jexec -l 3 ps aux; zlogin web1 df -k; busybox free", ["ps", "df", "free"]),
        ("echo 'lan display quit' | lanadmin -t | grep Octets", ["lanadmin"]),
        ("LC_ALL=C cat /proc/net/dev", ["/proc/net/dev"]),
        ("head -30 /proc/stat", ["/proc/stat"]),
        ("free -b; cat /proc/meminfo", ["free", "/proc/meminfo"]),
        ("sh -c 'swap -s && prtconf | grep Memory'", ["swap", "prtconf"]),
        ("vmstat 1 5 (through a pty)", ["vmstat", "through"]),
        ("df -k > /tmp/x 2>&1", ["df"]),
        ("ps -eo 'pid", ["ps"]),
        ("while cat /proc/stat /proc/uptime; do sleep 2; done", ["/proc/stat", "/proc/uptime", "sleep"]),
        ("", []),
        (";;||", []),
    ],
)
def test_programs(command: str, names: list[str]) -> None:
    assert [program.name for program in programs(command)] == names


@pytest.mark.parametrize(
    ("command", "interval"),
    [("vmstat", None), ("vmstat 2", 2.0), ("vmstat -n 5 10", 5.0), ("iostat -xn 0.5", 0.5), ("vmstat hdisk0 3 2", 3.0)],
)
def test_intervals(command: str, interval: float | None) -> None:
    assert programs(command)[0].interval == interval


def test_flags() -> None:
    program = Program("vmstat", ("-an", "-S", "M", "-Jx", "--all", "2"))

    assert program.has("a")
    assert program.has("n")
    assert not program.has("l")
    assert program.value("S") == "M"
    assert program.value("J") == "x"
    assert program.value("q") is None


def test_flags_given_several_times() -> None:
    assert Program("ps", ("-e", "-o", "pid=", "-oppid=", "-o", "args")).values("o") == ["pid=", "ppid=", "args"]


@given(st.text())
def test_any_text(command: str) -> None:
    assert all(program.name is not None for program in programs(command))
