"""HP-UX disks: iostat, which knows them all but only their throughput, and `sar -d`, which tells all of busy ones.

Run side by side at one interval, each report of the one goes with the report of the other, one row a disk. A disk that
sar leaves out did nothing in its interval.
"""

from collections.abc import Mapping
from itertools import zip_longest

from hps_platform.dialects import iostat, sampling, sardisks
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading
from hps_platform.dialects.text import clean, failure, looks_tabular
from hps_platform.metrics.sample import Row

# iostat 2 (some levels print the header once): bps is KiB/s of both directions; sps are seeks, msps is a constant
#
#   device    bps     sps    msps
#
#   c1t2d0     48     9.5     1.0
#   c2t0d0      0     0.0     1.0
_DISKS: Mapping[str, tuple[str, float]] = {"bps": ("kb_s", 1)}
_IDLE: Row = {"tps": 0, "busy_pct": 0, "service_time_ms": 0, "queue_length": 0}


def _header(line: str) -> sampling.Table | None:
    names = line.split()
    if names != ["device", "bps", "sps", "msps"]:
        return None
    return iostat.DiskTable(iostat.parts_of(names, _DISKS), len(names), 0)


_LINES_KEPT = 2000
_LAYOUTS = iostat.layouts(_header, "msps", by_key=True)
_TABLES = iostat.reader(lambda _: _LAYOUTS)


def _parted(text: str) -> tuple[str, sardisks.Reports]:
    """What iostat printed, and what sar did."""
    reports = sardisks.Reports()
    ours = [line for line in text.split("\n") if not reports.line(line)]
    return "\n".join(ours), reports


def _joined(all_disks: Mapping[str, Row], busy: Mapping[str, Row] | None) -> list[Row]:
    """The rows of one report; `busy` is `None` where sar said nothing of that time, and so not that a disk was idle."""
    if busy is None:
        return list(all_disks.values())
    rows = []
    for disk, row in all_disks.items():
        known = iostat.finish(dict(busy[disk])) if disk in busy else ({} if row["kb_s"] else _IDLE)
        rows.append({name: value if known.get(name) is None else known[name] for name, value in row.items()})
    return rows + [iostat.finish(dict(cells)) for disk, cells in busy.items() if disk not in all_disks]


def _read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    iostats = next((program for program in programs if program.name == "iostat"), Program("iostat"))
    ours, sar = _parted(text)
    if not sar.recognised:
        return _TABLES.read((iostats,), text, streamed)
    reports, recognised = sampling.reports_by_key(
        _LAYOUTS, ours, streamed=streamed, interval=iostats.interval is not None
    )
    if not recognised:
        return sardisks.read(programs, text, streamed)
    rows: list[Row] = []
    for all_disks, busy in zip_longest(reports, sar.reports):
        rows += _joined(all_disks or {}, busy)
    return Reading(rows, recognised=True, duplicates=sar.duplicates)


class _Splitter:
    """Cuts `sar -d` and iostat, running side by side, into reports with the lines of both.

    They print at nearly the same moment, in any order: a report waits for its other half until the next one begins.
    """

    def __init__(self) -> None:
        self._tail = ""
        self._table: sampling.Table | None = None
        self._header = ""
        self._rows: list[str] = []
        self._disks: set[str] = set()
        self._known: set[str] = set()  # of the report before
        self._boot = True
        self._sar: sardisks.Disks | None = None
        self._sar_header = ""
        self._busy: list[str] = []
        self._before: list[str] = []

    def feed(self, text: str) -> list[str]:
        complete, newline, rest = (self._tail + text).rpartition("\n")
        self._tail = rest
        out: list[str] = []
        if newline:
            for line in clean(complete).split("\n"):
                if line and not line.isspace():
                    self._line(line, out)
        return out

    def _line(self, line: str, out: list[str]) -> None:
        if self._table is not None and self._table.counts(line):
            self._row(line, out)
        elif (table := _LAYOUTS.header(line)) is not None:
            if self._disks:
                self._close(out)
            self._table, self._header = table, line
        elif (found := sardisks.header(line)) is not None:
            self._sar, self._sar_header = found, line
        elif self._sar is not None and (place := self._sar.place(line)) is not None:
            if place is sardisks.Place.FIRST and self._busy:
                self._close(out)
            if place is not sardisks.Place.AVERAGE:
                self._busy.append(line)
        elif self._table is None and self._sar is None and len(self._before) < _LINES_KEPT:
            self._before.append(line)

    def _row(self, line: str, out: list[str]) -> None:
        disk = line.split(None, 1)[0]
        if disk in self._disks:
            self._close(out)
        self._disks.add(disk)
        self._rows.append(line)

    def _close(self, out: list[str]) -> None:
        """Ends the report under way; of the first one iostat's part is about the time since boot."""
        self._known, self._disks = self._disks, set()
        if self._boot and self._known:
            self._boot = False
            self._rows.clear()
        else:
            self._hand_out(out)

    @property
    def waiting(self) -> bool:
        return bool(self._rows or self._busy or (self._table is None and self._sar is None and self._before))

    @property
    def _whole(self) -> bool:
        """Whether both halves are there, or the only one that there will ever be."""
        if self._table is None or self._sar is None:
            return bool(self._rows or self._busy)
        return bool(self._busy) and bool(self._disks) and self._disks >= self._known

    def _hand_out(self, out: list[str]) -> None:
        lines = [self._header, *self._rows] if self._rows else []
        lines += [self._sar_header, *self._busy] if self._busy else []
        if lines:
            out.append("\n".join((*lines, "")))
        self._rows, self._busy = [], []

    def flush(self) -> list[str]:
        out: list[str] = []
        if self._boot and self._disks:
            self._rows.clear()  # what is left of it may still come
        elif self._whole:
            self._close(out)
        if self._table is None and self._sar is None and self._before:
            text = "\n".join((*self._before, ""))
            if looks_tabular(text) or failure(text) is not None:
                self._before.clear()
                out.append(text)
        return out


def reader() -> Reader:
    """Reads iostat, and iostat beside `sar -d`."""
    return Reader("iostat", _read, _TABLES.split)


def beside_sar() -> Reader:
    """Reads `sar -d`, alone or beside iostat."""
    return Reader("iostat", _read, lambda _: _Splitter())
