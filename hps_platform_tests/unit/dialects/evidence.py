"""Whether parsed rows are what the text says: found without any parser, by looking for each value in the text."""

import re
from collections.abc import Iterable, Mapping

from hps_platform.dialects.text import clean
from hps_platform.metrics import FAMILIES

_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_NEGATIVE = re.compile(r"(?<=\s)-\d+(?:[.,]\d+)?")
_CLOCK = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)")

# By which factors a printed number may have been turned into the family's unit.
_FACTORS: Mapping[str, tuple[float, ...]] = {
    "vmstat": (1, 4, 1 / 1024, 1000, 1024, 1024**2, 1024**3, 1000 / 1024, 1_000_000 / 1024),
    "iostat": (1, 0.5, 1000, 1024, 1024**2, 1 / 1024, 1000 / 1024, 1000**2 / 1024),
    "netstat": (1, 1000, 1000**2, 1000**3, 1024, 1024**2, 1024**3, 1024**4),
    "process": (1, 1024, 1024**2, 1024**3),
    "filesystem": (
        1 / 1024,
        1,
        0.5,
        8,
        1000,
        1024,
        1024**2,
        1024**3,
        1000 / 1024,
        1000**2 / 1024,
        1000**3 / 1024,
        2 * 1000**2 / 1024,
    ),
    "memory": (1, 4, 0.5, 1 / 1024, 1024, 1024**2, 1000**2 / 1024),
    "lpar": (1,),
}
# Columns worked out of several printed numbers, and how is said in the family's reader.
DERIVED: Mapping[str, frozenset[str]] = {
    "vmstat": frozenset(),
    "iostat": frozenset(("tps", "kb_s", "service_time_ms", "queue_length")),
    "netstat": frozenset(),
    "process": frozenset(),
    "filesystem": frozenset(("used_kb", "inodes", "iused")),
    "memory": frozenset(
        ("used_kb", "available_kb", "used_pct", "cached_kb", "paging_total_kb", "paging_used_kb", "paging_used_pct")
    ),
    "lpar": frozenset(),
}
_OF_READINGS = ("/proc/stat", "/proc/diskstats")
"""Files of counters: a row is worked out of two readings of them."""
_OF_KINDS = ("lanadmin", "nwmgr")
"""They print packets of several kinds apart, and of some adapters only the number of the interface."""


def derived(family: str, command: str) -> frozenset[str]:
    """The columns whose values need not stand in the text."""
    if any(name in command for name in _OF_KINDS):
        return frozenset(("interface", "ipkts", "opkts"))
    if not any(name in command for name in _OF_READINGS):
        return DERIVED[family]
    return frozenset(column.name for column in FAMILIES[family].columns) - {"disk", "b", "fre", "buff"}


def numbers_of(text: str) -> set[float]:
    """Every number that stands in the text, whole or as a part of a word, and every time in seconds."""
    found = {float(number.replace(",", ".")) for number in _NUMBER.findall(text)}
    found.update(float(number.replace(",", ".")) for number in _NEGATIVE.findall(text))
    found.update(float(number) for number in re.findall(r"\d*\.\d+|\d+", text))  # commas between cells
    found.update(float(digits) for digits in re.findall(r"\d+", text))
    for days, hours, minutes, seconds in _CLOCK.findall(text):
        whole = int(days or 0) * 86400 + int(hours or 0) * 3600 + int(minutes) * 60
        found.add(whole + float(seconds.replace(",", ".")))
    for hours, minutes in re.findall(r"(\d+)h(\d\d)", text):
        found.add(int(hours) * 3600 + int(minutes) * 60)
    for days, hours in re.findall(r"(\d+)d(\d\d)?", text):
        found.add(int(days) * 86400 + int(hours or 0) * 3600)
    return found


def contradictions(family: str, rows: Iterable[Mapping[str, object]], text: str, command: str = "") -> list[str]:
    """What the rows claim that the text does not say."""
    text = clean(text)
    numbers = numbers_of(text)
    factors = _FACTORS[family]
    # The names of kstats are put together: `bge:1:mac` counts for bge1.
    spoken = " ".join((text + re.sub(r"\b([A-Za-z]\w*):(\d+):", r" \1\2 ", text)).split())
    worked_out = derived(family, command)
    problems: list[str] = []
    for row in rows:
        for column, value in row.items():
            if value is None or isinstance(value, bool) or column in worked_out:
                continue
            if isinstance(value, str):
                if " ".join(value.split()) not in spoken:
                    problems.append(f"{column}={value!r} is not in the text")
            elif isinstance(value, int | float) and not any(
                any(abs(value / factor - near) <= 1e-6 * max(1.0, abs(near)) for near in _near(numbers, value / factor))
                for factor in factors
            ):
                problems.append(f"{column}={value!r} is not in the text")
    return problems


def _near(numbers: set[float], wanted: float) -> tuple[float, ...]:
    for candidate in (wanted, round(wanted), round(wanted, 1), round(wanted, 2), round(wanted, 3), round(wanted, 4)):
        if float(candidate) in numbers:
            return (float(candidate),)
    return ()
