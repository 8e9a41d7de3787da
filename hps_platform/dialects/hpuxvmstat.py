"""vmstat of HP-UX: one table, which `-n` cuts in two so that it fits 80 columns.

With `-n` a line of memory, paging and faults comes first, then one with the shares of the first processor and the
queues, then one of three shares for each further processor. Put together they are a row of the usual table.
"""

from collections.abc import Iterator

from hps_platform.dialects import vmstat
from hps_platform.dialects.commandline import Program
from hps_platform.dialects.dialect import Reader, Reading, Splitter
from hps_platform.dialects.text import clean, is_number

_PAGE_KB = 4

# vmstat 2 (-S: si, so for re, at)
#
#          procs           memory                   page                              faults       cpu
#     r     b     w      avm    free   re   at    pi   po    fr   de    sr     in     sy    cs  us sy id
#     3     0     0   412004   88120   14    6     0    0     0    0     0    512   9120   801  11  4 85
_WORDS = vmstat.Words(
    columns={
        **vmstat.COMMON,
        "avm": ("avm", _PAGE_KB),
        "free": ("fre", _PAGE_KB),
        "pi": ("pi", _PAGE_KB),
        "po": ("po", _PAGE_KB),
        "fr": ("fr", 1),
        "sr": ("sr", 1),
    },
    required=frozenset(("r", "b", "w", "avm", "free", "pi", "po", "de", "sr", "in", "sy", "cs", "us", "id")),
)

# vmstat -n 2 (headers come again after some reports)
#
# VM
#        memory                     page                          faults
#      avm    free   re   at    pi   po    fr   de    sr     in     sy    cs
#   412004   88120   14    6     0    0     0    0     0    512   9120   801
# CPU
#     cpu          procs
#  us sy id    r     b     w
#  11  4 85    3     0     0
#   9  6 85
_PROCESSORS = ["us", "sy", "id"]
_CPU = [*_PROCESSORS, "r", "b", "w"]


class _Joined:
    """Lines of `-n` as they come, put together to a header and rows of the usual table."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._memory: list[str] = []
        self._cpu: list[str] = []
        self._further = 0
        self._expected: int | None = None

    def lines(self, line: str) -> Iterator[str]:
        """What the line completes: the row before it, its own header; any other line is passed on as it is."""
        words = line.split()
        if words[:2] == ["avm", "free"] and words[-3:] == ["in", "sy", "cs"]:
            yield from self.end()
            self._names = words
            yield " ".join(("r", "b", "w", *words, *_PROCESSORS))
        elif words == ["disk", "transfers"]:  # of -d: the numbers below are the disks'
            yield from self.end()
            self._names = []
        elif words == _CPU or words in (["VM"], ["CPU"]):
            return
        elif not self._names or not words or not all(map(is_number, words)):
            yield line
        elif len(words) == len(self._names):
            yield from self.end()
            self._memory = words
        elif len(words) == len(_CPU) and self._memory:
            self._cpu = words
        elif len(words) == len(_PROCESSORS) and self._cpu:
            self._further += 1

    @property
    def whole(self) -> bool:
        """Whether the row under way has as many processors as the one before."""
        return bool(self._cpu) and self._expected is not None and self._further >= self._expected

    def end(self) -> Iterator[str]:
        """The row under way, if it has both parts. Shares of one processor among several are not the machine's."""
        if self._cpu:
            shares = ["-"] * len(_PROCESSORS) if self._further else self._cpu[: len(_PROCESSORS)]
            yield " ".join((*self._cpu[len(_PROCESSORS) :], *self._memory, *shares))
            self._expected = self._further
        self._memory, self._cpu, self._further = [], [], 0


def _joined(text: str) -> str:
    lines = _Joined()
    found = [joined for line in text.split("\n") for joined in lines.lines(line)]
    return "\n".join((*found, *lines.end(), ""))


class _Splitter:
    """Reports of `-n`, each handed out as a row of the usual table below its header."""

    def __init__(self, reports: Splitter) -> None:
        self._reports = reports
        self._lines = _Joined()
        self._tail = ""

    def feed(self, text: str) -> list[str]:
        complete, newline, self._tail = (self._tail + text).rpartition("\n")
        found = [joined for line in clean(complete).split("\n") if newline for joined in self._lines.lines(line)]
        return self._reports.feed("".join(f"{line}\n" for line in found))

    def flush(self) -> list[str]:
        ended = self._lines.end() if self._lines.whole else ()
        return self._reports.feed("".join(f"{line}\n" for line in ended)) + self._reports.flush()

    @property
    def waiting(self) -> bool:
        return self._lines.whole or self._reports.waiting


def reader() -> Reader:
    """Reads vmstat, with `-n` or without."""
    table = vmstat.reader(_WORDS)

    def read(programs: tuple[Program, ...], text: str, streamed: bool) -> Reading:
        return table.read(programs, _joined(text) if programs[0].has("n") else text, streamed)

    def split(program: Program) -> Splitter:
        assert table.split is not None  # noqa: S101  vmstat splits
        reports = table.split(program)
        return _Splitter(reports) if program.has("n") else reports

    return Reader("vmstat", read, split)
