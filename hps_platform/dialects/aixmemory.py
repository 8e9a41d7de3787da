"""AIX memory: svmon, lsps, swap and prtconf, each alone or one after the other, as one row a sample."""

import re

from hps_platform.dialects import memory
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading
from hps_platform.dialects.text import Number, number, suffixed

_PAGE_KB = 4

# svmon -G (4 KiB pages unless a unit is named; newer levels print `available` before mmode)
#
#                size       inuse        free         pin     virtual   mmode
# memory      6291456     5190311     1101145     1288410     3310774     Ded
# pg space    1048576        9120
#
#                work        pers        clnt       other
# pin          871224           0       10240      406946
# in use      3310774           0     1879537
#
# svmon -G -O summary=longreal begins the words with capitals, and its row with the size; -O unit=auto gives every cell
# its own unit.
_UNIT_KB = {"page": _PAGE_KB, "kb": 1, "mb": 1024, "gb": 1024**2}
_SVMON_HEADER = re.compile(r"\s*size\s+inuse\s+free\s+pin\s+virtual\b[\sa-z]*", re.IGNORECASE)
_SVMON_CACHE_HEADER = re.compile(r"\s*work\s+pers\s+clnt\b[\sa-z]*")
_SVMON_UNIT = re.compile(r"\s*Unit:\s*(\w+)", re.IGNORECASE)

# lsps -s
# Total Paging Space   Percent Used
#       8192MB              12%
#
# lsps -a
# Page Space      Physical Volume   Volume Group    Size %Used   Active    Auto    Type   Chksum
# hd6             hdisk0            rootvg        8192MB    12      yes     yes      lv       0
_PAGING_HEADER = re.compile(r"\s*Total Paging Space\s+Percent Used\s*")
_PAGING_TOTAL = re.compile(r"\s*(\d+(?:[.,]\d+)?[MG]B)(?:\s+(\d+)(%?))?\s*", re.ASCII)
_PAGING_SPACE = re.compile(
    r"\s*\S+\s+\S+\s+\S+\s+(\d+(?:[.,]\d+)?[MG]B)\s+(\d+|NaNQ|-)%?\s+(yes|no)\s+(?:yes|no)\s+\S+.*", re.ASCII
)

# swap -s (blocks of 4 KiB)
# allocated  =     2097152 blocks    used  =    41288 blocks      free  =     2055864 blocks
#
# swap -l
# device              maj,min        total       free
# /dev/hd6            10,  2        8192MB      8031MB
_SWAP = re.compile(r"\s*allocated\s*=\s*(\d+) blocks\s+used\s*=\s*(\d+) blocks\s+free\s*=\s*\d+ blocks\s*", re.ASCII)
_SWAP_DEVICE = re.compile(r"\s*/\S+\s+\d+,\s*\d+\s+(\d+[MG]B)\s+(\d+[MG]B)\s*", re.ASCII)

# prtconf
# Memory Size: 24576 MB
# Paging Space Information
#         Total Paging Space: 8192MB
#         Percent Used: 12%
_CONFIGURED = re.compile(r"Memory Size: *(\d+) *MB\s*", re.ASCII)
_CONFIGURED_PAGING = re.compile(r"\s*Total Paging Space: *(\d+)MB\s*", re.ASCII)
_CONFIGURED_USED = re.compile(r"\s*Percent Used: *(\d+)%\s*", re.ASCII)

_Found = dict[str, Number | None]


def _kib(size: str) -> Number:
    return (suffixed(size) or 0) / 1024


class _Reading:
    """What has been read so far: the samples' values, and the table that the next lines belong to."""

    def __init__(self, unit: float) -> None:
        self.samples: list[_Found] = [{}]
        self.recognised = False
        self._unit = unit
        self._table = ""
        self._names: list[str] = []

    def line(self, line: str) -> None:
        """Takes a line: a header, a unit, or a row of the table under way."""
        if _SVMON_HEADER.fullmatch(line):
            if "total_kb" in self.samples[-1]:  # `-i` reports again
                self.samples.append({})
            self._enter("svmon", [word.lower() for word in line.split()])
        elif _SVMON_CACHE_HEADER.fullmatch(line):
            self._enter("cache", line.split())
        elif _PAGING_HEADER.fullmatch(line):
            self._enter("lsps -s")
        elif line.split()[:2] == ["Page", "Space"] and "%Used" in line:
            self._enter("lsps -a")
        elif line.split() == ["device", "maj,min", "total", "free"]:
            self._enter("swap -l")
        elif declared := _SVMON_UNIT.match(line):
            self._unit = _UNIT_KB.get(declared[1].lower(), self._unit)
        else:
            self._row(line, self.samples[-1])

    def _enter(self, table: str, names: list[str] | None = None) -> None:
        self._table, self._names = table, names or []
        self.recognised = True

    def _row(self, line: str, found: _Found) -> None:
        if self._table == "svmon":
            self._svmon(line.split(), found)
        elif self._table == "cache":
            self._cache(line.split(), found)
        elif self._table == "lsps -s" and (total := _PAGING_TOTAL.fullmatch(line)):
            found["paging_total_kb"] = _kib(total[1])
            found["paging_used_pct"] = int(total[2]) if total[3] else None
        elif self._table == "lsps -a" and (space := _PAGING_SPACE.fullmatch(line)):
            if space[3] == "yes" and space[2].isdigit():
                _add(found, _kib(space[1]), _kib(space[1]) * int(space[2]) / 100)
        elif self._table == "swap -l" and (device := _SWAP_DEVICE.fullmatch(line)):
            _add(found, _kib(device[1]), _kib(device[1]) - _kib(device[2]))
        elif swap := _SWAP.fullmatch(line):
            found["paging_total_kb"] = int(swap[1]) * _PAGE_KB
            found["paging_used_kb"] = int(swap[2]) * _PAGE_KB
        else:
            self._configuration(line, found)

    def _svmon(self, words: list[str], found: _Found) -> None:
        if words[:1] == ["memory"]:
            words = words[1:]
        elif not words or not words[0][0].isdigit():
            return
        names = [name for name in self._names if name != "mmode"]
        cells = _cells(words, names, self._unit)
        if cells is None:
            return
        for column, name in (("total_kb", "size"), ("used_kb", "inuse"), ("available_kb", "available")):
            value = cells.get(name)
            found[column] = None if value is None else round(value * self._unit, 6)

    def _cache(self, words: list[str], found: _Found) -> None:
        cells = _cells(words[2:], self._names[:3], self._unit) if words[:2] == ["in", "use"] else None
        if cells is not None and cells["pers"] is not None and cells["clnt"] is not None:
            found["cached_kb"] = round((cells["pers"] + cells["clnt"]) * self._unit, 6)

    def _configuration(self, line: str, found: _Found) -> None:
        if size := _CONFIGURED.fullmatch(line):
            found["total_kb"] = int(size[1]) * 1024
        elif paging := _CONFIGURED_PAGING.fullmatch(line):
            found["paging_total_kb"] = int(paging[1]) * 1024
        elif (used := _CONFIGURED_USED.fullmatch(line)) and "paging_total_kb" in found:
            found["paging_used_pct"] = int(used[1])


def _cells(words: list[str], names: list[str], unit: float) -> _Found | None:
    """The numbers under `names`, in `unit`s; `None` for a row that was cut, or is none."""
    if len(words) < len(names):
        return None
    try:
        return dict(zip(names, [_cell(word, unit) for word in words[: len(names)]], strict=True))
    except ValueError:
        return None


def _cell(word: str, unit: float) -> Number | None:
    if word[-1].isalpha() and word[0].isdigit():
        value = suffixed(word)
        return None if value is None else value / 1024 / unit
    return number(word)


def _add(found: _Found, total: Number, used: Number) -> None:
    found["paging_total_kb"] = (found.get("paging_total_kb") or 0) + total
    found["paging_used_kb"] = (found.get("paging_used_kb") or 0) + used


def _settled(found: _Found) -> _Found:
    """With the paging space in use worked out of its percentage, which is all that `lsps -s` prints."""
    total, share = found.get("paging_total_kb"), found.get("paging_used_pct")
    if found.get("paging_used_kb") is None and total is not None and share is not None:
        found["paging_used_kb"] = total * share / 100
    if found.get("paging_used_kb") is not None:
        found["paging_used_kb"] = round(found["paging_used_kb"] or 0)
    return found


def _unit_of(programs: tuple[Program, ...]) -> float:
    for program in programs:
        if program.name == "svmon":
            for option in (program.value("O") or "").split(","):
                if option.startswith("unit="):
                    return _UNIT_KB.get(option[5:].lower(), _PAGE_KB)
    return _PAGE_KB


def _read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    reading = _Reading(_unit_of(programs))
    for line in text.split("\n"):
        reading.line(line)
    rows = [memory.row(**_settled(found)) for found in reading.samples if found]
    return Reading(rows, recognised=reading.recognised or bool(rows))


def reader() -> Reader:
    """Reads svmon, lsps, swap and prtconf."""
    return Reader("memory", _read)
