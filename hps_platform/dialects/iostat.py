"""Rows of iostat: cells under header words, and the family's columns worked out of them.

Dialects say which word is which part; how parts make up a column (reads + writes, averages weighted by their rates) is
the same everywhere and stands in `finish`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from hps_platform.dialects import sampling
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading
from hps_platform.dialects.text import LARGEST_RATE, LARGEST_SIZE, NULLS, Number, is_number, number, scaled
from hps_platform.metrics.iostat import FAMILY
from hps_platform.metrics.sample import Row

_EMPTY: Row = {column.name: None for column in FAMILY.columns}

# Parts beside the family's own columns: what layouts print that `finish` adds up or averages.
READS, WRITES = "reads_s", "writes_s"
READ_MS, WRITE_MS = "read_ms", "write_ms"
WAITING, ACTIVE = "waiting", "active"

# What is larger is not plausible; beyond what is named here, a rate.
_LARGEST = {"kb_read": LARGEST_SIZE, "kb_wrtn": LARGEST_SIZE, "busy_pct": 101.0, "queue_length": 1e6}

EXTENDED: Mapping[str, tuple[str, float]] = {
    "r/s": (READS, 1),
    "w/s": (WRITES, 1),
    "kr/s": ("kb_read_s", 1),
    "kw/s": ("kb_wrtn_s", 1),
    "kr/i": ("kb_read", 1),
    "kw/i": ("kb_wrtn", 1),
    "svc_t": ("service_time_ms", 1),
    "%b": ("busy_pct", 1),
}
"""The words that Solaris and FreeBSD share in their extended device statistics."""

_POINTED = re.compile(r"\d+(?:\.\d+)?(?: \d+(?:\.\d+)?)*", re.ASCII)
_CLOCK = re.compile(r"\d\d:\d\d:\d\d", re.ASCII)

Part = tuple[int, str, float]
Convert = Callable[[str], Number | None]


class DiskTable:
    """One header of iostat understood: `sampling.Table`. All cells but the disk's must be numbers or nulls."""

    __slots__ = ("_clocked", "_convert", "_count", "_disk", "_more", "_parts", "_totals")

    def __init__(
        self,
        parts: Sequence[Part],
        count: int,
        disk: int,
        *,
        convert: Convert | None = None,
        clocked: bool = False,
        totals: frozenset[str] = frozenset(),
        more: int = 0,
    ) -> None:
        self._count = count
        self._disk = disk if disk >= 0 else count + disk
        # Where a part stands once the disk's name is taken out.
        self._parts = tuple((index - (index > self._disk), name, factor) for index, name, factor in parts)
        self._clocked = clocked  # a time may follow the last cell
        self._more = more  # cells of another table that may follow, in the report's first row
        self._totals = totals  # names of rows that add up others
        self._convert = convert or number

    def counts(self, line: str) -> bool:
        words = line.split()
        if len(words) != self._count and len(words) != self._count + (self._more or self._clocked):
            return False
        cell = words[1 if self._disk == 0 else 0]
        name = words[self._disk]
        return (cell[0].isdigit() or cell.lower() in NULLS) and (name[0].isalpha() or not is_number(name))

    def cells(self, line: str) -> Row | None:
        words = line.split()
        if self._clocked and len(words) == self._count + 1 and _CLOCK.fullmatch(words[-1]) is not None:
            words.pop()
        elif self._more and len(words) == self._count + self._more:
            del words[self._count :]
        if len(words) != self._count or words[self._disk] in self._totals:
            return None
        disk = self._disk
        name = words.pop(disk)
        if not name[0].isalpha() and is_number(name):  # a row of numbers only is of the CPU table that stands between
            return None
        row: Row = {"disk": name}
        if _POINTED.fullmatch(" ".join(words)) is not None:
            for index, part, factor in self._parts:
                word = words[index]
                value: Number | None = float(word) if "." in word else int(word)
                row[part] = value if factor == 1 else scaled(value, factor)
            return row
        try:
            numbers = [self._convert(word) for word in words]
        except ValueError:
            return None
        for index, part, factor in self._parts:
            value = numbers[index]
            row[part] = value if value is None or factor == 1 else scaled(value, factor)
        return row


def _sum(row: Row, first: str, second: str) -> Number | None:
    one: Number | None = row.get(first)
    two: Number | None = row.get(second)
    if one is None or two is None:
        return None
    return round(one + two, 4)


def _service(row: Row) -> Number | None:
    """Mean time of reads and writes together, weighted by their rates; 0 without transfers."""
    reads: Number | None = row.get(READS)
    writes: Number | None = row.get(WRITES)
    if reads is None or writes is None:
        return None
    if reads + writes == 0:
        return 0.0
    read_ms: Number | None = row.get(READ_MS)
    write_ms: Number | None = row.get(WRITE_MS)
    if (read_ms is None and reads) or (write_ms is None and writes):
        return None
    return round((reads * (read_ms or 0) + writes * (write_ms or 0)) / (reads + writes), 4)


def finish(cells: Row) -> Row:
    """The family's row out of a disk's cells."""
    row = _EMPTY.copy()
    for name, value in cells.items():
        if value is None:
            continue
        if name != "disk" and not 0 <= value <= _LARGEST.get(name, LARGEST_RATE):
            cells[name] = None
        elif name in row:
            row[name] = value
    if READS in cells and "tps" not in cells:
        row["tps"] = _sum(cells, READS, WRITES)
    if "kb_s" not in cells and "kb_read_s" in cells:
        row["kb_s"] = _sum(cells, "kb_read_s", "kb_wrtn_s")
    if READ_MS in cells and "service_time_ms" not in cells:
        row["service_time_ms"] = _service(cells)
    if WAITING in cells:
        row["queue_length"] = _sum(cells, WAITING, ACTIVE)
    return row


def parts_of(names: Sequence[str], words: Mapping[str, tuple[str, float]]) -> list[Part]:
    """Where the parts stand in a header; of a word that comes twice the first counts."""
    parts: list[Part] = []
    taken: set[str] = set()
    for index, name in enumerate(names):
        if name in words and name not in taken:
            taken.add(name)
            parts.append((index, *words[name]))
    return parts


def layouts(header: sampling.Header, sign: str, *, by_key: bool = False, unkept: str | None = None) -> sampling.Layouts:
    """Reports under headers that `header` understands; `sign` is something that every one of them contains."""
    cached = lru_cache(maxsize=512)(header)

    def quick(line: str) -> sampling.Table | None:
        return cached(line) if sign in line else None

    return sampling.Layouts(quick, finish, key="disk", by_key=by_key, unkept=unkept)


def reader(layouts_of: Callable[[Program], sampling.Layouts], *, no_boot_report: str = "", valued: str = "") -> Reader:
    """Reads iostat by the layouts that a command line prints; the flag `no_boot_report` leaves the first report out.

    `valued` are options that take a value, which then is no interval.
    """

    def first_since_boot(program: Program) -> bool:
        return not (no_boot_report and program.has(no_boot_report))

    def read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
        return sampling.read(
            layouts_of(programs[0]),
            text,
            streamed=streamed,
            interval=not streamed and programs[0].without(valued).interval is not None,
            since_boot_first=not streamed and first_since_boot(programs[0]),
        )

    def split(program: Program) -> sampling.TableSplitter:
        return sampling.split(program.without(valued), layouts_of(program), since_boot_first=first_since_boot(program))

    return Reader("iostat", read, split)
