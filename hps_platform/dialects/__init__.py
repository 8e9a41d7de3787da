"""Dialects: how each operating system says what the metric families mean.

`parse` turns a command's output into a family's rows, `plan` names the commands to run, `splitter` cuts running output
into reports, `identify` tells which system a host is. One module an operating system; a new one is a module with its
`DIALECT` and its name in `_MODULES`. Nothing here reads or runs anything.
"""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache

from hps_platform.dialects import aix, freebsd, hpux, linux, solaris
from hps_platform.dialects.commandline import Program, programs
from hps_platform.dialects.dialect import Dialect, Outcome, Parsed, Plan, PlannedCommand, Reader, Splitter, called
from hps_platform.dialects.identity import Host, identify, question
from hps_platform.dialects.text import clean, failure, first_line
from hps_platform.errors import InvalidInput
from hps_platform.metrics import FAMILIES

_MODULES = (aix, linux, solaris, hpux, freebsd)

DIALECTS: dict[str, Dialect] = {module.DIALECT.name: module.DIALECT for module in _MODULES}
SYSTEMS: tuple[str, ...] = tuple(DIALECTS)

IDENTIFY = question(
    {name: {tool for line in dialect.plan for tool in line.needs} for name, dialect in DIALECTS.items()}
)
"""The command whose answer `identify` reads."""

LONGEST_STREAM_S = 10.0
"""Above this interval a repeating command runs as a one-shot of two reports, so that none is left behind on a host."""


def _dialect(os: str) -> Dialect:
    try:
        return DIALECTS[os]
    except KeyError:
        raise InvalidInput(f"no dialect for {os!r}: there are {', '.join(SYSTEMS)}") from None


@lru_cache(maxsize=4096)
def _reader(os: str, command: str) -> tuple[Reader | None, tuple[Program, ...]]:
    """The reader of the first program it knows, and the programs from there on."""
    dialect = _dialect(os)
    found = programs(command)
    for index, program in enumerate(found):
        reader = dialect.readers.get(program.name)
        if reader is not None:
            return reader, found[index:]
    return None, found


def parse(os: str, command: str, text: str, *, streamed: bool = False) -> Parsed:
    """The rows of a command's output, in the order of the text, and what became of it.

    `command` is the command line that printed it, with whatever pipes, paths and prefixes. `streamed`: the text is one
    report cut from a running stream, so its only report is a sample and not the average since boot. Otherwise the first
    report of vmstat and iostat with an interval is left out, and a single one without an interval carries
    `"since_boot": True`. Raises `InvalidInput` for an operating system without a dialect.
    """
    reader, run = _reader(os, command)
    text = clean(text)
    if reader is None:
        return _without_rows(os, None, command, run, text)
    reading = reader.read(run, text, streamed)
    if reading.rows:
        return Parsed(Outcome.ROWS, reader.family, reading.rows, duplicates=reading.duplicates)
    if reading.recognised:
        return Parsed(Outcome.NO_DATA, reader.family, [], "a header, but no complete row that is a sample")
    return _without_rows(os, reader.family, command, run, text)


def _without_rows(os: str, family: str | None, command: str, run: tuple[Program, ...], text: str) -> Parsed:
    if not text or text.isspace():
        return Parsed(Outcome.NO_DATA, family, [], "no output")
    said = failure(text, {called(program.name) for program in run})
    if said is not None:
        return Parsed(Outcome.FAILED, family, [], said)
    lines = (line.strip() for line in text.split("\n"))
    if family is not None and all(_dialect(os).preamble.fullmatch(line) for line in lines if line):
        return Parsed(Outcome.NO_DATA, family, [], "only what stands above a header")
    if family is None:
        return Parsed(Outcome.UNKNOWN, None, [], f"the {os} dialect does not read {command!r}")
    return Parsed(Outcome.UNKNOWN, family, [], f"no {family} of {os} in this output, which begins {first_line(text)!r}")


def parser_id(os: str) -> str:
    """Which parser reads this system's output, as sent in the `parser` header: `aix/1`."""
    return f"{os}/{_dialect(os).version}"


def plan(
    os: str,
    intervals: Mapping[str, float] | None = None,
    overrides: Mapping[str, str] | None = None,
    tools: Collection[str] = (),
) -> tuple[PlannedCommand, ...]:
    """What to run on a host of this system: one command a family, the first one that its `tools` allow.

    `tools` are those that `identify` found; where none are known, or none of a family's ways is possible, it is the
    preferred one. `intervals` and `overrides` (commands, taken as they are) are by family. A vmstat or iostat of more
    than `LONGEST_STREAM_S` seconds becomes a one-shot of two reports. Raises `InvalidInput` for an override that the
    dialect can't read, or reads as another family.
    """
    ways: dict[str, list[Plan]] = {}
    for line in _dialect(os).plan:
        ways.setdefault(line.family, []).append(line)
    planned = []
    for family, lines in ways.items():
        interval_s = float((intervals or {}).get(family) or FAMILIES[family].interval_s)
        override = (overrides or {}).get(family)
        if override is not None:
            planned.append(_overridden(os, family, override, interval_s))
        else:
            line = next((line for line in lines if line.possible(tools)), lines[0])
            planned.append(_planned(line, interval_s, tools))
    return tuple(planned)


def _overridden(os: str, family: str, override: str, interval_s: float) -> PlannedCommand:
    reader, run = _reader(os, override)
    if reader is None or reader.family != family:
        raise InvalidInput(f"the {os} dialect reads no {family} from {override!r}")
    endless = reader.split is not None and _endless(run[0])
    return PlannedCommand(family, override, endless, (run[0].interval or interval_s) if endless else interval_s)


def _planned(line: Plan, interval_s: float, tools: Collection[str]) -> PlannedCommand:
    if "{interval}" not in line.command:
        return PlannedCommand(line.family, _located(line.command, tools), False, interval_s)
    if interval_s > LONGEST_STREAM_S:
        # A command that is left behind by a killed collector must not outlive it for long, either.
        measured = round(LONGEST_STREAM_S)
        once = line.once.format(interval=measured) or line.command.format(interval=f"{measured} 2")
        return PlannedCommand(line.family, _located(once, tools), False, interval_s)
    # These commands take whole seconds.
    whole = max(1, round(interval_s))
    return PlannedCommand(line.family, _located(line.command.format(interval=whole), tools), True, float(whole))


def _located(command: str, tools: Collection[str]) -> str:
    """The command with the paths of those programs that are not on the host's search path."""
    for tool in tools:
        name = called(tool)
        if tool != name:
            command = re.sub(rf"(?<![\w./-]){re.escape(name)}(?![\w./-])", tool, command)
    return command


_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


def _endless(program: Program) -> bool:
    """An interval without a count: it runs until stopped."""
    return sum(1 for argument in program.arguments if _NUMBER.fullmatch(argument)) == 1


def splitter(os: str, command: str) -> Splitter:
    """A new splitter for one run of a command that repeats. Raises `InvalidInput` for a command that does not."""
    reader, run = _reader(os, command)
    if reader is None or reader.split is None:
        raise InvalidInput(f"{command!r} on {os} prints no reports that could be told apart")
    return reader.split(run[0])


__all__ = [
    "DIALECTS",
    "IDENTIFY",
    "SYSTEMS",
    "Host",
    "Outcome",
    "Parsed",
    "PlannedCommand",
    "Splitter",
    "identify",
    "parse",
    "parser_id",
    "plan",
    "splitter",
]
