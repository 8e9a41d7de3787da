"""How anomalous minutes are shown: episodes of close minutes, one plain sentence, the way to History.

Pure functions over the rows that `Data.anomalies` gives. What metrics are called is in `hps_platform.analysis.words`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dash_app.components import text
from hps_platform.analysis import words
from hps_platform.analysis.explain import Contribution
from hps_platform.analysis.words import FEATURES, label, unit, usually

__all__ = [
    "FEATURES",
    "Episode",
    "contributions",
    "episodes",
    "history_address",
    "label",
    "told",
    "unit",
    "usually",
]

_GAP = timedelta(minutes=5)


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
    return words.contributions(row.get("contributions") or [], row.get("metric_values"))


def told(row: Mapping[str, Any]) -> str:
    """ "Disk throughput 175.8 MiB/s, usually 0.8 to 23.4 MiB/s at this hour; also run queue."."""
    return words.sentence(contributions(row))


def history_address(row: Mapping[str, Any], *, around: timedelta = timedelta(hours=1)) -> str:
    """History of what stands out most, an hour to both sides."""
    parts = contributions(row)
    feature = FEATURES.get(parts[0].column if parts else "cpu_busy_pct", FEATURES["cpu_busy_pct"])
    start, end = row["timestamp"] - around, row["timestamp"] + around
    return (
        f"/history?servers={row['server_id']}&family={feature.family}&columns={','.join(feature.columns)}"
        f"&from={start:%Y-%m-%dT%H:%M:%SZ}&to={end:%Y-%m-%dT%H:%M:%SZ}"
    )
