"""What anomalies are called and how they are told: labels of the detector's metrics, episodes, one plain sentence.

Pure functions over the rows that `Data.anomalies` gives. Scores and thresholds come from `hps_platform.detection`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dash_app.components import text
from hps_platform.analysis.explain import Contribution
from hps_platform.metrics import FAMILIES

_GAP = timedelta(minutes=5)
_WORTH_TELLING = 0.15
"""Share in a score from which a second metric is named."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A metric the detector looks at, and the family and columns that show it in History."""

    label: str
    unit: str
    family: str
    columns: tuple[str, ...]


def _feature(label: str, family: str, *columns: str) -> Feature:
    return Feature(label, FAMILIES[family].by_name[columns[0]].unit, family, columns)


FEATURES: dict[str, Feature] = {
    "cpu_busy_pct": _feature("CPU busy", "vmstat", "us", "sy"),
    "run_queue": _feature("Run queue", "vmstat", "r"),
    "mem_used_pct": _feature("Memory used", "memory", "used_pct"),
    "paging_kb_s": _feature("Paging", "vmstat", "pi", "po"),
    "disk_busy_pct": _feature("Busiest disk", "iostat", "busy_pct"),
    "disk_kb_s": _feature("Disk throughput", "iostat", "kb_s"),
    "net_pkts_s": _feature("Network packets", "netstat", "ipkts_s", "opkts_s"),
    "net_errs_s": _feature("Network errors", "netstat", "ierrs_s", "oerrs_s"),
    "us": _feature("CPU user", "vmstat", "us"),
    "sy": _feature("CPU system", "vmstat", "sy"),
    "idle": _feature("CPU idle", "vmstat", "idle"),
}
"""By the names in `contributions` and `metric_values`."""


def label(column: str) -> str:
    return FEATURES[column].label if column in FEATURES else column


def unit(column: str) -> str:
    return FEATURES[column].unit if column in FEATURES else ""


@dataclass(frozen=True, slots=True)
class Episode:
    """Anomalous minutes of one server close to each other; `worst` is the row with the lowest score."""

    server_id: int
    hostname: str
    start: datetime
    end: datetime
    minutes: int
    worst: Mapping[str, Any]

    @property
    def length(self) -> str:
        return text.duration((self.end - self.start).total_seconds() + 60)

    @property
    def span(self) -> str:
        """ "14:03–14:21", with the day where it ends on another one."""
        if self.minutes == 1:
            return f"{self.start:%H:%M}"
        end = f"{self.end:%H:%M}" if self.end.date() == self.start.date() else f"{self.end:%Y-%m-%d %H:%M}"
        return f"{self.start:%H:%M}–{end}"

    @property
    def address(self) -> str:
        """Of the page that explains it."""
        return f"/anomalies?server={self.server_id}&at={self.worst['timestamp']:%Y-%m-%dT%H:%M:%SZ}"


def episodes(rows: Iterable[Mapping[str, Any]]) -> list[Episode]:
    """Anomalous minutes put together where no more than five minutes lie between them; the newest first."""
    found: list[Episode] = []
    current: dict[int, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["timestamp"]):
        run = current.setdefault(row["server_id"], [])
        if run and row["timestamp"] - run[-1]["timestamp"] > _GAP:
            found.append(_episode(run))
            run.clear()
        run.append(row)
    found += [_episode(run) for run in current.values() if run]
    return sorted(found, key=lambda one: (one.end, one.hostname), reverse=True)


def _episode(run: Sequence[Mapping[str, Any]]) -> Episode:
    first, last = run[0], run[-1]
    worst = min(run, key=lambda row: row["anomaly_score"])
    return Episode(first["server_id"], first["hostname"], first["timestamp"], last["timestamp"], len(run), worst)


def contributions(row: Mapping[str, Any]) -> list[Contribution]:
    """As stored with a row, best first; what an older model left out is None."""
    values = row.get("metric_values") or {}
    return [
        Contribution(
            column=one["column"],
            weight=float(one["weight"]),
            observed=one.get("observed", values.get(one["column"])),
            usual_low=one.get("usual_low"),
            usual_high=one.get("usual_high"),
        )
        for one in row.get("contributions") or []
    ]


def told(row: Mapping[str, Any]) -> str:
    """ "Disk throughput 175.8 MiB/s, usually 0.8 to 23.4 MiB/s at this hour; also run queue."."""
    found = contributions(row)
    if not found:
        return "No single metric stands out; their combination does."
    first = found[0]
    sentence = f"{label(first.column)} {text.quantity(first.observed, unit(first.column))}"
    if usual := usually(first):
        within = first.observed is not None and _low(first) <= first.observed <= _high(first)
        sentence += f", not expected now, though it may be {usual}" if within else f", usually {usual}"
        sentence += " at this hour"
    others = [_within(label(one.column)) for one in found[1:3] if one.weight >= _WORTH_TELLING]
    return f"{sentence}; also {text.listing(others)}." if others else f"{sentence}."


def _low(one: Contribution) -> float:
    return float("-inf") if one.usual_low is None else one.usual_low


def _high(one: Contribution) -> float:
    return float("inf") if one.usual_high is None else one.usual_high


def usually(one: Contribution) -> str:
    """ "12.0 to 46.0 %", "0 packets/s"; empty where nothing is known."""
    if one.usual_low is None or one.usual_high is None:
        return ""
    low, high = (text.quantity(value, unit(one.column)) for value in (one.usual_low, one.usual_high))
    if low == high:
        return high
    number, _, low_unit = low.partition(" ")
    return f"{number} to {high}" if high.endswith(f" {low_unit}") else f"{low} to {high}"


def _within(name: str) -> str:
    """A label in the middle of a sentence: "run queue", but "CPU busy"."""
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]


def history_address(row: Mapping[str, Any], *, around: timedelta = timedelta(hours=1)) -> str:
    """History of what stands out most, an hour to both sides."""
    parts = contributions(row)
    feature = FEATURES.get(parts[0].column if parts else "cpu_busy_pct", FEATURES["cpu_busy_pct"])
    start, end = row["timestamp"] - around, row["timestamp"] + around
    return (
        f"/history?servers={row['server_id']}&family={feature.family}&columns={','.join(feature.columns)}"
        f"&from={start:%Y-%m-%dT%H:%M:%SZ}&to={end:%Y-%m-%dT%H:%M:%SZ}"
    )
