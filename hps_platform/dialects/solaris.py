"""Solaris 8 to 11 and illumos."""

import re
from collections.abc import Mapping

from hps_platform.dialects import (
    freespace,
    horizontal,
    iostat,
    memory,
    processes,
    sampling,
    sardisks,
    solarisnet,
    vmstat,
)
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Dialect, Plan, Reader, Reading, Splitter
from hps_platform.dialects.text import Number, lone_number, suffixed

PLAN = (
    Plan("vmstat", "LC_ALL=C vmstat {interval}"),
    Plan("iostat", "LC_ALL=C iostat -xn {interval}"),
    # netstat counts no bytes, but is understood everywhere.
    Plan("netstat", "LC_ALL=C netstat -in", unless="kstat"),
    Plan("netstat", "LC_ALL=C kstat -p -c net ':::/^([io]packets(64)?|[io]errors|[ro]bytes64|collisions)$/'"),
    Plan("process", "LC_ALL=C ps -eo pid,ppid,user,pcpu,pmem,vsz,rss,etime,time,s,args"),
    Plan("filesystem", "LC_ALL=C df -k"),
    # prtconf prints the whole device tree; its third line is all that is wanted.
    Plan("memory", "LC_ALL=C swap -s; LC_ALL=C prtconf | grep Memory"),
)

# vmstat 2: swap and free in KiB; none to four disks, named with two letters, `--` for those that are not there; -S has
# si, so for re, mf
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
    required=frozenset(("r", "b", "w", "swap", "free", "pi", "po", "de", "sr", "in", "sy", "cs", "us", "id")),
)

# iostat -xn 2 (with -x alone the device comes first and `svc_t` stands for both times; -I counts per interval, -M is
# in MB, -e adds errors, -m mount points behind the device, -r has commas; -t and -c put more cells behind the first
# disk's)
#
#                     extended device statistics
#     r/s    w/s   kr/s   kw/s wait actv wsvc_t asvc_t  %w  %b device
#     4.5   18.0  102.0  311.5  0.0  0.1    0.1    5.2   0   7 c1t0d0
_DISKS: Mapping[str, tuple[str, float]] = {
    **iostat.EXTENDED,
    "Kr/s": ("kb_read_s", 1),
    "Kw/s": ("kb_wrtn_s", 1),
    "Mr/s": ("kb_read_s", 1024),
    "Mw/s": ("kb_wrtn_s", 1024),
    "wait": (iostat.WAITING, 1),
    "actv": (iostat.ACTIVE, 1),
    "asvc_t": ("service_time_ms", 1),
}


_HEADS = frozenset(("device", "disk"))  # old ones say `disk`, and `Kr/s`
_MORE = ("tin", "tout", "us", "sy", "wt", "dt", "id")


def _disks(line: str) -> sampling.Table | None:
    names = line.split()
    if not _HEADS.intersection((names[0], names[-1])) or not {"actv", "wait"}.issubset(names):
        return None
    if names[-1] == "device":
        return iostat.DiskTable(iostat.parts_of(names, _DISKS), len(names), -1)
    own = [name for name in names if name not in _MORE]
    return iostat.DiskTable(iostat.parts_of(own, _DISKS), len(own), 0, more=len(names) - len(own))


_DISK_LAYOUTS = iostat.layouts(_disks, "actv")
_VALUED = "lT"
_MOUNTED = re.compile(r" \(/[^\n)]*\)$", re.MULTILINE)

# iostat 2 (-d without tty and cpu); iostat -D 2
#
#    tty        sd0           sd1            cpu                 sd0           sd1
#  tin tout kps tps serv  kps tps serv   us sy wt id         rps wps util  rps wps util
#    0   40 311  22    5    0   0    0    6  2  1 91           4  18  7.0    0   0  0.0
_GROUPS = horizontal.Groups(
    {
        ("kps", "tps", "serv"): (("kb_s", 1), ("tps", 1), ("service_time_ms", 1)),
        ("rps", "wps", "util"): ((iostat.READS, 1), (iostat.WRITES, 1), ("busy_pct", 1)),
    },
    before=(("tin", "tout"),),
    after=(("us", "sy", "wt", "id"), ("us", "sy", "st", "id"), ("us", "sy", "dt", "id")),
)
# iostat -c 2: no disks, by request
_CPU = re.compile(r"^\s+(?:cpu\s*\n\s+)?us\s+sy\s+(?:wt|st|dt)\s+id\s*$", re.MULTILINE)


class _Commas:
    """Reports of -r, with blanks for their commas."""

    def __init__(self, reports: Splitter) -> None:
        self._reports = reports

    def feed(self, text: str) -> list[str]:
        return self._reports.feed(text.replace(",", " "))

    def flush(self) -> list[str]:
        return self._reports.flush()

    @property
    def waiting(self) -> bool:
        return self._reports.waiting


def _iostat() -> Reader:
    tables = horizontal.beside(iostat.reader(lambda _: _DISK_LAYOUTS, valued=_VALUED), _GROUPS, valued=_VALUED)

    def read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
        text = text.replace(",", " ") if programs[0].has("r") else _MOUNTED.sub("", text)
        reading = tables.read(programs, text, streamed)
        reading.recognised = reading.recognised or _CPU.search(text) is not None
        return reading

    def split(program: Program) -> Splitter:
        assert tables.split is not None  # noqa: S101  `beside` splits
        reports = tables.split(program)
        if program.has("r"):
            return _Commas(reports)
        return reports

    return Reader("iostat", read, split)


# netstat -in: an IPv4 table with Queue, then an IPv6 one without it that repeats the counters
#
# Name  Mtu  Net/Dest      Address        Ipkts  Ierrs Opkts  Oerrs Collis Queue
# lo0   8232 127.0.0.0     127.0.0.1      90211  0     90211  0     0      0
# net0  1500 10.4.8.0      10.4.8.21      7712034 0    5120441 0    0      0

# swap -s; prtconf | grep Memory (-h prints sizes with suffixes)
# total: 412304k bytes allocated + 88120k reserved = 500424k used, 7622616k available
# Memory size: 16384 Megabytes
_SWAP = re.compile(r"\s*total:\s*\S+(?: bytes)? allocated \+ \S+ reserved = (\S+) used, (\S+) available\s*", re.ASCII)
_SIZE = re.compile(r"\s*Memory size:\s*(\d+) (Kilo|Mega|Giga)bytes?\s*", re.ASCII | re.IGNORECASE)
_SYSTEM = re.compile(r"System Configuration:|^\s*total:.* allocated \+", re.IGNORECASE)
_UNITS = {"kilo": 1, "mega": 1024, "giga": 1024**2}

# swap -l (blocks of 512 bytes; -k and -h print units; newer ones add `encrypted`; `?,?` for a file that is gone,
# `INDEL` for an area that is being removed)
# swapfile             dev  swaplo blocks   free
# /dev/zvol/dsk/rpool/swap 310,2      8 4194296 4194296
_NO_AREAS = re.compile(r"\s*No swap devices configured\.?\s*", re.IGNORECASE)
_BLOCKS = r"(\d+|\d+(?:\.\d+)?[KMGT])"
_AREA = re.compile(
    rf"\s*\S+\s+(?:\d+,\d+|-|\?,\?)\s+\S+\s+{_BLOCKS}\s+{_BLOCKS}(?:\s+(?:yes|no|-))?(?:\s+INDEL)?\s*", re.ASCII
)


def _blocks_kb(cell: str) -> Number:
    return (suffixed(cell) or 0) / 1024 if cell[-1].isalpha() else int(cell) / 2


def _memory(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    total: int | None = None
    paging: tuple[Number, Number] | None = None
    areas: list[tuple[Number, Number]] = []
    listed = recognised = False
    if programs[0].name == "prtconf" and programs[0].has("m") and (megabytes := lone_number(text)) is not None:
        return Reading([memory.row(total_kb=megabytes * 1024)], recognised=True)
    for line in text.split("\n"):
        if match := _SWAP.fullmatch(line):
            sizes = [_swap_kb(cell) for cell in match.groups()]
            if sizes[0] is not None and sizes[1] is not None:
                paging = (sizes[0] + sizes[1], sizes[0])
        elif match := _SIZE.fullmatch(line):
            total = int(match[1]) * _UNITS[match[2].lower()]
        elif line.split()[:3] == ["swapfile", "dev", "swaplo"]:
            listed = True
        elif listed and (match := _AREA.fullmatch(line)):
            areas.append((_blocks_kb(match[1]), _blocks_kb(match[2])))
        elif _SYSTEM.search(line) or _NO_AREAS.fullmatch(line):
            recognised = True
    if paging is None and areas:
        size, free = sum(area[0] for area in areas), sum(area[1] for area in areas)
        paging = (size, size - free)
    if total is None and paging is None:
        return Reading(recognised=recognised or listed)
    paging_total, paging_used = paging or (None, None)
    row = memory.row(total_kb=total, paging_total_kb=paging_total, paging_used_kb=paging_used)
    return Reading([row], recognised=True)


def _swap_kb(cell: str) -> Number | None:
    """A size of `swap -s`, which always has a unit."""
    try:
        value = suffixed(cell)
    except ValueError:
        return None
    return None if value is None or not cell[-1].isalpha() else value / 1024


_MEMORY = Reader("memory", _memory)

# What stands above the columns: the title of iostat, the groups of vmstat, the banner of sar.
_PREAMBLE = re.compile(r"extended device statistics.*|(?:kthr|procs) +memory +page +disk .*|SunOS \S+ 5\.\d+ .*")

DIALECT = Dialect(
    name="solaris",
    version=1,
    preamble=_PREAMBLE,
    plan=PLAN,
    readers={
        "vmstat": vmstat.reader(_VMSTAT),
        "iostat": _iostat(),
        "sar": Reader("iostat", sardisks.read, lambda _: sardisks.Splitter()),
        **solarisnet.READERS,
        "ps": processes.reader(),
        "df": freespace.reader(),
        "swap": _MEMORY,
        "prtconf": _MEMORY,
    },
)
