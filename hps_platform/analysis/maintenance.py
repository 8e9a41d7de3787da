"""Maintenance windows of a server: when what it does is nobody's alarm and no outage.

A window is `{"from": moment, "until": moment}`, or weekly `{"days": ["sat"], "start": "22:00", "end": "04:00"}`; an end
at or before the start is on the next day. Moments without an offset, and times of day, are in the server's time zone.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Span = tuple[datetime, datetime]


def moment(text: str, zone: ZoneInfo) -> datetime:
    """An ISO 8601 moment in UTC; raises `ValueError`."""
    told = datetime.fromisoformat(text)
    return (told if told.tzinfo else told.replace(tzinfo=zone)).astimezone(UTC)


def windows(settings: Mapping[str, Any], start: datetime, end: datetime) -> list[Span]:
    """The windows of a server with these settings that touch `start` to `end`, cut to that, in order and united."""
    zone = ZoneInfo(settings.get("time_zone", "UTC"))
    found = []
    for window in settings.get("maintenance", ()):
        if "from" in window:
            found.append((moment(window["from"], zone), moment(window["until"], zone)))
        else:
            found.extend(_weekly(window, zone, start, end))
    cut = sorted((max(begin, start), min(until, end)) for begin, until in found if begin < end and until > start)
    return united(cut)


def _weekly(window: Mapping[str, Any], zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[Span]:
    opens, closes = time.fromisoformat(window["start"]), time.fromisoformat(window["end"])
    day = start.astimezone(zone).date() - timedelta(days=1)
    while day <= end.astimezone(zone).date():
        if DAYS[day.weekday()] in window["days"]:
            last = day if closes > opens else day + timedelta(days=1)
            yield (
                datetime.combine(day, opens, zone).astimezone(UTC),
                datetime.combine(last, closes, zone).astimezone(UTC),
            )
        day += timedelta(days=1)


def united(spans: Sequence[Span]) -> list[Span]:
    """Spans in the order of their starts, those that touch made one."""
    found: list[Span] = []
    for begin, until in spans:
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], until))
        else:
            found.append((begin, until))
    return found
