"""One scored minute: what stood out, what was measured, the score around it, the model that said so."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import dash_mantine_components as dmc
import polars as pl
from dash import ALL, Dash, Input, Output, ctx, dcc, html
from dash.exceptions import PreventUpdate

from dash_app import anomalies as told
from dash_app import figures
from dash_app.components import choices, icons, notices, parts, text
from dash_app.components.aria import aria
from dash_app.data import Data
from dash_app.figures import Theme
from hps_platform.analysis.explain import Contribution
from hps_platform.errors import HpsError, InvalidInput

_AROUND = timedelta(hours=2)


async def build(data: Data, server_id: int, at: str, theme: Theme) -> Any:
    """The page of one scored minute; `NotFound`."""
    moment = choices.moment(at)
    if moment is None:
        raise InvalidInput("which minute is meant?")
    row, scores, mlflow = await measured(data, server_id, moment)
    verdict = "unusual" if row["is_anomaly"] else "within its limits"
    return dmc.Stack(
        [
            parts.heading(
                f"{row['hostname']}, {text.clock(moment)}",
                f"Score {text.score(row['anomaly_score'], 3)} of −1 (strangest) to 0: {verdict}",
                right=back(server_id),
            ),
            dmc.Alert(
                told.told(row), color="red" if row["is_anomaly"] else "gray", variant="light", title="In one sentence"
            ),
            *panels(row, scores, mlflow, theme),
        ],
        gap="sm",
    )


async def measured(data: Data, server_id: int, moment: datetime) -> tuple[dict[str, Any], pl.DataFrame, str]:
    """The minute, the scores around it, and where MLflow is; `NotFound`."""
    row, scores = await asyncio.gather(
        asyncio.to_thread(data.anomaly, server_id, moment),
        asyncio.to_thread(data.scored_minutes, server_id, moment - _AROUND, moment + _AROUND),
    )
    return row, scores, data.links().mlflow


def panels(row: Mapping[str, Any], scores: pl.DataFrame, mlflow: str, theme: Theme) -> list[Any]:
    """What stood out, what was measured, and the score around that minute."""
    score = figures.score_chart(scores, theme, at=row["timestamp"])
    return [
        dmc.Grid(
            [
                dmc.GridCol(_contributions(row, scores, theme), span={"base": 12, "md": 7}),
                dmc.GridCol(_facts(row, mlflow), span={"base": 12, "md": 5}),
            ],
            gutter="sm",
        ),
        parts.panel(
            parts.graph(score, height=240, label="Anomaly score over time"),
            title="Score, two hours to both sides",
            right=parts.link("History at that moment", told.history_address(row)),
        ),
        _forest(row),
    ]


def register(app: Dash, data: Data) -> None:
    async def explain(clicks: Sequence[int | None]) -> list[Any]:
        if not any(clicks):  # a button that was drawn anew
            raise PreventUpdate
        server_id, _, at = ctx.triggered_id["of"].partition(" ")
        try:
            return [_shares(await asyncio.to_thread(data.attribution, int(server_id), datetime.fromisoformat(at)))]
        except HpsError as error:
            return [notices.failure(error)]

    app.callback(
        Output({"type": "forest-shares", "of": ALL}, "children"),
        Input({"type": "forest-explain", "of": ALL}, "n_clicks"),
        prevent_initial_call=True,
    )(explain)


def _forest(row: Mapping[str, Any]) -> Any:
    """A button: taking the forest's score apart takes a moment."""
    which = f"{row['server_id']} {choices.iso(row['timestamp'])}"
    button = dmc.Button("Take it apart", id={"type": "forest-explain", "of": which}, variant="default", size="xs")
    return parts.panel(
        dcc.Loading(html.Div(id={"type": "forest-shares", "of": which}), type="dot"),
        title="The Isolation Forest's part (SHAP)",
        right=button,
    )


def _shares(found: Mapping[str, Any]) -> Any:
    rows = [
        parts.row([parts.cell(told.label(name)), parts.number_cell(text.signed(value))])
        for name, value in found["values"].items()
    ]
    about = (
        f"Its score {text.score(found['forest_score'], 3)} against {text.score(found['expected'], 3)} on average of"
        f" {found['background']} usual minutes of the day before; each metric's exact Shapley value, the negative ones"
        " made the minute stranger."
    )
    return [
        dmc.Text(about, size="sm", c="dimmed", mb="xs"),
        parts.table(
            ["Metric", parts.number_head("Share")], rows, caption="Shares in the forest's score", min_width=280
        ),
    ]


def back(server_id: int | None = None) -> Any:
    """To the list."""
    label = "All anomalies of this server" if server_id else "All anomalies"
    return parts.link(
        [icons.icon("back", 14), f" {label}"], f"/anomalies?server={server_id}" if server_id else "/anomalies"
    )


def _contributions(row: Mapping[str, Any], minutes: pl.DataFrame, theme: Theme) -> Any:
    shown = told.contributions(row)
    if not shown:
        return parts.panel(dmc.Text("The model named no metric.", size="sm", c="dimmed"), title="What stood out")
    rows = [
        parts.row(
            [
                parts.cell(told.label(one.column)),
                parts.number_cell(text.quantity(one.observed, told.unit(one.column)), className="hps-strong"),
                parts.number_cell(told.usually(one) or text.NOTHING),
                parts.cell(
                    dmc.Group(
                        [
                            dmc.Progress(value=100 * one.weight, w=90, size="sm", **aria(hidden="true")),
                            dmc.Text(f"{100 * one.weight:.0f} %", size="sm", w=38, ta="right"),
                        ],
                        gap=8,
                        wrap="nowrap",
                        justify="flex-end",
                    )
                ),
            ]
        )
        for one in shown
    ]
    head = [
        "Metric",
        parts.number_head("Observed"),
        parts.number_head("Usual at this hour"),
        parts.number_head("Share"),
    ]
    table = parts.table(head, rows, caption="Metrics by their share in the score", min_width=460)
    return parts.panel(
        [table, _observed(shown[0], row["timestamp"], minutes, theme)],
        title="What stood out",
        h="100%",
    )


def _observed(first: Contribution, at: datetime, minutes: pl.DataFrame, theme: Theme) -> Any:
    """The metric that stood out most, round that moment, with what is usual."""
    if first.column not in minutes.columns:
        return None
    label = told.label(first.column)
    usual = None if first.usual_low is None or first.usual_high is None else (first.usual_low, first.usual_high)
    figure = figures.observed_chart(
        minutes.select("timestamp", value=pl.col(first.column).cast(pl.Float64)),
        label,
        told.unit(first.column),
        theme,
        at=at,
        usual=usual,
    )
    title = dmc.Title(f"{label}, observed and usual", order=3, size="h6", mt="sm")
    return html.Div([title, parts.graph(figure, height=200, label=f"{label} over time")])


def _facts(row: Mapping[str, Any], mlflow: str) -> Any:
    """Which model said so, and what it looked at."""
    name, version = f"hps.{row['server_id']}", row.get("model_version")
    model = (
        parts.outside(f"{name}, version {version}", f"{mlflow}/#/models/{name}/versions/{version}")
        if version
        else text.NOTHING
    )
    values = row.get("metric_values") or {}
    lines = [
        ("Model", model),
        ("Isolation forest", text.NOTHING if row.get("forest_score") is None else text.score(row["forest_score"], 3)),
        *((told.label(name), text.quantity(values[name], told.unit(name))) for name in told.FEATURES if name in values),
    ]
    return parts.panel(
        parts.facts_table(lines),
        title="What was measured",
        h="100%",
    )
