"""Linux: procps, sysstat, coreutils, net-tools, busybox and /proc, from RHEL 4 to today."""

import re
from collections.abc import Mapping

from hps_platform.dialects import linuxnet, memory, mounts, processes, procfs, sysstat, vmstat
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Dialect, Plan, Reader, Reading
from hps_platform.dialects.text import Number, number, scaled, suffixed
from hps_platform.metrics.sample import Row


def _read_again(family: str, command: str) -> Plan:
    """A way for hosts without procps or sysstat: the kernel's counters, again and again. It ends when nobody reads."""
    loop = f"while {command}; do sleep {{interval}}; done"
    return Plan(family, loop, once=f"{command}; sleep {{interval}}; {command}")


PLAN = (
    Plan("vmstat", "LC_ALL=C vmstat -n {interval}", unless="busybox:vmstat"),
    _read_again("vmstat", "LC_ALL=C cat /proc/stat /proc/vmstat /proc/meminfo /proc/uptime"),
    Plan("iostat", "LC_ALL=C iostat -dxk {interval}", unless="busybox:iostat"),
    _read_again("iostat", "LC_ALL=C cat /proc/diskstats /proc/uptime"),
    Plan("netstat", "LC_ALL=C cat /proc/net/dev"),
    Plan("process", "LC_ALL=C ps -eo pid,ppid,user:32,pcpu,pmem,vsz,rss,etime,time,stat,args", unless="busybox:ps"),
    Plan("process", "LC_ALL=C ps -o pid,ppid,user,vsz,rss,etime,time,stat,args"),
    Plan("filesystem", "LC_ALL=C df -kP"),
    Plan("memory", "LC_ALL=C cat /proc/meminfo"),
)

# vmstat -n 2 (older ones lack st; -w adds gu; -a has inact, active for buff, cache; -t adds a time)
#
# procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu-----
#  r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa st
#  2  0   1280 911204  80412 4401216    0    0    18    95  611 1204  7  2 90  1  0
_VMSTAT = vmstat.Words(
    columns={
        **vmstat.COMMON,
        "free": ("fre", 1),
        "swpd": ("swpd", 1),
        "buff": ("buff", 1),
        "cache": ("cache", 1),
        "si": ("pi", 1),
        "so": ("po", 1),
        "bi": ("bi", 1),
        "bo": ("bo", 1),
        "wa": ("wa", 1),
        "st": ("st", 1),
    },
    required=frozenset(("r", "b", "swpd", "free", "si", "so", "bi", "bo", "in", "cs", "us", "sy", "id")),
)
_SCALES = {"k": 1000 / 1024, "K": 1, "m": 1_000_000 / 1024, "M": 1024}
_SCALED = ("fre", "swpd", "buff", "cache", "pi", "po")


def _vmstat_factors(program: Program) -> Mapping[str, float]:
    """`-S M` or `--unit M` changes the unit of sizes; the header does not say so."""
    long = next((word.partition("=")[2] for word in program.arguments if word.startswith("--unit=")), None)
    if "--unit" in program.arguments[:-1]:
        long = program.arguments[program.arguments.index("--unit") + 1]
    unit = long or program.value("S")
    return dict.fromkeys(_SCALED, _SCALES[unit]) if unit in _SCALES else {}


# /proc/meminfo                     free
# MemTotal:       16243920 kB                       total        used        free      shared  buff/cache   available
# MemFree:          911204 kB       Mem:         16243920     6120044      911204      401220     9212672     9411008
# MemAvailable:    9411008 kB       Swap:         4194300        1280     4193020
# Buffers:           80412 kB
# Cached:          4401216 kB
_MEMINFO = re.compile(r"\s*([A-Z][A-Za-z]+(?:\(\w+\))?):\s+(\d+) kB\s*", re.ASCII)


def _from_meminfo(kib: Mapping[str, int]) -> Row:
    cached = None
    if "Buffers" in kib and "Cached" in kib:
        cached = kib["Buffers"] + kib["Cached"] + kib.get("SReclaimable", 0)
    swap_total, swap_free = kib.get("SwapTotal"), kib.get("SwapFree")
    return memory.row(
        total_kb=kib["MemTotal"],
        # Kernels before 3.14 print no MemAvailable; what free(1) calls used is then total less free. A text that ends
        # before Buffers was cut, perhaps before MemAvailable.
        used_kb=kib["MemTotal"] - kib["MemFree"] if {"MemFree", "Buffers"} <= kib.keys() else None,
        available_kb=kib.get("MemAvailable"),
        cached_kb=cached,
        paging_total_kb=swap_total,
        paging_used_kb=None if swap_total is None or swap_free is None else swap_total - swap_free,
    )


_FREE_UNITS = {"b": 0, "k": 1, "m": 2, "g": 3}
_FREE_WORDS: Mapping[str, tuple[int, int]] = {
    "--bytes": (1024, 0),
    **{f"--{word}": (1000, power) for power, word in enumerate(("kilo", "mega", "giga", "tera", "peta"), start=1)},
    **{f"--{word}": (1024, power) for power, word in enumerate(("kibi", "mebi", "gibi", "tebi", "pebi"), start=1)},
}


def _free_unit(program: Program) -> tuple[float, int]:
    """KiB a number without suffix stands for, and what a suffix without `i` is a power of."""
    base = 1000 if "--si" in program.arguments else 1024
    named = next((_FREE_WORDS[word] for word in program.arguments if word in _FREE_WORDS), None)
    power = next((power for letter, power in _FREE_UNITS.items() if program.has(letter)), 1)
    chosen, power = named or (base, power)
    return chosen**power / 1024, base


def _from_free(program: Program, names: list[str], rows: Mapping[str, list[str]]) -> Row | None:
    factor, base = _free_unit(program)

    def value(row: str, name: str) -> Number | None:
        cells = rows.get(row, [])
        if name not in names or names.index(name) >= len(cells):
            return None
        cell = cells[names.index(name)]
        if cell[-1].isalpha():
            plain = suffixed(cell, base)
            return None if plain is None else scaled(plain, 1 / 1024)
        return scaled(number(cell), factor)

    cached = value("Mem:", "buff/cache")
    if cached is None:
        parts = [value("Mem:", name) for name in (("buffers", "cache") if "cache" in names else ("buffers", "cached"))]
        cached = parts[0] + parts[1] if parts[0] is not None and parts[1] is not None else None
    total = value("Mem:", "total")
    if total is None:
        return None
    return memory.row(
        total_kb=total,
        used_kb=value("Mem:", "used"),
        available_kb=value("Mem:", "available"),
        cached_kb=cached,
        paging_total_kb=value("Swap:", "total"),
        paging_used_kb=value("Swap:", "used"),
    )


def _memory(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    """`/proc/meminfo` and `free`, alone or one after the other; where both are there the first is the finer one."""
    kib: dict[str, int] = {}
    names: list[str] = []
    samples: list[dict[str, list[str]]] = []  # of free, which can repeat itself
    for line in text.split("\n"):
        words = line.split()
        if match := _MEMINFO.fullmatch(line):
            kib[match[1]] = int(match[2])
        elif words[:3] == ["total", "used", "free"]:
            names = words
        elif names and words[:1] in (["Mem:"], ["Swap:"]) and len(words) > (3 if words[0] == "Swap:" else len(names)):
            if words[0] == "Mem:" or not samples:
                samples.append({})
            samples[-1][words[0]] = words[1:]
    if "MemTotal" in kib:
        return Reading([_from_meminfo(kib)], recognised=True)
    free = next((program for program in programs if program.name == "free"), Program("free"))
    try:
        rows = [row for sample in samples if (row := _from_free(free, names, sample)) is not None]
    except ValueError:
        rows = []
    return Reading(rows, recognised=bool(names))


_MEMORY = Reader("memory", _memory)

# What stands above the columns: sysstat's banner, vmstat's groups, the title of net-tools.
_PREAMBLE = re.compile(r"Linux \S+ \(.*\).*|procs -+ ?memory-+ .*|procs +memory +swap +.*|Kernel Interface table")

DIALECT = Dialect(
    name="linux",
    version=1,
    preamble=_PREAMBLE,
    plan=PLAN,
    readers={
        "vmstat": vmstat.reader(_VMSTAT, no_boot_report="y", factors=_vmstat_factors),
        "iostat": sysstat.reader(),
        "/proc/stat": procfs.vmstat_reader(),
        "/proc/diskstats": procfs.iostat_reader(),
        **linuxnet.READERS,
        "ps": processes.reader(),
        "df": mounts.reader(),
        "/proc/meminfo": _MEMORY,
        "free": _MEMORY,
    },
)
