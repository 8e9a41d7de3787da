"""Linux: procps, sysstat, coreutils, net-tools and /proc, from RHEL 4 to today."""

import re
from collections.abc import Mapping

from hps_platform.dialects import interfaces, memory, mounts, processes, sysstat, vmstat
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Dialect, Plan, Reader, Reading
from hps_platform.dialects.text import Number, counter, number, scaled, suffixed
from hps_platform.metrics.sample import Row

# ruff: noqa: E501 (samples of output are as wide as they are)

PLAN = (
    Plan("vmstat", "LC_ALL=C vmstat -n {interval}"),
    Plan("iostat", "LC_ALL=C iostat -dxk {interval}"),
    Plan("netstat", "LC_ALL=C cat /proc/net/dev"),
    Plan("process", "LC_ALL=C ps -eo pid,ppid,user:32,pcpu,pmem,vsz,rss,etime,time,stat,args"),
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
    """`-S M` changes the unit of sizes; the header does not say so."""
    unit = program.value("S")
    return dict.fromkeys(_SCALED, _SCALES[unit]) if unit in _SCALES else {}


# /proc/net/dev
#
# Inter-|   Receive                                                |  Transmit
#  face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
#     lo:   51230     402    0    0    0     0          0         0    51230     402    0    0    0     0       0          0
#   ens3: 8812004   60211    0    3    0     0          0         0  2210031   31877    0    0    0     0       0          0
_RECEIVED = {"bytes": "ibytes", "packets": "ipkts", "errs": "ierrs", "drop": "idrops"}
_SENT = {"bytes": "obytes", "packets": "opkts", "errs": "oerrs", "drop": "odrops", "colls": "coll"}


def _proc_net_dev(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    reading = Reading()
    columns: list[str | None] = []
    rows: dict[str, Row] = {}
    for line in text.split("\n"):
        heads = line.split("|")
        if len(heads) == 3 and heads[0].strip() == "face":
            columns = [_RECEIVED.get(word) for word in heads[1].split()]
            columns += [_SENT.get(word) for word in heads[2].split()]
            reading.recognised = "ipkts" in columns and "opkts" in columns
            continue
        name, colon, rest = line.rpartition(":")
        cells = rest.split()
        if not reading.recognised or not colon or len(cells) != len(columns):
            continue
        interface = name.strip()
        if not all(cell.isdigit() for cell in cells) or not interface or " " in interface:
            continue
        if interfaces.logical(interface):
            continue
        row = interfaces.EMPTY.copy()
        row["interface"] = interface
        for column, cell in zip(columns, cells, strict=True):
            if column is not None:
                row[column] = counter(cell)
        reading.duplicates += interface in rows
        rows[interface] = row
    reading.rows = list(rows.values())
    return reading


# netstat -i (net-tools 1.60 has Met behind MTU)
#
# Kernel Interface table
# Iface             MTU    RX-OK RX-ERR RX-DRP RX-OVR    TX-OK TX-ERR TX-DRP TX-OVR Flg
# ens3             1500    60211      0      3 0         31877      0      0      0 BMRU
_IFACE = {
    "MTU": "mtu",
    "RX-OK": "ipkts",
    "RX-ERR": "ierrs",
    "RX-DRP": "idrops",
    "TX-OK": "opkts",
    "TX-ERR": "oerrs",
    "TX-DRP": "odrops",
}
_IFACE_WORDS = frozenset(_IFACE) | {"Iface", "Met", "RX-OVR", "TX-OVR", "Flg"}


def _netstat(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    names: list[str] = []
    samples = interfaces.Samples()
    for line in text.split("\n"):
        words = line.split()
        if words[:1] == ["Iface"] and _IFACE_WORDS.issuperset(words) and {"RX-OK", "TX-OK"}.issubset(words):
            names = words
            samples.header(line.strip())
        elif names and len(words) == len(names) and all(cell.isdigit() for cell in words[1:-1]):
            row = interfaces.EMPTY.copy()
            row["interface"] = words[0].rstrip("*")
            for name, cell in zip(names, words, strict=True):
                if name in _IFACE:
                    row[_IFACE[name]] = counter(cell)
            samples.add(row, link=True)
    return Reading(samples.rows, recognised=bool(names))


# /proc/meminfo                     free
# MemTotal:       16243920 kB                       total        used        free      shared  buff/cache   available
# MemFree:          911204 kB       Mem:         16243920     6120044      911204      401220     9212672     9411008
# MemAvailable:    9411008 kB       Swap:         4194300        1280     4193020
# Buffers:           80412 kB
# Cached:          4401216 kB
_MEMINFO = re.compile(r"\s*([A-Z][A-Za-z]+(?:\(\w+\))?):\s+(\d+)(?: kB)?\s*", re.ASCII)


def _from_meminfo(kib: Mapping[str, int]) -> Row:
    cached = None
    if "Buffers" in kib and "Cached" in kib:
        cached = kib["Buffers"] + kib["Cached"] + kib.get("SReclaimable", 0)
    swap_total, swap_free = kib.get("SwapTotal"), kib.get("SwapFree")
    return memory.row(
        total_kb=kib["MemTotal"],
        # Kernels before 3.14 print no MemAvailable; what free(1) calls used is then total less free.
        used_kb=kib["MemTotal"] - kib["MemFree"] if "MemFree" in kib else None,
        available_kb=kib.get("MemAvailable"),
        cached_kb=cached,
        paging_total_kb=swap_total,
        paging_used_kb=None if swap_total is None or swap_free is None else swap_total - swap_free,
    )


_FREE_UNITS = {"b": 1 / 1024, "k": 1.0, "m": 1024.0, "g": 1024.0**2}


def _from_free(program: Program, names: list[str], rows: Mapping[str, list[str]]) -> Row | None:
    factor = next((factor for letter, factor in _FREE_UNITS.items() if program.has(letter)), 1.0)

    def value(row: str, name: str) -> Number | None:
        cells = rows.get(row, [])
        if name not in names or names.index(name) >= len(cells):
            return None
        cell = cells[names.index(name)]
        if cell[-1].isalpha():
            plain = suffixed(cell)
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
    rows: dict[str, list[str]] = {}
    for line in text.split("\n"):
        words = line.split()
        if match := _MEMINFO.fullmatch(line):
            kib[match[1]] = int(match[2])
        elif words[:3] == ["total", "used", "free"]:
            names = words
        elif names and words[:1] in (["Mem:"], ["Swap:"]) and len(words) > 3:
            rows[words[0]] = words[1:]
    if "MemTotal" in kib:
        return Reading([_from_meminfo(kib)], recognised=True)
    free = next((program for program in programs if program.name == "free"), Program("free"))
    try:
        row = _from_free(free, names, rows) if rows else None
    except ValueError:
        row = None
    return Reading([] if row is None else [row], recognised=bool(names))


_MEMORY = Reader("memory", _memory)

DIALECT = Dialect(
    name="linux",
    version=1,
    plan=PLAN,
    readers={
        "vmstat": vmstat.reader(_VMSTAT, no_boot_report="y", factors=_vmstat_factors),
        "iostat": sysstat.reader(),
        "/proc/net/dev": Reader("netstat", _proc_net_dev),
        "netstat": Reader("netstat", _netstat),
        "ps": processes.reader(),
        "df": mounts.reader(),
        "/proc/meminfo": _MEMORY,
        "free": _MEMORY,
    },
)
