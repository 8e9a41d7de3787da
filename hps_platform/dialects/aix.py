"""AIX 4.3 to 7.3: its commands, their layouts, and the plan for an unprivileged account.

Pages are 4 KiB everywhere. `LC_ALL=C` on every command: AIX translates headers otherwise.
"""

import re

from hps_platform.dialects import aixdisks, interfaces, memory, mounts, processes, vmstat
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Dialect, Plan, Reader, Reading
from hps_platform.dialects.text import Number, number, suffixed

PLAN = (
    Plan("vmstat", "LC_ALL=C vmstat {interval}"),
    Plan("iostat", "LC_ALL=C iostat -d {interval}"),
    Plan("netstat", "LC_ALL=C netstat -in"),
    # `stat` is the state; `st` would be the start time.
    Plan("process", "LC_ALL=C ps -A -o pid,ppid,user,pcpu,pmem,vsz,rssize,etime,time,stat,args"),
    Plan("filesystem", "LC_ALL=C df -k"),
    Plan("memory", "LC_ALL=C svmon -G; LC_ALL=C lsps -s"),
)

_PAGE_KB = 4

# vmstat 2 on a shared-processor partition (a dedicated one lacks pc, ec; -I has p, fi, fo for re, cy; -t adds a time)
#
# System configuration: lcpu=16 mem=24576MB ent=1.50
#
# kthr    memory              page              faults              cpu
# ----- ----------- ------------------------ ------------ -----------------------
#  r  b   avm   fre  re  pi  po  fr   sr  cy  in   sy  cs us sy id wa    pc    ec
#  3  0 1846211 402117   0   0   0   0    0   0 219 8810 2764 21  6 72  1  0.47  31.3
_VMSTAT = vmstat.Words(
    columns={
        **vmstat.COMMON,
        "avm": ("avm", _PAGE_KB),
        "fre": ("fre", _PAGE_KB),
        "pi": ("pi", _PAGE_KB),
        "po": ("po", _PAGE_KB),
        "fr": ("fr", 1),
        "sr": ("sr", 1),
        "wa": ("wa", 1),
        "pc": ("pc", 1),
        "ec": ("ec", 1),
    },
    required=frozenset(("r", "b", "avm", "fre", "pi", "po", "fr", "sr", "in", "sy", "cs", "us", "id", "wa")),
)

# svmon -G (4 KiB pages unless a unit is named; newer levels print `available` before mmode)
#
#                size       inuse        free         pin     virtual   mmode
# memory      6291456     5190311     1101145     1288410     3310774     Ded
# pg space    1048576        9120
#
#                work        pers        clnt       other
# pin          871224           0       10240      406946
# in use      3310774           0     1879537
_UNIT_KB = {"page": _PAGE_KB, "kb": 1, "mb": 1024, "gb": 1024**2}
_SVMON_HEADER = re.compile(r"\s*size\s+inuse\s+free\s+pin\s+virtual\b(.*)")
_SVMON_CACHE_HEADER = re.compile(r"\s*work\s+pers\s+clnt\b.*")
_SVMON_UNIT = re.compile(r"\s*Unit:\s*(\w+)")

# lsps -s
# Total Paging Space   Percent Used
#       8192MB              12%
#
# lsps -a
# Page Space      Physical Volume   Volume Group    Size %Used   Active    Auto    Type   Chksum
# hd6             hdisk0            rootvg        8192MB    12      yes     yes      lv       0
_PAGING_TOTAL = re.compile(r"\s*(\d+(?:[.,]\d+)?[MG]B)(?:\s+(\d+)(%?))?\s*", re.ASCII)
_PAGING_SPACE = re.compile(
    r"\s*\S+\s+\S+\s+\S+\s+(\d+(?:[.,]\d+)?[MG]B)\s+(\d+|NaNQ|-)\s+(yes|no)\s+(?:yes|no)\s+\S+.*", re.ASCII
)

# swap -s (blocks of 4 KiB)
# allocated  =     2097152 blocks    used  =    41288 blocks      free  =     2055864 blocks
_SWAP = re.compile(r"\s*allocated\s*=\s*(\d+) blocks\s+used\s*=\s*(\d+) blocks\s+free\s*=\s*\d+ blocks\s*", re.ASCII)


def _numbers(words: list[str], names: list[str]) -> dict[str, Number | None] | None:
    try:
        return dict(zip(names, [number(word) for word in words[: len(names)]], strict=False))
    except ValueError:
        return None


def _memory(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    found: dict[str, Number | None] = {}
    recognised = False
    unit: float = _unit_of(programs)
    table = ""
    names: list[str] = []
    for line in text.split("\n"):
        if header := _SVMON_HEADER.fullmatch(line):
            table, names = "svmon", line.split()
            names = names[: -1 if header[1].split()[-1:] == ["mmode"] else None]
        elif _SVMON_CACHE_HEADER.fullmatch(line):
            table, names = "cache", line.split()
        elif "Total Paging Space" in line:
            table = "lsps -s"
        elif line.split()[:2] == ["Page", "Space"] and "%Used" in line:
            table = "lsps -a"
        elif declared := _SVMON_UNIT.match(line):
            unit = _UNIT_KB.get(declared[1].lower(), unit)
            continue
        else:
            _memory_line(line, table, names, unit, found)
            continue
        recognised = True
    if not found:
        return Reading(recognised=recognised)
    return Reading([memory.row(**_settled(found))], recognised=True)


def _unit_of(programs: tuple[Program, ...]) -> float:
    for program in programs:
        if program.name == "svmon":
            for option in (program.value("O") or "").split(","):
                if option.startswith("unit="):
                    return _UNIT_KB.get(option[5:].lower(), _PAGE_KB)
    return _PAGE_KB


def _memory_line(line: str, table: str, names: list[str], unit: float, found: dict[str, Number | None]) -> None:
    """Adds what one line says to `found`."""
    words = line.split()
    if table == "svmon" and words[:1] == ["memory"] and len(words) > len(names):
        cells = _numbers(words[1:], names)
        if cells is not None:
            for column, name in (("total_kb", "size"), ("used_kb", "inuse"), ("available_kb", "available")):
                value = cells.get(name)
                found[column] = None if value is None else value * unit
    elif table == "cache" and words[:2] == ["in", "use"] and len(words) >= 5:
        cells = _numbers(words[2:], names)
        if cells is not None and cells["pers"] is not None and cells["clnt"] is not None:
            found["cached_kb"] = (cells["pers"] + cells["clnt"]) * unit
    elif table == "lsps -s" and (total := _PAGING_TOTAL.fullmatch(line)):
        size = suffixed(total[1])
        found["paging_total_kb"] = None if size is None else size / 1024
        found["paging_used_pct"] = int(total[2]) if total[3] else None
    elif table == "lsps -a" and (space := _PAGING_SPACE.fullmatch(line)) and space[3] == "yes":
        size = suffixed(space[1])
        used = None if space[2] in ("NaNQ", "-") else int(space[2])
        if size is not None and used is not None:
            found["paging_total_kb"] = (found.get("paging_total_kb") or 0) + size / 1024
            found["paging_used_kb"] = (found.get("paging_used_kb") or 0) + size / 1024 * used / 100
    elif swap := _SWAP.fullmatch(line):
        found["paging_total_kb"] = int(swap[1]) * _PAGE_KB
        found["paging_used_kb"] = int(swap[2]) * _PAGE_KB


def _settled(found: dict[str, Number | None]) -> dict[str, Number | None]:
    """With the paging space in use worked out of its percentage, which is all that `lsps -s` prints."""
    total, share = found.get("paging_total_kb"), found.get("paging_used_pct")
    if found.get("paging_used_kb") is None and total is not None and share is not None:
        found["paging_used_kb"] = total * share / 100
    if found.get("paging_used_kb") is not None:
        found["paging_used_kb"] = round(found["paging_used_kb"] or 0)
    return found


_MEMORY = Reader("memory", _memory)

DIALECT = Dialect(
    name="aix",
    version=1,
    plan=PLAN,
    readers={
        "vmstat": vmstat.reader(_VMSTAT),
        "iostat": aixdisks.reader(),
        "netstat": interfaces.reader(),
        "ps": processes.reader(),
        "df": mounts.reader(),
        "svmon": _MEMORY,
        "lsps": _MEMORY,
        "swap": _MEMORY,
    },
)
