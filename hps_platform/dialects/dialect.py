"""What a dialect is made of: the programs it can read, and the commands it plans to run.

The values that pass between the dialects and `parse`, `plan` and `splitter`; the ways to read tables stand in the
modules named after what they read.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from hps_platform.dialects.commandline import Program, programs
from hps_platform.metrics.sample import Row


class Outcome(StrEnum):
    """What became of a command's output; never mixed up."""

    ROWS = "rows"
    NO_DATA = "no_data"  # empty, blank, or a header without rows
    FAILED = "failed"  # the shell's or command's own error text
    UNKNOWN = "unknown"  # a layout that nobody taught us


@dataclass(frozen=True, slots=True)
class Parsed:
    """Rows lack `server_id` and `timestamp`. `duplicates` counts keys that came twice in one sample; the last won."""

    outcome: Outcome
    family: str | None
    rows: list[Row]
    message: str = ""
    duplicates: int = 0


@dataclass(slots=True)
class Reading:
    """What a reader found. `recognised`: a header (or label) of its own stood in the text, with rows or without."""

    rows: list[Row] = field(default_factory=list)
    recognised: bool = False
    duplicates: int = 0


@dataclass(frozen=True, slots=True)
class PlannedCommand:
    """A command to run for a family: until stopped when `stream`, else each `interval_s` seconds."""

    family: str
    command: str
    stream: bool
    interval_s: float


class Splitter(Protocol):
    """Cuts the standard output of a running command into reports; one splitter a running command."""

    def feed(self, text: str) -> list[str]:
        """Takes any piece of output; returns the reports it completes, each a header block with its rows."""

    def flush(self) -> list[str]:
        """Returns a report that only the next header would end; call it when the stream is quiet or has ended.

        Half a line stays for the next piece.
        """


Read = Callable[[tuple[Program, ...], str, bool], Reading]
Split = Callable[[Program], Splitter]


@dataclass(frozen=True, slots=True)
class Reader:
    """How the output of one program is read. `split` is there for commands that run until stopped."""

    family: str
    read: Read
    split: Split | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to get a family; several lines of a family are alternatives, the preferred one first.

    `{interval}` in `command` marks where a repeating command takes its seconds. `once`: the command for intervals that
    are too long for a stream, where it is more than `command` with a count behind the interval. `unless`: a tool whose
    presence rules this way out, such as `busybox:ps`.
    """

    family: str
    command: str
    once: str = ""
    unless: str = ""

    @property
    def needs(self) -> frozenset[str]:
        """The programs it runs, and the files it reads (with their path)."""
        return frozenset(program.name for program in programs(self.command))

    def possible(self, tools: Collection[str]) -> bool:
        """Whether a host with these tools can do it; programs that aren't on its search path come with their path."""
        needs = self.needs
        names = {tool if tool in needs else tool.rpartition("/")[2] for tool in tools}
        return needs <= names and self.unless not in tools


@dataclass(frozen=True, slots=True)
class Dialect:
    """One operating system: readers by program name (or file), and its plan."""

    name: str
    version: int
    plan: tuple[Plan, ...]
    readers: Mapping[str, Reader]
