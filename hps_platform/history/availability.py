"""How much of the time a host could be read, from the collector's state changes.

A state lasts until the next one. Time that says nothing about the host is left out of account: before the first state,
while it was switched off or its key not confirmed, in its maintenance windows, and where no collector was running.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from hps_platform.analysis import maintenance
from hps_platform.analysis.maintenance import Span
from hps_platform.store import events
from hps_platform.store.database import Database
from hps_platform.store.servers import Server

DAYS = 30

_AVAILABLE = frozenset({"up", "slow", "degraded", "quarantined_output"})
_AWAY = frozenset({"unreachable", "auth_failed", "key_changed"})


@dataclass(frozen=True, slots=True)
class Day:
    """Of one day in UTC; `available_pct` is `None` when nothing is known of it."""

    day: date
    available_pct: float | None
    known_s: float


@dataclass(frozen=True, slots=True)
class Availability:
    """The last `DAYS` days, the oldest first and today so far."""

    available_pct: float | None
    days: tuple[Day, ...]


def availability(db: Database, server: Server, now: datetime) -> Availability:
    """Of one server until `now`."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = today - timedelta(days=DAYS - 1)
    with db.connection() as conn:
        states = events.states(conn, server.id, start, now)
        unknown = [*events.gaps(conn, server.id, start, now), *maintenance.windows(server.settings, start, now)]
    return of(states, unknown, start, now)


def of(states: Sequence[tuple[datetime, str]], unknown: Sequence[Span], start: datetime, end: datetime) -> Availability:
    """`states` by the moment each began, ascending; the first may have begun before `start`, which is a midnight."""
    spans = _spans(states, start, end)
    left_out = maintenance.united(sorted(unknown))
    days = []
    up_s = known_s = 0.0
    day = start
    while day < end:
        until = min(day + timedelta(days=1), end)
        up = sum(_seconds(span, left_out, day, until) for span, state in spans if state in _AVAILABLE)
        away = sum(_seconds(span, left_out, day, until) for span, state in spans if state in _AWAY)
        days.append(Day(day.date(), _pct(up, up + away), round(up + away, 1)))
        up_s, known_s, day = up_s + up, known_s + up + away, until
    return Availability(_pct(up_s, known_s), tuple(days))


def _pct(part: float, whole: float) -> float | None:
    return round(100 * part / whole, 3) if whole > 0 else None


def _spans(states: Sequence[tuple[datetime, str]], start: datetime, end: datetime) -> list[tuple[Span, str]]:
    followed = pairwise([*states, (end, "")])
    return [
        ((max(at, start), min(until, end)), state) for (at, state), (until, _) in followed if until > start and at < end
    ]


def _seconds(span: Span, left_out: Sequence[Span], start: datetime, end: datetime) -> float:
    """Seconds of a span that lie between `start` and `end`, without what is left out."""
    begin, until = max(span[0], start), min(span[1], end)
    if until <= begin:
        return 0.0
    hidden = sum(_overlap(begin, until, other) for other in left_out)
    return (until - begin).total_seconds() - hidden


def _overlap(begin: datetime, until: datetime, other: Span) -> float:
    return max(0.0, (min(until, other[1]) - max(begin, other[0])).total_seconds())
