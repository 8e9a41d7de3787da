"""The drawer with the thresholds of servers and metrics, and with what false alarms taught.

What a field may hold is checked where thresholds are stored; its sentence is shown.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from dash_app.components import icons, notices, parts, text
from dash_app.components.aria import aria, in_browser
from dash_app.data import Data
from dash_app.pages.anomalies.incident import taught
from dash_app.session import current_user
from hps_platform.analysis import words
from hps_platform.errors import HpsError, InvalidInput
from hps_platform.store.minutes import FEATURES
from hps_platform.store.thresholds import SEVERITIES

if TYPE_CHECKING:
    from hps_platform.store.servers import Server

_ANY = "*"
# Inputs of the form in the order of what they hold, with the property that holds it.
_FIELDS = {
    "server_id": "value",
    "metric_name": "value",
    "anomaly_score_threshold": "value",
    "severity_level": "value",
    "alert_cooldown_minutes": "value",
    "enable_alerts": "checked",
    "is_active": "checked",
}
_BLANK = (None, _ANY, -0.1, "medium", 30, True, True)


def dialog(known: "Sequence[Server]") -> Any:
    return dmc.Drawer(
        html.Div(
            [
                dmc.Text(
                    "The alert budget decides what is anomalous. A threshold demands more of a server's metric: a "
                    "minute headed by it counts only at this score or lower, from −1 (strangest) to 0. Cooldown and "
                    "notifying change nothing in what counts.",
                    size="sm",
                    c="dimmed",
                    mb="sm",
                ),
                html.Div(id="thresholds-error"),
                html.Div(notices.loading(3), id="thresholds-table"),
                dmc.Title("Add or change one", order=3, size="h6", mt="md", mb="xs", id="threshold-title"),
                _form(known),
                dmc.Title("Quieter after false alarms", order=3, size="h6", mt="lg", mb="xs"),
                html.Div(id="thresholds-learnt"),
                dcc.Store(id="threshold-id"),
                dcc.Store(id="thresholds-changed", data=0),
            ]
        ),
        id="thresholds",
        title="Thresholds",
        position="right",
        size="lg",
        padding="md",
    )


def _form(known: "Sequence[Server]") -> Any:
    metrics = [
        {"value": _ANY, "label": "Every other metric"},
        *({"value": name, "label": words.label(name)} for name in FEATURES),
    ]
    return dmc.Stack(
        [
            dmc.Group(
                [
                    dmc.Select(
                        id="threshold-server_id",
                        label="Server",
                        data=[{"value": str(one.id), "label": one.hostname} for one in known],
                        searchable=True,
                        flex=1,
                        miw=160,
                    ),
                    dmc.Select(
                        id="threshold-metric_name",
                        label="Metric",
                        data=metrics,
                        value=_ANY,
                        allowDeselect=False,
                        flex=1,
                        miw=160,
                    ),
                ],
                align="flex-end",
            ),
            dmc.Group(
                [
                    dmc.NumberInput(
                        id="threshold-anomaly_score_threshold",
                        label="Score at or below",
                        value=-0.1,
                        min=-1,
                        max=0,
                        step=0.05,
                        decimalScale=3,
                        w=130,
                    ),
                    dmc.Select(
                        id="threshold-severity_level",
                        label="Severity",
                        data=[{"value": name, "label": name.capitalize()} for name in SEVERITIES],
                        value="medium",
                        allowDeselect=False,
                        w=130,
                    ),
                    dmc.NumberInput(
                        id="threshold-alert_cooldown_minutes",
                        label="Cooldown (min)",
                        value=30,
                        min=0,
                        max=10_080,
                        allowDecimal=False,
                        w=130,
                    ),
                ],
                align="flex-end",
            ),
            dmc.Group(
                [
                    dmc.Switch(id="threshold-enable_alerts", label="Notify", checked=True),
                    dmc.Switch(id="threshold-is_active", label="In force", checked=True),
                ]
            ),
            dmc.Group(
                [
                    dmc.Button("Start anew", id="threshold-blank", variant="default"),
                    dmc.Button("Save", id="threshold-save", disabled=not current_user().is_admin),
                ],
                justify="flex-end",
            ),
        ],
        gap="sm",
    )


def register(app: Dash, data: Data) -> None:
    in_browser(
        app,
        "open",
        Output("thresholds", "opened"),
        Input("thresholds-open", "n_clicks"),
        prevent_initial_call=True,
    )

    async def show(_open: int | None, _changed: int) -> tuple[Any, Any]:
        try:
            found, learnt, servers = await asyncio.gather(
                asyncio.to_thread(data.thresholds), asyncio.to_thread(data.learnt), asyncio.to_thread(data.servers)
            )
        except HpsError as error:
            return notices.failure(error), None
        names = {server.id: server.hostname for server in servers}
        admin = current_user().is_admin
        return _table(found, names, admin=admin), _learnt(learnt, names, admin=admin)

    app.callback(
        Output("thresholds-table", "children"),
        Output("thresholds-learnt", "children"),
        Input("thresholds-open", "n_clicks"),
        Input("thresholds-changed", "data"),
        prevent_initial_call=True,
    )(show)
    _register_rows(app, data)
    _register_save(app, data)


def _register_rows(app: Dash, data: Data) -> None:
    async def chosen(_rows: Sequence[int | None], _blank: int | None, changed: int) -> tuple[Any, ...]:
        if not ctx.triggered[0]["value"]:  # buttons that were drawn anew
            raise PreventUpdate
        kept = (no_update,) * (len(_FIELDS) + 2)
        if ctx.triggered_id == "threshold-blank":
            return (*_BLANK, None, "Add or change one", None, no_update)
        do, number = ctx.triggered_id["do"], ctx.triggered_id["id"]
        try:
            if do == "edit":
                one = await asyncio.to_thread(data.threshold, number)
                return (*_filled(one), number, "Change it", None, no_update)
            await asyncio.to_thread(data.remove_threshold if do == "remove" else data.unlearn, number)
        except HpsError as error:
            return (*kept, notices.failure(error), no_update)
        return (*kept, None, changed + 1)

    app.callback(
        *[Output(f"threshold-{name}", held) for name, held in _FIELDS.items()],
        Output("threshold-id", "data"),
        Output("threshold-title", "children"),
        Output("thresholds-error", "children"),
        Output("thresholds-changed", "data"),
        Input({"type": "threshold-action", "do": ALL, "id": ALL}, "n_clicks"),
        Input("threshold-blank", "n_clicks"),
        State("thresholds-changed", "data"),
        prevent_initial_call=True,
    )(chosen)


def _register_save(app: Dash, data: Data) -> None:
    async def save(_: int | None, number: int | None, changed: int, *values: Any) -> tuple[Any, ...]:
        try:
            fields = _fields(values)
            if number is None:
                await asyncio.to_thread(data.add_threshold, fields)
            else:
                await asyncio.to_thread(data.update_threshold, number, fields)
        except HpsError as error:
            return notices.failure(error), no_update, no_update, no_update
        return None, changed + 1, None, "Add or change one"

    app.callback(
        Output("thresholds-error", "children", allow_duplicate=True),
        Output("thresholds-changed", "data", allow_duplicate=True),
        Output("threshold-id", "data", allow_duplicate=True),
        Output("threshold-title", "children", allow_duplicate=True),
        Input("threshold-save", "n_clicks"),
        State("threshold-id", "data"),
        State("thresholds-changed", "data"),
        *[State(f"threshold-{name}", held) for name, held in _FIELDS.items()],
        prevent_initial_call=True,
        running=[(Output("threshold-save", "loading"), True, False)],
    )(save)


def _fields(values: Sequence[Any]) -> dict[str, Any]:
    """What the inputs hold, in the order of `_FIELDS`, as the registry of thresholds takes it."""
    entered = dict(zip(_FIELDS, values, strict=True))
    if not entered["server_id"]:
        raise InvalidInput("Choose a server.")
    for name, told in (("anomaly_score_threshold", "score"), ("alert_cooldown_minutes", "cooldown")):
        if not isinstance(entered[name], int | float):
            raise InvalidInput(f"The {told} is no number.")
    return {**entered, "server_id": int(entered["server_id"])}


def _filled(threshold: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(str(threshold[name]) if name == "server_id" else threshold[name] for name in _FIELDS)


def _table(found: Sequence[Mapping[str, Any]], names: Mapping[int, str], *, admin: bool) -> Any:
    if not found:
        return dmc.Text("None is set: the alert budget alone decides.", size="sm", c="dimmed")
    head = ["Server", "Metric", parts.number_head("Score"), "Severity", parts.number_head("Cooldown"), "State", ""]
    rows = [
        parts.row(
            [
                parts.cell(names.get(one["server_id"], str(one["server_id"]))),
                parts.cell("Every other" if one["metric_name"] == _ANY else words.label(one["metric_name"])),
                parts.number_cell(text.score(one["anomaly_score_threshold"])),
                parts.cell(one["severity_level"].capitalize()),
                parts.number_cell(f"{one['alert_cooldown_minutes']} min"),
                parts.cell(_in_force(one)),
                parts.number_cell(
                    [_action("edit", one["id"], "Change"), _action("remove", one["id"], "Remove")] if admin else None
                ),
            ]
        )
        for one in found
    ]
    return parts.table(head, rows, caption="Thresholds by server and metric", min_width=560)


def _in_force(one: Mapping[str, Any]) -> str:
    if not one["is_active"]:
        return "Off"
    return "On" if one["enable_alerts"] else "On, silent"


def _learnt(learnt: Sequence[Mapping[str, Any]], names: Mapping[int, str], *, admin: bool) -> Any:
    if not learnt:
        return dmc.Text("Nothing: no incident was called a false alarm.", size="sm", c="dimmed")
    return [
        dmc.Group(
            [
                dmc.Text(
                    [f"{names.get(one['server_id'], one['server_id'])}: {taught(one)} ", _origin(one)],
                    size="sm",
                    flex=1,
                ),
                _action("forget", one["id"], "Undo") if admin else None,
            ],
            wrap="nowrap",
            gap="xs",
        )
        for one in learnt
    ]


def _origin(one: Mapping[str, Any]) -> Any:
    who = f"by {one['created_by']}" if one["created_by"] else ""
    if one["incident_id"] is None:
        return who
    return html.Span([parts.link("Its incident", f"/anomalies?incident={one['incident_id']}"), f" {who}"])


def _action(do: str, number: int, label: str) -> Any:
    return html.Button(
        id={"type": "threshold-action", "do": do, "id": number},
        className=f"hps-action{'' if do == 'edit' else ' hps-action-remove'}",
        title=label,
        style=icons.mask("edit" if do == "edit" else "bin"),
        **aria(label=f"{label}: {number}"),
    )
