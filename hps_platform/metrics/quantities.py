"""Values with their units as people read them, in sentences and on screens alike.

Amounts of bytes are shown in IEC units (KiB, MiB), all other large numbers in SI ones (k, M); one decimal, more for
what is less than a tenth.
"""

from dataclasses import dataclass

NOTHING = "–"
"""What stands where a system prints no value: never a zero."""

_IEC = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SI = ("", "k", "M", "G", "T")
_SMALL, _LEAST = 0.1, 0.001
_BYTE_UNITS = {"bytes": 0, "bytes/s": 0, "KiB": 1, "KiB/s": 1}


@dataclass(frozen=True, slots=True)
class Scale:
    """How to show one axis: stored values divided by `divisor` are in `unit`."""

    divisor: float
    unit: str


def scale(unit: str, peak: float | None) -> Scale:
    """The unit in which `peak`, stored in `unit`, has between one and four digits before the point."""
    step = _BYTE_UNITS.get(unit)
    if step is None or peak is None:
        return Scale(1.0, unit)
    value, divisor = abs(peak), 1.0
    while value >= 1024 and step < len(_IEC) - 1:
        value, divisor, step = value / 1024, divisor * 1024, step + 1
    return Scale(divisor, _IEC[step] + ("/s" if unit.endswith("/s") else ""))


def quantity(value: float | None, unit: str) -> str:
    """ "97.2 %", "1.5 GiB", "12.3 k packets/s", "3 d 4 h"."""
    if value is None:
        return NOTHING
    if unit in _BYTE_UNITS:
        shown = scale(unit, value)
        number = value / shown.divisor
        digits = 0 if number == int(number) and shown.divisor == 1 else 1
        return f"{number:.{digits}f} {shown.unit}"
    if unit == "s":
        return duration(value)
    if unit in ("%", "ms"):
        return f"{value:.1f} {unit}"
    power, number = 0, value
    while abs(number) >= 1000 and power < len(_SI) - 1:
        number, power = number / 1000, power + 1
    digits = 0 if power == 0 and (number == int(number) or abs(number) >= 100) else 1
    unit = unit.removeprefix("1") if unit == "1/s" else f" {unit}" if unit else ""
    prefix = f" {_SI[power]}" if power else ""
    if 0 < abs(number) < _SMALL:
        return f"{_few(number)}{unit}"
    return f"{number:.{digits}f}{prefix}{unit}"


def _few(number: float) -> str:
    """Not "0.0", which would say that there was nothing: "0.033", "below 0.001"."""
    return f"{number:.2g}" if abs(number) >= _LEAST else f"below {_LEAST}"


def duration(seconds: float) -> str:
    """The two largest units of a length of time: "45 s", "12 min", "3 h 5 min", "2 d 4 h"."""
    whole = round(abs(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60 % 60, whole // 3600 % 24, whole // 86400
    if whole < 3600:
        return f"{minutes} min"
    if days == 0:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{days} d {hours} h" if hours else f"{days} d"
