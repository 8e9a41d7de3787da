"""Testing the way to a server: what it shows of itself, which key to pin, whether the login works."""

import asyncio
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update

from dash_app.components import notices, states, text
from dash_app.data import Data
from hps_platform.errors import HpsError

if TYPE_CHECKING:
    from hps_platform.collector import ConnectionReport
    from hps_platform.store.servers import Server


def dialog() -> Any:
    return dmc.Modal(
        [
            html.Div(id="connection-body"),
            dmc.Group(
                [
                    dmc.Button("Test again", id="connection-again", variant="default"),
                    dmc.Button("Close", id="connection-close"),
                ],
                justify="flex-end",
                mt="md",
            ),
            dcc.Store(id="connection-id"),
        ],
        id="connection",
        title="Test connection",
        size="lg",
        centered=True,
    )


def register(app: Dash, data: Data) -> None:
    async def choose(clicks: list[int | None]) -> Any:
        if not ctx.triggered[0]["value"]:
            return no_update
        return ctx.triggered_id["id"]

    app.callback(
        Output("connection-id", "data"),
        Input({"type": "server-test", "id": ALL}, "n_clicks"),
        prevent_initial_call=True,
    )(choose)

    async def opened(server_id: int | None, _close: int | None) -> tuple[Any, Any, Any]:
        """The dialog opens at once, the test runs while it says so. Closing forgets the server, so that the same one
        can be tested again."""
        if ctx.triggered_id == "connection-close" or server_id is None:
            return False, no_update, None if ctx.triggered_id == "connection-close" else no_update
        return True, _testing(), no_update

    app.callback(
        Output("connection", "opened"),
        Output("connection-body", "children"),
        Output("connection-id", "data", allow_duplicate=True),
        Input("connection-id", "data"),
        Input("connection-close", "n_clicks"),
        prevent_initial_call=True,
    )(opened)
    _register_test(app, data)
    _register_pin(app, data)


def _register_test(app: Dash, data: Data) -> None:
    async def test(shown: bool, _again: int | None, server_id: int | None) -> tuple[Any, Any]:
        if not shown or server_id is None:
            return no_update, None if not shown else no_update
        try:
            server = await asyncio.to_thread(data.server, server_id)
            report = await asyncio.to_thread(data.test_connection, server_id)
        except HpsError as error:
            return notices.failure(error), no_update
        return _report(server, report), no_update

    app.callback(
        Output("connection-body", "children", allow_duplicate=True),
        Output("connection-id", "data", allow_duplicate=True),
        Input("connection", "opened"),
        Input("connection-again", "n_clicks"),
        State("connection-id", "data"),
        prevent_initial_call=True,
        running=[(Output("connection-again", "loading"), True, False)],
    )(test)


def _register_pin(app: Dash, data: Data) -> None:
    async def pin(clicks: list[int | None], server_id: int | None, changed: int, again: int | None) -> tuple[Any, ...]:
        if not ctx.triggered[0]["value"] or server_id is None:
            return no_update, no_update, no_update
        try:
            await asyncio.to_thread(data.update_server, server_id, {"host_key": ctx.triggered_id["line"]})
        except HpsError as error:
            return notices.failure(error), no_update, no_update
        return _testing(), changed + 1, (again or 0) + 1

    app.callback(
        Output("connection-body", "children", allow_duplicate=True),
        Output("servers-changed", "data", allow_duplicate=True),
        Output("connection-again", "n_clicks"),
        Input({"type": "pin", "line": ALL}, "n_clicks"),
        State("connection-id", "data"),
        State("servers-changed", "data"),
        State("connection-again", "n_clicks"),
        prevent_initial_call=True,
    )(pin)


def _testing() -> Any:
    return dmc.Group([dmc.Loader(size="sm"), dmc.Text("Connecting…", size="sm")], p="md", role="status")


def _report(server: "Server", report: "ConnectionReport") -> Any:
    return dmc.Stack(
        [
            dmc.Text(f"{server.hostname} at {server.address}:{server.ssh_port}", fw=600),
        ],
        gap="sm",
    )


PLACE = (states, text)
