"""How well known incidents were found: flagged or not, how soon, with the right metric on top, and false alarms.

For timetables whose truth is known, such as the simulated fleet's. Scores against labelled rows are in
`hps_platform.analysis.accuracy`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

AFTERMATH = timedelta(minutes=15)
"""An alarm that begins this soon after an incident's end still belongs to it: averages have to come down."""
SOON = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Incident:
    """The truth. `metric` is where it shows first and foremost, `seen_in` every metric in which it shows."""

    host: str
    start: datetime
    detectable_at: datetime
    end: datetime
    family: str
    metric: str
    seen_in: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm episode: its first and last anomalous minute, and the metric on top at its worst one."""

    host: str
    start: datetime
    end: datetime
    metric: str


@dataclass(frozen=True, slots=True)
class Found:
    """What became of an incident. `delay` counts from `detectable_at` and is never negative; None: not flagged."""

    incident: Incident
    delay: timedelta | None
    metric: str | None

    @property
    def flagged(self) -> bool:
        return self.delay is not None

    @property
    def right_metric(self) -> bool:
        """Whether the metric on top is one in which the incident shows."""
        return self.metric is not None and self.metric in {self.incident.metric, *self.incident.seen_in}


@dataclass(frozen=True, slots=True)
class Scorecard:
    """`false_alarms` are episodes that touch no incident; `server_days` the time that was watched."""

    found: tuple[Found, ...]
    false_alarms: int
    server_days: float

    @property
    def flagged(self) -> int:
        return sum(one.flagged for one in self.found)

    @property
    def flagged_soon(self) -> int:
        """Within ten minutes of being detectable."""
        return sum(one.delay is not None and one.delay <= SOON for one in self.found)

    @property
    def right_metric(self) -> int:
        return sum(one.right_metric for one in self.found)

    @property
    def false_alarms_per_server_day(self) -> float:
        return self.false_alarms / self.server_days if self.server_days else 0.0

    def summary(self) -> dict[str, Any]:
        """Plain numbers for JSON; delays in minutes."""
        delays = [one.delay.total_seconds() / 60 for one in self.found if one.delay is not None]
        return {
            "incidents": len(self.found),
            "flagged": self.flagged,
            "flagged_within_10_min": self.flagged_soon,
            "right_metric_on_top": self.right_metric,
            "median_delay_min": round(median(delays), 1) if delays else None,
            "worst_delay_min": round(max(delays), 1) if delays else None,
            "false_alarms": self.false_alarms,
            "server_days": round(self.server_days, 2),
            "false_alarms_per_server_day": round(self.false_alarms_per_server_day, 3),
        }


def score(incidents: Sequence[Incident], alarms: Sequence[Alarm], days: Mapping[str, float]) -> Scorecard:
    """Match alarms with incidents by host and time; `days` = how long each host was watched."""
    found = []
    true: set[Alarm] = set()
    for incident in incidents:
        own = sorted(
            (alarm for alarm in alarms if alarm.host == incident.host and _touches(alarm, incident)),
            key=lambda alarm: alarm.start,
        )
        true.update(own)
        delay = max(timedelta(0), max(own[0].start, incident.start) - incident.detectable_at) if own else None
        found.append(Found(incident, delay, own[0].metric if own else None))
    return Scorecard(tuple(found), sum(alarm not in true for alarm in alarms), sum(days.values()))


def together(cards: Sequence[Scorecard]) -> Scorecard:
    """Several fleets or seeds as one."""
    return Scorecard(
        tuple(one for card in cards for one in card.found),
        sum(card.false_alarms for card in cards),
        sum(card.server_days for card in cards),
    )


def _touches(alarm: Alarm, incident: Incident) -> bool:
    return alarm.start <= incident.end + AFTERMATH and alarm.end >= incident.start
