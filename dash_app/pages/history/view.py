"""What History shows for a choice: charts with bands and marks, or why there are none."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc
import polars as pl
from dash import no_update

from dash_app import figures
from dash_app.anomalies import episodes, told
from dash_app.components import notices, parts, text
from dash_app.data import Data
from dash_app.figures import Mark, Theme
from dash_app.pages.history import origin
from dash_app.series import MAX_SERIES, Incomplete, Series, how_combined, incomplete, key_of, series_of
from hps_platform.metrics import Family

if TYPE_CHECKING:
    from hps_platform.history import Answer
    from hps_platform.store.servers import Server

MAX_POINTS = 1200
"""Points a line: about one a pixel."""
MAX_BANDS = 4
"""Lines in a chart beyond which bands would hide each other."""
MAX_MARKS = 500
MAX_KEYS = 500
_STEPS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class View:
    """What is asked for: `names` by server id in the order of choosing; no `keys` = all put together."""

    family: Family
    names: Mapping[int, str]
    columns: Sequence[str]
    keys: Sequence[str]
    start: datetime
    end: datetime
    theme: Theme

    @property
    def ids(self) -> list[int]:
        return list(self.names)

    @property
    def asked(self) -> list[str]:
        """The columns, and what tells processes apart in charts: their command, which raw rows have beside the pid."""
        family = self.family
        beside = [family.summary_key] if family.summary_key and family.summary_key != family.key else []
        return [*self.columns, *beside]

    def lines(self, frame: pl.DataFrame, column: str, step_s: float | None = None) -> list[Series]:
        return series_of(frame, self.family.by_name[column], self.family, self.names, keys=self.keys, step_s=step_s)


async def build(data: Data, view: View, servers: "Sequence[Server]") -> tuple[Any, Any]:
    """The charts, and the keys there are to choose from."""
    if not view.names or not view.columns:
        return notices.empty("Nothing chosen yet", "Choose at least one server and one column above."), no_update
    answer, marks = await asyncio.gather(
        asyncio.to_thread(
            data.history,
            view.family.name,
            view.ids,
            view.start,
            view.end,
            columns=view.asked,
            max_points=MAX_POINTS,
            envelope=True,
            completeness=True,
        ),
        asyncio.to_thread(_marks, data, view),
    )
    offered = _offered(answer.frame, view.family)
    if answer.frame.is_empty():
        return _nothing(view, [server for server in servers if server.id in view.names]), offered
    bands = _bands(answer, view)
    gaps = incomplete(answer.frame, answer.step_s)
    charts, hidden = [], 0
    for name in view.columns:
        lines = view.lines(answer.frame, name, answer.step_s)
        hidden = max(hidden, len(lines) - MAX_SERIES)
        charts.append(_panel(view, name, lines[:MAX_SERIES], bands.get(name, {}), marks, gaps))
    return dmc.Stack([origin.step(answer.step_s), _facts(answer, view, hidden, gaps), *charts], gap="sm"), offered


def _panel(
    view: View,
    name: str,
    lines: Sequence[Series],
    bands: Mapping[str, pl.DataFrame],
    marks: Sequence[Mark],
    gaps: Sequence[Incomplete],
) -> Any:
    column = view.family.by_name[name]
    how = "" if view.keys else how_combined(column, view.family)
    title = figures.axis_title(column, figures.scale_of(lines, column.unit))
    if lines:
        figure = figures.chart(
            column,
            lines,
            view.theme,
            bands=bands,
            marks=marks,
            gaps=gaps,
            window=(view.start, view.end),
            uirevision=f"{view.start}{view.end}",
        )
        content = parts.graph(
            figure, height=230, label=f"{title} over time", id={"type": "history-chart", "column": name}
        )
    else:
        content = notices.empty(
            f"No values of {column.label or name} here", "These systems do not print this column in this range."
        )
    return parts.panel(content, title=title, right=dmc.Text(how, size="xs", c="dimmed") if how else None)


def _facts(answer: "Answer", view: View, hidden: int, gaps: Sequence[Incomplete]) -> Any:
    """What the reader looks at: times, step and how the values came about."""
    width = seconds(answer.interval)
    step = f"averages over {text.duration(width)}, shaded from lowest to highest" if width else "every sample"
    if answer.step_s != width:
        step = f"{step}, thinned to {MAX_POINTS:,} points a line with its peaks"
    span = text.duration((view.end - view.start).total_seconds())
    if gaps:
        least = min(gap.share for gap in gaps)
        marked = f"marks {text.count(len(gaps), 'time')} with samples missing, at worst {least:.0%} there"
        step = f"{step}; a strip below {marked}"
    facts = dmc.Text(f"{text.clock(view.start)} to {text.clock(view.end)} ({span}), {step}", size="sm", c="dimmed")
    if hidden <= 0:
        return facts
    left_out = notices.note(f"{text.count(hidden, 'line')} left out: choose fewer servers or keys.")
    return dmc.Stack([facts, left_out], gap="xs")


def _nothing(view: View, servers: "Sequence[Server]") -> Any:
    """An empty range with its likely reason: when each server was last seen."""
    seen = [f"{server.hostname} {text.ago(server.last_seen_at)}" for server in servers]
    latest = max((server.last_seen_at for server in servers if server.last_seen_at), default=None)
    hint = " The range ends before that: choose a later one." if latest and latest > view.end else ""
    return notices.empty(
        f"No samples of {view.family.title.lower()} in this range",
        f"The collector last saw {text.listing(seen)}.{hint}" if seen else "These servers are no longer registered.",
    )


def _marks(data: Data, view: View) -> list[Mark]:
    """Each server's incidents in the range, and out of its newest `MAX_MARKS` anomalous minutes those that belong to
    none: in maintenance windows, or not put together yet."""
    found = []
    for server_id in view.ids:
        asked: dict[str, Any] = {"server_id": server_id, "start": view.start, "end": view.end, "page_size": MAX_MARKS}
        known = [
            Mark(
                server_id,
                part["started_at"],
                part["ended_at"],
                part["peak_at"],
                f"{part['hostname']}: {one['sentence']}",
            )
            for one in data.incidents(**asked).results
            for part in one["servers"]
            if part["server_id"] == server_id
        ]
        alone = [
            row
            for row in data.anomalies(**asked).results
            if not any(one.start <= row["timestamp"] < one.end for one in known)
        ]
        found += known
        found += [
            Mark(server_id, one.start, one.end, one.worst["timestamp"], f"{one.hostname}: {told(one.worst)}")
            for one in episodes(alone)
        ]
    return found


def _bands(answer: "Answer", view: View) -> dict[str, dict[str, pl.DataFrame]]:
    """By column and line the lowest and highest value in each step; none for raw samples, or too many lines.

    The extremes of a sum are not the sum of extremes: sums over keys have no band.
    """
    fitting = [
        name
        for name in view.columns
        if (view.keys or not how_combined(view.family.by_name[name], view.family).startswith("sum"))
        and len(view.lines(answer.frame, name)) <= MAX_BANDS
    ]
    return {name: _band(view, name, answer.frame) for name in fitting if f"{name}_min" in answer.frame.columns}


def _band(view: View, name: str, frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    low, high = (frame.with_columns(pl.col(f"{name}_{end}").alias(name)) for end in ("min", "max"))
    lows = {one.name: one.frame for one in view.lines(low, name)}
    return {
        one.name: lows[one.name].rename({"value": "low"}).join(one.frame.rename({"value": "high"}), on="timestamp")
        for one in view.lines(high, name)
        if one.name in lows
    }


def _offered(frame: pl.DataFrame, family: Family) -> list[str]:
    """Disks, interfaces, mount points or commands in the answer, those of most rows first."""
    key = key_of(frame, family)
    if key is None or frame.is_empty():
        return []
    counted = frame.group_by(pl.col(key).cast(pl.String)).len().sort("len", key, descending=[True, False])
    return counted[key].drop_nulls().head(MAX_KEYS).to_list()


def seconds(interval: str | None) -> float | None:
    """Length of "10s" "5m" "1h" "1d"; None where rows are raw."""
    if not interval or interval[-1] not in _STEPS or not interval[:-1].isdecimal():
        return None
    return float(int(interval[:-1]) * _STEPS[interval[-1]])
