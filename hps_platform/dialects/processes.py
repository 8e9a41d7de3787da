"""Rows of ps under their header words, in every system's spelling.

Most rows have one word a column and the command line last. Others don't: a start time of two words (`Dec 24`), five
(`lstart`), empty cells of zombies. Those are matched column by column, by what a cell may look like and by where it
stands under the header.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading
from hps_platform.dialects.pscolumns import (
    COMMAND,
    DURATION,
    FIELDS,
    FULL,
    LONG_START,
    NUMBERS,
    OLD_BUSYBOX,
    SHARE,
    SIGNED,
    START,
    STATE,
    TITLES,
    TTY,
)
from hps_platform.dialects.text import Span, distance, spans
from hps_platform.metrics.process import FAMILY
from hps_platform.metrics.sample import Row

_EMPTY: Row = {column.name: None for column in FAMILY.columns}
_COLUMNS = tuple(_EMPTY)


class _Listing:
    """One header of ps understood. `heads` are its words with their places; none where the header was switched off."""

    def __init__(self, titles: Sequence[str], heads: Sequence[Span] = ()) -> None:
        self._heads = heads
        self._kinds = [TITLES[title][1] for title in titles]
        self._count = len(titles)
        wanted: dict[str, int] = {}
        for index, title in enumerate(titles):
            column = TITLES[title][0]
            # Of `comm,args` the last is the whole command line; of `user,uid` the first is the name.
            if column is not None and (column == "command" or column not in wanted):
                wanted[column] = index
        self._wanted = tuple((name, index, self._kinds[index].read) for name, index in wanted.items())
        self._checked = tuple(
            (index, kind.pattern.fullmatch)
            for index, kind in enumerate(self._kinds)
            if kind in (START, LONG_START, SIGNED, STATE, SHARE) and (kind is not SHARE or titles[index] == "C")
        )
        self._commanded = self._kinds[-1] is COMMAND
        durations = [index for index, kind in enumerate(self._kinds) if kind is DURATION]
        self._timed = durations[-1] if durations else None
        inner = self._kinds.index(COMMAND) if COMMAND in self._kinds else self._count - 1
        self._inner = inner if heads and inner < self._count - 1 else None

    def rows(self, lines: Sequence[str], final: int) -> list[Row | None]:
        """Of each line the row it holds. The one at place `final` ends the text: without its last cell it was cut.

        Lines of one word a column, which are nearly all, are read column by column.
        """
        rows: list[Row | None] = [None] * len(lines)
        plain = [] if self._inner is not None else self._plain(lines)
        for (place, _), row in zip(plain, self._columns([words for _, words in plain]), strict=False):
            rows[place] = row
        for place, line in enumerate(lines):
            if rows[place] is None:
                rows[place] = self._row(line, last=place == final)
        return rows

    def _columns(self, plain: list[list[str]]) -> list[Row]:
        """The rows of plain lines; none at all when a single cell can't be read, as each by itself may be."""
        if not plain:
            return []
        columns = list(zip(*plain, strict=True))
        try:
            found = {name: _read_all(read, columns[index]) for name, index, read in self._wanted}
        except ValueError:
            return []
        if None in found["pid"]:
            return []
        if "command" in found:
            found["command"] = [command.strip() or None for command in found["command"]]
        nothing = [None] * len(plain)
        cells = zip(*(found.get(name, nothing) for name in _COLUMNS), strict=True)
        return [dict(zip(_COLUMNS, row)) for row in cells]  # noqa: B905  strict takes a third of the time

    def _plain(self, lines: Sequence[str]) -> list[tuple[int, list[str]]]:
        """Lines with one word a column, the rest being the command: their places and words."""
        last = self._count - 1
        found = [
            (place, words) for place, line in enumerate(lines) if len(words := line.split(None, last)) == self._count
        ]
        for index, matches in self._checked:
            found = [one for one in found if matches(one[1][index])]
        if not self._commanded:
            found = [one for one in found if " " not in one[1][last].strip()]
        elif self._kinds[-2] is STATE:
            found = [one for one in found if _PRIORITY.match(one[1][last]) is None]
        return found

    def _row(self, line: str, *, last: bool) -> Row | None:
        """The row of a line by itself."""
        cells: Sequence[str | None] | None = self._around(line, last=last)
        if cells is not None:
            return self._read(cells)
        if not line or line.isspace():
            return None
        for _, words in self._plain([line]):
            row = self._read(words)
            if row is not None:
                return row
        cells = self._walked(line)
        if cells is None and self._heads:
            cells = self._aligned(line)
            if cells is not None and last and cells[-1] is None:
                return None
        return None if cells is None else self._read(cells)

    def _around(self, line: str, *, last: bool) -> list[str] | None:
        """With a command before other columns: what stands before and behind it is counted from both ends."""
        if self._inner is None or (last and len(line) < self._heads[-1][1]):
            return None
        tail: list[str] = []
        if self._commanded:  # the whole command line begins below its title
            start = self._heads[-1][0]
            if not line[start - 1 : start].isspace() or line[start : start + 1].isspace():
                return None
            line, tail = line[:start], [line[start:].rstrip()]
        *cells, rest = line.split(None, self._inner) or [""]
        cells += rest.rsplit(None, self._count - self._inner - 1 - len(tail))
        cells += tail
        fit = all(kind.pattern.fullmatch(cell) for kind, cell in zip(self._kinds, cells, strict=False))
        return cells if fit and len(cells) == self._count else None

    def _read(self, words: Sequence[str | None]) -> Row | None:
        row = _EMPTY.copy()
        try:
            for name, index, read in self._wanted:
                word = words[index]
                if word is not None:
                    row[name] = read(word)
        except ValueError:
            return None
        if row["pid"] is None:
            return None
        command = row["command"]
        if command is not None:
            row["command"] = command.strip() or None
        return row

    def _walked(self, line: str) -> list[str | None] | None:
        """Column by column from the left, each taking as many words as its kind may have."""
        found = spans(line)
        cells: list[str | None] = []
        at = 0
        for kind in self._kinds:
            if kind is COMMAND and len(cells) == self._count - 1:
                if at >= len(found):
                    return None
                cells.append(line[found[at][0] :].rstrip())
                return cells
            if at >= len(found):
                return None
            if kind.longer is not None:
                count = _longer(kind.longer, found, at, kind.more)
                if count:
                    cells.append(" ".join(word for _, _, word in found[at : at + count]))
                    at += count
                    continue
            word = found[at][2]
            if kind.pattern.fullmatch(word) is None:
                return None
            cells.append(word)
            at += 1
        return cells if at == len(found) else None

    def _sure(self, column: int, word: str) -> bool:
        """Whether the word is this column's: left out, a state or the last time would become part of the command."""
        kind = self._kinds[column]
        if kind is DURATION:
            return ":" in word and DURATION not in self._kinds[column + 1 :]
        return kind is STATE or (kind is TTY and word in ("-", "?"))

    def _swallowed(self, cells: Sequence[str | None], rest: Sequence[Span]) -> bool:
        """Whether a command begins with the time that its row lacks, perhaps with other cells before it."""
        if self._timed is None or cells[self._timed] is not None:
            return False
        return any(_TIME.fullmatch(word) for _, _, word in rest[:_CELLS_BEFORE_TIME])

    def _aligned(self, line: str) -> list[str | None] | None:
        """Cells by where they stand: the cheapest way to put words in columns from the left, leaving columns empty."""
        found = _joined(spans(line))
        columns = self._count - 1 if self._commanded else self._count
        # best[words used] = (cost, cells so far)
        best: dict[int, tuple[int, tuple[str | None, ...]]] = {0: (0, ())}
        for column in range(columns):
            head, kind = self._heads[column], self._kinds[column]
            following: dict[int, tuple[int, tuple[str | None, ...]]] = {}
            for used, (cost, cells) in best.items():
                options: list[tuple[int, int, str | None]] = []
                empty = _EMPTY_COST
                if used < len(found):
                    start, end, word = found[used]
                    if kind.pattern.fullmatch(word) or (kind.longer is not None and kind.longer.fullmatch(word)):
                        options.append((used + 1, cost + distance((start, end, word), head), word))
                        empty = _MISPLACED_COST if self._sure(column, word) else _EMPTY_COST
                options.append((used, cost + empty, None))
                for count, total, cell in options:
                    if count not in following or total < following[count][0]:
                        following[count] = (total, (*cells, cell))
            best = following
        ends: list[tuple[int, tuple[str | None, ...]]] = []
        for used, (cost, cells) in best.items():
            rest = found[used:]
            if self._commanded and rest:
                if not self._swallowed(cells, rest):
                    total = cost + distance(rest[0], self._heads[-1])
                    ends.append((total, (*cells, line[rest[0][0] :].rstrip())))
            elif not rest:
                ends.append((cost, (*cells, None) if self._commanded else cells))
        if not ends:
            return None
        _, chosen = min(ends, key=lambda end: end[0])
        filled = sum(1 for cell in chosen if cell is not None)
        # Of a zombie little more than its numbers may be left.
        return list(chosen) if filled * 2 > self._count or chosen[-1] == "<defunct>" else None


def _read_all(read: Callable[[str], Any], cells: Sequence[str]) -> list[Any]:
    """A column's values. Raises `ValueError`."""
    if read in NUMBERS:
        digits = "".join(cells)
        if digits.isdigit() and digits.isascii():
            return list(map(int, cells))
    return list(map(read, cells))


def _longer(pattern: re.Pattern[str], found: Sequence[Span], at: int, more: int) -> int:
    """How many words from `at` on make up one cell of several words; 0 for none."""
    for count in range(more + 1, 1, -1):
        if pattern.fullmatch(" ".join(word for _, _, word in found[at : at + count])) is not None:
            return count
    return 0


# What an empty cell costs against a word that stands some columns away from its header.
_EMPTY_COST = 3
_MISPLACED_COST = 30


_CELLS_BEFORE_TIME = 4
_PRIORITY = re.compile(r"[<N] ")
_TIME = re.compile(r"(?:\d+-)?(?:\d+:){1,2}\d\d", re.ASCII)
_MONTH = re.compile(r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)")
_DAY = re.compile(r"[0-3]?\d", re.ASCII)


def _joined(found: list[Span]) -> list[Span]:
    """Words with a date of two words (`Dec 24`) made one."""
    out: list[Span] = []
    for span in found:
        if out and _DAY.fullmatch(span[2]) and _MONTH.fullmatch(out[-1][2]) and span[0] - out[-1][1] <= 2:
            out[-1] = (out[-1][0], span[1], f"{out[-1][2]} {span[2]}")
        else:
            out.append(span)
    return out


@lru_cache(maxsize=512)
def _header(line: str, program: Program) -> _Listing | None:
    """A header line: all its words are column titles, PID among them, and it says more than one thing."""
    heads = spans(line)
    renamed = {**OLD_BUSYBOX, **_renamed(program)}
    titles = [renamed.get(word, word) for _, _, word in heads]
    if "PID" not in titles or len(titles) < 3 or any(title not in TITLES for title in titles):
        return None
    return _Listing(titles, heads)


@lru_cache(maxsize=512)
def _renamed(program: Program) -> dict[str, str]:
    """Titles that the options give to columns (`-o vsz=KB`), with the usual ones. A title ends its option."""
    given = [value.rpartition(",")[2].partition("=") for value in program.values("o")]
    return {title: FIELDS[field.lower()] for field, _, title in given if title and field.lower() in FIELDS}


@lru_cache(maxsize=512)
def _without_header(program: Program) -> _Listing | None:
    """What the options say of the columns, for output without a header: `-o pid=,…`, or `-f` through grep."""
    fields = [field for value in program.values("o") for field in value.replace(",", " ").split()]
    if not fields:
        letters = "".join(word[1:] for word in program.arguments if word.startswith("-") and not word.startswith("--"))
        return _Listing(FULL) if "f" in letters and not set(letters) - set("Aaefd") else None
    titles = [FIELDS.get(field.partition("=")[0].partition(":")[0].lower()) for field in fields]
    known = [title for title in titles if title is not None]
    if len(known) < len(titles) or "PID" not in known:
        return None
    return _Listing(known)


def _read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    found = ((place, _header(line, programs[0])) for place, line in enumerate(lines) if "PID" in line)
    headers = [(place, listing) for place, listing in found if listing is not None]
    reading = Reading(recognised=bool(headers))
    rows: dict[int, Row] = {}
    parts: list[tuple[int, _Listing | None]] = [*headers] or [(-1, _without_header(programs[0]))]
    for (place, listing), end in zip(parts, [*(place for place, _ in parts[1:]), len(lines)], strict=True):
        if listing is None:
            continue
        part = lines[place + 1 : end]
        final = len(part) - 1 if end == len(lines) else -1
        for index, row in enumerate(listing.rows(part, final)):
            if row is None:
                # Without a header every line of numbers must fit, or it is another listing altogether.
                if not headers and sum(word[0].isdigit() for word in part[index].split()) > 1 and index != final:
                    return Reading()
                continue
            reading.recognised = True
            if row["pid"] in rows:
                reading.duplicates += 1
                del rows[row["pid"]]
            rows[row["pid"]] = row
    reading.rows = list(rows.values())
    return reading


def reader() -> Reader:
    """Reads ps."""
    return Reader("process", _read)
