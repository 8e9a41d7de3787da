"""vmstat and iostat out of Linux's /proc, for hosts without procps or sysstat: rates between two readings of its files.

`cat FILES; sleep N; cat FILES` prints two readings, a loop prints them for as long as it runs; `/proc/uptime`, as the
last file, ends each one and tells the time between. One reading alone holds counters since boot, and no sample.
"""

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from hps_platform.dialects import iostat
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading
from hps_platform.dialects.text import LARGEST_RATE, clean
from hps_platform.metrics.sample import Row
from hps_platform.metrics.vmstat import FAMILY as VMSTAT

_UPTIME = re.compile(r"(\d+\.\d\d) \d+\.\d\d", re.ASCII)
_TICKS_S = 100
_PAGE_KB = 4
_WRAP = 2**32
_IN_FLIGHT = 8
"""The one number of a disk that is a level and no counter."""


@dataclass(slots=True)
class _Snapshot:
    """One reading of the files: the numbers of each line by its name."""

    values: dict[str, tuple[int, ...]] = field(default_factory=dict)
    uptime: float | None = None

    def first(self, name: str) -> int | None:
        numbers = self.values.get(name)
        return numbers[0] if numbers else None


def _ints(words: Sequence[str]) -> tuple[int, ...] | None:
    return tuple(int(word) for word in words) if words and all(word.isdigit() for word in words) else None


def _named(line: str) -> tuple[str, tuple[int, ...]] | None:
    """A line of /proc/stat, /proc/vmstat or /proc/meminfo."""
    name, *words = line.split() or [""]
    if words[-1:] == ["kB"]:
        words.pop()
    elif name.endswith(":"):
        return None  # a number of pages, or one that was cut
    numbers = _ints(words)
    return None if numbers is None else (name.rstrip(":"), numbers)


def _disk(line: str) -> tuple[str, tuple[int, ...]] | None:
    """A line of /proc/diskstats; partitions of old kernels have four numbers only."""
    words = line.split()
    if len(words) < 14 or _ints(words[:2]) is None:
        return None
    numbers = _ints(words[3:])
    return None if numbers is None else (words[2], numbers)


def _snapshots(text: str, *, disks: bool) -> list[_Snapshot]:
    """The readings in the text: each ends with the uptime, or where its first line comes again."""
    found: list[_Snapshot] = []
    current = _Snapshot()
    first = ""
    for line in text.split("\n"):
        if match := _UPTIME.fullmatch(line.strip()):
            current.uptime = float(match[1])
            found.append(current)
            current = _Snapshot()
            continue
        named = _disk(line) if disks else _named(line)
        if named is None:
            continue
        first = first or named[0]
        if named[0] == first and first in current.values:
            found.append(current)
            current = _Snapshot()
        current.values[named[0]] = named[1]
    # Without the uptime that ended the others it was cut.
    return found if any(one.uptime is not None for one in found) else [*found, current]


def _pairs(
    snapshots: Sequence[_Snapshot], programs: tuple[Program, ...]
) -> Iterator[tuple[_Snapshot, _Snapshot, float]]:
    """Neighbours with the seconds between them; none across a reboot."""
    slept = next((program.interval for program in programs if program.name == "sleep"), None)
    for before, after in pairwise(snapshots):
        if not before.values.keys() <= after.values.keys() and "cpu" in before.values:
            continue
        if before.uptime is not None and after.uptime is not None:
            elapsed_s: float | None = after.uptime - before.uptime
        else:
            elapsed_s = _ticked_s(before, after) or slept
        if elapsed_s is not None and elapsed_s > 0:
            yield before, after, elapsed_s


def _ticked_s(before: _Snapshot, after: _Snapshot) -> float | None:
    """The time between by the processors' own clocks."""
    processors = sum(1 for name in after.values if re.fullmatch(r"cpu\d+", name))
    if not processors or "cpu" not in before.values:
        return None
    return sum(_times(after)) / processors / _TICKS_S - sum(_times(before)) / processors / _TICKS_S


def _times(snapshot: _Snapshot) -> tuple[int, ...]:
    """user, nice, system, idle, iowait, irq, softirq, steal; guests' time is part of user."""
    times = snapshot.values["cpu"][:8]
    return times + (0,) * (8 - len(times))


def _rate(before: int | None, after: int | None, elapsed_s: float, factor: float = 1) -> float | None:
    if before is None or after is None or after < before:
        return None
    rate = round((after - before) * factor / elapsed_s, 1)
    return rate if rate <= LARGEST_RATE else None


def _page_kb(snapshot: _Snapshot) -> int:
    """The size of a page, which no file tells: MemFree in KiB and in pages are there to compare."""
    free_kb, pages = snapshot.first("MemFree"), snapshot.first("nr_free_pages")
    if not free_kb or not pages:
        return _PAGE_KB
    return min((4, 8, 16, 64), key=lambda size: abs(size - free_kb / pages))


def _vmstat_row(before: _Snapshot, after: _Snapshot, elapsed_s: float) -> Row:
    row: Row = {column.name: None for column in VMSTAT.columns}
    running = after.first("procs_running")
    row["r"] = None if running is None else max(0, running - 1)  # without `cat` itself
    row["b"] = after.first("procs_blocked")
    row["fre"], row["buff"] = after.first("MemFree"), after.first("Buffers")
    cached = after.first("Cached")
    row["cache"] = None if cached is None else cached + (after.first("SReclaimable") or 0)
    swap, swap_free = after.first("SwapTotal"), after.first("SwapFree")
    row["swpd"] = None if swap is None or swap_free is None else swap - swap_free
    page_kb = _page_kb(after)
    for column, name, factor in (
        ("pi", "pswpin", page_kb),
        ("po", "pswpout", page_kb),
        ("bi", "pgpgin", 1),
        ("bo", "pgpgout", 1),
        ("interrupts", "intr", 1),
        ("cs", "ctxt", 1),
    ):
        row[column] = _rate(before.first(name), after.first(name), elapsed_s, factor)
    # The kernel's estimate of iowait may go back a little.
    spent = [max(0, late - early) for early, late in zip(_times(before), _times(after), strict=True)]
    total = sum(spent)
    if total:
        user, nice, system, idle, wait, irq, soft, steal = (100 * part / total for part in spent)
        shares = {"us": user + nice, "sy": system + irq + soft, "idle": idle, "wa": wait, "st": steal}
        row.update((name, round(share, 1)) for name, share in shares.items())
    return row


def _read_vmstat(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    snapshots = [one for one in _snapshots(text, disks=False) if len(one.values.get("cpu", ())) >= 4]
    rows = [_vmstat_row(*pair) for pair in _pairs(snapshots, programs)]
    return Reading(rows, recognised=bool(snapshots))


def _partition(name: str, disks: Container[str]) -> bool:
    """Whether the name is that of a partition: `sda1` of `sda`, `nvme0n1p2` of `nvme0n1`."""
    base = name.rstrip("0123456789")
    return base != name and (base in disks or (base.endswith("p") and base[:-1] in disks))


def _grown(before: Sequence[int], after: Sequence[int]) -> list[int] | None:
    """How much each counter has grown; some of them have 32 bits on every kernel."""
    grown = []
    for index, (early, late) in enumerate(zip(before, after, strict=True)):
        if late < early and early >= _WRAP and index != _IN_FLIGHT:
            return None
        grown.append(late - early if late >= early else late - early + _WRAP)
    return grown


def _disk_row(disk: str, grown: Sequence[int], elapsed_s: float) -> Row:
    reads, _, sectors_read, read_ms, writes, _, sectors_written, write_ms, _, busy_ms, waited_ms = grown[:11]
    return iostat.finish(
        {
            "disk": disk,
            iostat.READS: round(reads / elapsed_s, 2),
            iostat.WRITES: round(writes / elapsed_s, 2),
            "kb_read_s": round(sectors_read / 2 / elapsed_s, 2),
            "kb_wrtn_s": round(sectors_written / 2 / elapsed_s, 2),
            "busy_pct": round(busy_ms / 10 / elapsed_s, 2),
            "service_time_ms": round((read_ms + write_ms) / (reads + writes), 2) if reads + writes else 0.0,
            "queue_length": round(waited_ms / 1000 / elapsed_s, 2),
        }
    )


def _read_disks(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
    snapshots = [one for one in _snapshots(text, disks=True) if one.values]
    rows: list[Row] = []
    for before, after, elapsed_s in _pairs(snapshots, programs):
        for disk, counters in after.values.items():
            # Devices that nobody ever used are placeholders, such as loop7.
            used = counters[0] + counters[4] > 0
            if not used or disk not in before.values or _partition(disk, after.values):
                continue
            grown = _grown(before.values[disk][:11], counters[:11])
            if grown is not None:
                rows.append(_disk_row(disk, grown, elapsed_s))
    return Reading(rows, recognised=bool(snapshots))


class _Splitter:
    """Each reading is handed out behind the one before it."""

    def __init__(self, program: Program) -> None:
        self._tail = ""
        self._before = ""
        self._current: list[str] = []

    def feed(self, text: str) -> list[str]:
        complete, newline, self._tail = (self._tail + text).rpartition("\n")
        out: list[str] = []
        for line in clean(complete).split("\n") if newline else ():
            self._current.append(line)
            if _UPTIME.fullmatch(line.strip()):
                reading = "\n".join((*self._current, ""))
                if self._before:
                    out.append(self._before + reading)
                self._before, self._current = reading, []
        return out

    def flush(self) -> list[str]:
        return []

    @property
    def waiting(self) -> bool:
        return False


def vmstat_reader() -> Reader:
    """Reads `/proc/stat` with `/proc/vmstat` and `/proc/meminfo`."""
    return Reader("vmstat", _read_vmstat, _Splitter)


def iostat_reader() -> Reader:
    """Reads `/proc/diskstats`."""
    return Reader("iostat", _read_disks, _Splitter)
