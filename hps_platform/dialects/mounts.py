"""Rows of df and bdf: the block size is in the header, device and mount point may hold blanks, long rows wrap.

A row is matched from its numbers: what stands before them is the device, what stands behind is the mount point.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading
from hps_platform.dialects.text import LARGEST_SIZE, Number, is_message, number, scaled, suffixed, within
from hps_platform.metrics.filesystem import FAMILY
from hps_platform.metrics.sample import Row

EMPTY: Row = {column.name: None for column in FAMILY.columns}

_WORDS: Mapping[str, str] = {
    "filesystem": "device",
    "mounted-on": "mount",
    "used": "used",
    "available": "avail",
    "avail": "avail",
    "free": "free",
    "capacity": "used_pct",
    "use%": "used_pct",
    "%used": "used_pct",
    "inodes": "inodes",
    "iused": "iused",
    "ifree": "ifree",
    "%iused": "iused_pct",
    "iuse%": "iused_pct",
    "%iuse": "iused_pct",
    "type": "type",
    "file": "type",
}
_BLOCKS = re.compile(r"(\d+)([KMGTP]?)(B?)-blocks", re.IGNORECASE | re.ASCII)
_WIDE_BLOCKS = re.compile(r"\b([MG]B) (blocks)\b")
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4, "P": 1024**5}
_DECIMAL_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4, "P": 1000**5}
_HUMAN = 0.0
PSEUDO = frozenset(("/proc", "/aha"))
"""Trees of the kernel that some systems give a size of some blocks."""

_SIZE_CELL = r"-?\d+(?:[.,]\d+)?[KMGTPE]?i?B?|-"
_COUNT_CELL = r"-?\d+(?:[.,]\d+)?[kKMGT]?|-"
_PCT_CELL = r"-?\d+(?:[.,]\d+)?%?|-"


@dataclass(frozen=True, slots=True)
class _Mounts:
    """One header understood: its columns, KiB a block (0: every cell has its own unit), and how a row looks."""

    columns: tuple[str, ...]
    kib: float
    thousand: int  # what K stands for in counts of inodes
    whole: re.Pattern[str]  # a group for each column
    continued: re.Pattern[str] | None  # the same without the device: the second line of a wrapped row


def _block(word: str) -> float | None:
    """KiB a block by the header's word for sizes: `1024-blocks`, `2MB-blocks`, `kbytes`, `Size` (cells with units)."""
    if word == "kbytes":
        return 1.0
    if word in ("Size", "size"):
        return _HUMAN
    if word in ("GB-blocks", "MB-blocks"):  # AIX's two words, joined
        return _UNITS[word[0]] / 1024
    found = _BLOCKS.fullmatch(word)
    # Bytes without a unit are 512 or more; anything else is what was left of a word that was cut.
    if found is None or found[1][0] == "0" or not (found[2] or found[3] or int(found[1]) % 512 == 0):
        return None
    units = _DECIMAL_UNITS if found[3] else _UNITS
    return int(found[1]) * units[found[2].upper()] / 1024


@lru_cache(maxsize=256)
def _header(line: str) -> _Mounts | None:
    """A header line: words that are all known, mostly with `Filesystem` first and `Mounted on` last."""
    words = _WIDE_BLOCKS.sub(r"\1-\2", line).replace("Mounted on", "Mounted-on").split()
    columns: list[str] = []
    kib: float | None = None
    for word in words:
        block = _block(word)
        if block is not None and kib is None:
            kib = block
            columns.append("size")
        elif word.lower() in _WORDS:
            columns.append(_WORDS[word.lower()])
        else:
            return None
    if len(columns) < 3 or "mount" not in columns or not {"size", "inodes", "iused"} & set(columns):
        return None
    blanks = r"\s+"
    cells = [_pattern(column) for column in columns]
    return _Mounts(
        tuple(columns),
        1.0 if kib is None else kib,
        1000 if "ifree" in words else 1024,  # BSD, which spells it in small letters
        re.compile(rf"\s*{blanks.join(cells)}\s*", re.ASCII),
        re.compile(rf"\s+{blanks.join(cells[1:])}\s*", re.ASCII) if columns[0] == "device" else None,
    )


def _pattern(column: str) -> str:
    """A group for the column's cell: names may hold blanks."""
    if column == "mount":
        return r"(/.*?)"
    if column == "device":
        return r"(\S.*?)"
    if column == "type":
        return r"([A-Za-z]\S*|-)"
    if column.endswith("_pct"):
        return f"({_PCT_CELL})"
    return f"({_SIZE_CELL if column in ('size', 'used', 'avail', 'free') else _COUNT_CELL})"


def _percentage(cell: str) -> Number | None:
    """A percentage; one without its sign was cut."""
    return within(number(cell[:-1]), 0, 10_000) if cell.endswith("%") else None


def _size(cell: str, kib: float, base: int) -> Number | None:
    """In KiB. A unit beside the number is the cell's own, as with `-h`; the header's block then says nothing more."""
    if cell == "-":
        return None
    if cell[-1].isalpha() or not kib:
        value = suffixed(cell, base)
        return None if value is None else scaled(value, 1 / 1024)
    return scaled(number(cell), kib)


def _inodes(cell: str, thousand: int) -> Number | None:
    """A count; `None` for the -1 of file systems that have no inodes."""
    return within(scaled(suffixed(cell, thousand), 1), 0, LARGEST_SIZE)


def _row(mounts: _Mounts, cells: Sequence[str], base: int) -> Row | None:
    """The family's row; `None` for what has no size: `/proc` and its kin."""
    row = EMPTY.copy()
    ifree: Number | None = None
    free = False
    for column, cell in zip(mounts.columns, cells, strict=True):
        if column.endswith("_pct"):
            row[column] = _percentage(cell)
        elif column in ("size", "used", "avail", "free"):
            value = _size(cell, mounts.kib, base)
            free = free or column == "free"
            # Of what is available more than all may be taken, by root; of what is free it can't.
            least = 0 if column == "free" else -LARGEST_SIZE
            row["avail_kb" if column == "free" else f"{column}_kb"] = within(value, least, LARGEST_SIZE)
        elif column in ("mount", "device"):
            row[column] = cell or None
        elif column == "ifree":
            ifree = _inodes(cell, mounts.thousand)
        elif column != "type":
            row[column] = _inodes(cell, mounts.thousand)
    if free and "used" not in mounts.columns and row["size_kb"] is not None and row["avail_kb"] is not None:
        row["used_kb"] = scaled(round(row["size_kb"] - row["avail_kb"], 3), 1)
    if row["inodes"] is None and ifree is not None and row["iused"] is not None:
        row["inodes"] = row["iused"] + ifree
    extent = row["size_kb"] if "size" in mounts.columns else row["inodes"]
    if "size" not in mounts.columns and extent is None:
        extent = row["iused"]
    return row if extent and row["mount"] not in PSEUDO else None


def _read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    reading = Reading()
    rows: dict[str, Row] = {}
    mounts: _Mounts | None = None
    tables: set[str] = set()  # mount points of the table under way
    device = ""
    base = 1000 if programs[0].has("H") or "--si" in programs[0].arguments else 1024
    for line in text.split("\n"):
        if "Mounted on" in line:
            found = _header(line.strip())
            if found is not None:
                mounts, device, tables = found, "", set()
                reading.recognised = True
                continue
        if mounts is None or not line or line.isspace():
            continue
        match = mounts.whole.fullmatch(line)
        if match is not None and not is_message(line):
            device, cells = "", match.groups()
        else:
            match = mounts.continued.fullmatch(line) if device and mounts.continued is not None else None
            if match is None:
                device = device if is_message(line) else line.strip()
                continue
            # Only a line of one word can be told from a banner that came between.
            cells = device if len(device.split()) == 1 else "", *match.groups()
            device = ""
        row = _row(mounts, cells, base)
        if row is None:
            continue
        mount = row["mount"]
        if mount in tables:
            reading.duplicates += 1
        tables.add(mount)
        rows[mount] = _merged(rows.pop(mount, None), row)
    reading.rows = list(rows.values())
    return reading


def _merged(before: Row | None, row: Row) -> Row:
    """A second table (`df -k; df -i`) adds what the first one lacks; of what both print the last counts."""
    if before is None:
        return row
    return {name: before[name] if value is None else value for name, value in row.items()}


def reader() -> Reader:
    """Reads df and bdf."""
    return Reader("filesystem", _read)
