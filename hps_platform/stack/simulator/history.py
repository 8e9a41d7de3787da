"""The past of a machine as the texts that its commands would have printed, minute by minute.

The texts are those that the SSH server prints (the same renderings), for as many minutes at once as is fast. Of a
command with an interval each text is one report with its headings, as a running stream would yield it; the first
report since boot is left out.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np

from hps_platform.errors import InvalidInput
from hps_platform.stack.simulator.model import NET_ROWS, ROW, Machine
from hps_platform.stack.simulator.noise import Floats
from hps_platform.stack.simulator.processes import ProcessTable
from hps_platform.stack.simulator.render.forms import Moments
from hps_platform.stack.simulator.shell import Report, Reports, Step, steps

EVERY_MINUTE = timedelta(minutes=1)
EVERY_TEN_MINUTES = timedelta(minutes=10)
_SELDOM = frozenset({"ps", "df", "bdf"})
_CHUNK = 1440
BUSIEST = 60


def usual_step(command: str) -> timedelta:
    """How often a command belongs in a history: processes and file systems every ten minutes, all else each minute."""
    programs = {word.rpartition("/")[2] for word in command.replace(";", " ").split()}
    return EVERY_TEN_MINUTES if programs & _SELDOM else EVERY_MINUTE


def history(
    machine: Machine,
    start: datetime,
    end: datetime,
    command: str,
    step: timedelta | None = None,
    busiest: int | None = BUSIEST,
) -> Iterator[tuple[datetime, str, str]]:
    """(timestamp, command, text) from `start` to before `end`, on whole multiples of `step`, oldest first.

    A process table has its `busiest` rows only, since a collector keeps few of them anyway; None prints all.
    Each text is about the time before its timestamp: the minute for rates, the moment for counters and tables.
    Raises InvalidInput for a command that this machine does not know.
    """
    wanted = steps(machine.host, command)
    for one in wanted:
        if not isinstance(one, Report | Reports):
            raise InvalidInput(f"{machine.host.hostname} has no history of {command!r}")
    every = int((step or usual_step(command)).total_seconds()) // 60
    first = -(-int(start.timestamp()) // (60 * every)) * every
    last = -(-int(end.timestamp()) // 60)
    table = ProcessTable(machine, busiest)
    for begin in range(first, last, _CHUNK // every * every):
        minutes = range(begin, min(begin + _CHUNK // every * every, last), every)
        texts = _texts(machine, table, wanted, minutes)
        for minute, text in zip(minutes, texts, strict=True):
            yield datetime.fromtimestamp(minute * 60, UTC), command, text


def _texts(machine: Machine, table: ProcessTable, wanted: list[Step], minutes: range) -> list[str]:
    # A report printed at the beginning of a minute is about the minute before.
    first, count = minutes[0] - 1, minutes[-1] - minutes[0] + 1
    every = minutes.step
    states = machine.minutes(first, count)[:, ::every]
    counters = _counters(machine, states, first, every)
    moments = Moments(machine, table, [60 * minute for minute in minutes], states, counters)
    texts = [""] * len(minutes)
    for one in wanted:
        if isinstance(one, Reports):
            header = one.stream.header(machine.host)
            added = [header + text for text in one.stream.reports(machine.host, states, one.interval_s or 60.0)]
        elif isinstance(one, Report):
            added = [one.filtered(text) for text in one.once.texts(moments)] if one.keep else one.once.texts(moments)
        texts = [text + more for text, more in zip(texts, added, strict=True)]
    return texts


def _counters(machine: Machine, states: Floats, first: int, every: int) -> Floats:
    """The interfaces' counters at the end of each minute; only commands asked each minute print them."""
    if every != 1:
        return np.zeros((len(NET_ROWS), states.shape[1]))
    row = ROW[NET_ROWS[0]]
    rates = states[row : row + len(NET_ROWS)]
    counted: Floats = machine.counters(first)[:, None] + np.cumsum(np.rint(60.0 * rates), axis=1)
    return counted
