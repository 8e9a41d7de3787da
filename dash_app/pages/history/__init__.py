"""History: any columns of a family over any time, with anomalies marked; zooming in fetches finer data.

What is chosen stands in the address, so that a view can be sent to somebody.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from dash_app.components import choices, notices, parts
from dash_app.components.aria import aria, in_browser
from dash_app.data import Data
from dash_app.pages import AppPage, Query
from dash_app.pages.history import origin
from dash_app.pages.history.view import View, build
from hps_platform.errors import HpsError
from hps_platform.metrics import FAMILIES, Family

_FIRST = 3
"""Servers shown to somebody who chose none."""


async def layout(data: Data, query: Query) -> Any:
    known = await asyncio.to_thread(data.servers)
    family = FAMILIES.get(query.get("family", "")) or next(iter(FAMILIES.values()))
    chosen = choices.known_ids(query.get("servers"), known) or [server.id for server in known[:_FIRST]]
    allowed = {column.name for column in family.rollup_columns}
    columns = [name for name in choices.words(query.get("columns")) if name in allowed]
    own = bool(query.get("from"))
    start, end = choices.window(query, datetime.now(UTC))
    return html.Div(
        [
            parts.heading(
                "History",
                "Drag over a chart to zoom in, double-click to go back; click a point to see where it comes from.",
            ),
            parts.panel(
                dmc.Grid(
                    [
                        dmc.GridCol(choices.servers("history-servers", known, chosen), span={"base": 12, "md": 3}),
                        dmc.GridCol(
                            choices.families("history-family", family.name), span={"base": 12, "xs": 5, "md": 3}
                        ),
                        dmc.GridCol(
                            choices.columns("history-columns", family, columns or choices.default_columns(family)),
                            span={"base": 12, "xs": 7, "md": 3},
                        ),
                        dmc.GridCol(_keys(family, choices.words(query.get("keys"))), span={"base": 12, "md": 3}),
                        dmc.GridCol(_range(query.get("range") or "24h", own=own), span="content"),
                        dmc.GridCol(
                            _moment("history-from", "From (UTC)", start if own else None),
                            span={"base": 6, "xs": "content"},
                        ),
                        dmc.GridCol(
                            _moment("history-to", "To (UTC)", end if own else None), span={"base": 6, "xs": "content"}
                        ),
                    ],
                    gutter="sm",
                ),
                mb="sm",
            ),
            *origin.dialog(),
            dcc.Store(id="history-zoom"),
            dcc.Store(id="history-address"),
            dcc.Loading(
                html.Div(notices.loading(4, 180), id="history-body", style={"minHeight": 240}),
                delay_show=300,
                overlay_style={"visibility": "visible", "opacity": 0.55},
                custom_spinner=dmc.Loader(size="sm", **aria(label="Loading")),
            ),
        ]
    )


def _keys(family: Family, chosen: Sequence[str]) -> Any:
    return dmc.MultiSelect(
        id="history-keys",
        label=_key_label(family),
        data=list(chosen),
        value=list(chosen),
        placeholder=None if chosen else "All put together",
        searchable=True,
        clearable=True,
        hidePickedOptions=True,
        maxValues=8,
        style=_shown_if(family.key is not None),
        comboboxProps={"shadow": "md"},
    )


def _shown_if(there: bool) -> dict[str, str]:
    return {} if there else {"display": "none"}


def _key_label(family: Family) -> str:
    return family.by_name[family.summary_key or family.key].label if family.key else "Single parts"


def _range(preset: str, *, own: bool) -> Any:
    return html.Div(
        [
            dmc.Text("Range", size="sm", fw=500, id="history-range-label"),
            dmc.SegmentedControl(
                id="history-range",
                data=[*({"value": name, "label": name} for name in choices.RANGES), {"value": "own", "label": "own"}],
                value="own" if own else preset if preset in choices.RANGES else "24h",
                size="sm",
                **aria(labelledby="history-range-label"),
            ),
        ]
    )


def _moment(id: str, label: str, value: datetime | None) -> Any:
    return dmc.DateTimePicker(
        id=id,
        label=label,
        value=value.strftime("%Y-%m-%d %H:%M:%S") if value else None,
        valueFormat="YYYY-MM-DD HH:mm",
        placeholder="yyyy-mm-dd hh:mm",
        clearable=True,
        miw=148,
        popoverProps={"shadow": "md"},
    )


def register(app: Dash, data: Data) -> None:
    in_browser(
        app,
        "zoomed",
        Output("history-zoom", "data"),
        Input({"type": "history-chart", "column": ALL}, "relayoutData"),
        prevent_initial_call=True,
    )
    in_browser(
        app,
        "remember",
        Output("history-address", "modified_timestamp"),
        Input("history-address", "data"),
    )

    async def family_chosen(name: str) -> tuple[Any, ...]:
        family = FAMILIES[name]
        return (
            choices.column_options(family),
            choices.default_columns(family),
            _key_label(family),
            [],
            _shown_if(family.key is not None),
        )

    app.callback(
        Output("history-columns", "data"),
        Output("history-columns", "value"),
        Output("history-keys", "label"),
        Output("history-keys", "value"),
        Output("history-keys", "style"),
        Input("history-family", "value"),
        prevent_initial_call=True,
    )(family_chosen)

    async def own_range(start: str | None, _end: str | None, current: str) -> Any:
        return "own" if start and current != "own" else no_update

    app.callback(
        Output("history-range", "value"),
        Input("history-from", "value"),
        Input("history-to", "value"),
        State("history-range", "value"),
        prevent_initial_call=True,
    )(own_range)

    origin.register(app, data)
    _register_show(app, data)


def _register_show(app: Dash, data: Data) -> None:
    async def show(**chosen: Any) -> tuple[Any, Any, Any]:
        if chosen["theme"] is None:  # the browser says which in a moment
            raise PreventUpdate
        # A zoom holds until something else is chosen; a change of theme keeps it.
        zoom = chosen["zoom"] if ctx.triggered_id in ("history-zoom", "scheme") else None
        own = chosen["preset"] == "own" and chosen["start"]
        query = {"from": chosen["start"], "to": chosen["end"]} if own else {"range": chosen["preset"]}
        if zoom and zoom["from"] is not None:
            query = {"from": zoom["from"], "to": zoom["to"]}
        try:
            start, end = choices.window(query, datetime.now(UTC))
            known = await asyncio.to_thread(data.servers)
            family = FAMILIES[chosen["family"]]
            view = View(
                family=family,
                names={
                    one: server.hostname for one in map(int, chosen["servers"]) for server in known if server.id == one
                },
                columns=[name for name in chosen["columns"] if name in family.by_name],
                keys=chosen["keys"],
                start=start,
                end=end,
                theme=chosen["theme"],
            )
            shown, offered = await build(data, view, known)
        except HpsError as error:
            return notices.failure(error), no_update, no_update
        kept = {"from": choices.iso(start), "to": choices.iso(end)} if "from" in query else query
        wanted = {name: ",".join(chosen[name]) for name in ("servers", "columns", "keys")}
        address = {"path": "/history", "query": {"family": family.name, **wanted, **kept}}
        return shown, offered, address

    app.callback(
        output=(
            Output("history-body", "children"),
            Output("history-keys", "data"),
            Output("history-address", "data"),
        ),
        inputs={
            "servers": Input("history-servers", "value"),
            "columns": Input("history-columns", "value"),
            "keys": Input("history-keys", "value"),
            "preset": Input("history-range", "value"),
            "start": Input("history-from", "value"),
            "end": Input("history-to", "value"),
            "zoom": Input("history-zoom", "data"),
            "theme": Input("scheme", "data"),
            "family": State("history-family", "value"),
        },
    )(show)


PAGE = AppPage("/history", "History", "history", 30, layout, register)
