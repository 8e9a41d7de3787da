"""FreeBSD 4 to 15: its base system's commands; `sysctl` and `swapinfo` for memory.

The plan's commands begin with `env`, as csh is a common login shell there.
"""

import re
from collections.abc import Mapping

from hps_platform.dialects import horizontal, interfaces, iostat, memory, mounts, processes, sampling, vmstat
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Dialect, Plan, Reader, Reading
from hps_platform.dialects.text import Number, number, numbers_alone, suffixed

PLAN = (
    Plan("vmstat", "env LC_ALL=C vmstat -H {interval}"),
    Plan("iostat", "env LC_ALL=C iostat -dx {interval}"),
    Plan("netstat", "env LC_ALL=C netstat -ibn"),
    Plan("process", "env LC_ALL=C ps -axww -o pid,ppid,user,%cpu,%mem,vsz,rss,etime,time,state,args"),
    Plan("filesystem", "env LC_ALL=C df -k"),
    Plan(
        "memory",
        "env LC_ALL=C sysctl hw.physmem hw.pagesize vm.stats.vm vfs.bufspace kstat.zfs.misc.arcstats.size; "
        "env LC_ALL=C swapinfo -k",
    ),
)

# vmstat -H 2 (without -H numbers may have suffixes; any number of disks; -P has us, sy, id once a processor)
#
#  procs     memory       page                      disks     faults       cpu
#  r b w     avm     fre  flt  re  pi  po   fr   sr ada0 ada1  in   sy   cs us sy id
#  1 0 0 2201344  811024  402   3   0   0  511   88    4    6 120 3311  904  6  2 92
#
# FreeBSD 14 heads both alike, and prints bytes where it puts no suffix:
#  r  b  w  avm  fre  flt  re  pi  po   fr   sr ada0 ada1   in   sy   cs us sy id
#  1  0  0 2254176256 830488576  402   3   0   0  511   88    4    6  120 3311  904  6  2 92
_VMSTAT = vmstat.Words(
    columns={
        **vmstat.COMMON,
        "avm": ("avm", 1),
        "fre": ("fre", 1),
        "fr": ("fr", 1),
        "sr": ("sr", 1),
    },
    required=frozenset(("r", "b", "avm", "fre", "flt", "re", "pi", "po", "fr", "sr", "in", "cs")),
    suffixes=True,
    in_bytes=re.compile(r"\br  b  w  avm  fre  flt\b"),
)

# iostat -dx 2 (svc_t instead of the five times before FreeBSD 11; -C and -T put more cells behind the first disk's; -I
# counts per interval and has no shares; `wait` instead of `qlen` before FreeBSD 9)
#
#                         extended device statistics
# device       r/s     w/s     kr/s     kw/s  ms/r  ms/w  ms/o  ms/t qlen  %b
# ada0           3      18     96.0    512.5     2     5     0     4    1   6
_DISKS: Mapping[str, tuple[str, float]] = {
    **iostat.EXTENDED,
    "ms/r": (iostat.READ_MS, 1),
    "ms/w": (iostat.WRITE_MS, 1),
    "qlen": ("queue_length", 1),
    "wait": ("queue_length", 1),
}


_EVERY = (frozenset(("qlen", "wait")), frozenset(("kr/s", "kr/i")))  # one of each
_MORE = ("tin", "tout", "us", "ni", "sy", "in", "id")


def _disks(line: str) -> sampling.Table | None:
    names = line.split()
    if names[0] != "device" or "actv" in names or not all(words.intersection(names) for words in _EVERY):
        return None
    own = [name for name in names if name not in _MORE]
    return iostat.DiskTable(iostat.parts_of(own, _DISKS), len(own), 0, more=len(names) - len(own))


_LAYOUTS = iostat.layouts(_disks, "device")

# iostat 2 (-d leaves tty and cpu out, -I counts per interval; -o has sectors, of any size, and times)
#
#        tty            ada0             ada1             cpu
#  tin  tout  KB/t  tps  MB/s  KB/t  tps  MB/s  us ni sy in id
#    0    51 22.40   21  0.46 14.10    3  0.04   6  0  2  0 92
_GROUPS = horizontal.Groups(
    {
        ("KB/t", "tps", "MB/s"): (None, ("tps", 1), ("kb_s", 1024)),
        ("KB/t", "xfrs", "MB"): (None, None, None),
        ("sps", "tps", "msps"): (None, ("tps", 1), ("service_time_ms", 1)),
    },
    before=(("tin", "tout"),),
    after=(("us", "ni", "sy", "in", "id"),),
)

# sysctl hw.physmem hw.pagesize vm.stats.vm …; swapinfo -k (-m, -g, -h and none: another unit)
#
# hw.physmem: 17044054016                  Device          1K-blocks     Used    Avail Capacity
# hw.pagesize: 4096                        /dev/ada0p3       4194304   102400  4091904     2%
# vm.stats.vm.v_free_count: 202756         /dev/ada1p3       4194304        0  4194304     0%
# vm.stats.vm.v_inactive_count: 1120446    Total             8388608   102400  8286208     1%
_VARIABLE = re.compile(r"\s*([a-z][a-z_0-9]*(?:\.[a-z_0-9]+)+)\s*[:=]\s*(\d+)\s*", re.ASCII)
_SWAP_SPACE = re.compile(r"\s*(\d+)M/(\d+)M swap space\s*", re.ASCII)  # pstat -T
_SWAP_HEADER = re.compile(r"\s*Device:?\s+(\S+)\s+Used:?(?:\s+Avail\s+Capacity.*)?\s*")
_BLOCKS = re.compile(r"(\d+)([kKMG]?)B?-blocks", re.ASCII)
_POWERS = {"": 1 / 1024, "K": 1, "M": 1024, "G": 1024**2}
_PAGES_TO_HAVE = ("free", "inactive", "cache")
"""Queues of pages that processes can have at once. `laundry` is dirty, and most of the buffer cache is `wire`."""


def _unit(word: str) -> float | None:
    """KiB a block; 0 where each cell has its own unit."""
    if word in ("Size", "Bytes"):
        return 0.0
    found = _BLOCKS.fullmatch(word)
    return None if found is None else int(found[1]) * _POWERS[found[2].upper()]


def _area(line: str, unit: float) -> tuple[Number, Number] | None:
    """Size and used of a swap device in KiB."""
    words = line.split()
    if len(words) < 3 or words[0] == "Total":
        return None
    try:
        sizes = [number(word) if unit else suffixed(word) for word in words[1:3]]
    except ValueError:
        return None
    size, used = (None if value is None else value * (unit or 1 / 1024) for value in sizes)
    return None if size is None or used is None else (size, used)


def _kib(values: Mapping[str, int]) -> dict[str, Number | None]:
    """What the kernel's variables say of memory, in KiB."""
    size = values.get("hw.physmem", values.get("hw.realmem"))
    page = values.get("hw.pagesize", values.get("vm.stats.vm.v_page_size"))
    pages = [values.get(f"vm.stats.vm.v_{queue}_count") for queue in _PAGES_TO_HAVE]
    caches = [values.get("vfs.bufspace"), values.get("kstat.zfs.misc.arcstats.size")]
    return {
        "total_kb": None if size is None else size / 1024,
        # Kernels of today have no cache queue any more.
        "available_kb": sum(count or 0 for count in pages) * page / 1024
        if page and pages[0] is not None and pages[1] is not None
        else None,
        "cached_kb": sum(cache or 0 for cache in caches) / 1024 if any(cache is not None for cache in caches) else None,
    }


def _unnamed(program: Program, text: str) -> dict[str, int]:
    """What `sysctl -n` printed: numbers alone, in the order of the names it was given."""
    names = [argument for argument in program.arguments if "." in argument]
    numbers = numbers_alone(text.split("\n"))
    if program.name != "sysctl" or not program.has("n") or len(names) != len(numbers):
        return {}
    return dict(zip(names, numbers, strict=True))


def _memory(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    values = _unnamed(programs[0], text)
    areas: list[tuple[Number, Number]] = []
    unit: float | None = None
    for line in text.split("\n"):
        if match := _VARIABLE.fullmatch(line):
            values[match[1]] = int(match[2])
        elif match := _SWAP_SPACE.fullmatch(line):
            areas.append((int(match[2]) * 1024, int(match[1]) * 1024))
        elif match := _SWAP_HEADER.fullmatch(line):
            unit = _unit(match[1])
        elif unit is not None and (area := _area(line, unit)):
            areas.append(area)
    found = _kib(values)
    if areas:
        found["paging_total_kb"] = sum(area[0] for area in areas)
        found["paging_used_kb"] = sum(area[1] for area in areas)
    if all(value is None for value in found.values()):
        return Reading(recognised=unit is not None)
    return Reading([memory.row(**found)], recognised=True)


_MEMORY = Reader("memory", _memory)
# Options of vmstat and iostat that take a number which is no interval.
_VALUED = "cnpMNt"

# What stands above the columns: the title of iostat, the groups of vmstat.
_PREAMBLE = re.compile(r"extended device statistics|procs +memory +page .*")

DIALECT = Dialect(
    name="freebsd",
    version=1,
    preamble=_PREAMBLE,
    plan=PLAN,
    readers={
        "vmstat": vmstat.reader(_VMSTAT, valued=_VALUED),
        "iostat": horizontal.beside(iostat.reader(lambda _: _LAYOUTS, valued=_VALUED), _GROUPS, valued=_VALUED),
        "netstat": interfaces.reader(),
        "ps": processes.reader(),
        "df": mounts.reader(),
        "sysctl": _MEMORY,
        "swapinfo": _MEMORY,
        "swapctl": _MEMORY,
        "pstat": _MEMORY,
    },
)
