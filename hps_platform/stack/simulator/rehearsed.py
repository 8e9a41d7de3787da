"""A fleet of a thousand that costs next to nothing: texts worked out once a kind of machine, and every print counted.

For benchmarks. What goes over the wire is what the live fleet prints, in the same layouts at the same times; only that
machines of one kind take their reports from one stock, each beginning at another place of it.
"""

import json
import time
from array import array
from collections.abc import Callable
from pathlib import Path

from hps_platform.stack.simulator.fleet import Host
from hps_platform.stack.simulator.render.forms import Once
from hps_platform.stack.simulator.session import Machine
from hps_platform.stack.simulator.shell import Reports
from hps_platform.stack.simulator.wheel import Wheel

_REPORTS = 120
_TEXTS = 6
_STRIDE = 7


class Printed:
    """What the fleet printed, a line a report: host, command, number and when it was due (epoch milliseconds)."""

    def __init__(self) -> None:
        self.silent = False
        self.logins = 0
        self.commands: list[str] = []
        self._places: dict[str, int] = {}
        self._lines = array("q")

    def add(self, place: int, command: str, number: int, due_ms: int) -> None:
        """Notes one report of the host at that place of the fleet."""
        known = self._places.get(command)
        if known is None:
            known = self._places[command] = len(self.commands)
            self.commands.append(command)
        self._lines.extend((place, known, number, due_ms))

    def write(self, directory: Path) -> None:
        """`printed.json` (commands by number, and logins), then `printed.reports`: four 64-bit integers a report."""
        (directory / "printed.json").write_text(json.dumps({"commands": self.commands, "logins": self.logins}))
        unfinished = directory / "printed.tmp"
        with unfinished.open("wb") as file:
            self._lines.tofile(file)
        unfinished.replace(directory / "printed.reports")


class Stock:
    """The texts of one kind of machine."""

    def __init__(self, machine: Machine, epoch_s: float) -> None:
        self._machine = machine
        self._epoch_s = epoch_s
        self._openings: dict[tuple[str, float], str] = {}
        self._reports: dict[tuple[str, float], list[str]] = {}
        self._texts: dict[tuple[str, int], str] = {}

    def opening(self, step: Reports) -> str:
        """As `Answering.opening`."""
        key = (step.stream.fixture, step.interval_s or 0.0)
        if key not in self._openings:
            self._openings[key] = self._machine.opening(step)
            interval_s = step.interval_s or 1.0
            # Number 1 heads no report; headers are put on when it is printed.
            self._reports[key] = [
                self._machine.report_at(step, 1, self._epoch_s + place * interval_s) for place in range(_REPORTS)
            ]
        return self._openings[key]

    def report(self, step: Reports, number: int, place: int) -> str:
        """As `Answering.report`, for the host at that place of the fleet."""
        stream = step.stream
        text = self._reports[stream.fixture, step.interval_s or 0.0][(number + place * _STRIDE) % _REPORTS]
        return stream.header(self._machine.host) + text if stream.repeat and number % stream.repeat == 0 else text

    def once(self, once: Once, command: str, number: int) -> str:
        """As `Answering.once`."""
        key = (command, number % _TEXTS)
        if key not in self._texts:
            self._texts[key] = self._machine.once_at(once, command, self._epoch_s + 60.0 * key[1])
        return self._texts[key]


class Rehearsed:
    """One host of such a fleet: `session.Answering`."""

    def __init__(
        self, host: Host, place: int, stock: Stock, wheel: Wheel, clock: Callable[[], float], printed: Printed
    ) -> None:
        self.wheel = wheel
        self.channels = 0
        self._host = host
        self._place = place
        self._stock = stock
        self._clock = clock
        self._tally = printed
        self._asked = place
        self._silent = False

    @property
    def host(self) -> Host:
        """Who it is."""
        return self._host

    def entered(self) -> None:
        """Into the tally."""
        self._tally.logins += 1

    def opening(self, step: Reports) -> str:
        """From the stock."""
        return self._stock.opening(step)

    def report(self, step: Reports, number: int, due: float) -> str:
        """From the stock; nothing once the fleet has fallen silent."""
        self._silent = self._tally.silent
        return "" if self._silent else self._stock.report(step, number, self._place)

    def once(self, once: Once, command: str) -> str:
        """From the stock; a silent fleet still answers questions."""
        self._silent = False
        self._asked += 1
        return self._stock.once(once, command, self._asked)

    def printed(self, command: str, number: int, due: float) -> None:
        """Into the tally."""
        if not self._silent:
            due_ms = round((self._clock() - (time.monotonic() - due)) * 1000)
            self._tally.add(self._place, command, number, due_ms)
