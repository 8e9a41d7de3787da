"""Rows of ps under their header words, in every system's spelling.

Most rows have one word a column and the command line last. Others don't: a start time of two words (`Dec 24`), five
(`lstart`), empty cells of zombies. Those are matched column by column, by what a cell may look like and by where it
stands under the header.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading
from hps_platform.dialects.text import Span, distance, number, scaled, seconds, spans, suffixed
from hps_platform.metrics.process import FAMILY
from hps_platform.metrics.sample import Row

_EMPTY: Row = {column.name: None for column in FAMILY.columns}


def _whole(cell: str) -> int | None:
    if cell.isdigit() and cell.isascii():
        return int(cell)
    value = number(cell)
    if isinstance(value, float) or (value is not None and value < 0):
        raise ValueError(cell)
    return value


_DECIMALS = 2
"""The most that any ps prints of a share."""


@lru_cache(maxsize=2048)
def _share(cell: str) -> float | int | None:
    value = number(cell)
    if len(cell.replace(",", ".").partition(".")[2]) > _DECIMALS:
        return None  # it grew into the next column
    return value if value is None or 0 <= value <= 1_000_000 else None


def _kib(cell: str) -> float | int | None:
    """A size in KiB; busybox prints `24m` and `1g` for large ones."""
    if cell.isdigit() and cell.isascii():
        return int(cell)
    if cell[-1:].lower() in ("m", "g", "t"):
        value = suffixed(cell)
        return None if value is None else scaled(value, 1 / 1024)
    return _whole(cell)


_COARSE = re.compile(r"(\d+)([hd])(\d\d)?", re.ASCII)


def _duration(cell: str) -> float | int | None:
    """A time; busybox prints `3h07` (hours, minutes), `12d05` (days, hours) and `140d` for long ones."""
    if match := _COARSE.fullmatch(cell):
        rest = int(match[3] or 0)
        return int(match[1]) * 3600 + rest * 60 if match[2] == "h" else (int(match[1]) * 24 + rest) * 3600
    return seconds(cell)


def _word(cell: str) -> str | None:
    return None if cell == "-" else cell


def _text(cell: str) -> str:
    return cell


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a cell of a column may look like, and how it is read."""

    read: Callable[[str], Any]
    pattern: re.Pattern[str]
    # Further words the cell may have, by a pattern of them all joined with one blank.
    longer: re.Pattern[str] | None = None
    more: int = 0


_A = re.ASCII
_WHOLE = _Kind(_whole, re.compile(r"\d+|-|xx", _A))
_SIGNED = _Kind(_text, re.compile(r"-?\d+|-+|[A-Z]{2}", _A))
_SHARE = _Kind(_share, re.compile(r"\d+(?:[.,]\d+)?|-", _A))
_KIB = _Kind(_kib, re.compile(r"\d+(?:[.,]\d+)?[mgt]?|-", _A | re.IGNORECASE))
_DURATION = _Kind(_duration, re.compile(r"(?:\d+-)?(?:\d+:){0,2}\d+(?:[.,]\d+)?|\d+[hd](?:\d\d)?|-", _A))
_STATE = _Kind(_word, re.compile(r"[A-Za-z?][A-Za-z<>+]{0,6}|[01IORTSWXZA-]", _A))
_USER = _Kind(_word, re.compile(r"\S+"))
_ANY = _Kind(_text, re.compile(r"(?!\d+:\d\d)\S+", _A))
_TTY = _Kind(_text, _ANY.pattern)
_START = _Kind(
    _text,
    re.compile(
        r"\d?\d:\d\d(?::\d\d|[AP]M)?|[A-Z][a-z]{2}[_-]?\d{1,2}(?:[AP]M)?|\d{4}|\d{1,2}[A-Z][a-z]{2}(?:\d\d)?|-", _A
    ),
    re.compile(r"[A-Z][a-z]{2} \d{1,2}", _A),
    1,
)
_LONG_START = _Kind(
    _text,
    _START.pattern,
    re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} \d{1,2} \d\d:\d\d:\d\d \d{4}|[A-Z][a-z]{2} \d{1,2}", _A),
    4,
)
_COMMAND = _Kind(_text, re.compile(r".*", re.DOTALL))

# Header word -> the family's column (or none) and what its cells look like. Words that mean another unit on one of the
# systems (SZ: pages; SIZE: a data segment) stay without a column.
_TITLES: Mapping[str, tuple[str | None, _Kind]] = {
    "PID": ("pid", _WHOLE),
    "PPID": ("ppid", _WHOLE),
    "USER": ("user", _USER),
    "UID": ("user", _USER),
    "RUSER": ("user", _USER),
    "EUSER": ("user", _USER),
    "UNAME": ("user", _USER),
    "%CPU": ("cpu_pct", _SHARE),
    "%MEM": ("mem_pct", _SHARE),
    "VSZ": ("vsz_kb", _KIB),
    "VMSIZE": ("vsz_kb", _KIB),
    "RSS": ("rss_kb", _KIB),
    "S": ("state", _STATE),
    "ST": ("state", _STATE),
    "STAT": ("state", _STATE),
    "STATE": ("state", _STATE),
    "TIME": ("cpu_time_s", _DURATION),
    "ELAPSED": ("elapsed_s", _DURATION),
    "COMMAND": ("command", _COMMAND),
    "CMD": ("command", _COMMAND),
    "COMD": ("command", _COMMAND),
    "ARGS": ("command", _COMMAND),
    "STIME": (None, _START),
    "START": (None, _START),
    "STARTED": (None, _LONG_START),
    "TTY": (None, _TTY),
    "TT": (None, _TTY),
    "C": (None, _SHARE),
    "CPU": (None, _SHARE),
    "%C": (None, _SHARE),
    "NI": (None, _SIGNED),
    "PRI": (None, _SIGNED),
    "TPGID": (None, _SIGNED),
    "RTPRIO": (None, _SIGNED),
    **dict.fromkeys(("SZ", "SIZE", "TRS", "TSIZ", "LIM", "PGIN", "NLWP", "LWP", "THCNT", "TCNT"), (None, _WHOLE)),
    **dict.fromkeys(("PGID", "SID", "PSR", "TID", "ZONEID", "RUID", "GID", "PGRP"), (None, _WHOLE)),
    **dict.fromkeys(("WCHAN", "ADDR", "F", "GROUP", "RGROUP", "CLS", "ZONE", "WPAR", "COMM", "SESS"), (None, _ANY)),
    **dict.fromkeys(("MWCHAN", "LOGIN", "CLASS", "PROJECT", "POOL", "FNAME", "CGROUP", "FLAGS", "LABEL"), (None, _ANY)),
    **dict.fromkeys(
        ("JID", "JOBC", "SL", "RE", "PAGEIN", "TASKID", "PROJID", "CTID", "LGRP", "PSET", "MAJFL", "MINFL", "DRS"),
        (None, _WHOLE),
    ),
}

# Field names of `-o` -> header words, for output whose header was switched off (`-o pid=`).
_FIELDS: Mapping[str, str] = {
    "pid": "PID",
    "ppid": "PPID",
    "pgid": "PGID",
    "user": "USER",
    "uname": "USER",
    "uid": "UID",
    "ruser": "RUSER",
    "euser": "USER",
    "pcpu": "%CPU",
    "%cpu": "%CPU",
    "pmem": "%MEM",
    "%mem": "%MEM",
    "vsz": "VSZ",
    "vsize": "VSZ",
    "rss": "RSS",
    "rssize": "RSS",
    "rsz": "RSS",
    "s": "S",
    "state": "S",
    "stat": "STAT",
    "time": "TIME",
    "cputime": "TIME",
    "cputimes": "TIME",
    "times": "TIME",
    "etime": "ELAPSED",
    "etimes": "ELAPSED",
    "args": "COMMAND",
    "cmd": "COMMAND",
    "command": "COMMAND",
    "comm": "COMMAND",
    "ucmd": "COMMAND",
    "stime": "STIME",
    "start": "STIME",
    "start_time": "STIME",
    "st": "STIME",
    "lstart": "STARTED",
    "tty": "TTY",
    "tt": "TTY",
    "tname": "TTY",
    "ni": "NI",
    "nice": "NI",
    "pri": "PRI",
    "c": "C",
    "nlwp": "NLWP",
    "lwp": "LWP",
    "psr": "PSR",
    "sz": "SZ",
    "osz": "SZ",
    "wchan": "WCHAN",
}
_FULL = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")


class _Listing:
    """One header of ps understood. `heads` are its words with their places; none where the header was switched off."""

    def __init__(self, titles: Sequence[str], heads: Sequence[Span] = ()) -> None:
        self._heads = heads
        self._kinds = [_TITLES[title][1] for title in titles]
        self._count = len(titles)
        wanted: dict[str, int] = {}
        for index, title in enumerate(titles):
            column = _TITLES[title][0]
            # Of `comm,args` the last is the whole command line; of `user,uid` the first is the name.
            if column is not None and (column == "command" or column not in wanted):
                wanted[column] = index
        self._wanted = tuple((name, index, self._kinds[index].read) for name, index in wanted.items())
        self._checked = tuple(
            (index, kind.pattern.fullmatch)
            for index, kind in enumerate(self._kinds)
            if kind in (_START, _LONG_START, _SIGNED, _STATE, _SHARE) and (kind is not _SHARE or titles[index] == "C")
        )
        self._commanded = self._kinds[-1] is _COMMAND

    def row(self, line: str, *, last: bool) -> Row | None:
        """The row a line holds. `last`: the line ends the text: without its last cell it was cut."""
        words = line.split(None, self._count - 1)
        if len(words) == self._count:
            row = self._plain(words)
            if row is not None:
                return row
        elif not words:
            return None
        cells = self._walked(line)
        if cells is None and self._heads:
            cells = self._aligned(line)
            if cells is not None and last and cells[-1] is None:
                return None
        return None if cells is None else self._read(cells)

    def _plain(self, words: list[str]) -> Row | None:
        """One word a column, the rest is the command."""
        for index, matches in self._checked:
            if matches(words[index]) is None:
                return None
        if not self._commanded and " " in words[-1].strip():
            return None
        return self._read(words)

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
            if kind is _COMMAND and len(cells) == self._count - 1:
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
        if kind is _DURATION:
            return ":" in word and _DURATION not in self._kinds[column + 1 :]
        return kind is _STATE or (kind is _TTY and word in ("-", "?"))

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
                ends.append((cost + distance(rest[0], self._heads[-1]), (*cells, line[rest[0][0] :].rstrip())))
            elif not rest:
                ends.append((cost, (*cells, None) if self._commanded else cells))
        if not ends:
            return None
        _, chosen = min(ends, key=lambda end: end[0])
        filled = sum(1 for cell in chosen if cell is not None)
        # Of a zombie little more than its numbers may be left.
        return list(chosen) if filled * 2 > self._count or chosen[-1] == "<defunct>" else None


def _longer(pattern: re.Pattern[str], found: Sequence[Span], at: int, more: int) -> int:
    """How many words from `at` on make up one cell of several words; 0 for none."""
    for count in range(more + 1, 1, -1):
        if pattern.fullmatch(" ".join(word for _, _, word in found[at : at + count])) is not None:
            return count
    return 0


# What an empty cell costs against a word that stands some columns away from its header.
_EMPTY_COST = 3
_MISPLACED_COST = 30


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


_OLD_BUSYBOX = {"Uid": "UID", "VmSize": "VMSIZE", "Stat": "STAT", "Command": "COMMAND"}


@lru_cache(maxsize=512)
def _header(line: str) -> _Listing | None:
    """A header line: all its words are column titles, PID among them, and it says more than one thing."""
    heads = spans(line)
    titles = [_OLD_BUSYBOX.get(word, word) for _, _, word in heads]
    if "PID" not in titles or len(titles) < 3 or any(title not in _TITLES for title in titles):
        return None
    return _Listing(titles, heads)


@lru_cache(maxsize=512)
def _without_header(program: Program) -> _Listing | None:
    """What the options say of the columns, for output without a header: `-o pid=,…`, or `-f` through grep."""
    fields = [field for value in program.values("o") for field in value.replace(",", " ").split()]
    if not fields:
        letters = "".join(word[1:] for word in program.arguments if word.startswith("-") and not word.startswith("--"))
        return _Listing(_FULL) if "f" in letters and not set(letters) - set("Aaefd") else None
    titles = [_FIELDS.get(field.partition("=")[0].partition(":")[0].lower()) for field in fields]
    known = [title for title in titles if title is not None]
    if len(known) < len(titles) or "PID" not in known:
        return None
    return _Listing(known)


def _read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    listing: _Listing | None = None
    reading = Reading()
    rows: dict[int, Row] = {}
    headerless = not any("PID" in line and _header(line) is not None for line in lines)
    if headerless:
        listing = _without_header(programs[0])
    final = len(lines) - 1
    for index, line in enumerate(lines):
        if "PID" in line:
            found = _header(line)
            if found is not None:
                listing = found
                reading.recognised = True
                continue
        if listing is None or not line.strip():
            continue
        row = listing.row(line, last=index == final)
        if row is None:
            # Without a header every line of numbers must fit, or it is another listing altogether.
            if headerless and sum(word[0].isdigit() for word in line.split()) > 1 and index != final:
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
