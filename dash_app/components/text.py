"""Values as people read them: ages, moments, counts. Everything else about looks lives beside this.

Quantities with units come from `hps_platform.metrics.quantities`, which sentences outside of the app need too.
"""

from datetime import UTC, datetime

from hps_platform.metrics.quantities import NOTHING, Scale, duration, quantity, scale

__all__ = ["NOTHING", "Scale", "ago", "clock", "count", "duration", "listing", "quantity", "scale", "score", "signed"]


def score(value: float, digits: int = 2) -> str:
    """ "−0.62": with a minus sign as long as a digit."""
    return f"{value:.{digits}f}".replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """ "+0.120", "−0.045": a share that may go either way."""
    return f"{value:+.{digits}f}".replace("-", "−")


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """ "12 min ago", "just now", "never"."""
    if moment is None:
        return "never"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    return "just now" if seconds < 2 else f"{duration(seconds)} ago"


def clock(moment: datetime, *, seconds: bool = False) -> str:
    """ "2026-11-24 14:03 UTC"."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC" if seconds else "%Y-%m-%d %H:%M UTC")


def count(number: int, one: str, many: str | None = None) -> str:
    """ "1 server", "12 servers"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}".replace(",", " ")


def listing(words: list[str], limit: int = 4) -> str:
    """ "a, b and c", or "a, b, c and 9 more"."""
    if len(words) > limit:
        words = [*words[: limit - 1], f"{len(words) - limit + 1} more"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
