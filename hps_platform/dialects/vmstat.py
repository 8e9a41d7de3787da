"""Rows of vmstat under their header words; the words themselves are each dialect's knowledge.

The header names two columns `sy`: system calls after `in`, a share of CPU after `us`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from hps_platform.dialects import sampling
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading
from hps_platform.dialects.text import LARGEST_RATE, LARGEST_SIZE, NUMERIC_LINE, Number, number, scaled, suffixed
from hps_platform.metrics.sample import Row
from hps_platform.metrics.vmstat import FAMILY

SYSCALLS = "in/sy"
"""How the `sy` that stands after `in` is called in `Words.columns`."""

_EMPTY: Row = {column.name: None for column in FAMILY.columns}
_CPU = (-1.0, 101.0)
_SIZES = ("avm", "fre", "swpd", "buff", "cache")
_LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("us", "sy", "idle", "wa", "st"), _CPU),
    **dict.fromkeys(_SIZES, (0.0, float(LARGEST_SIZE))),
}
_RATE = (0.0, float(LARGEST_RATE))
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_STAMP = re.compile(r"\s*(?:\d{4}[-/]\d\d[-/]\d\d[T ] *)?\d?\d:\d\d:\d\d(?:[.,]\d+)?\s+", re.ASCII)
"""When a line was printed, as whoever kept the output put it in front."""
_LONGEST_DATE = 3
_CLOCK = re.compile(r"\d?\d:\d\d:\d\d", re.ASCII)
_ZONE = re.compile(r"[A-Z]{2,6}|[+-]\d\d(?:\d\d)?", re.ASCII)

COMMON: Mapping[str, tuple[str, float]] = {
    "r": ("r", 1),
    "b": ("b", 1),
    "in": ("interrupts", 1),
    SYSCALLS: ("syscalls", 1),
    "cs": ("cs", 1),
    "us": ("us", 1),
    "sy": ("sy", 1),
    "id": ("idle", 1),
}


@dataclass(frozen=True, slots=True)
class Words:
    """The header words of one system: column and factor of each, and which of them must all be there.

    `suffixes`: cells may be printed with a unit, as `2201M` or `1.2K`: sizes are bytes then. `in_bytes`: a header that
    heads bytes also where sizes have no unit.
    """

    columns: Mapping[str, tuple[str, float]]
    required: frozenset[str]
    suffixes: bool = False
    in_bytes: re.Pattern[str] | None = None


_Cell = tuple[int, str, float, float, float]


class _Vmstat:
    """One header of vmstat understood: `sampling.Table`."""

    __slots__ = ("_bytes", "_cells", "_count", "_counts", "_extra", "_last", "_suffixes")

    def __init__(
        self, cells: Sequence[_Cell], count: int, extra: int, spare: int, *, suffixes: bool, in_bytes: bool
    ) -> None:
        self._cells = tuple(cells)
        self._bytes = in_bytes
        self._count = count + extra
        self._counts = range(self._count - spare, self._count + 1)
        self._extra = extra
        self._last = count
        self._suffixes = suffixes

    def counts(self, line: str) -> bool:
        words = line.split()
        if len(words) > self._last:
            words = _unstamped(line).split()
        return (len(words) in self._counts or self._dated(words)) and words[0][:1].isdigit()

    def _dated(self, words: Sequence[str]) -> bool:
        """Whether a date and a time, and perhaps a zone, stand behind the cells, which not every header announces."""
        last = self._last
        return (
            0 < len(words) - last - 1 < _LONGEST_DATE
            and _DATE.fullmatch(words[last]) is not None
            and _CLOCK.fullmatch(words[last + 1]) is not None
        )

    def cells(self, line: str) -> Row | None:
        words = line.split()
        if len(words) > self._last and ":" in words[0] + words[1]:
            line = _unstamped(line)
            words = line.split()
        if len(words) not in self._counts or self._extra:
            if not self._dated(words) and not (len(words) == self._count and _ends_in_time(words, self._extra)):
                return None
            words = words[: self._last]
            line = " ".join(words)
        if self._bytes or NUMERIC_LINE.fullmatch(line) is None:
            return self._careful(words)
        row = _EMPTY.copy()
        try:
            for index, name, factor, low, high in self._cells:
                word = words[index]
                value = (float(word) if "." in word else int(word)) * factor
                if low <= value <= high:
                    row[name] = value
        except ValueError:
            return self._careful(words)
        return row

    def _careful(self, words: Sequence[str]) -> Row | None:
        """Cell by cell: nulls and decimal commas are fine, any text means that this is no row."""
        try:
            numbers = [self._number(word) for word in words[: self._last]]
        except ValueError:
            return None
        row = _EMPTY.copy()
        for index, name, factor, low, high in self._cells:
            value = numbers[index]
            if value is None:
                continue
            if name in _SIZES and (self._bytes or words[index][-1].isalpha()):
                value = scaled(value, 1 / 1024) or 0
            else:
                value *= factor
            if low <= value <= high:
                row[name] = value
        return row

    def _number(self, word: str) -> Number | None:
        """A cell; one with a unit of its own in plain units."""
        if self._suffixes and word[-1].isalpha() and word[0].isdigit():
            return scaled(suffixed(word, 1000 if word[-1] == "k" else 1024), 1)
        return number(word)


def _unstamped(line: str) -> str:
    """The line without a time in front of it."""
    stamp = _STAMP.match(line)
    return line if stamp is None else line[stamp.end() :]


def _ends_in_time(words: Sequence[str], extra: int) -> bool:
    if _CLOCK.fullmatch(words[-1]) is None:
        return False
    return extra == 1 or _DATE.fullmatch(words[-2]) is not None


def _timestamp(names: list[str], known: frozenset[str]) -> int:
    """Removes the words of a time column from the end of a header; returns how many cells the time takes in a row.

    AIX heads one cell `hh:mm:ss` with three words, Linux two cells with one, the time zone's name.
    """
    if names[-3:] == ["hr", "mi", "se"]:
        del names[-3:]
        return 1
    if names[-1] not in known and _ZONE.fullmatch(names[-1]) is not None:
        names.pop()
        return 2
    return 0


def _spare(names: Sequence[str]) -> int:
    """How many columns at the end may have no cell: AIX heads four disks (`1 2 3 4`), however few it was given."""
    disks = 0
    while names[-1 - disks].isdigit():
        disks += 1
    return disks


def header_of(words: Words, factors: Mapping[str, float]) -> Callable[[str], sampling.Table | None]:
    """A function that understands this system's header lines. `factors` change columns' factors (a unit option)."""
    known = frozenset(words.columns) | {"sy", "gu", "inact", "active", "re", "cy", "p", "w", "fi", "fo"}

    @lru_cache(maxsize=256)
    def header(line: str) -> sampling.Table | None:
        names = _unstamped(line).split()
        if names[:2] != ["r", "b"] or not words.required.issubset(names):
            return None
        extra = _timestamp(names, known)
        cells: list[_Cell] = []
        # Columns that come once a processor say nothing of the machine.
        taken: set[str] = {"us", "sy", "id"} if names.count("us") > 1 else set()
        for index, word in enumerate(names):
            name = SYSCALLS if word == "sy" and index and names[index - 1] == "in" else word
            if name in taken or name not in words.columns:
                continue
            taken.add(name)
            column, factor = words.columns[name]
            low, high = _LIMITS.get(column, _RATE)
            cells.append((index, column, factor * factors.get(column, 1), low, high))
        in_bytes = words.in_bytes is not None and words.in_bytes.search(line) is not None
        spare = 0 if extra else _spare(names)
        return _Vmstat(cells, len(names), extra, spare, suffixes=words.suffixes, in_bytes=in_bytes)

    def quick(line: str) -> sampling.Table | None:
        return header(line) if " b " in line else None

    return quick


def _finish(row: Row) -> Row:
    return row


def reader(
    words: Words,
    *,
    no_boot_report: str = "",
    valued: str = "",
    factors: Callable[[Program], Mapping[str, float]] = lambda _: {},
) -> Reader:
    """Reads vmstat; the flag `no_boot_report` leaves the first report out.

    `valued` are options that take a value, which then is no interval.
    """

    @lru_cache(maxsize=256)
    def layouts(program: Program) -> sampling.Layouts:
        return sampling.Layouts(header_of(words, factors(program)), _finish)

    def first_since_boot(program: Program) -> bool:
        return not (no_boot_report and program.has(no_boot_report))

    def read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
        program = programs[0]
        return sampling.read(
            layouts(program),
            text,
            streamed=streamed,
            interval=not streamed and program.without(valued).interval is not None,
            since_boot_first=not streamed and first_since_boot(program),
        )

    def split(program: Program) -> sampling.TableSplitter:
        return sampling.split(program.without(valued), layouts(program), since_boot_first=first_since_boot(program))

    return Reader("vmstat", read, split)
