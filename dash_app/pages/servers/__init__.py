"""Servers: which hosts are monitored and how to reach them; add, change, test, remove.

Secrets go one way: they can be set and taken away here, never seen.
"""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, dcc, html, no_update

from dash_app.components import icons, notices, parts, states, text
from dash_app.components.aria import aria, in_browser
from dash_app.data import Data
from dash_app.pages import AppPage, Query
from dash_app.pages.servers import connection, form
from dash_app.session import current_user
from hps_platform.errors import HpsError

if TYPE_CHECKING:
    from hps_platform.store.servers import Server

REFRESH_S = 10
MAX_ROWS = 200


async def layout(data: Data, query: Query) -> Any:
    add = dmc.Button(
        "Add server",
        id="servers-add",
        leftSection=icons.icon("plus", 16),
        size="sm",
        disabled=not current_user().is_admin,
    )
    return html.Div(
        [
            parts.heading(
                "Servers", "Hosts the collector logs in to. Nobody logs in before a host key is confirmed.", right=add
            ),
            dmc.TextInput(
                id="servers-filter",
                placeholder="Filter by name, address, system, state or tag",
                debounce=250,
                mb="sm",
                maw=420,
                **aria(label="Filter servers"),
            ),
            parts.panel(html.Div(notices.loading(8), id="servers-table")),
            dcc.Store(id="servers-changed", data=0),
            *[dcc.Store(id=f"server-{action}") for action in ("edit", "test", "remove")],
            dcc.Interval(id="servers-tick", interval=REFRESH_S * 1000),
            form.dialog(),
            connection.dialog(),
            _removal(),
        ]
    )


def _removal() -> Any:
    return dmc.Modal(
        [
            dmc.Text(id="removal-text", size="sm"),
            html.Div(id="removal-error"),
            dmc.Group(
                [
                    dmc.Button("Keep it", id="removal-keep", variant="default"),
                    dmc.Button("Remove", id="removal-go", color="red"),
                ],
                justify="flex-end",
                mt="md",
            ),
        ],
        id="removal",
        title="Remove this server?",
        centered=True,
    )


def register(app: Dash, data: Data) -> None:
    async def show(_tick: int | None, _changed: int, wanted: str | None) -> Any:
        try:
            servers = await asyncio.to_thread(data.servers)
        except HpsError as error:
            return notices.failure(error)
        return _table(servers, (wanted or "").strip().lower(), datetime.now(UTC), admin=current_user().is_admin)

    app.callback(
        Output("servers-table", "children"),
        Input("servers-tick", "n_intervals"),
        Input("servers-changed", "data"),
        Input("servers-filter", "value"),
    )(show)
    in_browser(
        app,
        "serverAsked",
        *[Output(f"server-{action}", "data") for action in ("edit", "test", "remove")],
        Output("connection", "opened"),
        Input({"type": "server-action", "do": ALL, "id": ALL}, "n_clicks"),
        prevent_initial_call=True,
    )
    form.register(app, data)
    connection.register(app, data)
    _register_removal(app, data)


def _register_removal(app: Dash, data: Data) -> None:
    async def ask(asked: dict[str, Any]) -> tuple[Any, ...]:
        server = await asyncio.to_thread(data.server, asked["id"])
        question = (
            f"{server.hostname} is taken off the registry and the collector logs out at once. "
            "Samples, models and anomalies that are there already stay until they are too old."
        )
        return True, question, None

    app.callback(
        Output("removal", "opened"),
        Output("removal-text", "children"),
        Output("removal-error", "children"),
        Input("server-remove", "data"),
        prevent_initial_call=True,
    )(ask)
    in_browser(
        app,
        "close",
        Output("removal", "opened", allow_duplicate=True),
        Input("removal-keep", "n_clicks"),
        prevent_initial_call=True,
    )

    async def remove(_: int | None, asked: dict[str, Any], changed: int) -> tuple[Any, ...]:
        try:
            await asyncio.to_thread(data.remove_server, asked["id"])
        except HpsError as error:
            return no_update, notices.failure(error), no_update
        return False, None, changed + 1

    app.callback(
        Output("removal", "opened", allow_duplicate=True),
        Output("removal-error", "children", allow_duplicate=True),
        Output("servers-changed", "data", allow_duplicate=True),
        Input("removal-go", "n_clicks"),
        State("server-remove", "data"),
        State("servers-changed", "data"),
        prevent_initial_call=True,
        running=[(Output("removal-go", "loading"), True, False)],
    )(remove)


def _table(servers: "list[Server]", wanted: str, now: datetime, *, admin: bool) -> Any:
    if not servers:
        return notices.empty(
            "No servers yet",
            "“Add server” takes an address and an account that may run vmstat, iostat and their kin. "
            "`hps server import` takes many at once.",
        )
    shown = [server for server in servers if wanted in _searchable(server)]
    if not shown:
        return notices.empty("No server fits", f"None of {text.count(len(servers), 'server')} has “{wanted}” in it.")
    head = [
        "Server",
        "State",
        "Address",
        "System",
        "Login",
        "Tags",
        parts.number_head("Last seen"),
        parts.number_head(""),
    ]
    ordered = sorted(shown, key=lambda one: (-states.state(one.status).urgency, one.hostname))
    rows = [_row(server, now, admin=admin) for server in ordered[:MAX_ROWS]]
    table = parts.table(head, rows, caption="Registered servers, those that need attention first", min_width=980)
    if len(shown) <= MAX_ROWS:
        return table
    return [table, dmc.Text(f"{MAX_ROWS} of {text.count(len(shown), 'server')}: filter to see others.", size="sm")]


def _searchable(server: "Server") -> str:
    words = (server.hostname, server.address, states.system(server.operating_system), *server.tags)
    return " ".join([*words, states.state(server.status).label]).lower()


def _row(server: "Server", now: datetime, *, admin: bool) -> Any:
    login = server.ssh_username
    how = "key" if server.has_private_key else "password" if server.has_password else "no secret stored"
    message = server.status_message
    return parts.row(
        [
            parts.cell(parts.link(server.hostname, f"/history?servers={server.id}", title="History of this server")),
            parts.cell(
                [
                    states.badge(states.state(server.status)),
                    html.Span(message, className="hps-sub hps-wrap") if message and server.status != "up" else None,
                ]
            ),
            parts.cell(f"{server.address}:{server.ssh_port}", style={"whiteSpace": "nowrap"}),
            parts.cell(
                [
                    states.facts(server.operating_system, server.os_version)
                    if server.operating_system
                    else "found at login",
                    html.Span(server.architecture or "", className="hps-sub"),
                ]
            ),
            parts.cell([login, html.Span(how, className="hps-sub")]),
            parts.cell(", ".join(server.tags)),
            parts.number_cell(text.ago(server.last_seen_at, now)),
            parts.number_cell(_actions(server) if admin else None),
        ]
    )


def _actions(server: "Server") -> list[Any]:
    return [
        _action("test", server, "Test connection", "plug"),
        _action("edit", server, "Change", "edit"),
        _action("remove", server, "Remove", "bin"),
    ]


def _action(action: str, server: "Server", label: str, symbol: str) -> Any:
    return html.Button(
        id={"type": "server-action", "do": action, "id": server.id},
        className=f"hps-action hps-action-{action}",
        title=label,
        style=icons.mask(symbol),
        **aria(label=f"{label}: {server.hostname}"),
    )


PAGE = AppPage("/servers", "Servers", "server", 50, layout, register)
