"""What the detector's metrics are called, and what stood out told in one plain sentence.

Which metrics stood out is found in `explain`; what belongs together in one incident in `incidents`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hps_platform.analysis.explain import Contribution
from hps_platform.metrics import FAMILIES
from hps_platform.metrics.quantities import quantity

NOTHING_ALONE = "No single metric stands out; their combination does."
_WORTH_TELLING = 0.15
"""Share in a score from which a second metric is named."""
_ABSENT = 2
"""How many programs that don't run are named."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A metric the detector looks at, and the family and columns that show it in History.

    `named`: how it is called when what it was measured on is known, such as a disk; with `summed` that has a part in
    the value only, else the value is its own.
    """

    label: str
    unit: str
    family: str
    columns: tuple[str, ...]
    named: str = ""
    summed: bool = False


def _feature(label: str, family: str, *columns: str, named: str = "", summed: bool = False) -> Feature:
    return Feature(label, FAMILIES[family].by_name[columns[0]].unit, family, columns, named, summed)


FEATURES: dict[str, Feature] = {
    "cpu_busy_pct": _feature("CPU busy", "vmstat", "us", "sy"),
    "run_queue": _feature("Run queue", "vmstat", "r"),
    "mem_used_pct": _feature("Memory used", "memory", "used_pct"),
    "paging_kb_s": _feature("Paging", "vmstat", "pi", "po"),
    "disk_busy_pct": _feature("Busiest disk", "iostat", "busy_pct", named="Disk {} busy"),
    "disk_kb_s": _feature("Disk throughput", "iostat", "kb_s", named="mostly {}", summed=True),
    "net_pkts_s": _feature("Network packets", "netstat", "ipkts_s", "opkts_s", named="mostly {}", summed=True),
    "net_errs_s": _feature("Network errors", "netstat", "ierrs_s", "oerrs_s", named="mostly {}", summed=True),
    "fs_growth_kb_s": Feature("File system growth", "KiB/s", "filesystem", ("used_kb",)),
    "us": _feature("CPU user", "vmstat", "us"),
    "sy": _feature("CPU system", "vmstat", "sy"),
    "idle": _feature("CPU idle", "vmstat", "idle"),
}
"""By the names in `contributions` and `metric_values`."""

_KINDS = {
    "cpu_busy_pct": "cpu",
    "run_queue": "cpu",
    "mem_used_pct": "memory",
    "paging_kb_s": "memory",
    "disk_busy_pct": "disk",
    "disk_kb_s": "disk",
    "net_pkts_s": "network",
    "net_errs_s": "network",
    "fs_growth_kb_s": "disk",
}


def label(column: str) -> str:
    return FEATURES[column].label if column in FEATURES else column


def unit(column: str) -> str:
    return FEATURES[column].unit if column in FEATURES else ""


def kind(column: str) -> str:
    """What a metric is about: cpu, memory, disk or network; a metric not known here is a kind of its own."""
    return _KINDS.get(column, column)


def contributions(told: Iterable[Mapping[str, Any]], values: Mapping[str, float] | None = None) -> list[Contribution]:
    """As stored with a minute, best first; what an older model left out is taken from `values`, or None."""
    return [
        Contribution(
            column=one["column"],
            weight=float(one["weight"]),
            observed=one.get("observed", (values or {}).get(one["column"])),
            usual_low=one.get("usual_low"),
            usual_high=one.get("usual_high"),
        )
        for one in told
    ]


def sentence(parts: Sequence[Contribution], culprit: str | None = None, absent: Sequence[str] = ()) -> str:
    """ "Disk hdisk3 busy 98.0 %, usually 12.0 to 30.0 % at this hour; also run queue."

    `culprit` is the disk or interface on which the first metric was measured, or most of it; `absent` are programs
    that usually run at this hour and don't: "…; backup.sh does not run, as it usually does at this hour."
    """
    told = _what_stood_out(parts, culprit) if parts else NOTHING_ALONE
    if not absent:
        return told
    names = " and ".join(absent[:_ABSENT])
    missing = f"{names} do not run, as they" if len(absent) > 1 else f"{names} does not run, as it"
    return f"{told.removesuffix('.')}; {missing} usually {'do' if len(absent) > 1 else 'does'} at this hour."


def _what_stood_out(parts: Sequence[Contribution], culprit: str | None) -> str:
    first = parts[0]
    text = f"{_named(first.column, culprit)} {quantity(first.observed, unit(first.column))}"
    feature = FEATURES.get(first.column)
    if culprit and feature and feature.summed:
        text += f" ({feature.named.format(culprit)})"
    if usual := usually(first):
        within = first.observed is not None and _low(first) <= first.observed <= _high(first)
        text += f", not expected now, though it may be {usual}" if within else f", usually {usual}"
        text += " at this hour"
    others = [_within(label(one.column)) for one in parts[1:3] if one.weight >= _WORTH_TELLING]
    return f"{text}; also {' and '.join(others)}." if others else f"{text}."


def usually(one: Contribution) -> str:
    """ "12.0 to 46.0 %", "0 packets/s"; empty where nothing is known."""
    if one.usual_low is None or one.usual_high is None:
        return ""
    low, high = (quantity(value, unit(one.column)) for value in (one.usual_low, one.usual_high))
    if low == high:
        return high
    number, _, low_unit = low.partition(" ")
    return f"{number} to {high}" if high.endswith(f" {low_unit}") else f"{low} to {high}"


def _named(column: str, culprit: str | None) -> str:
    feature = FEATURES.get(column)
    return (
        feature.named.format(culprit) if feature and culprit and feature.named and not feature.summed else label(column)
    )


def _low(one: Contribution) -> float:
    return float("-inf") if one.usual_low is None else one.usual_low


def _high(one: Contribution) -> float:
    return float("inf") if one.usual_high is None else one.usual_high


def _within(name: str) -> str:
    """A label in the middle of a sentence: "run queue", but "CPU busy"."""
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]
