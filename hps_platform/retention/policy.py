"""How long a family's rows stay where they are, read from the settings."""

from dataclasses import dataclass, replace

from hps_platform.errors import SettingsError
from hps_platform.metrics import FAMILIES
from hps_platform.settings import Settings


@dataclass(frozen=True, slots=True)
class Policy:
    """Days after which a day's partitions go; raw rows only when they are archived."""

    raw_days: int
    minute_days: int
    hour_days: int


def policies(settings: Settings) -> dict[str, Policy]:
    """The policy of every family; `SettingsError` for a family or a number that makes no sense."""
    usual = Policy(settings.raw_retention_days, settings.minute_retention_days, settings.hour_retention_days)
    found = dict.fromkeys(FAMILIES, usual)
    for item in filter(None, (part.strip() for part in settings.family_retention_days.split(","))):
        name, _, text = item.partition("=")
        numbers = text.split("/")
        if name not in FAMILIES or not 1 <= len(numbers) <= 3 or not all(n.isdecimal() and int(n) > 0 for n in numbers):
            raise SettingsError(
                f"HPS_FAMILY_RETENTION_DAYS: {item!r} is none: write family=days of raw, minute and hour rows, such as"
                f" process=7/30/365; families are {', '.join(FAMILIES)}"
            )
        days = dict(zip(("raw_days", "minute_days", "hour_days"), map(int, numbers), strict=False))
        found[name] = replace(usual, **days)
    for name, policy in found.items():
        if not policy.raw_days <= policy.minute_days <= policy.hour_days:
            # A rollup heals from raw rows: where it goes first, late rows would leave a piece of one.
            raise SettingsError(
                f"retention of {name}: samples ({policy.raw_days} days) may not stay longer than minutes"
                f" ({policy.minute_days}), nor these longer than hours ({policy.hour_days})"
            )
    return found
