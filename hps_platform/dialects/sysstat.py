"""iostat of Linux's sysstat, versions 2 to 12: tables, the human-readable ones of `-h`, and `-o JSON`."""

import json
import re
from collections.abc import Mapping, Sequence

from hps_platform.dialects import iostat, sampling
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading
from hps_platform.dialects.text import Number, number
from hps_platform.metrics.sample import Row

# ruff: noqa: E501 (samples of output are as wide as they are)

# iostat -dxk 2 (12.x; older ones have other words in another order, and `Device:`)
#
# Device            r/s     rkB/s   rrqm/s  %rrqm r_await rareq-sz     w/s     wkB/s   wrqm/s  %wrqm w_await wareq-sz     d/s     dkB/s   drqm/s  %drqm d_await dareq-sz     f/s f_await  aqu-sz  %util
# nvme0n1         21.50    344.00     2.00   8.51    0.42    16.00   40.00    860.00     9.50  19.19    1.10    21.50    0.00      0.00     0.00   0.00    0.00     0.00    1.50    0.33    0.05   3.80
_MB = 1024.0
_SECTOR = 0.5
_UNITS = (("kB", 1.0), ("Kb", 1.0), ("MB", _MB), ("Blk", _SECTOR))
_DISKS: Mapping[str, tuple[str, float]] = {
    "tps": ("tps", 1),
    "r/s": (iostat.READS, 1),
    "w/s": (iostat.WRITES, 1),
    **{f"{unit}_read/s": ("kb_read_s", factor) for unit, factor in _UNITS},
    **{f"{unit}_wrtn/s": ("kb_wrtn_s", factor) for unit, factor in _UNITS},
    **{f"{unit}_read": ("kb_read", factor) for unit, factor in _UNITS},
    **{f"{unit}_wrtn": ("kb_wrtn", factor) for unit, factor in _UNITS},
    "kB/s": ("kb_s", 1),
    "MB/s": ("kb_s", _MB),
    "rkB/s": ("kb_read_s", 1),
    "wkB/s": ("kb_wrtn_s", 1),
    "rMB/s": ("kb_read_s", _MB),
    "wMB/s": ("kb_wrtn_s", _MB),
    "rsec/s": ("kb_read_s", _SECTOR),
    "wsec/s": ("kb_wrtn_s", _SECTOR),
    "await": ("service_time_ms", 1),
    "r_await": (iostat.READ_MS, 1),
    "w_await": (iostat.WRITE_MS, 1),
    "aqu-sz": ("queue_length", 1),
    "avgqu-sz": ("queue_length", 1),
    "%util": ("busy_pct", 1),
}
_KIB_POWERS = {"k": 1, "K": 1, "M": 1024, "G": 1024**2, "T": 1024**3, "P": 1024**4}

# iostat -xh 2: the device last, units and percent signs in the cells, several tables a report (--human: these cells in
# the usual table)
#
#      r/s     rkB/s   rrqm/s  %rrqm r_await rareq-sz Device
#    21.50    344.0k     2.00   8.5%    0.42    16.0k nvme0n1


def _human(cell: str) -> Number | None:
    """A cell of `-h`: sizes in KiB."""
    if cell.endswith("%"):
        return number(cell[:-1])
    power = _KIB_POWERS.get(cell[-1])
    if power is None:
        return number(cell)
    value = number(cell[:-1])
    return None if value is None else value * power


_TOTALS = frozenset(("Total:",))


class _Ungrouped(iostat.DiskTable):
    """A table of `-g`, whose groups stand behind their devices: their names, of one or several words, are indented."""

    __slots__ = ("_indent",)

    def __init__(self, parts: Sequence[iostat.Part], count: int, header: str) -> None:
        super().__init__(parts, count, 0, convert=_human, totals=_TOTALS)
        self._indent = _indent(header)

    def counts(self, line: str) -> bool:
        return _indent(line) == self._indent and super().counts(line)

    def cells(self, line: str) -> Row | None:
        return super().cells(line) if _indent(line) == self._indent else None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _ungrouped(line: str) -> sampling.Table | None:
    names = line.split()
    if names[0] not in ("Device", "Device:"):
        return None
    parts = iostat.parts_of(names, _DISKS)
    return _Ungrouped(parts, len(names), line) if parts else None


def _header(line: str) -> sampling.Table | None:
    names = line.split()
    if names[0] in ("Device", "Device:", "Disks:"):
        parts = iostat.parts_of(names, _DISKS)
        return iostat.DiskTable(parts, len(names), 0, convert=_human, totals=_TOTALS) if parts else None
    if names[-1] == "Device":
        parts = iostat.parts_of(names, _DISKS)
        # The table of discards has no part of ours, but its header belongs to the report all the same.
        known = parts or {"d/s", "f/s"} & set(names)
        return iostat.DiskTable(parts, len(names), -1, convert=_human) if known else None
    return None


# iostat -o JSON -x 2
#
# {"sysstat": {"hosts": [{"nodename": "web1", "statistics": [
#     {"disk": [{"disk_device": "nvme0n1", "r/s": 21.50, "w/s": 40.00, "rkB/s": 344.00, …, "aqu-sz": 0.05, "util": 3.80}]}
_JSON_DISKS = {**{name.removeprefix("%"): part for name, part in _DISKS.items()}}
_DECODER = json.JSONDecoder()


def _statistics(text: str) -> list[object]:
    """The complete entries of `"statistics"`; output that was cut has lost the last one."""
    entries: list[object] = []
    at = text.find('"statistics"')
    at = text.find("[", at) if at >= 0 else -1
    while at >= 0:
        start = text.find("{", at + 1)
        if start < 0:
            break
        try:
            entry, at = _DECODER.raw_decode(text, start)
        except ValueError:
            break
        entries.append(entry)
        if text[at:].lstrip()[:1] != ",":
            break
    return entries


def _json_row(disk: object) -> Row | None:
    if not isinstance(disk, dict) or not isinstance(disk.get("disk_device"), str):
        return None
    cells: Row = {"disk": disk["disk_device"]}
    for name, value in disk.items():
        if name in _JSON_DISKS and isinstance(value, int | float):
            part, factor = _JSON_DISKS[name]
            cells[part] = value * factor
    return iostat.finish(cells)


def _json(text: str) -> tuple[list[list[Row]], bool]:
    reports: list[list[Row]] = []
    for entry in _statistics(text):
        disks = entry.get("disk", []) if isinstance(entry, dict) else []
        rows = [_json_row(disk) for disk in disks] if isinstance(disks, list) else []
        reports.append([row for row in rows if row is not None])
    return reports, '"disk_device"' in text


# iostat -c 2: no disks, by request
#
# avg-cpu:  %user   %nice %system %iowait  %steal   %idle
#            4.02    0.00    1.51    0.25    0.00   94.22
_CPU = re.compile(r"^avg-cpu:\s+%user\s.*%idle\s*$", re.MULTILINE)
_NUMBER = r"(?:-?nan|\d[\d.,]*[kKMGTP%]?)"
_NUMBERS = re.compile(rf"\s+{_NUMBER}(?:\s+{_NUMBER})*\s*", re.ASCII)


_INDENTED = re.compile(r"\n[ \t]")
_NAME_ALONE = re.compile(r"^\S+[ \t]*\n[ \t]+[-\dn]", re.MULTILINE | re.ASCII)


def _names_joined(text: str) -> str:
    """With each device's name in front of its numbers.

    A line of its own have all names with -h of sysstat 9 to 11, and those of more than ten characters before sysstat 5.
    """
    if _INDENTED.search(text) is None or _NAME_ALONE.search(text) is None:
        return text
    lines: list[str] = []
    name = ""
    for line in text.split("\n"):
        if line and not line[0].isspace() and len(line.split()) == 1:
            name = line
        elif name and _NUMBERS.fullmatch(line):
            lines.append(name + line)
            name = ""
        else:
            lines.append(line)
    return "\n".join(lines)


def _only_cpu(program: Program) -> bool:
    return program.has("c") and not program.has("d") and not program.has("x")


_TABLES = iostat.layouts(_header, "s")
_UNGROUPED = iostat.layouts(_ungrouped, "s")


def _layouts(program: Program) -> sampling.Layouts:
    return _UNGROUPED if program.has("g") else _TABLES


def reader() -> Reader:
    """Reads iostat of sysstat."""
    tables = iostat.reader(_layouts, no_boot_report="y")

    def read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
        if '"sysstat"' not in text:
            reading = tables.read(programs, _names_joined(text), streamed)
            if not reading.recognised and _only_cpu(programs[0]):
                reading.recognised = _CPU.search(text) is not None
            return reading
        reports, recognised = _json(text)
        program = programs[0]
        interval = program.interval is not None
        rows = sampling.samples(reports, streamed=streamed, interval=interval, since_boot_first=not program.has("y"))
        return Reading(rows, recognised=recognised)

    return Reader("iostat", read, tables.split)
