"""Testing the way to a server: what it shows of itself, which key to pin, whether the login works."""

import asyncio
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, ctx, html, no_update

from dash_app.components import notices, parts, states, text
from dash_app.components.aria import aria, in_browser
from dash_app.data import Data
from hps_platform.errors import HpsError
from hps_platform.metrics import FAMILIES

if TYPE_CHECKING:
    from hps_platform.collector import ConnectionReport
    from hps_platform.store.servers import Server

HIDDEN = {"display": "none"}
CLOCK_S = 5.0
"""A host's clock may be off by this much before it is worth a word: samples carry our time."""


def dialog() -> Any:
    return dmc.Modal(
        [
            html.Div(
                dmc.Group([dmc.Loader(size="sm"), dmc.Text("Connecting…", size="sm")], p="md"),
                id="connection-waiting",
                role="status",
            ),
            html.Div(id="connection-report"),
            dmc.Group(
                [
                    dmc.Button("Test again", id="connection-again", variant="default"),
                    dmc.Button("Close", id="connection-close"),
                ],
                justify="flex-end",
                mt="md",
            ),
        ],
        id="connection",
        title="Test connection",
        size="lg",
        centered=True,
    )


def register(app: Dash, data: Data) -> None:
    async def test(asked: dict[str, Any] | None, _again: int | None) -> Any:
        if asked is None:
            return no_update
        try:
            server = await asyncio.to_thread(data.server, asked["id"])
            report = await asyncio.to_thread(data.test_connection, asked["id"])
        except HpsError as error:
            return notices.failure(error)
        return _report(server, report)

    app.callback(
        Output("connection-report", "children"),
        Input("server-test", "data"),
        Input("connection-again", "n_clicks"),
        prevent_initial_call=True,
        running=[
            (Output("connection-again", "disabled"), True, False),
            (Output("connection-waiting", "style"), {}, HIDDEN),
            (Output("connection-report", "style"), HIDDEN, {}),
        ],
    )(test)
    in_browser(
        app,
        "close",
        Output("connection", "opened", allow_duplicate=True),
        Input("connection-close", "n_clicks"),
        prevent_initial_call=True,
    )
    _register_pin(app, data)


def _register_pin(app: Dash, data: Data) -> None:
    async def pin(
        clicks: list[int | None], asked: dict[str, Any] | None, changed: int, again: int | None
    ) -> tuple[Any, ...]:
        if not any(clicks) or asked is None:
            return no_update, no_update, no_update
        try:
            await asyncio.to_thread(data.update_server, asked["id"], {"host_key": ctx.triggered_id["line"]})
        except HpsError as error:
            return notices.failure(error), no_update, no_update
        return no_update, changed + 1, (again or 0) + 1

    app.callback(
        Output("connection-report", "children", allow_duplicate=True),
        Output("servers-changed", "data", allow_duplicate=True),
        Output("connection-again", "n_clicks"),
        Input({"type": "pin", "line": ALL}, "n_clicks"),
        State("server-test", "data"),
        State("servers-changed", "data"),
        State("connection-again", "n_clicks"),
        prevent_initial_call=True,
    )(pin)


def _report(server: "Server", report: "ConnectionReport") -> Any:
    return dmc.Stack(
        [
            dmc.Text(f"{server.hostname} at {server.address}:{server.ssh_port}, {report.duration_s:.1f} s", fw=600),
            *(_step(good, words) for good, words in _steps(server, report)),
            dmc.Text(report.message, size="sm") if report.message and not report.ok else None,
            _host_keys(server, report) if report.host_key_state in ("not_pinned", "changed") else None,
            _families(report) if report.families else None,
        ],
        gap="xs",
    )


def _steps(server: "Server", report: "ConnectionReport") -> list[tuple[bool, str]]:
    """How far it went, in the order in which it is tried."""
    steps = [(report.reachable, "Reachable" if report.reachable else "Not reachable")]
    if not report.reachable:
        return steps
    keys = {
        "pinned": "Shows the pinned host key",
        "not_pinned": "Host key not confirmed yet",
        "changed": "Shows ANOTHER host key than the pinned one",
        "unknown": "Host key not seen",
    }
    steps.append((report.host_key_state == "pinned", keys.get(report.host_key_state, report.host_key_state)))
    if report.host_key_state != "pinned":
        return steps
    login = f"Login as {server.ssh_username} {'works' if report.login_ok else 'refused'}"
    steps.append((report.login_ok, login))
    if report.operating_system:
        facts = states.facts(report.operating_system, report.version, report.architecture)
        steps.append((True, f"{facts}, {text.count(report.cpus, 'CPU')}" if report.cpus else facts))
    if report.clock_offset_s is not None:
        right = abs(report.clock_offset_s) < CLOCK_S
        words = "Clock agrees" if right else f"Clock is {text.duration(report.clock_offset_s)} off"
        steps.append((right, words))
    return steps


def _step(good: bool, words: str) -> Any:
    shown = states.State(words, "green" if good else "red", 0, "✓" if good else "✕")
    return states.badge(shown)


def _host_keys(server: "Server", report: "ConnectionReport") -> Any:
    """The question that only a person can answer: is this the host?"""
    changed = report.host_key_state == "changed"
    warning = (
        "If nobody reinstalled this host, somebody may stand in between. Compare before you confirm: "
        if changed
        else "Compare with what the host itself prints: "
    )
    keys = [
        dmc.Group(
            [
                html.Div([dmc.Text(key.type, size="sm", fw=600), html.Span(key.sha256, className="hps-mono")]),
                dmc.Button(
                    "Confirm this key",
                    id={"type": "pin", "line": key.line},
                    size="xs",
                    variant="light" if not changed else "outline",
                    color="red" if changed else "brand",
                    **aria(label=f"Confirm the {key.type} key of {server.hostname}"),
                ),
            ],
            justify="space-between",
        )
        for key in report.host_keys
    ]
    return parts.panel(
        [
            dmc.Text([warning, dmc.Code("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")], size="sm", mb="xs"),
            dmc.Stack(keys, gap="xs"),
        ],
        title="The host key has changed" if changed else "Is this the host?",
    )


def _families(report: "ConnectionReport") -> Any:
    rows = [
        parts.row(
            [
                parts.cell(FAMILIES[name].title if name in FAMILIES else name),
                parts.cell(_step(one.ok, "works" if one.ok else one.message or "failed")),
                parts.cell(one.command, className="hps-mono"),
            ]
        )
        for name, one in report.families.items()
    ]
    return parts.table(["Family", "Result", "Command"], rows, caption="What can be read on this host", min_width=480)
