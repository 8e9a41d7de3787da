"""Rows of `netstat -i` as System V and BSD print it: AIX, Solaris, HP-UX.

Network and address may be missing, fused or wide, so rows are read from the right: the last cells are the counters, the
first word is the interface, the second its MTU.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading
from hps_platform.dialects.text import counter, suffixed
from hps_platform.metrics.netstat import FAMILY
from hps_platform.metrics.sample import Row

EMPTY: Row = {column.name: None for column in FAMILY.columns}

_COUNTERS: Mapping[str, str] = {
    "Ipkts": "ipkts",
    "Ierrs": "ierrs",
    "Opkts": "opkts",
    "Oerrs": "oerrs",
    "Coll": "coll",
    "Collis": "coll",
    "Drop": "odrops",
    "Idrop": "idrops",
    "Ibytes": "ibytes",
    "Obytes": "obytes",
    "Queue": "",
    "Time": "",
}
_NETWORK = ("Network", "Net/Dest", "Address", "Address/Prefix")
_HUMAN = re.compile(r"\d+(?:\.\d+)?[kKMGTPE]", re.ASCII)
"""A number of -h of BSD: in powers of 1024 with K and for bytes (and the MTU), else of 1000."""
_MTU = re.compile(rf"\d+|{_HUMAN.pattern}", re.ASCII)
_CELL = re.compile(rf"\d+|-|{_HUMAN.pattern}", re.ASCII)
_NAME = re.compile(r"[A-Za-z][\w.:/-]*\*?", re.ASCII)


_BINARY = ("ibytes", "obytes", "mtu")


def _count(cell: str, column: str) -> int | None:
    if _HUMAN.fullmatch(cell) is None:
        return counter(cell)
    return round(suffixed(cell, 1024 if column in _BINARY or cell[-1] == "K" else 1000) or 0)


@dataclass(frozen=True, slots=True)
class _Interfaces:
    """One header understood: the counters at the right end, in order."""

    counters: tuple[str, ...]

    def row(self, line: str) -> tuple[Row, bool] | None:
        """The row of a line, and whether it is the `link#` one."""
        words = line.split()
        count = len(self.counters)
        if len(words) < count + 2 or _NAME.fullmatch(words[0]) is None:
            return None
        cells = words[-count:]
        if any(_CELL.fullmatch(cell) is None for cell in cells):
            return None
        between = words[1:-count]
        if len(between) > 3:
            return None
        row = EMPTY.copy()
        row["interface"] = words[0].rstrip("*")
        if _MTU.fullmatch(between[0]) is not None:
            row["mtu"] = _count(between[0], "mtu")
        elif not between[0][0].isdigit() and between[0] != "-":
            return None
        for name, cell in zip(self.counters, cells, strict=True):
            if name:
                row[name] = _count(cell, name)
        return row, any(word.lower().strip("<>").startswith("link") for word in between[1:])


@lru_cache(maxsize=64)
def _header(line: str) -> _Interfaces | None:
    words = line.split()
    if words[:2] != ["Name", "Mtu"] or not {"Ipkts", "Opkts"}.issubset(words):
        return None
    rest = [word for word in words[2:] if word not in _NETWORK]
    if any(word not in _COUNTERS for word in rest):
        return None
    return _Interfaces(tuple(_COUNTERS[word] for word in rest))


def logical(interface: str) -> bool:
    """Whether the name is an alias (`lan0:1`), which repeats or splits its physical interface's traffic."""
    return ":" in interface


class Samples:
    """Rows of one or several samples, one row an interface in each.

    A `link` row wins over an address's row of the same interface; among equals the first one is kept, which on Solaris
    is the IPv4 table's.
    """

    def __init__(self) -> None:
        self._samples: list[dict[str, tuple[Row, bool]]] = []
        self._headers: set[str] = set()

    def header(self, line: str) -> None:
        """A header that was seen before begins another sample; another header is a further table of this one."""
        if not self._samples or line in self._headers:
            self._samples.append({})
            self._headers = set()
        self._headers.add(line)

    def add(self, row: Row, *, link: bool) -> None:
        if not logical(row["interface"]):
            known = self._samples[-1].get(row["interface"])
            if known is None or (link and not known[1]):
                self._samples[-1][row["interface"]] = (row, link)

    @property
    def rows(self) -> list[Row]:
        return [row for sample in self._samples for row, _ in sample.values()]


def _read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    samples = Samples()
    table: _Interfaces | None = None
    for line in text.split("\n"):
        if "Ipkts" in line:
            found = _header(line)
            if found is not None:
                table = found
                samples.header(line.strip())
                continue
        if table is not None and (parsed := table.row(line)) is not None:
            samples.add(parsed[0], link=parsed[1])
    return Reading(samples.rows, recognised=table is not None)


def reader() -> Reader:
    """Reads `netstat -i` and `netstat -in`."""
    return Reader("netstat", _read)
