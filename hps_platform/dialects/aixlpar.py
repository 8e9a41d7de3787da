"""AIX lparstat: the utilisation table, whose columns depend on how the partition gets its processors.

Only that table: `-i` describes the partition, `-m`, `-E`, `-H` print other tables, which are none of this family.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from hps_platform.dialects import sampling
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading
from hps_platform.dialects.text import LARGEST_COUNTER, LARGEST_RATE, number, within
from hps_platform.metrics.lpar import FAMILY
from hps_platform.metrics.sample import Row

_EMPTY: Row = {column.name: None for column in FAMILY.columns}

# lparstat 5 2 (dedicated processors: the first four only; those that donate: physc, vcsw too; app where it may be seen)
#
# System configuration: type=Shared mode=Uncapped smt=4 lcpu=16 mem=24576MB psize=32 ent=1.50
#
# %user  %sys  %wait  %idle physc %entc  lbusy   app  vcsw phint  %nsp  %utcyc
# ----- ----- ------ ------ ----- ----- ------   --- ----- ----- -----  ------
#  14.2   6.8    0.3   78.7  0.46  30.7   12.5 21.83  2214     3   101   1.87
#  11.0   5.9    0.1   83.0  0.38  25.4   10.2 22.40  1987     1   101   1.55
_COLUMNS: Mapping[str, str] = {
    "%user": "user_pct",
    "%sys": "sys_pct",
    "%wait": "wait_pct",
    "%idle": "idle_pct",
    "physc": "physc",
    "%entc": "entc_pct",
    "lbusy": "lbusy_pct",
    "%lbusy": "lbusy_pct",
    "app": "app",
    "vcsw": "vcsw",
    "phint": "phint",
}
_SHARES = ("user_pct", "sys_pct", "wait_pct", "idle_pct")
_LIMITS: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys((*_SHARES, "lbusy_pct"), (-1.0, 101.0)),
    # Without an interval these count since boot.
    **dict.fromkeys(("vcsw", "phint"), (0.0, float(LARGEST_COUNTER))),
}
_RATE = (0.0, float(LARGEST_RATE))
_WORD = re.compile(r"%?[a-z]+(?:/[a-z]+)?", re.ASCII | re.IGNORECASE)
_CLOCK = re.compile(r"\d?\d:\d\d:\d\d", re.ASCII)


class _Utilisation:
    """One header understood: `sampling.Table`. `clocked`: a time stands in each row, where the header has words."""

    __slots__ = ("_cells", "_clocked", "_count")

    def __init__(self, names: Sequence[str], clocked: bool) -> None:
        self._count = len(names)
        self._clocked = clocked
        self._cells = tuple((index, _COLUMNS[name]) for index, name in enumerate(names) if name in _COLUMNS)

    def _words(self, line: str) -> list[str] | None:
        words = line.split()
        if self._clocked:
            words = [word for word in words if _CLOCK.fullmatch(word) is None]
        return words if len(words) == self._count else None

    def counts(self, line: str) -> bool:
        words = self._words(line)
        return words is not None and words[0][:1].isdigit()

    def cells(self, line: str) -> Row | None:
        words = self._words(line)
        if words is None:
            return None
        try:
            numbers = [number(word) for word in words]
        except ValueError:
            return None
        row = _EMPTY.copy()
        for index, name in self._cells:
            row[name] = within(numbers[index], *_LIMITS.get(name, _RATE))
        return row if any(row[name] is not None for name in _SHARES) else None


@lru_cache(maxsize=64)
def _header(line: str) -> sampling.Table | None:
    names = line.split()
    clocked = names[-3:] == ["hr", "mi", "se"] or names[-1:] == ["time"]
    if clocked:
        del names[-3 if names[-1] == "se" else -1 :]
    if not {"%user", "%sys", "%wait", "%idle"}.issubset(names) or len(set(names)) < len(names):
        return None
    return _Utilisation(names, clocked) if all(_WORD.fullmatch(name) for name in names) else None


def _quick(line: str) -> sampling.Table | None:
    return _header(line) if "%idle" in line else None


_LAYOUTS = sampling.Layouts(_quick, lambda row: row)


def _read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    # No report is the average since boot when there is an interval, and a single one is not marked as such.
    return sampling.read(_LAYOUTS, text, streamed=streamed, interval=True, since_boot_first=False)


def reader() -> Reader:
    """Reads lparstat."""
    return Reader("lpar", _read, lambda program: sampling.split(program, _LAYOUTS, since_boot_first=False))
