"""Solaris 8 to 11 and illumos."""

import re
from collections.abc import Mapping

from hps_platform.dialects import interfaces, iostat, memory, mounts, processes, sampling, vmstat
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Dialect, Plan, Reader, Reading

PLAN = (
    Plan("vmstat", "LC_ALL=C vmstat {interval}"),
    Plan("iostat", "LC_ALL=C iostat -xn {interval}"),
    Plan("netstat", "LC_ALL=C netstat -in"),
    Plan("process", "LC_ALL=C ps -eo pid,ppid,user,pcpu,pmem,vsz,rss,etime,time,s,args"),
    Plan("filesystem", "LC_ALL=C df -k"),
    # prtconf prints the whole device tree; its third line is all that is wanted.
    Plan("memory", "LC_ALL=C swap -s; LC_ALL=C prtconf | grep Memory"),
)

# vmstat 2: swap and free in KiB; none to four disks, named with two letters, `--` for those that are not there
#
#  kthr      memory            page            disk          faults      cpu
#  r b w   swap  free  re  mf pi po fr de sr s0 s1 -- --   in   sy   cs us sy id
#  0 0 0 8123040 1904112 12 41  3  0  0  0  0  2  5  0  0  812 2310 1107  6  3 91
_VMSTAT = vmstat.Words(
    columns={
        **vmstat.COMMON,
        "free": ("fre", 1),
        "pi": ("pi", 1),
        "po": ("po", 1),
        "sr": ("sr", 1),
    },
    required=frozenset(("r", "b", "w", "swap", "free", "mf", "pi", "po", "de", "sr", "in", "sy", "cs", "us", "id")),
)

# iostat -xn 2 (with -x alone the device comes first and `svc_t` stands for both times; -I counts per interval)
#
#                     extended device statistics
#     r/s    w/s   kr/s   kw/s wait actv wsvc_t asvc_t  %w  %b device
#     4.5   18.0  102.0  311.5  0.0  0.1    0.1    5.2   0   7 c1t0d0
_DISKS: Mapping[str, tuple[str, float]] = {
    **iostat.EXTENDED,
    "wait": (iostat.WAITING, 1),
    "actv": (iostat.ACTIVE, 1),
    "asvc_t": ("service_time_ms", 1),
}


def _disks(line: str) -> sampling.Table | None:
    names = line.split()
    if "device" not in (names[0], names[-1]) or not {"actv", "wait"}.issubset(names):
        return None
    return iostat.DiskTable(iostat.parts_of(names, _DISKS), len(names), 0 if names[0] == "device" else -1)


_DISK_LAYOUTS = iostat.layouts(_disks, "device")


# netstat -in: an IPv4 table with Queue, then an IPv6 one without it that repeats the counters
#
# Name  Mtu  Net/Dest      Address        Ipkts  Ierrs Opkts  Oerrs Collis Queue
# lo0   8232 127.0.0.0     127.0.0.1      90211  0     90211  0     0      0
# net0  1500 10.4.8.0      10.4.8.21      7712034 0    5120441 0    0      0

# swap -s; prtconf | grep Memory
# total: 412304k bytes allocated + 88120k reserved = 500424k used, 7622616k available
# Memory size: 16384 Megabytes
_SWAP = re.compile(r"\s*total:\s*\d+k bytes allocated \+ \d+k reserved = (\d+)k used, (\d+)k available\s*", re.ASCII)
_SIZE = re.compile(r"\s*Memory size:\s*(\d+) (Mega|Giga)bytes\s*", re.ASCII | re.IGNORECASE)
_SYSTEM = re.compile(r"System Configuration:", re.IGNORECASE)
_UNITS = {"mega": 1024, "giga": 1024**2}

# swap -l (blocks of 512 bytes)
# swapfile             dev  swaplo blocks   free
# /dev/zvol/dsk/rpool/swap 310,2      8 4194296 4194296
_AREA = re.compile(r"\s*\S+\s+(?:\d+,\d+|-)\s+\d+\s+(\d+)\s+(\d+)\s*", re.ASCII)


def _memory(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    total: int | None = None
    paging: tuple[int, int] | None = None
    areas: list[tuple[int, int]] = []
    listed = recognised = False
    for line in text.split("\n"):
        if match := _SWAP.fullmatch(line):
            used, available = int(match[1]), int(match[2])
            paging = (used + available, used)
        elif match := _SIZE.fullmatch(line):
            total = int(match[1]) * _UNITS[match[2].lower()]
        elif line.split()[:3] == ["swapfile", "dev", "swaplo"]:
            listed = True
        elif listed and (match := _AREA.fullmatch(line)):
            areas.append((int(match[1]), int(match[2])))
        elif _SYSTEM.search(line):
            recognised = True
    if paging is None and areas:
        blocks, free = sum(area[0] for area in areas), sum(area[1] for area in areas)
        paging = (blocks // 2, (blocks - free) // 2)
    if total is None and paging is None:
        return Reading(recognised=recognised or listed)
    paging_total, paging_used = paging or (None, None)
    row = memory.row(total_kb=total, paging_total_kb=paging_total, paging_used_kb=paging_used)
    return Reading([row], recognised=True)


_MEMORY = Reader("memory", _memory)

DIALECT = Dialect(
    name="solaris",
    version=1,
    plan=PLAN,
    readers={
        "vmstat": vmstat.reader(_VMSTAT),
        "iostat": iostat.reader(lambda _: _DISK_LAYOUTS),
        "netstat": interfaces.reader(),
        "ps": processes.reader(),
        "df": mounts.reader(),
        "swap": _MEMORY,
        "prtconf": _MEMORY,
    },
)
