"""Anomalies: incidents of unusual minutes, the newest first; one of them explained and handled; thresholds.

A single minute, as History and Overview link to it, is in `minute`, an incident in `incident`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from dash_app import figures
from dash_app.components import choices, notices, parts, states, text
from dash_app.components.aria import aria, in_browser
from dash_app.data import Data
from dash_app.figures import Theme
from dash_app.pages import AppPage, Query
from dash_app.pages.anomalies import incident, minute, thresholds
from hps_platform.errors import HpsError, NotFound

PAGE_SIZE = 100
_NAMED = 4
"""Servers that are named in a line."""
_SHOWN = {"all": None, "active": ("open", "acknowledged"), "false": ("false_alarm",)}


async def layout(data: Data, query: Query) -> Any:
    if query.get("incident", "").isdecimal():
        return incident.frame(int(query["incident"]))
    if query.get("at") and query.get("server", "").isdecimal():
        at = choices.moment(query["at"])
        if at is not None:
            return _minute_frame(int(query["server"]), at)
    known = await asyncio.to_thread(data.servers)
    chosen = choices.known_ids(query.get("server"), known)
    preset = query.get("range", "7d")
    return html.Div(
        [
            parts.heading(
                "Anomalies",
                "Times at which servers were unlike themselves, put together to incidents, the newest first.",
                right=dmc.Button("Thresholds", id="thresholds-open", variant="default", size="sm"),
            ),
            dmc.Group(
                [
                    choices.server("anomalies-server", known, chosen[0] if chosen else None),
                    _segments("Range", "anomalies-range", {name: name for name in choices.RANGES}, preset),
                    _segments(
                        "State",
                        "anomalies-state",
                        {"all": "All", "active": "Not closed", "false": "False alarms"},
                        query.get("state", "all"),
                    ),
                ],
                align="flex-end",
                mb="sm",
            ),
            html.Div(id="anomalies-coverage"),
            dmc.Stack(
                [
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
                    parts.panel(html.Div(id="anomalies-daily"), title="Incidents a server and day"),
                ],
                gap="sm",
            ),
            dcc.Store(id="anomalies-address"),
            thresholds.dialog(known),
        ]
    )


def _segments(label: str, id: str, offered: Mapping[str, str], chosen: str) -> Any:
    return html.Div(
        [
            dmc.Text(label, size="sm", fw=500, id=f"{id}-label"),
            dmc.SegmentedControl(
                id=id,
                data=[{"value": name, "label": shown} for name, shown in offered.items()],
                value=chosen if chosen in offered else ("7d" if "7d" in offered else next(iter(offered))),
                **aria(labelledby=f"{id}-label"),
            ),
        ]
    )


def _minute_frame(server_id: int, at: datetime) -> Any:
    return html.Div(
        [
            dcc.Store(id="anomaly-which", data={"server": server_id, "at": choices.iso(at)}),
            html.Div([parts.heading("Anomaly"), notices.loading(6, 60)], id="anomaly-body"),
        ]
    )


def register(app: Dash, data: Data) -> None:
    async def show(server: str | None, preset: str, state: str, page: int) -> tuple[Any, Any, Any, Any, Any]:
        page = page if ctx.triggered_id == "anomalies-page" else 1
        now = datetime.now(UTC)
        start = now - choices.RANGES[preset]
        server_id = int(server) if server else None
        try:
            found, covered = await asyncio.gather(
                asyncio.to_thread(
                    data.incidents,
                    server_id=server_id,
                    states=_SHOWN[state],
                    start=start,
                    end=now,
                    page=page,
                    page_size=PAGE_SIZE,
                ),
                asyncio.to_thread(data.coverage),
            )
        except HpsError as error:
            return notices.failure(error), None, 1, 1, no_update
        covered = [one for one in covered if server_id in (None, one["server_id"])]
        shown = [] if state == "all" else [("state", state)]
        address = {"path": "/anomalies", "query": {"server": server or "", "range": preset, **dict(shown)}}
        total = max(1, -(-found.count // PAGE_SIZE))
        return _list(found.results, found.count, now, start), _coverage(covered), total, page, address

    app.callback(
        Output("anomalies-list", "children"),
        Output("anomalies-coverage", "children"),
        Output("anomalies-page", "total"),
        Output("anomalies-page", "value"),
        Output("anomalies-address", "data"),
        Input("anomalies-server", "value"),
        Input("anomalies-range", "value"),
        Input("anomalies-state", "value"),
        Input("anomalies-page", "value"),
    )(show)
    in_browser(
        app,
        "remember",
        Output("anomalies-address", "modified_timestamp"),
        Input("anomalies-address", "data"),
    )

    async def over_time(server: str | None, preset: str, theme: Theme | None) -> Any:
        if theme is None:  # the browser says which in a moment
            raise PreventUpdate
        now = datetime.now(UTC)
        start = (now - choices.RANGES[preset]).date()
        try:
            days = await asyncio.to_thread(data.daily_incidents, start, now.date(), int(server) if server else None)
        except HpsError as error:
            return notices.failure(error)
        return _daily(days, theme)

    app.callback(
        Output("anomalies-daily", "children"),
        Input("anomalies-server", "value"),
        Input("anomalies-range", "value"),
        Input("scheme", "data"),
    )(over_time)

    async def detail(which: Mapping[str, Any], theme: Theme | None) -> Any:
        if theme is None:
            raise PreventUpdate
        try:
            return await minute.build(data, which["server"], which["at"], theme)
        except NotFound as error:
            return [
                parts.heading("Anomaly"),
                notices.empty("This minute is not there", str(error), minute.back(which["server"])),
            ]
        except HpsError as error:
            return [parts.heading("Anomaly"), notices.failure(error)]

    app.callback(
        Output("anomaly-body", "children"),
        Input("anomaly-which", "data"),
        Input("scheme", "data"),
    )(detail)
    minute.register(app, data)
    incident.register(app, data)
    thresholds.register(app, data)


def _list(rows: Sequence[Mapping[str, Any]], count: int, now: datetime, start: datetime) -> Any:
    if not rows:
        return notices.empty(
            "Nothing unusual in this range",
            f"No incident since {text.clock(start)}, of those asked for. "
            "A server is judged once its model is trained, which takes a day of history.",
        )
    head = [
        *("When (UTC)", "State", "Severity", "Servers", "What stood out"),
        *(parts.number_head("Length"), parts.number_head("Lowest score")),
    ]
    shown = text.count(count, "incident")
    return [
        dmc.Text(shown if count == len(rows) else f"{len(rows)} of {shown}", size="sm", c="dimmed"),
        parts.table(head, [_row(one, now) for one in rows], caption="Incidents, the newest first", min_width=900),
    ]


def _row(one: Mapping[str, Any], now: datetime) -> Any:
    return parts.row(
        [
            parts.cell(
                [
                    parts.link(f"{one['started_at']:%Y-%m-%d %H:%M}", incident.address(one)),
                    html.Span(text.ago(one["ended_at"], now), className="hps-sub"),
                ],
                style={"whiteSpace": "nowrap"},
            ),
            parts.cell(states.badge(states.incident(one["state"]))),
            parts.cell(one["severity"].capitalize()),
            parts.cell(text.listing([part["hostname"] for part in one["servers"]], _NAMED)),
            parts.cell(one["sentence"], style={"minWidth": 280}),
            parts.number_cell(text.duration((one["ended_at"] - one["started_at"]).total_seconds())),
            parts.number_cell(text.score(one["peak_score"])),
        ]
    )


def _coverage(covered: Sequence[Mapping[str, Any]]) -> Any:
    """What can't be found, and why; nothing where all is watched."""
    lacking = [one for one in covered if one["state"] not in ("watched", "off")]
    if not lacking:
        return None
    if len(covered) == 1:
        return notices.note(lacking[0]["text"], title="Not everything is judged here")
    lines = [html.Div(f"{one['hostname']}: {one['text']}") for one in lacking[:_NAMED]]
    more = len(lacking) - _NAMED
    return notices.note(
        [*lines, html.Div(f"and {text.count(more, 'other server')}") if more > 0 else None],
        title=f"Not everything is judged on {len(lacking)} of {text.count(len(covered), 'server')}",
    )


def _daily(days: Sequence[Mapping[str, Any]], theme: Theme) -> Any:
    began, served = sum(day["incidents"] for day in days), sum(day["servers"] for day in days)
    if not served:
        return dmc.Text("No server was scored in this range.", size="sm", c="dimmed")
    flagged = sum(day["minutes"] for day in days)
    rates = (
        f"{began / served:.2f} incidents and {flagged / served:.1f} unusual minutes a server and day; "
        f"{_share(days, 'acknowledged', began)} acknowledged, {_share(days, 'false_alarms', began)} false alarms"
    )
    return [
        dmc.Text(rates, size="sm", c="dimmed"),
        parts.graph(figures.incidents_chart(days, theme), height=150, label="Incidents by day"),
    ]


def _share(days: Sequence[Mapping[str, Any]], what: str, whole: int) -> str:
    return f"{100 * sum(day[what] for day in days) / whole:.0f} %" if whole else "0 %"


PAGE = AppPage("/anomalies", "Anomalies", "anomaly", 40, layout, register)
