"""One incident: what it was, what explains it, its life, and the buttons that go on with it."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from dash_app.components import choices, notices, parts, states, text
from dash_app.components.aria import aria
from dash_app.data import Data
from dash_app.figures import Theme
from dash_app.pages.anomalies import minute
from dash_app.session import current_user
from hps_platform.analysis import words
from hps_platform.errors import HpsError, NotFound

_STEPS = {
    "acknowledge": ("Acknowledge", ("open",)),
    "resolve": ("Resolve", ("open", "acknowledged")),
    "false-alarm": ("False alarm", ("open", "acknowledged", "resolved")),
    "reopen": ("Open again", ("acknowledged", "resolved", "false_alarm")),
}
_NAMED = 5
_HAPPENED = {
    "opened": "Opened",
    "acknowledged": "Acknowledged",
    "resolved": "Resolved",
    "false_alarm": "Called a false alarm",
    "reopened": "Opened again",
    "merged": "Put together",
    "unlearnt": "What it taught was undone",
}


def address(incident: Mapping[str, Any]) -> str:
    """Of the page that explains it; with its strangest minute, which stays when incidents are put together anew."""
    at = choices.iso(incident["peak_at"])
    return f"/anomalies?incident={incident['id']}&server={incident['peak_server_id']}&at={at}"


def frame(incident_id: int) -> Any:
    return html.Div(
        [
            dcc.Store(id="incident-which", data=incident_id),
            dcc.Store(id="incident-changed", data=0),
            html.Div(id="incident-error"),
            html.Div([parts.heading("Incident"), notices.loading(6, 60)], id="incident-body"),
        ]
    )


def register(app: Dash, data: Data) -> None:
    async def show(incident_id: int, _changed: int, theme: Theme | None) -> Any:
        if theme is None:  # the browser says which in a moment
            raise PreventUpdate
        try:
            return await build(data, incident_id, theme, admin=current_user().is_admin)
        except NotFound as error:
            return [parts.heading("Incident"), notices.empty("This incident is not there", str(error), minute.back())]
        except HpsError as error:
            return [parts.heading("Incident"), notices.failure(error)]

    app.callback(
        Output("incident-body", "children"),
        Input("incident-which", "data"),
        Input("incident-changed", "data"),
        Input("scheme", "data"),
    )(show)

    async def go_on(
        clicks: Sequence[int | None], incident_id: int, reasons: Sequence[str | None], changed: int
    ) -> tuple[Any, Any]:
        if not any(clicks):  # buttons that were drawn anew
            raise PreventUpdate
        step = ctx.triggered_id["do"]
        try:
            await asyncio.to_thread(data.handle_incident, incident_id, step, (reasons[0] or "").strip()[:1000])
        except HpsError as error:
            return notices.failure(error), no_update
        return None, changed + 1

    app.callback(
        Output("incident-error", "children"),
        Output("incident-changed", "data"),
        Input({"type": "incident-step", "do": ALL}, "n_clicks"),
        State("incident-which", "data"),
        State({"type": "incident-reason", "of": ALL}, "value"),
        State("incident-changed", "data"),
        prevent_initial_call=True,
    )(go_on)


async def build(data: Data, incident_id: int, theme: Theme, *, admin: bool) -> Any:
    """The page; `NotFound`."""
    found = await asyncio.to_thread(data.incident, incident_id)
    names = {part["server_id"]: part["hostname"] for part in found["servers"]}
    length = text.duration((found["ended_at"] - found["started_at"]).total_seconds())
    who = names[found["peak_server_id"]] if len(names) == 1 else text.count(len(names), "server")
    explanation = found["explanation"]
    return dmc.Stack(
        [
            parts.heading(
                f"{who}, {text.clock(found['started_at'])}",
                f"{found['severity'].capitalize()} severity, {length}, lowest score"
                f" {text.score(found['peak_score'], 3)} of −1 (strangest) to 0",
                right=minute.back(),
            ),
            dmc.Alert(found["sentence"], color=_color(found["state"]), variant="light", title="In one sentence"),
            _handling(found, names, admin=admin),
            *await _peak(data, found, theme),
            _servers(found["servers"]) if len(names) > 1 else None,
            dmc.Grid(
                [
                    dmc.GridCol(_moment(found, explanation, names), span={"base": 12, "md": 6}),
                    dmc.GridCol(_around(explanation, names), span={"base": 12, "md": 6}),
                ],
                gutter="sm",
            ),
        ],
        gap="sm",
    )


def _color(state: str) -> str:
    return states.incident(state).color


def _handling(found: Mapping[str, Any], names: Mapping[int, str], *, admin: bool) -> Any:
    """State, buttons, and its life so far."""
    buttons = [
        dmc.Button(label, id={"type": "incident-step", "do": step}, size="xs", variant="default", disabled=not admin)
        for step, (label, allowed) in _STEPS.items()
        if found["state"] in allowed
    ]
    reason = dmc.TextInput(
        id={"type": "incident-reason", "of": found["id"]},
        placeholder="Why, for those who come later",
        size="xs",
        flex=1,
        miw=180,
        maw=420,
        disabled=not admin,
        **aria(label="Reason"),
    )
    return parts.panel(
        [
            dmc.Group([states.badge(states.incident(found["state"])), reason, *buttons], gap="xs", mb="xs"),
            *[_happened(one) for one in found["events"]],
            *[dmc.Text(_taught(one, names), size="sm", mt="xs") for one in found["learnt"]],
        ],
        title="State",
    )


def _happened(one: Mapping[str, Any]) -> Any:
    who = f" by {one['actor']}" if one["actor"] else ""
    why = f": {one['reason']}" if one["reason"] else ""
    return dmc.Text(
        f"{text.clock(one['at'])}  {_HAPPENED.get(one['kind'], one['kind'])}{who}{why}", size="sm", c="dimmed"
    )


def _taught(one: Mapping[str, Any], names: Mapping[int, str]) -> str:
    return f"{names.get(one['server_id'], 'The server')} is quieter now: {taught(one)} “Open again” undoes it."


def taught(one: Mapping[str, Any]) -> str:
    """ "Disk throughput from 05:30 to 06:40 UTC counts only at a score of −0.65 or lower."."""
    until = (one["from_minute"] + one["minutes"]) % 1440
    when = f"from {_clock(one['from_minute'])} to {_clock(until)} UTC"
    metrics = text.listing([words.label(name) for name in one["metrics"]])
    if one["demanded_score"] < -1:
        return f"{metrics} {when} does not count."
    return f"{metrics} {when} counts only at a score of {text.score(one['demanded_score'])} or lower."


def _clock(minute_of_day: int) -> str:
    return f"{minute_of_day // 60:02}:{minute_of_day % 60:02}"


async def _peak(data: Data, found: Mapping[str, Any], theme: Theme) -> list[Any]:
    """The strangest minute, as long as it is kept."""
    try:
        row, scores, mlflow = await minute.measured(data, found["peak_server_id"], found["peak_at"])
    except NotFound:
        return [dmc.Text("The scores of its minutes are past their time.", size="sm", c="dimmed")]
    return minute.panels(row, scores, mlflow, theme)


def _servers(servers: Sequence[Mapping[str, Any]]) -> Any:
    rows = [
        parts.row(
            [
                parts.cell(parts.link(one["hostname"], _minute_address(one["server_id"], one["peak_at"]))),
                parts.cell(text.clock(one["started_at"])),
                parts.cell(text.listing([words.label(name) for name in one["heads"]])),
                parts.number_cell(text.duration((one["ended_at"] - one["started_at"]).total_seconds())),
                parts.number_cell(text.score(one["peak_score"])),
            ]
        )
        for one in servers
    ]
    head = ["Server", "Since", "What stood out", parts.number_head("Length"), parts.number_head("Lowest score")]
    return parts.panel(parts.table(head, rows, caption="Its servers, the strangest first"), title="Servers")


def _minute_address(server_id: int, at: datetime) -> str:
    return f"/anomalies?server={server_id}&at={choices.iso(at)}"


def _moment(found: Mapping[str, Any], explanation: Mapping[str, Any], names: Mapping[int, str]) -> Any:
    """What ran and how full it was, when it was strangest."""
    processes = [
        parts.row(
            [
                parts.cell(one["command"], className="hps-mono"),
                parts.number_cell(text.quantity(one["cpu_pct"], "%")),
                parts.number_cell(text.quantity(one["rss_kb"], "KiB")),
            ]
        )
        for one in explanation["processes"]
    ]
    head = ["Process", parts.number_head("CPU"), parts.number_head("Memory")]
    full = [(one["mount"], text.quantity(one["used_pct"], "%")) for one in explanation["filesystems"]]
    return parts.panel(
        [
            dmc.Text(f"{names[found['peak_server_id']]}, {text.clock(found['peak_at'])}", size="sm", c="dimmed"),
            parts.table(head, processes, caption="The busiest processes", min_width=320)
            if processes
            else dmc.Text("No processes were sampled then.", size="sm", c="dimmed"),
            _absent(explanation["absent"]),
            dmc.Title("Fullest file systems", order=3, size="h6", mt="sm"),
            parts.facts_table(full) if full else dmc.Text("None was sampled then.", size="sm", c="dimmed"),
        ],
        title="What ran at its peak",
        h="100%",
    )


def _absent(programs: Sequence[str]) -> Any:
    if not programs:
        return None
    return dmc.Text(f"Usual at this hour and not running: {text.listing(list(programs), _NAMED)}.", size="sm", mt="xs")


def _around(explanation: Mapping[str, Any], names: Mapping[int, str]) -> Any:
    """Its like in the past, and what else happened."""
    similar = [
        parts.row(
            [
                parts.cell(
                    parts.link(f"{one['started_at']:%Y-%m-%d %H:%M}", f"/anomalies?incident={one['id']}"),
                    style={"whiteSpace": "nowrap"},
                ),
                parts.cell([one["hostname"], html.Span(states.incident(one["state"]).label, className="hps-sub")]),
                parts.cell(one["sentence"]),
            ]
        )
        for one in explanation["similar"]
    ]
    nearby = [
        *((one["at"], _event(one, names)) for one in explanation["nearby"]),
        *((one["start"], _window(one, names)) for one in explanation["maintenance"]),
    ]
    lines = [dmc.Text(f"{text.clock(at)}  {told}", size="sm") for at, told in sorted(nearby)]
    return parts.panel(
        [
            parts.table(["When (UTC)", "Server", "What stood out"], similar, caption="Similar ones", min_width=420)
            if similar
            else dmc.Text("None is known of the same metric, here or on its like.", size="sm", c="dimmed"),
            dmc.Title("Nearby", order=3, size="h6", mt="sm"),
            *(lines or [dmc.Text("Collectors told nothing, no restart, no maintenance.", size="sm", c="dimmed")]),
        ],
        title="Similar ones before",
        h="100%",
    )


def _event(one: Mapping[str, Any], names: Mapping[int, str]) -> str:
    """What a collector told, with the server's name where it isn't in it."""
    host, told = names[one["server_id"]], one["message"] or one["kind"]
    return told if host in told else f"{host}: {told}"


def _window(one: Mapping[str, Any], names: Mapping[int, str]) -> str:
    return f"{names[one['server_id']]}: maintenance until {text.clock(one['end'])}"
