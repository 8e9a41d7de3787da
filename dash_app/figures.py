"""Frame -> Figure: pure functions, one look for both themes.

Frames are those of `hps_platform.history`: `server_id, timestamp, <key>, <columns>`, ascending, UTC. Titles and units
come from the family. What frame to ask for belongs to the pages.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import plotly.graph_objects as go
import polars as pl

from dash_app.components.text import Scale, scale
from dash_app.series import Incomplete, Series
from hps_platform.metrics import Column

Theme = Literal["light", "dark"]

# Okabe and Ito's colours, darkened or lightened until each keeps a contrast of 3:1 with its background.
PALETTES: dict[Theme, tuple[str, ...]] = {
    "light": ("#0072b2", "#c65a00", "#00805e", "#b4528e", "#8a6d00", "#2f8fd0", "#7a2048", "#555b65"),
    "dark": ("#56b4e9", "#f0a030", "#2bc29a", "#e58fc4", "#e6d84a", "#8fa8ff", "#ff8a66", "#aab2bd"),
}
ALARM: dict[Theme, str] = {"light": "#c92a2a", "dark": "#ff6b6b"}
_TEXT: dict[Theme, str] = {"light": "#3d4855", "dark": "#b6c1d0"}
_GRID: dict[Theme, str] = {"light": "#e3e7ec", "dark": "#28323f"}
_HOVER: dict[Theme, str] = {"light": "#ffffff", "dark": "#222c38"}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_DASHES = ("solid", "dash", "dot", "dashdot")
CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "responsive": True,
    "doubleClick": "autosize",
    "doubleClickDelay": 500,  # as desktops have it; 300 ms is too short for a busy browser
    "modeBarButtons": [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    "scrollZoom": False,
}


def template(theme: Theme) -> go.layout.Template:
    """What all charts have in common: letters, grid, hover, colours; transparent, so that it sits on any panel."""
    axis = {
        "gridcolor": _GRID[theme],
        "linecolor": _GRID[theme],
        "zerolinecolor": _GRID[theme],
        "ticks": "",
        "automargin": True,
        "title": {"standoff": 8, "font": {"size": 11}},
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 12, "color": _TEXT[theme]},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(PALETTES[theme]),
            "hovermode": "x unified",
            "hoverlabel": {"bgcolor": _HOVER[theme], "font": {"size": 12, "color": _TEXT[theme]}, "namelength": 40},
            "xaxis": {**axis, "showgrid": False, "type": "date", "hoverformat": "%Y-%m-%d %H:%M:%S UTC"},
            "yaxis": {**axis, "rangemode": "tozero", "fixedrange": True},
            "legend": {
                "orientation": "h",
                "x": 0,
                "y": 1,
                "yanchor": "bottom",
                "xanchor": "left",
                "font": {"size": 11},
            },
            "margin": {"l": 8, "r": 12, "t": 8, "b": 4, "pad": 2},
            "dragmode": "zoom",
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": _TEXT[theme], "activecolor": PALETTES[theme][0]},
        }
    )


_TEMPLATES: dict[Theme, go.layout.Template] = {theme: template(theme) for theme in ("light", "dark")}


@dataclass(frozen=True, slots=True)
class Mark:
    """An anomalous time of one server: shaded from `start` to `end`, a ring on its line at the worst moment."""

    server_id: int
    start: datetime
    end: datetime
    at: datetime
    text: str = ""


def axis_title(column: Column, shown: Scale) -> str:
    """ "Throughput (MiB/s)": the column's label with the unit its axis is drawn in."""
    return f"{column.label or column.name} ({shown.unit})" if shown.unit else column.label or column.name


def style(index: int, theme: Theme) -> dict[str, Any]:
    """A line's colour and, from the ninth series on, its dashes, so that neighbours never look alike."""
    palette = PALETTES[theme]
    dash = _DASHES[min(index // len(palette), len(_DASHES) - 1)]
    return {"color": palette[index % len(palette)], "width": 1.5, "dash": dash}


def faint(color: str, opacity: float) -> str:
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def scale_of(series: Iterable[Series], unit: str) -> Scale:
    return scale(unit, max((peak for one in series if (peak := one.peak) is not None), default=None))


def chart(
    column: Column,
    series: Sequence[Series],
    theme: Theme,
    *,
    bands: Mapping[str, pl.DataFrame] | None = None,
    marks: Sequence[Mark] = (),
    gaps: Sequence[Incomplete] = (),
    window: tuple[datetime, datetime] | None = None,
    height: int = 230,
    streaming: bool = False,
    uirevision: str = "",
) -> go.Figure:
    """One column over time, a line a series.

    `bands`: by series name a frame `timestamp, low, high` drawn behind its line. `marks`: anomalies, shaded,
    with a ring on the line of their server. `gaps`: a strip along the bottom where the answer is not complete,
    the darker the less is there. `streaming` writes plain lists, which the browser can
    append to, and the server's id into `meta`; otherwise typed arrays.
    """
    shown = scale_of(series, column.unit)
    figure = go.Figure(layout={"template": _TEMPLATES[theme]})
    for index, one in enumerate(series):
        line = style(index, theme)
        if bands and one.name in bands:
            _add_band(figure, bands[one.name], one.name, shown, line["color"])
        figure.add_trace(_line(one, column, shown, line, streaming=streaming))
    _add_marks(figure, marks, series, shown, theme)
    _add_gaps(figure, gaps, theme)
    percent = column.unit == "%"
    figure.update_layout(
        height=height,
        uirevision=uirevision or column.name,
        showlegend=len(series) > 1 or bool(marks),
        xaxis={"range": [_ms(window[0]), _ms(window[1])]} if window else {},
        yaxis={
            "title": {"text": shown.unit or column.label or column.name},
            "tickformat": None if percent or shown.divisor > 1 else "~s",
            "autorangeoptions": {"include": [0, 10 if percent else 1e-9]},
        },
    )
    return figure


def points(one: Series, shown: Scale) -> tuple[list[float], list[float | None]]:
    """x in epoch milliseconds and y in the axis' unit, as plain lists; gaps are `None`."""
    frame = one.with_gaps()
    times = frame["timestamp"].dt.epoch("ms").cast(pl.Float64).to_list()
    return times, (frame["value"] / shown.divisor).to_list()


def _line(one: Series, column: Column, shown: Scale, line: dict[str, Any], *, streaming: bool) -> go.Scatter:
    x: Any
    y: Any
    if streaming:
        x, y = points(one, shown)
    else:
        frame = one.with_gaps()
        x = frame["timestamp"].dt.epoch("ms").cast(pl.Float64).to_numpy()
        y = (frame["value"].cast(pl.Float64) / shown.divisor).to_numpy()
    lone = len(x) == 1
    return go.Scatter(
        x=x,
        y=y,
        name=one.name,
        mode="lines+markers" if lone else "lines",
        line=line,
        connectgaps=False,
        legendgroup=one.name,
        meta=one.server_id,
        hovertemplate=f"%{{y:,.1f}} {shown.unit}" if shown.unit != "1/s" else "%{y:,.1f}/s",
    )


def _add_band(figure: go.Figure, frame: pl.DataFrame, name: str, shown: Scale, color: str) -> None:
    """From the lowest to the highest raw value within each step, cut where samples are missing."""
    frame = frame.drop_nulls()
    if frame.is_empty():
        return
    x = frame["timestamp"].dt.epoch("ms").cast(pl.Float64).to_numpy()
    common = {"x": x, "mode": "lines", "line": {"width": 0}, "legendgroup": name, "showlegend": False}
    for edge, fill in (("low", None), ("high", "tonexty")):
        figure.add_trace(
            go.Scatter(
                **common,
                y=(frame[edge].cast(pl.Float64) / shown.divisor).to_numpy(),
                name=f"{name}, {edge}est",
                fill=fill,
                fillcolor=faint(color, 0.18) if fill else None,
                hoverinfo="skip",
            )
        )


def _add_gaps(figure: go.Figure, gaps: Sequence[Incomplete], theme: Theme) -> None:
    for gap in gaps:
        figure.add_shape(
            type="rect",
            x0=_ms(gap.start),
            x1=_ms(gap.end),
            y0=0,
            y1=0.03,
            yref="paper",
            line_width=0,
            fillcolor=faint(ALARM[theme], 0.35 + 0.6 * (1 - gap.share)),
        )


def _add_marks(figure: go.Figure, marks: Sequence[Mark], series: Sequence[Series], shown: Scale, theme: Theme) -> None:
    """A ring sits on the highest line of its server, where one has a value nearby."""
    color = ALARM[theme]
    placed = [(mark, value) for mark in marks if (value := _value_at(series, mark)) is not None]
    if not placed:
        return
    for mark, _ in placed:
        figure.add_shape(
            type="rect",
            x0=_ms(mark.start),
            x1=_ms(mark.end) + 60_000,
            y0=0,
            y1=1,
            yref="paper",
            fillcolor=faint(color, 0.13),
            line={"width": 0},
            layer="below",
        )
    figure.add_trace(
        go.Scatter(
            x=[_ms(mark.at) for mark, _ in placed],
            y=[value / shown.divisor for _, value in placed],
            name="Anomaly",
            mode="markers",
            marker={"symbol": "circle-open", "size": 9, "color": color, "line": {"width": 2, "color": color}},
            text=[mark.text for mark, _ in placed],
            hovertemplate="%{text}",
        )
    )


def _value_at(series: Sequence[Series], mark: Mark) -> float | None:
    lines = [one for one in series if one.server_id == mark.server_id]
    reach = pl.duration(milliseconds=int(max((one.step_s for one in lines), default=0) * 2500))
    at = pl.lit(mark.at).cast(pl.Datetime("ms", "UTC"))
    values = [
        float(value)
        for one in lines
        for value in one.frame.filter((pl.col("timestamp") - at).abs() <= reach)
        .sort((pl.col("timestamp") - at).abs())["value"]
        .head(1)
    ]
    return max(values, default=None)


def score_chart(
    scores: pl.DataFrame,
    theme: Theme,
    *,
    at: datetime | None = None,
    threshold: float | None = None,
    height: int = 220,
) -> go.Figure:
    """`timestamp, anomaly_score, is_anomaly` over time: lower is more anomalous, the axis says so."""
    figure = go.Figure(layout={"template": _TEMPLATES[theme]})
    one = Series("Anomaly score", 0, scores.select("timestamp", value="anomaly_score"), 60.0)
    frame = one.with_gaps()
    figure.add_trace(
        go.Scatter(
            x=frame["timestamp"].dt.epoch("ms").cast(pl.Float64).to_numpy(),
            y=frame["value"].cast(pl.Float64).to_numpy(),
            name="Score",
            mode="lines",
            line=style(0, theme),
            connectgaps=False,
            hovertemplate="%{y:.3f}",
        )
    )
    flagged = scores.filter(pl.col("is_anomaly"))
    figure.add_trace(
        go.Scatter(
            x=flagged["timestamp"].dt.epoch("ms").cast(pl.Float64).to_numpy(),
            y=flagged["anomaly_score"].cast(pl.Float64).to_numpy(),
            name="Anomaly",
            mode="markers",
            marker={"symbol": "circle-open", "size": 9, "color": ALARM[theme], "line": {"width": 2}},
            hovertemplate="%{y:.3f}, anomalous",
        )
    )
    if threshold is not None:
        figure.add_hline(
            threshold,
            line={"color": ALARM[theme], "dash": "dash", "width": 1},
            annotation={"text": f"threshold {threshold:.2f}", "font": {"size": 11}},
        )
    if at is not None:
        figure.add_vline(_ms(at), line={"color": ALARM[theme], "width": 1, "dash": "dot"})
    figure.update_layout(
        height=height,
        showlegend=True,
        yaxis={"title": {"text": "Score (lower is stranger)"}, "rangemode": "normal"},
    )
    return figure


def observed_chart(
    values: pl.DataFrame,
    label: str,
    unit: str,
    theme: Theme,
    *,
    at: datetime,
    usual: tuple[float, float] | None = None,
    height: int = 200,
) -> go.Figure:
    """`timestamp, value` of one metric round an anomaly; `usual` is what it lies between at that hour of the day,
    shaded for that hour only."""
    one = Series(label, 0, values.drop_nulls(), 60.0)
    shown = scale(unit, max(filter(None, (one.peak, usual[1] if usual else None)), default=None))
    figure = go.Figure(layout={"template": _TEMPLATES[theme]})
    if usual is not None:
        hour = at.replace(minute=0, second=0, microsecond=0)
        color = PALETTES[theme][2]
        figure.add_trace(
            go.Scatter(
                x=[_ms(hour), _ms(hour) + 3_600_000, _ms(hour) + 3_600_000, _ms(hour)],
                y=[edge / shown.divisor for edge in (usual[0], usual[0], usual[1], usual[1])],
                fill="toself",
                fillcolor=faint(color, 0.22),
                line={"width": 0},
                mode="lines",
                name="Usual at this hour",
                hoverinfo="skip",
            )
        )
    figure.add_trace(_line(one, Column("value", unit, "", label=label), shown, style(0, theme), streaming=False))
    figure.add_vline(_ms(at), line={"color": ALARM[theme], "width": 1, "dash": "dot"})
    figure.update_layout(height=height, showlegend=True, yaxis={"title": {"text": shown.unit or label}})
    return figure


def incidents_chart(days: Sequence[Mapping[str, Any]], theme: Theme, *, height: int = 150) -> go.Figure:
    """Incidents a server-day by day, stacked by what people said of them; `days` as from `Data.daily_incidents`."""
    figure = go.Figure(layout={"template": _TEMPLATES[theme]})
    palette = PALETTES[theme]
    false = [day["false_alarms"] for day in days]
    seen = [min(day["acknowledged"], day["incidents"] - day["false_alarms"]) for day in days]
    others = [day["incidents"] - one - two for day, one, two in zip(days, false, seen, strict=True)]
    named = (("Others", palette[0], others), ("Acknowledged", palette[1], seen), ("False alarm", palette[7], false))
    for name, color, values in named:
        figure.add_trace(
            go.Bar(
                x=[day["day"].isoformat() for day in days],
                y=[value / day["servers"] if day["servers"] else None for value, day in zip(values, days, strict=True)],
                name=name,
                marker={"color": color},
                hovertemplate="%{y:.2f} a server",
            )
        )
    figure.update_layout(
        height=height,
        barmode="stack",
        showlegend=True,
        xaxis={"hoverformat": "%Y-%m-%d"},
        yaxis={"title": {"text": "A server and day"}},
    )
    return figure


def _ms(moment: datetime) -> float:
    return moment.timestamp() * 1000
