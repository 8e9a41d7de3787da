"""Anomalies: what was unusual, the newest first; and why: score, what stood out against what is usual, the model."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dash_mantine_components as dmc
import polars as pl
from dash import Dash, Input, Output, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from dash_app import anomalies as told
from dash_app import figures
from dash_app.components import choices, icons, notices, parts, text
from dash_app.components.aria import aria, in_browser
from dash_app.data import Data
from dash_app.figures import Theme
from dash_app.pages import AppPage, Query
from hps_platform.analysis.explain import Contribution
from hps_platform.errors import HpsError, InvalidInput, NotFound

PAGE_SIZE = 500
"""Anomalous minutes read at a time; put together to episodes they are some dozens of lines."""
_AROUND = timedelta(hours=2)


async def layout(data: Data, query: Query) -> Any:
    if query.get("at") and query.get("server", "").isdecimal():
        at = choices.moment(query["at"])
        if at is not None:
            return _detail_frame(int(query["server"]), at)
    known = await asyncio.to_thread(data.servers)
    chosen = choices.known_ids(query.get("server"), known)
    preset = query.get("range", "7d")
    return html.Div(
        [
            parts.heading(
                "Anomalies", "Minutes in which a server was unlike itself, put together to episodes, the newest first."
            ),
            dmc.Group(
                [
                    choices.server("anomalies-server", known, chosen[0] if chosen else None),
                    html.Div(
                        [
                            dmc.Text("Range", size="sm", fw=500, id="anomalies-range-label"),
                            dmc.SegmentedControl(
                                id="anomalies-range",
                                data=[{"value": name, "label": name} for name in choices.RANGES],
                                value=preset if preset in choices.RANGES else "7d",
                                **aria(labelledby="anomalies-range-label"),
                            ),
                        ]
                    ),
                ],
                align="flex-end",
                mb="sm",
            ),
            parts.panel(
                [
                    html.Div(notices.loading(8), id="anomalies-list"),
                    dmc.Group(
                        dmc.Pagination(id="anomalies-page", total=1, value=1, hideWithOnePage=True, size="sm"),
                        justify="center",
                        mt="sm",
                    ),
                ]
            ),
            dcc.Store(id="anomalies-address"),
        ]
    )


def _detail_frame(server_id: int, at: datetime) -> Any:
    return html.Div(
        [
            dcc.Store(id="anomaly-which", data={"server": server_id, "at": choices.iso(at)}),
            html.Div([parts.heading("Anomaly"), notices.loading(6, 60)], id="anomaly-body"),
        ]
    )


def register(app: Dash, data: Data) -> None:
    async def show(server: str | None, preset: str, page: int) -> tuple[Any, Any, Any, Any]:
        page = page if ctx.triggered_id == "anomalies-page" else 1
        now = datetime.now(UTC)
        start = now - choices.RANGES[preset]
        try:
            found = await asyncio.to_thread(
                data.anomalies,
                server_id=int(server) if server else None,
                start=start,
                end=now,
                page=page,
                page_size=PAGE_SIZE,
            )
        except HpsError as error:
            return notices.failure(error), 1, 1, no_update
        address = {"path": "/anomalies", "query": {"server": server or "", "range": preset}}
        total = max(1, -(-found.count // PAGE_SIZE))
        return _list(found.results, found.count, now, start), total, page, address

    app.callback(
        Output("anomalies-list", "children"),
        Output("anomalies-page", "total"),
        Output("anomalies-page", "value"),
        Output("anomalies-address", "data"),
        Input("anomalies-server", "value"),
        Input("anomalies-range", "value"),
        Input("anomalies-page", "value"),
    )(show)
    in_browser(
        app,
        "remember",
        Output("anomalies-address", "modified_timestamp"),
        Input("anomalies-address", "data"),
    )

    async def detail(which: Mapping[str, Any], theme: Theme | None) -> Any:
        if theme is None:  # the browser says which in a moment
            raise PreventUpdate
        try:
            return await _detail(data, which["server"], which["at"], theme)
        except NotFound as error:
            return [
                parts.heading("Anomaly"),
                notices.empty("This minute is not there", str(error), _back(which["server"])),
            ]
        except HpsError as error:
            return [parts.heading("Anomaly"), notices.failure(error)]

    app.callback(
        Output("anomaly-body", "children"),
        Input("anomaly-which", "data"),
        Input("scheme", "data"),
    )(detail)


def _list(rows: list[dict[str, Any]], count: int, now: datetime, start: datetime) -> Any:
    if not rows:
        return notices.empty(
            "Nothing unusual in this range",
            f"No minute since {text.clock(start)} passed its server's threshold. "
            "A server is scored once its model is trained, which takes a day of history.",
        )
    shown = told.episodes(rows)
    head = ["When (UTC)", "Server", "What stood out", parts.number_head("Length"), parts.number_head("Lowest score")]
    body = [_row(one, now) for one in shown]
    return [
        dmc.Text(
            f"{text.count(count, 'anomalous minute')} in {text.count(len(shown), 'episode')}", size="sm", c="dimmed"
        )
        if count == len(rows)
        else dmc.Text(f"{len(rows)} of {text.count(count, 'anomalous minute')}", size="sm", c="dimmed"),
        parts.table(head, body, caption="Unusual episodes, the newest first", min_width=760),
    ]


def _row(one: told.Episode, now: datetime) -> Any:
    return parts.row(
        [
            parts.cell(
                [
                    parts.link(f"{one.start:%Y-%m-%d} {one.span}", one.address),
                    html.Span(text.ago(one.end, now), className="hps-sub"),
                ],
                style={"whiteSpace": "nowrap"},
            ),
            parts.cell(one.hostname),
            parts.cell(told.told(one.worst), style={"minWidth": 280}),
            parts.number_cell(one.length),
            parts.number_cell(text.score(one.worst["anomaly_score"])),
        ]
    )


def _back(server_id: int) -> Any:
    return parts.link([icons.icon("back", 14), " All anomalies of this server"], f"/anomalies?server={server_id}")


async def _detail(data: Data, server_id: int, at: str, theme: Theme) -> Any:
    moment = choices.moment(at)
    if moment is None:
        raise InvalidInput("which minute is meant?")
    row, scores, links = await asyncio.gather(
        asyncio.to_thread(data.anomaly, server_id, moment),
        asyncio.to_thread(data.scored_minutes, server_id, moment - _AROUND, moment + _AROUND),
        asyncio.to_thread(data.links),
    )
    verdict = "unusual" if row["is_anomaly"] else "within its limits"
    return dmc.Stack(
        [
            parts.heading(
                f"{row['hostname']}, {text.clock(moment)}",
                f"Score {text.score(row['anomaly_score'], 3)} of −1 (strangest) to 0: {verdict}",
                right=_back(server_id),
            ),
            dmc.Alert(
                told.told(row), color="red" if row["is_anomaly"] else "gray", variant="light", title="In one sentence"
            ),
            dmc.Grid(
                [
                    dmc.GridCol(_contributions(row, scores, theme), span={"base": 12, "md": 7}),
                    dmc.GridCol(_facts(row, links.mlflow), span={"base": 12, "md": 5}),
                ],
                gutter="sm",
            ),
            parts.panel(
                parts.graph(figures.score_chart(scores, theme, at=moment), height=240, label="Anomaly score over time"),
                title="Score, two hours to both sides",
                right=parts.link("History at that moment", told.history_address(row)),
            ),
        ],
        gap="sm",
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


PAGE = AppPage("/anomalies", "Anomalies", "anomaly", 40, layout, register)
