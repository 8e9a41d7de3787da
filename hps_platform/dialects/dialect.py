"""What a dialect is made of: the programs it can read, and the commands it plans to run.

The values that pass between the dialects and `parse`, `plan` and `splitter`; the ways to read tables stand in the
modules named after what they read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from hps_platform.dialects.commandline import Program
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
    """One line of a collection plan; `{interval}` in `command` marks where a repeating command takes its seconds."""

    family: str
    command: str


@dataclass(frozen=True, slots=True)
class Dialect:
    """One operating system: readers by program name (or file), and its plan."""

    name: str
    version: int
    plan: tuple[Plan, ...]
    readers: Mapping[str, Reader]
