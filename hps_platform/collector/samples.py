"""From a command's output to samples: parsed, rated, numbered and stamped; or a dead letter that keeps it whole.

One `Series` is one family of one host for as long as the collector runs: it outlives connections, so that numbers and
rates go on over a reconnect. Running commands belongs to `host`, sending to `outbox`.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from hps_platform import dialects
from hps_platform.dialects import Outcome, Parsed, PlannedCommand
from hps_platform.dialects.commandline import programs
from hps_platform.dialects.text import clean
from hps_platform.metrics import rates
from hps_platform.metrics.family import Family
from hps_platform.metrics.sample import STREAMED, DeadLetter, Row, Sample

log = logging.getLogger(__name__)

BUSIEST = 20
"""Processes kept by CPU and as many by memory."""

_CLOCK_SET_BACK_MS = 60_000
_STEP_MS = 8
"""Timestamps are whole steps plus the number of times that the clock was set back: what is lived through again does not
fall on moments that have samples already."""
PARKED_AFTER = 3
"""So many outputs in a row that nobody taught us to read, and the family is left alone on that host."""

_LETTERS_AT_ONCE = 5
_LETTER_EVERY_S = 60.0
_NOT_FOUND = (126, 127)
_LINES_SHOWN, _LINE_SHOWN = 3, 160


@dataclass(frozen=True, slots=True)
class Origin:
    """Who collects: the collector's name, and a new `session` at each of its starts."""

    collector: str
    session: str


class Arrival(NamedTuple):
    """When output arrived: epoch milliseconds, and a clock that nobody sets."""

    wall_ms: int
    monotonic: float

    @classmethod
    def now(cls) -> "Arrival":
        return cls(time.time_ns() // 1_000_000, time.monotonic())


class Output(NamedTuple):
    """What a planned command printed: one report of a stream (`streamed`), or all of it."""

    system: str
    planned: PlannedCommand
    text: str
    arrival: Arrival
    exit_code: int | None = None
    streamed: bool = False

    @property
    def parser(self) -> str:
        return _parser(self.system, self.streamed)


@lru_cache(maxsize=64)
def _parser(system: str, streamed: bool) -> str:
    return dialects.parser_id(system) + (STREAMED if streamed else "")


@dataclass(slots=True)
class Tally:
    """What became of a family's output since the collector started."""

    samples: int = 0
    rows: int = 0
    duplicates: int = 0
    no_data: int = 0
    failed: int = 0
    unknown: int = 0
    dead_letters: int = 0
    suppressed: int = 0  # dead letters beyond the rate limit: counted, not kept


@dataclass(slots=True)
class Series:
    """One family of one host. `emit` takes every sample and dead letter, in order."""

    family: Family
    server_id: int
    origin: Origin
    emit: Callable[[Sample | DeadLetter], None]
    tally: Tally = field(default_factory=Tally)
    problem: str = ""
    """Why this family gives nothing at the moment; empty when it does."""
    unavailable: bool = False
    """The host doesn't have the command."""
    slip_s: float = 0.0
    """How much later than an interval after the one before it the newest report of a stream arrived."""
    parked: str = ""
    """The first lines of output that was unknown time and again; empty unless the family is parked for that."""
    _unknown_in_a_row: int = 0
    _seq: int = 0
    _last_ms: int = 0
    _turn: int = 0
    _bad_in_a_row: int = 0
    _reported_at: float = 0.0
    _counters: dict[str, Row] = field(default_factory=dict)
    _counted_at: float = 0.0
    _letters_left: float = _LETTERS_AT_ONCE
    _letters_at: float = 0.0
    _unreported: int = 0

    def answered(self, output: Output, *, age_ms: int = 0) -> bool:
        """Takes one report or one command's whole output; whether it gave a sample.

        `age_ms`: how long before its arrival the report was printed, when several came at once.
        """
        parsed = self._parsed(output)
        since_boot = bool(parsed.rows) and parsed.rows[0].get("since_boot", False)
        if parsed.outcome is not Outcome.ROWS or since_boot:
            reason = "only the average since boot, which is no sample" if since_boot else parsed.message
            self._refuse(output, parsed.outcome, reason)
            return False
        raw, rows = output.text, parsed.rows
        if self.family.name == "process":
            raw, rows = busiest(output, rows)
        elif self.family.name == "iostat":
            rows = rates.interval_rates(rows, _measured_s(output.planned))
        elif self.family.name == "netstat":
            rows = self._rated(rows, output.arrival)
        if output.streamed:
            self.slip_s = output.arrival.monotonic - self._reported_at - output.planned.interval_s
            self._reported_at = output.arrival.monotonic
        self._seq += 1
        self.tally.samples += 1
        self.tally.rows += len(rows)
        self.tally.duplicates += parsed.duplicates
        self._bad_in_a_row = self._unknown_in_a_row = 0
        self.problem, self.unavailable, self.parked = "", False, ""
        self.emit(
            Sample(
                family=self.family.name,
                server_id=self.server_id,
                timestamp_ms=self._stamp(output.arrival.wall_ms - age_ms),
                rows=rows,
                command=output.planned.command,
                raw=raw,
                parser=output.parser,
                collector=self.origin.collector,
                session=self.origin.session,
                seq=self._seq,
                exit_code=output.exit_code,
            )
        )
        return True

    @property
    def standing(self) -> str:
        """`ok`, `waiting` (nothing came yet), `unavailable`, `quarantined` or `failing`."""
        if self.unavailable:
            return "unavailable"
        if self.parked:
            return "quarantined"
        if self.problem:
            return "failing"
        return "ok" if self.tally.samples else "waiting"

    def refuse(self, output: Output, reason: str) -> None:
        """A command that can't be run, never answers, or whose output can't even be cut into reports."""
        self._refuse(output, Outcome.FAILED, reason)

    def came_to_nothing(self, exit_code: int | None) -> None:
        """A command that was to run on has ended without a report."""
        self.unavailable = self.unavailable or exit_code in _NOT_FOUND

    def _parsed(self, output: Output) -> Parsed:
        try:
            return dialects.parse(output.system, output.planned.command, output.text, streamed=output.streamed)
        except Exception as error:
            # The boundary of host and family: nothing that a host prints may end the collector.
            log.exception("server %s, %s: the parser gave up", self.server_id, self.family.name)
            return Parsed(Outcome.UNKNOWN, self.family.name, [], f"the parser gave up: {type(error).__name__}: {error}")

    def _stamp(self, moment_ms: int) -> int:
        """Strictly growing, so that two samples never share a key; a clock that was set back by far is believed."""
        stamp = moment_ms - moment_ms % _STEP_MS + self._turn
        if stamp <= self._last_ms:
            if self._last_ms - moment_ms < _CLOCK_SET_BACK_MS:
                stamp = self._last_ms + _STEP_MS
            else:
                self._turn = (self._turn + 1) % _STEP_MS
                stamp = moment_ms - moment_ms % _STEP_MS + self._turn
        self._last_ms = stamp
        return stamp

    def _rated(self, rows: Sequence[Row], arrival: Arrival) -> list[Row]:
        rated = rates.counter_rates(rows, self._counters, arrival.monotonic - self._counted_at)
        self._counters = {row["interface"]: row for row in rows}
        self._counted_at = arrival.monotonic
        return rated

    def _refuse(self, output: Output, outcome: Outcome, reason: str) -> None:
        self._bad_in_a_row += 1
        match outcome:
            case Outcome.UNKNOWN:
                self.tally.unknown += 1
            case Outcome.FAILED:
                self.tally.failed += 1
            case _:
                self.tally.no_data += 1
        self.unavailable = outcome is Outcome.FAILED and output.exit_code in _NOT_FOUND
        self._unknown_in_a_row = self._unknown_in_a_row + 1 if outcome is Outcome.UNKNOWN else 0
        if self._unknown_in_a_row >= PARKED_AFTER or (self.parked and outcome is Outcome.UNKNOWN):
            self.parked = _first_lines(output.text)
        elif outcome is not Outcome.UNKNOWN:
            self.parked = ""
        if outcome is Outcome.FAILED or self._bad_in_a_row > 1:
            self.problem = reason or outcome.value
        if self.unavailable:
            return  # a state of the host, told as such, and no output that somebody could learn to read
        if not self._may_write(output.arrival.monotonic):
            self.tally.suppressed += 1
            self._unreported += 1
            return
        if self._unreported:
            reason += f" ({self._unreported} more like it were counted and not kept)"
            self._unreported = 0
        self.tally.dead_letters += 1
        self.emit(
            DeadLetter(
                family=self.family.name,
                server_id=self.server_id,
                timestamp_ms=output.arrival.wall_ms,
                command=output.planned.command,
                raw=output.text,
                parser=output.parser,
                reason=reason or outcome.value,
                collector=self.origin.collector,
                session=self.origin.session,
                exit_code=output.exit_code,
                outcome=outcome.value,
            )
        )

    def _may_write(self, now: float) -> bool:
        self._letters_left = min(_LETTERS_AT_ONCE, self._letters_left + (now - self._letters_at) / _LETTER_EVERY_S)
        self._letters_at = now
        if self._letters_left < 1:
            return False
        self._letters_left -= 1
        return True


def _first_lines(text: str) -> str:
    lines = [line.rstrip()[:_LINE_SHOWN] for line in clean(text).split("\n") if line.strip()]
    return "\n".join(lines[:_LINES_SHOWN]) or "(nothing but blanks)"


def _first(rows: Sequence[Row], columns: Sequence[str]) -> list[int]:
    """The ids of the `BUSIEST` processes by these columns in turn."""
    measured = [[-(row[name] or 0) for row in rows] for name in columns]
    ordered = sorted(zip(*measured, [row["pid"] for row in rows], strict=True))
    return [pid for *_, pid in ordered[:BUSIEST]]


def busiest(output: Output, rows: Sequence[Row]) -> tuple[str, list[Row]]:
    """The `BUSIEST` rows by CPU and by memory united, in the order of the text, with a text that parses to just these.

    Of equals the lower process id is kept. The text stays whole where leaving lines out would change the rows.
    """
    pids = {*_first(rows, ("cpu_pct", "cpu_time_s")), *_first(rows, ("rss_kb", "mem_pct", "vsz_kb"))}
    kept = [row for row in rows if row["pid"] in pids]
    if len(kept) == len(rows):
        return output.text, kept
    wanted = {str(pid) for pid in pids}
    short = "".join(
        line
        for line in output.text.splitlines(keepends=True)
        if not (first := line.split(None, 1)[:1]) or not first[0].isdigit() or first[0] in wanted
    )
    again = dialects.parse(output.system, output.planned.command, short, streamed=output.streamed)
    return (short if again.rows == kept else output.text), kept


@lru_cache(maxsize=4096)
def _measured_s(planned: PlannedCommand) -> float:
    """How long the command measures for, which of a one-shot is less than how often it is run."""
    intervals = (program.interval for program in programs(planned.command))
    return next((interval for interval in intervals if interval), planned.interval_s)
