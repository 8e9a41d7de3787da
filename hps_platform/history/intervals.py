"""Widths of buckets: their spelling, where they begin, and the one that suits a range."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hps_platform.errors import InvalidInput
from hps_platform.store.series import Width

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPELLING = re.compile(r"([1-9]\d{0,7})([smhd])")
# Each divides a day or is days, so that buckets begin at the same times every day.
_NICE = (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
LONGEST_S = 366 * 86_400
_DAY_S = 86_400
_ORIGIN = datetime(2000, 1, 1)  # noqa: DTZ001  # a wall clock's, in whatever zone


def seconds(interval: str) -> int:
    """`"10s"`, `"5m"`, `"1h"`, `"1d"` in seconds."""
    match = _SPELLING.fullmatch(interval)
    if match is None:
        raise InvalidInput(f"interval {interval[:40]!r} is none: write it like 10s, 5m, 1h or 1d")
    width = int(match[1]) * _UNITS[match[2]]
    if width > LONGEST_S:
        raise InvalidInput(f"interval {interval} is longer than 366d")
    return width


def spelled(width_s: int) -> str:
    """The shortest spelling: 3600 is `1h`."""
    for unit, length in reversed(_UNITS.items()):
        if width_s % length == 0:
            return f"{width_s // length}{unit}"
    raise AssertionError(width_s)  # every whole number is a number of seconds


def at_least(width_s: float) -> int:
    """The next wider width that people like to read: whole days beyond a day."""
    for nice in _NICE:
        if nice >= width_s:
            return nice
    return int(-(-width_s // 86_400)) * 86_400


def zone(name: str) -> ZoneInfo:
    """The time zone of that name, as in `Europe/Berlin`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(f"there is no time zone {name[:60]!r}: write it like Europe/Berlin") from error


def width(seconds: int, where: ZoneInfo, start: datetime, end: datetime) -> Width:
    """Buckets of that many seconds. Only whole days follow the zone: shorter ones begin alike everywhere."""
    if seconds % _DAY_S or where.key == "UTC":
        return Width(seconds)
    offsets = [moment.astimezone(where).utcoffset() or timedelta() for moment in (start, end)]
    # A zone's clock changes by an hour (but for one island): its midnights stay as they are to the hour.
    whole = all(offset % timedelta(hours=1) == timedelta() for offset in offsets) and where.key != "Australia/Lord_Howe"
    return Width(seconds, where.key, whole)


def whole_buckets(start: datetime, end: datetime, chosen: Width) -> tuple[datetime, datetime]:
    """The range widened to bounds of buckets."""
    where, step = ZoneInfo(chosen.zone), timedelta(seconds=chosen.seconds)
    first, last = (moment.astimezone(where).replace(tzinfo=None) for moment in (start, end))
    first -= (first - _ORIGIN) % step
    last += (_ORIGIN - last) % step
    return first.replace(tzinfo=where).astimezone(UTC), last.replace(tzinfo=where).astimezone(UTC)
