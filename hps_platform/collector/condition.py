"""How collecting from a host goes: its state, and of each family in its plan what comes of it, told when it changes.

What is run and what its output means is decided elsewhere; this only draws the conclusions.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from hps_platform.collector.registry import HostConfig
from hps_platform.collector.samples import Series
from hps_platform.dialects import Host, PlannedCommand

log = logging.getLogger(__name__)

_SLOW_S = 10.0


class Journal(Protocol):
    """Where a host's collection tells what happens; `registry.Registry` and the health topic stand behind it."""

    def state(self, config: HostConfig, state: str, message: str, before: str, at: datetime) -> None: ...

    def recognised(self, config: HostConfig, host: Host, clock_offset_s: float | None) -> None: ...

    def planned(self, config: HostConfig, plan: list[dict[str, Any]]) -> None: ...

    def event(self, server_id: int | None, kind: str, message: str, details: Mapping[str, Any]) -> None: ...


class Condition:
    """Of one host under one configuration. `state` is empty before the first attempt; `series` are by family."""

    def __init__(self, config: HostConfig, journal: Journal) -> None:
        self.state = ""
        self.message = ""
        self.series: Mapping[str, Series] = {}
        self._config = config
        self._journal = journal
        self._plan: Sequence[PlannedCommand] = ()
        self._parser = ""
        self._shown: list[dict[str, Any]] = []
        self._known: dict[str, tuple[str, str]] = {}
        self._parked: frozenset[str] = frozenset()
        self._slow: dict[str, str] = {}

    def plan(self, plan: Sequence[PlannedCommand], series: Mapping[str, Series], parser: str) -> None:
        """What is run from now on; a family of the plan without a series is switched off."""
        self._plan, self.series, self._parser = plan, series, parser
        self._slow.clear()
        self._known.clear()

    def took(self, planned: PlannedCommand, seconds: float) -> None:
        """Notes a command that answers late."""
        slow = seconds > min(_SLOW_S, max(planned.interval_s, 5.0))
        if slow != (planned.family in self._slow):
            if slow:
                self._slow[planned.family] = f"{planned.family} came {seconds:.0f} s late"
            else:
                del self._slow[planned.family]
            self.judge()

    def answered(self, series: Series) -> None:
        """A family has given a sample, or not. Of a thousand that do as before there is nothing to conclude."""
        found = series.standing, series.problem
        if self._known.get(series.family.name) != found:
            self._known[series.family.name] = found
            self.judge()

    def judge(self) -> None:
        """The state that follows from how the families do."""
        problems = [f"{name}: {series.problem}" for name, series in self.series.items() if series.problem]
        parked = {name: series.parked for name, series in self.series.items() if series.parked}
        if parked:
            self.tell("quarantined_output", "; ".join(problems))
        elif problems:
            self.tell("degraded", "; ".join(problems))
        elif self._slow:
            self.tell("slow", "; ".join(self._slow.values()))
        elif any(series.tally.samples for series in self.series.values()) or not self.series:
            self.tell("up", "")
        self._tell_parked(parked)
        self._show_plan()

    def tell(self, state: str, message: str) -> None:
        if (state, message) == (self.state, self.message):
            return
        before, self.state, self.message = self.state, state, message
        if state != before:
            log.info("%s: %s%s", self._config.hostname, state, f": {message}" if message else "")
        self._journal.state(self._config, state, message, before, datetime.now(UTC))

    def _tell_parked(self, parked: Mapping[str, str]) -> None:
        server_id, hostname = self._config.server_id, self._config.hostname
        for planned in self._plan:
            family = planned.family
            if family in parked and family not in self._parked:
                text = f"{family} is left alone on {hostname}: nobody can read what `{planned.command}` prints"
                details = {
                    "family": family,
                    "command": planned.command,
                    "parser": self._parser,
                    "reason": self.series[family].problem,
                    "first_lines": parked[family],
                }
                self._journal.event(server_id, "quarantined", text, details)
            elif family in self._parked and family not in parked:
                text = f"{family} of {hostname} is no longer left alone"
                self._journal.event(server_id, "released", text, {"family": family, "parser": self._parser})
        self._parked = frozenset(parked)

    def _show_plan(self) -> None:
        """Tells which command is run for which family, and how that goes, whenever it has changed."""
        plan = [self._line(planned, self.series.get(planned.family)) for planned in self._plan]
        if plan != self._shown:
            self._shown = plan
            self._journal.planned(self._config, plan)

    def _line(self, planned: PlannedCommand, series: Series | None) -> dict[str, Any]:
        return {
            "family": planned.family,
            "command": planned.command,
            "interval_s": planned.interval_s,
            "streamed": planned.stream,
            "overridden": planned.family in self._config.commands,
            "parser": self._parser,
            "state": series.standing if series else "off",
            "reason": series.problem if series else "switched off in the settings",
            "first_lines": series.parked if series else "",
        }
