"""Live: chosen metrics of chosen servers, pushed to the browser as the samples arrive.

The page only says what is wanted; `stream` pushes it. What is chosen stands in the address.
"""

import asyncio
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html
from dash.exceptions import PreventUpdate

from dash_app.components import choices, notices, parts
from dash_app.components.aria import aria, in_browser
from dash_app.data import Data
from dash_app.figures import Theme
from dash_app.pages import AppPage, Query
from dash_app.pages.live import stream
from dash_app.series import how_combined
from hps_platform.errors import InvalidInput
from hps_platform.metrics import FAMILIES

_FIRST = 3
"""Servers shown to somebody who chose none."""
_QUICK_S = 10.0
"""Families sampled at least this often are offered first: anything slower is dull to watch."""
WINDOWS = {"5m": 300, "15m": 900, "1h": 3600}
_WATCH_MS = 5000
_BLANK = {"data": [], "layout": {"xaxis": {"visible": False}, "yaxis": {"visible": False}}}


def default_metrics() -> list[str]:
    """The headline of each family that is sampled often, on whatever system."""
    return [f"{one.name}.{one.headline}" for one in FAMILIES.values() if one.everywhere and one.interval_s <= _QUICK_S]


async def layout(data: Data, query: Query) -> Any:
    known = await asyncio.to_thread(data.servers, active_only=True)
    servers = choices.known_ids(query.get("servers"), known) or [server.id for server in known[:_FIRST]]
    metrics = [name for name in choices.words(query.get("metrics")) if _is_metric(name)] or default_metrics()
    window = query.get("window", "5m")
    return html.Div(
        [
            parts.heading("Live", "Samples as they arrive, without reloading.", right=_pulse()),
            parts.panel(
                dmc.Grid(
                    [
                        dmc.GridCol(choices.servers("live-servers", known, servers), span={"base": 12, "md": 5}),
                        dmc.GridCol(choices.metrics("live-metrics", metrics), span={"base": 12, "md": 5}),
                        dmc.GridCol(
                            [
                                dmc.Text("Window", size="sm", fw=500, id="live-window-label"),
                                dmc.SegmentedControl(
                                    id="live-window",
                                    data=list(WINDOWS),
                                    value=window if window in WINDOWS else "5m",
                                    fullWidth=True,
                                    **aria(labelledby="live-window-label"),
                                ),
                            ],
                            span={"base": 12, "md": 2},
                        ),
                    ],
                    gutter="sm",
                ),
                mb="sm",
            ),
            html.Div(id="live-notes", role="status"),
            html.Div(notices.loading(4, 180), id="live-charts"),
            dcc.Store(id="live-wanted"),
            dcc.Store(id="live-address"),
            dcc.Interval(id="live-second", interval=1000),
        ]
    )


def _pulse() -> Any:
    return html.Div(
        [html.Span(id="live-dot", className="hps-dot"), html.Span("Connecting…", id="live-pulse")],
        className="hps-pulse",
    )


def _is_metric(name: str) -> bool:
    try:
        choices.metric(name)
    except InvalidInput:
        return False
    return True


def lasting() -> list[Any]:
    """What outlives the page: a stream has to be ended after its page is gone."""
    return [
        dcc.Store(id="live-choice"),
        dcc.Store(id="live-connected"),
        dcc.Store(id="live-push"),
        dcc.Interval(id="live-watch", interval=_WATCH_MS),
    ]


def register(app: Dash, data: Data) -> None:
    async def arranged(
        servers: list[str], metrics: list[str], window: str, theme: Theme | None
    ) -> tuple[Any, Any, Any]:
        if theme is None:  # the browser says which in a moment
            raise PreventUpdate
        query = {"servers": ",".join(servers), "metrics": ",".join(metrics), "window": window}
        address = {"path": "/live", "query": query}
        if not servers or not metrics:
            empty = notices.empty("Nothing chosen yet", "Choose at least one server and one metric above.")
            return empty, None, address
        wanted = {
            "servers": [int(server) for server in servers],
            "metrics": metrics,
            "window_s": WINDOWS[window],
            "theme": theme,
        }
        return _charts(metrics), wanted, address

    app.callback(
        Output("live-charts", "children"),
        Output("live-wanted", "data"),
        Output("live-address", "data"),
        Input("live-servers", "value"),
        Input("live-metrics", "value"),
        Input("live-window", "value"),
        Input("scheme", "data"),
    )(arranged)
    _register_browser_side(app)
    stream.register(app, data)


def _charts(metrics: list[str]) -> Any:
    panels = []
    for name in metrics:
        family, column = choices.metric(name)
        how = how_combined(column, family)
        panels.append(
            parts.panel(
                parts.graph(
                    {"data": [], "layout": {"xaxis": {"visible": False}, "yaxis": {"visible": False}}},
                    height=220,
                    label=f"{column.title}, live",
                    id={"type": "live-chart", "metric": name},
                ),
                title=column.label or column.name,
                right=dmc.Text(f"{family.title}, {how}" if how else family.title, size="xs", c="dimmed"),
            )
        )
    return dmc.SimpleGrid(panels, cols={"base": 1, "lg": 2}, spacing="sm")


def _register_browser_side(app: Dash) -> None:
    in_browser(app, "want", Output("live-wanted", "modified_timestamp"), Input("live-wanted", "data"))
    in_browser(
        app,
        "keep",
        Output("live-choice", "data"),
        Input("url", "pathname"),
        Input("live-connected", "data"),
        Input("live-watch", "n_intervals"),
        State("live-choice", "data"),
        prevent_initial_call=True,
    )
    in_browser(app, "push", Output("live-push", "modified_timestamp"), Input("live-push", "data"))
    in_browser(
        app,
        "pulse",
        Output("live-dot", "data-state"),
        Output("live-pulse", "children"),
        Input("live-second", "n_intervals"),
        State("live-push", "data"),
        State("live-choice", "data"),
    )
    in_browser(
        app,
        "remember",
        Output("live-address", "modified_timestamp"),
        Input("live-address", "data"),
    )


PAGE = AppPage("/live", "Live", "live", 20, layout, register, lasting)
