"""`sar -d` as System V prints it: AIX, HP-UX, Solaris.

Disks stand under a time, the others of the same report below without one.
No report is the average since boot. The averages at the end are no sample; what sar prints of processors, paging or
terminals (`-A`) is passed over.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from hps_platform.dialects import iostat
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reading
from hps_platform.dialects.text import clean, is_number, number, scaled
from hps_platform.metrics.sample import Row

# sar -d 2 3 (AIX: Kbs/s for blks/s; -R of HP-UX: r/s, w/s for r+w/s)
#
# HP-UX keel B.11.31 U ia64    03/14/26
#
# 10:20:00   device   %busy   avque   r+w/s  blks/s  avwait  avserv
# 10:20:02    disk3    6.50    0.50      11     184    0.00    5.92
#             disk7   21.00    0.74      58    2112    0.31    4.06
# 10:20:04
# 10:20:06    disk3    1.00    0.50       2      32    0.00    6.10
#
# Average     disk3    2.50    0.50       4      72    0.00    5.95
# Average     disk7    7.00    0.74      19     704    0.31    4.06
_BLOCK_KB = 0.5
_COLUMNS: Mapping[str, tuple[str, float]] = {
    "%busy": ("busy_pct", 1),
    "avque": ("queue_length", 1),
    "r+w/s": ("tps", 1),
    "r/s": (iostat.READS, 1),
    "w/s": (iostat.WRITES, 1),
    "blks/s": ("kb_s", _BLOCK_KB),
    "Kbs/s": ("kb_s", 1),
    "avserv": ("service_time_ms", 1),
    "avwait": ("", 1),
}
_CLOCK = re.compile(r"\d?\d:\d\d:\d\d", re.ASCII)
_OF_SAR = re.compile(r"%|/s$|-sz$|^cpu$")  # in the words of any of sar's headers
_HALF = frozenset(("AM", "PM", "am", "pm"))


def _timed(words: list[str]) -> list[str] | None:
    """The words behind the time that the line begins with; `None` without one."""
    if not words or _CLOCK.fullmatch(words[0]) is None:
        return None
    return words[2:] if words[1:2] and words[1] in _HALF else words[1:]


class Place(Enum):
    """Where a line stands in the table."""

    FIRST = "first"  # begins a report, with a disk or, where none was busy, without
    FURTHER = "further"  # another disk of the report
    AVERAGE = "average"  # sums up


@dataclass(frozen=True, slots=True)
class Disks:
    """One header understood: the columns behind the disk's name."""

    columns: tuple[str, ...]

    def cells(self, line: str) -> Row | None:
        """What a complete row says."""
        words = line.split()
        behind = _timed(words)
        words = words if behind is None else behind
        if len(words) != len(self.columns) + 1 or is_number(words[0]):
            return None
        try:
            numbers = [number(word) for word in words[1:]]
        except ValueError:
            return None
        cells: Row = {"disk": words[0]}
        for column, value in zip(self.columns, numbers, strict=True):
            name, factor = _COLUMNS[column]
            if name:
                cells[name] = value if factor == 1 else scaled(value, factor)
        return cells

    def place(self, line: str) -> Place | None:
        """Where the line stands; `None` for what is of no such table."""
        words = line.split()
        behind = _timed(words)
        if behind is not None:
            return Place.FIRST if not behind or self.cells(line) is not None else None
        if self.cells(line) is not None:
            return Place.FURTHER
        # A word stands where the time or nothing would.
        numbers = words[-len(self.columns) :]
        return Place.AVERAGE if len(words) > len(numbers) + 1 and all(map(is_number, numbers)) else None


@lru_cache(maxsize=64)
def header(line: str) -> Disks | None:
    """The disks' header; without columns for that of another of sar's tables, `None` for any other line."""
    names = _timed(line.split())
    if not names or any(is_number(name) for name in names):
        return None
    if names[0] == "device" and {"%busy", "avserv"}.issubset(names) and all(name in _COLUMNS for name in names[1:]):
        return Disks(tuple(names[1:]))
    return _OTHER if any(_OF_SAR.search(name) is not None for name in names) else None


_OTHER = Disks(())


class Reports:
    """Lines of sar, one after the other, gathered into reports: cells by disk."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Row]] = []
        self.duplicates = 0
        self.recognised = False
        self._disks: Disks | None = None
        self._open: dict[str, Row] | None = None
        self._averages = False

    def line(self, line: str) -> bool:
        """Takes a line; returns whether it was one of the disks' table."""
        found = header(line)
        if found is not None:
            self._disks, self._open = (None if found is _OTHER else found), None
            self._averages = False
            self.recognised = self.recognised or found is not _OTHER
            return True
        place = None if self._disks is None else self._disks.place(line)
        if self._disks is None or place is None:
            return False
        if place is not Place.FURTHER:
            self._averages = place is Place.AVERAGE
        if self._averages:
            return True
        if place is Place.FIRST or self._open is None:
            self._open = {}
            self.reports.append(self._open)
        cells = self._disks.cells(line)
        if cells is not None:
            self.duplicates += cells["disk"] in self._open
            self._open[cells["disk"]] = cells
        return True


def read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    """Reads `sar -d`, or the disks of `sar -A`."""
    reports = Reports()
    for line in text.split("\n"):
        reports.line(line)
    rows = [iostat.finish(cells) for report in reports.reports for cells in report.values()]
    return Reading(rows, recognised=reports.recognised, duplicates=reports.duplicates)


class Splitter:
    """Cuts a running `sar -d` into reports: each a header with the rows of one time."""

    def __init__(self) -> None:
        self._tail = ""
        self._disks: Disks | None = None
        self._header = ""
        self._rows: list[str] = []

    def feed(self, text: str) -> list[str]:
        complete, newline, rest = (self._tail + text).rpartition("\n")
        self._tail = rest
        out: list[str] = []
        if newline:
            for line in clean(complete).split("\n"):
                self._line(line, out)
        return out

    def _line(self, line: str, out: list[str]) -> None:
        found = header(line)
        if found is not None:
            self._disks, self._header = (None if found is _OTHER else found), line
        place = None if self._disks is None else self._disks.place(line)
        if self._disks is None or place is None:
            return
        if place is not Place.FURTHER:
            self._close(out)
        if place is not Place.AVERAGE and self._disks.cells(line) is not None:
            self._rows.append(line)

    def _close(self, out: list[str]) -> None:
        if self._rows:
            out.append("\n".join((self._header, *self._rows, "")))
            self._rows = []

    def flush(self) -> list[str]:
        out: list[str] = []
        self._close(out)
        return out

    @property
    def waiting(self) -> bool:
        return bool(self._rows)
