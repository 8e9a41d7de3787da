"""A small simulated world for the tests."""

from datetime import UTC, datetime

import pytest

from hps_platform.stack.simulator.world import World

EPOCH = datetime(2026, 3, 3, 9, 7, tzinfo=UTC)
COMMANDS = {
    "aix": {
        "vmstat": "LC_ALL=C vmstat {}",
        "iostat": "LC_ALL=C iostat -d {}",
        "netstat": "LC_ALL=C netstat -in; LC_ALL=C netstat -v | grep -E 'STATISTICS|Packets|Bytes:|Errors:'",
        "process": "LC_ALL=C ps -A -o pid,ppid,user,pcpu,pmem,vsz,rssize,etime,time,stat,args",
        "filesystem": "LC_ALL=C df -k",
        "memory": "LC_ALL=C svmon -G; LC_ALL=C lsps -s",
        "lpar": "LC_ALL=C lparstat {}",
    },
    "linux": {
        "vmstat": "LC_ALL=C vmstat -n {}",
        "iostat": "LC_ALL=C iostat -dxk {}",
        "netstat": "LC_ALL=C cat /proc/net/dev",
        "process": "LC_ALL=C ps -eo pid,ppid,user:32,pcpu,pmem,vsz,rss,etime,time,stat,args",
        "filesystem": "LC_ALL=C df -kP",
        "memory": "LC_ALL=C cat /proc/meminfo",
    },
    "solaris": {
        "vmstat": "LC_ALL=C vmstat {}",
        "iostat": "LC_ALL=C iostat -xn {}",
        "netstat": "LC_ALL=C netstat -in",
        "process": "LC_ALL=C ps -eo pid,ppid,user,pcpu,pmem,vsz,rss,etime,time,s,args",
        "filesystem": "LC_ALL=C df -k",
        "memory": "LC_ALL=C swap -s; LC_ALL=C prtconf | grep Memory",
    },
    "hpux": {
        "vmstat": "LC_ALL=C vmstat {}",
        "iostat": "LC_ALL=C iostat {}",
        "netstat": "LC_ALL=C netstat -in",
        "process": "LC_ALL=C UNIX95= ps -eo pid,ppid,user,pcpu,vsz,etime,time,state,args",
        "filesystem": "LC_ALL=C bdf",
        "memory": "LC_ALL=C swapinfo -tam",
    },
}
ONE_OF_EACH = ("aixdb01", "aixlpar01", "linweb01", "solapp01", "hpuxdb01")


@pytest.fixture(scope="session")
def world() -> World:
    """The fleet of seed 7."""
    return World(7, EPOCH)
