"""What the operating systems' renderings share: the two kinds of answer, numbers for format strings, and `ps`."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hps_platform.errors import InvalidInput
from hps_platform.stack.simulator.fleet import Host
from hps_platform.stack.simulator.model import ROW, Machine
from hps_platform.stack.simulator.noise import Floats
from hps_platform.stack.simulator.processes import ProcessTable


@dataclass(frozen=True, slots=True)
class Moments:
    """One machine at one or many times: a column of `states` (see `ROWS`) and of `counters` for each of `seconds`."""

    machine: Machine
    table: ProcessTable
    seconds: list[int]
    states: Floats
    counters: Floats

    @property
    def host(self) -> Host:
        """The machine's name and sizes."""
        return self.machine.host


@dataclass(frozen=True, slots=True)
class Stream:
    """A command that reports again and again when given an interval.

    `preamble` comes once, `header` before the first report and again after every `repeat` reports (0: never), `reports`
    gives one text for each column of states. The first report is the average since boot, and comes at once; without
    `boot_first` it is about the first interval, and comes at its end.
    """

    fixture: str
    preamble: Callable[[Host, float], str]
    header: Callable[[Host], str]
    reports: Callable[[Host, Floats, float], list[str]]
    repeat: int
    boot_first: bool = True


@dataclass(frozen=True, slots=True)
class Once:
    """A command that prints and ends: one text for each of the moments."""

    fixture: str
    texts: Callable[[Moments], list[str]]


Answer = Stream | Once
_NUMBER = re.compile(r"(\.\d+)?[df]$")


def nothing(_host: Host, _at: float) -> str:
    """The preamble of a command that has none."""
    return ""


def whole(states: Floats, *names: str) -> list[list[int]]:
    """The named rows, rounded to whole numbers: one list per name."""
    rows: list[list[int]] = np.rint(states[[ROW[name] for name in names]]).astype(np.int64).tolist()
    return rows


def shares(states: Floats, *, wait: bool) -> tuple[list[int], list[int], list[int], list[int]]:
    """us, sy, id, wa in whole percent that make 100; without `wait` waiting counts as idle, as some systems do."""
    us, sy, wa = (np.rint(states[ROW[name]]).astype(np.int64) for name in ("us", "sy", "wa"))
    us = np.minimum(us, 100)
    sy = np.minimum(sy, 100 - us)
    wa = np.minimum(wa, 100 - us - sy) if wait else wa * 0
    return us.tolist(), sy.tolist(), (100 - us - sy - wa).tolist(), wa.tolist()


def lines(form: str, columns: Iterable[list[Any]]) -> list[str]:
    """One line per place in the columns, by a %-format; fastest of the ways to write a million of them."""
    return [form % row for row in zip(*columns, strict=True)]


def clock(seconds: int, *, hours_always: bool = True) -> str:
    """[[dd-]hh:]mm:ss as `ps` writes ages."""
    minutes, second = divmod(max(seconds, 0), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}-{hour:02d}:{minute:02d}:{second:02d}"
    if hour or hours_always:
        return f"{hour:02d}:{minute:02d}:{second:02d}"
    return f"{minute:02d}:{second:02d}"


def age(seconds: int) -> str:
    """Elapsed time: without hours where there are none."""
    return clock(seconds, hours_always=False)


@dataclass(frozen=True, slots=True)
class Field:
    """A column of `ps -o`: heading, format, and the process table's column with what is done to its values."""

    heading: str
    form: str
    column: str
    change: Callable[[Any], Any] | None = None


def process_table(
    fields: Mapping[str, Field], names: Iterable[str], *, cut: int | None = None
) -> Callable[[Moments], list[str]]:
    """Texts of `ps -o names`; `cut` is the length at which the system cuts the last column."""
    chosen = []
    for name in names:
        word, _, wanted = name.partition(":")
        if word not in fields:
            raise InvalidInput(f"ps: {word}: unknown field")
        field = fields[word]
        chosen.append(replace(field, form=f"%-{wanted}s") if wanted else field)
    # A heading stands over its column as its values do: the same width, the same side.
    heading = " ".join(_NUMBER.sub("s", field.form) % field.heading for field in chosen) + "\n"
    form = " ".join(field.form for field in chosen) + "\n"

    def texts(moments: Moments) -> list[str]:
        printed = []
        for place, second in enumerate(moments.seconds):
            table = moments.table.at(second, moments.states[:, place])
            if cut:
                table["args"] = [args[:cut] for args in table["args"]]
            columns = [
                [field.change(value) for value in table[field.column]] if field.change else table[field.column]
                for field in chosen
            ]
            printed.append(heading + "".join(lines(form, columns)))
        return printed

    return texts


def options_of(arguments: Iterable[str]) -> str:
    """Single-letter options in alphabetical order, whether written together or apart."""
    return "".join(sorted("".join(a.lstrip("-") for a in arguments if a.startswith("-"))))


def output_fields(arguments: tuple[str, ...]) -> list[str]:
    """The names after `-o` of `ps`, also where -o is written together with other letters."""
    for place, argument in enumerate(arguments[:-1]):
        if argument.startswith("-") and argument.endswith("o"):
            return arguments[place + 1].split(",")
    raise InvalidInput("ps: only -o is simulated")
