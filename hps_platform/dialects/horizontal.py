"""iostat where disks stand side by side: FreeBSD's and Solaris' layouts without `-x`.

Two header lines, the disks' names above groups of words; each line of numbers below them is a whole report.
"""

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hps_platform.dialects import iostat, sampling
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading, Splitter
from hps_platform.dialects.text import clean, is_number, number, scaled, spans
from hps_platform.metrics.sample import Row

Part = tuple[str, float] | None
"""Column and factor of a word; none for words that mean nothing to the family."""

_NAME = re.compile(r"[A-Za-z][\w.,:/-]*", re.ASCII)
_LINES_BETWEEN = 6
_OTHERS = frozenset(("tty", "cpu"))


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of words one system prints for a disk, and those before and behind all disks."""

    disks: Mapping[tuple[str, ...], Sequence[Part]]
    before: tuple[tuple[str, ...], ...] = ()
    after: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class _Header:
    """Two header lines understood: the disks' names, where their cells begin, and what they are."""

    disks: tuple[str, ...]
    first: int
    parts: tuple[Part, ...]
    count: int

    def rows(self, line: str) -> list[Row] | None:
        words = line.split()
        if len(words) != self.count or not all(is_number(word) for word in words):
            return None
        width = len(self.parts)
        report: dict[str, Row] = {}
        for position, disk in enumerate(self.disks):
            cells: Row = {"disk": disk}
            start = self.first + position * width
            for part, word in zip(self.parts, words[start : start + width], strict=True):
                if part is not None:
                    value = number(word)
                    cells[part[0]] = value if value is None else scaled(value, part[1])
            report[disk] = iostat.finish(cells)
        return list(report.values())


def _header(groups: Groups, names: str, line: str) -> _Header | None:
    heads = spans(line)
    words = tuple(word for _, _, word in heads)
    first = next((len(group) for group in groups.before if words[: len(group)] == group), 0)
    behind = next((len(group) for group in groups.after if words[-len(group) :] == group), 0)
    middle = words[first : len(words) - behind]
    disks = [span for span in spans(names) if span[2] not in _OTHERS]
    for group, parts in groups.disks.items():
        if not disks or middle != group * len(disks):
            continue
        width = len(group)
        for position, (start, end, name) in enumerate(disks):
            at = first + position * width
            # A message may have come between; the names are the line that stands above the groups.
            if _NAME.fullmatch(name) is None or end < heads[at][0] or start > heads[at + width - 1][1]:
                return None
        return _Header(tuple(name for _, _, name in disks), first, tuple(parts), len(words))
    return None


class _Lines:
    """Finds headers and rows, line by line."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._signs = {group[0] for group in groups.disks}
        self._before: deque[str] = deque(maxlen=_LINES_BETWEEN)
        self.header: _Header | None = None
        self.lines = ""

    def rows(self, line: str) -> list[Row] | None:
        if self._signs.intersection(line.split()):
            for names in reversed(self._before):
                found = _header(self._groups, names, line)
                if found is not None:
                    self.header = found
                    self.lines = f"{names}\n{line}\n"
                    return None
        if line.strip():
            self._before.append(line)
        return None if self.header is None else self.header.rows(line)


class _Splitter:
    """A report a line, handed out with its two header lines."""

    def __init__(self, groups: Groups, *, boot: bool) -> None:
        self._lines = _Lines(groups)
        self._boot = boot
        self._tail = ""

    def feed(self, text: str) -> list[str]:
        complete, newline, self._tail = (self._tail + text).rpartition("\n")
        out: list[str] = []
        for line in clean(complete).split("\n") if newline else ():
            if self._lines.rows(line):
                if not self._boot:
                    out.append(f"{self._lines.lines}{line}\n")
                self._boot = False
        return out

    def flush(self) -> list[str]:
        return []

    @property
    def waiting(self) -> bool:
        return False


def beside(extended: Reader, groups: Groups, *, valued: str = "") -> Reader:
    """The reader for tables of a disk a line (`-x`), which also reads those of `groups`."""

    def read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
        reading = extended.read(programs, text, streamed)
        if reading.recognised:
            return reading
        lines = _Lines(groups)
        found = text.split("\n")
        reports = [rows for line in found if (rows := lines.rows(line))]
        interval = programs[0].without(valued).interval is not None
        return Reading(
            sampling.samples(reports, streamed=streamed, interval=interval), recognised=lines.header is not None
        )

    def split(program: Program) -> Splitter:
        if program.has("x") and extended.split is not None:
            return extended.split(program)
        return _Splitter(groups, boot=program.without(valued).interval is not None)

    return Reader("iostat", read, split)
