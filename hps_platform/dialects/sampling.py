"""Commands that report again and again: vmstat and iostat. Reports found by their headers, whole or out of a stream.

A `Table` is what one header line promises: which cell is which column. What headers there are is each dialect's own
knowledge; here stands what is common: repeated and changing headers, the since-boot first report, cut rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reading
from hps_platform.dialects.text import clean, failure, looks_tabular
from hps_platform.metrics.sample import Row


class Table(Protocol):
    """One header line understood."""

    def cells(self, line: str) -> Row | None:
        """The row a line holds, or `None` when it is no complete row of this table."""

    def counts(self, line: str) -> bool:
        """A cheap look: whether the line has as many cells as a row, and numbers where numbers belong."""


Header = Callable[[str], Table | None]
"""Understands a header line, or returns `None`; must be quick for lines that are no header."""

Finish = Callable[[Row], Row]
"""Turns the cells of one key (of one or several tables of a report) into the family's row."""


@dataclass(frozen=True, slots=True)
class Layouts:
    """How one program's reports look.

    `key`: the column that tells rows of a report apart; `None` where each row is a report. A report ends where a header
    comes again, or, `by_key`, where a key does: then later reports may lack the header, and one may have it repeatedly.
    `unkept`: what is said in place of the report since boot where the system keeps none.
    """

    header: Header
    finish: Finish
    key: str | None = None
    by_key: bool = False
    unkept: str | None = None


_OTHER_TABLES = ("avg-cpu:", "tty:", "FS Name:", "Adapter:", "Vadapter:", "System:", "Paths", "Physical", "Vtargets")


def _of_another_table(line: str) -> bool:
    """Whether the line is the header of a table that stands between those of disks."""
    return line.lstrip().startswith(_OTHER_TABLES)


class _Reports:
    """Gathers rows into reports."""

    def __init__(self, layouts: Layouts) -> None:
        self._layouts = layouts
        self.reports: list[dict[str, Row] | Row] = []
        self.duplicates: list[int] = []
        self.unkept = False
        self._open: dict[str, Row] | None = None
        self._headers: set[str] = set()
        self._seen: set[tuple[str, str]] = set()
        self._first = ""
        self._header = ""
        self._again = False

    def header(self, line: str) -> None:
        if self._layouts.key is None:
            return
        line = line.strip()
        again = line in self._headers
        if self._open is None or (again and not self._layouts.by_key):
            self._start()
        self._again = again
        self._header = line
        self._headers.add(line)

    def _start(self) -> dict[str, Row]:
        report: dict[str, Row] = {}
        self._open = report
        self.reports.append(report)
        self.duplicates.append(0)
        self._headers = set()
        self._seen = set()
        self._first = ""
        return report

    def cut(self, key: str) -> bool:
        """Whether the key of an unfinished last line is only the beginning of one seen before."""
        keys = {name for report in self.reports for name in report}
        return key not in keys and any(name.startswith(key) for name in keys)

    def row(self, cells: Row) -> None:
        key_column = self._layouts.key
        if key_column is None:
            self.reports.append(cells)
            self.duplicates.append(0)
            return
        key = cells[key_column]
        report = self._open
        repeated = report is not None and (key == self._first or (self._again and key in report))
        self._again = False
        if report is None or (self._layouts.by_key and repeated):
            headers = self._headers
            report = self._start()
            self._headers = headers
        self._first = self._first or key
        if (self._header, key) in self._seen:
            self.duplicates[-1] += 1
        self._seen.add((self._header, key))
        before = report.get(key)
        report[key] = cells if before is None else {**before, **cells}


def _since_boot(count: int, *, streamed: bool, interval: bool, since_boot_first: bool) -> tuple[int, bool]:
    """How many of `count` reports to leave out from the first, and whether to mark the only one."""
    if streamed or not since_boot_first or not count:
        return 0, False
    return (1, False) if interval or count > 1 else (0, True)


def samples(
    reports: Sequence[list[Row]], *, streamed: bool, interval: bool, since_boot_first: bool = True
) -> list[Row]:
    """The rows of reports found otherwise than by a header, by the same rule as `read`."""
    first, marked = _since_boot(len(reports), streamed=streamed, interval=interval, since_boot_first=since_boot_first)
    rows = [row for report in reports[first:] for row in report]
    if marked:
        for row in rows:
            row["since_boot"] = True
    return rows


def _gathered(layouts: Layouts, text: str) -> tuple[_Reports, bool]:
    """The reports of an output, and whether a header of theirs was there."""
    reports = _Reports(layouts)
    table: Table | None = None
    recognised = False
    lines = text.split("\n")
    unfinished = len(lines) - 1  # nothing stands there when the text ends in a newline
    for index, line in enumerate(lines):
        if table is not None:
            cells = table.cells(line)
            if cells is not None:
                if index < unfinished or layouts.key is None or not reports.cut(cells[layouts.key]):
                    reports.row(cells)
                continue
        found = layouts.header(line)
        if found is not None:
            table = found
            recognised = True
            reports.header(line)
        elif layouts.unkept is not None and layouts.unkept in line:
            reports.unkept = True
        elif table is not None and layouts.key is not None and _of_another_table(line):
            table = None
    return reports, recognised


def reports_by_key(layouts: Layouts, text: str, *, streamed: bool, interval: bool) -> tuple[list[dict[str, Row]], bool]:
    """What `read` reads, report by report, and whether a header was there."""
    found, recognised = _gathered(layouts, text)
    first, _ = _since_boot(len(found.reports), streamed=streamed, interval=interval, since_boot_first=True)
    return [
        {key: layouts.finish(cells) for key, cells in report.items()} for report in found.reports[first:]
    ], recognised


def read(layouts: Layouts, text: str, *, streamed: bool, interval: bool, since_boot_first: bool = True) -> Reading:
    """All samples of an output.

    The first report of a run with an interval describes the time since boot and is left out (`since_boot_first` is
    false where an option suppresses it, as does `streamed`); without an interval the only report is kept and marked.
    """
    reports, recognised = _gathered(layouts, text)
    first, marked = _since_boot(
        len(reports.reports),
        streamed=streamed,
        interval=interval,
        since_boot_first=since_boot_first and not reports.unkept,
    )
    reading = Reading(recognised=recognised, duplicates=sum(reports.duplicates[first:]))
    finish = layouts.finish
    if layouts.key is None:
        reading.rows = [finish(cells) for cells in reports.reports[first:]]
    else:
        reading.rows = [finish(cells) for report in reports.reports[first:] for cells in report.values()]
    if marked:
        for row in reading.rows:
            row["since_boot"] = True
    return reading


_LINES_KEPT = 2000


class TableSplitter:
    """Cuts a stream into reports, each with the header that explains it.

    Text before the first header is kept back until it turns out to be data of an unknown layout or an error message:
    then it is handed out as it stands, for `parse` to refuse. A report with keys that ends, with what has arrived, as
    the one before it did is handed out at once; any other waits for what follows, or for `flush`. Where reports are
    `selective`, leaving out what did nothing, one tells nothing of where the next one ends.
    """

    def __init__(self, layouts: Layouts, *, since_boot_first: bool = True, selective: bool = False) -> None:
        self._layouts = layouts
        self._selective = selective
        self._tail = ""
        self._before: list[str] = []
        self._table: Table | None = None
        self._elsewhere = False  # in a table that is none of ours
        self._header = ""
        self._headers: set[str] = set()  # of the report under way
        self._again = False
        self._rows: list[str] = []
        self._first_key = ""
        self._keys: set[str] = set()
        self._boot = since_boot_first
        self._usual = (0, "")  # lines of the last report, and the key of the last of them

    def feed(self, text: str) -> list[str]:
        if "\n" not in text:
            self._tail += text
            return []
        complete, _, rest = (self._tail + text).rpartition("\n")
        self._tail = rest
        out: list[str] = []
        by_row = self._layouts.key is None
        for line in clean(complete).split("\n"):
            if self._table is not None and not self._elsewhere and self._table.counts(line):
                if by_row:
                    self._row(line, out)
                else:
                    self._keyed_row(line, out)
            elif line and not line.isspace():
                self._other(line, out)
        if self._rows and not rest and self._length() == self._usual:
            self._close(out)
        return out

    def _length(self) -> tuple[int, str]:
        """How the report under way would end now: its lines, and the key of the last one, which may stand behind."""
        words = self._rows[-1].split()
        return len(self._rows), words[0] if words[0][0].isalpha() else words[-1]

    def _row(self, line: str, out: list[str]) -> None:
        if self._boot:
            self._boot = False
        else:
            out.append(f"{self._header}\n{line}\n")

    def _keyed_row(self, line: str, out: list[str]) -> None:
        if self._layouts.by_key:
            key = line.split(None, 1)[0]
            if key == self._first_key or (self._again and key in self._keys):
                self._close(out)
                self._first_key = ""
                self._keys.clear()
            self._again = False
            self._first_key = self._first_key or key
            self._keys.add(key)
        if not self._rows:
            self._rows.append(self._header)
        self._rows.append(line)

    def _other(self, line: str, out: list[str]) -> None:
        known = self._table is not None and line == self._header
        table = self._table if known else self._layouts.header(line)
        if table is None:
            self._stray(line, out)
            return
        self._before.clear()
        if self._layouts.key is not None:
            self._headed(line.strip(), line, out)
        self._elsewhere = False
        self._table = table
        self._header = line

    def _headed(self, header: str, line: str, out: list[str]) -> None:
        """A header of ours in the middle of reports with keys."""
        self._again = header in self._headers
        if self._again and not self._layouts.by_key:
            self._close(out)
            self._headers.clear()
        elif self._rows and line != self._header:
            self._rows.append(line)  # one report may have several tables
        self._headers.add(header)

    def _stray(self, line: str, out: list[str]) -> None:
        if self._layouts.unkept is not None and self._layouts.unkept in line:
            self._boot = False
        if self._layouts.key is not None and _of_another_table(line):
            self._elsewhere = True
        elif self._table is None:
            # The numbers below such a header say nothing of the disks' layout; a line without any is another header.
            self._elsewhere = self._elsewhere and any(char.isdigit() for char in line)
            if not self._elsewhere and len(self._before) < _LINES_KEPT:
                self._before.append(line)
        elif self._layouts.key is None and looks_tabular(line):
            # A complete line of numbers that its header does not explain: for `parse` to say so.
            out.append(f"{self._header}\n{line}\n")

    def _close(self, out: list[str]) -> None:
        """Ends the report under way."""
        if self._rows and not self._selective:
            self._usual = self._length()
        if self._boot:
            self._boot = False
        elif self._rows:
            out.append("\n".join((*self._rows, "")))
        self._rows = []

    def flush(self) -> list[str]:
        out: list[str] = []
        if self._rows and self._boot:
            self._rows = []  # still the report since boot, which ends at the next header or key
        elif self._rows:
            self._close(out)
        elif self._table is None and self._before:
            text = "\n".join((*self._before, ""))
            if looks_tabular(text) or failure(text) is not None:
                self._before.clear()
                out.append(text)
        return out

    @property
    def waiting(self) -> bool:
        return bool(self._rows or (self._table is None and self._before))


_WITHOUT_IDLE = ("z", "V")
"""Options by which iostat leaves idle disks out: everywhere, and on AIX."""


def split(program: Program, layouts: Layouts, *, since_boot_first: bool = True) -> TableSplitter:
    """A splitter for the program; without an interval it prints one report, which nothing leaves out."""
    return TableSplitter(
        layouts,
        since_boot_first=since_boot_first and program.interval is not None,
        selective=any(map(program.has, _WITHOUT_IDLE)),
    )
