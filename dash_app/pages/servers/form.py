"""The form that adds or changes a server. What a field may hold is checked by the registry; its sentence is shown."""

import asyncio
import json
import time
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update

from dash_app.components import notices, states
from dash_app.components.aria import in_browser
from dash_app.data import Data
from hps_platform.dialects import SYSTEMS
from hps_platform.errors import HpsError, InvalidInput

_PLAIN = ("hostname", "ip_address", "ssh_port", "ssh_username", "operating_system", "tags")
_SECRETS = ("ssh_password", "ssh_private_key", "ssh_key_passphrase")
_FIELDS = (*_PLAIN, *_SECRETS, "settings")
_KEEP = "Stored; leave empty to keep it"


def dialog() -> Any:
    return dmc.Drawer(
        html.Div(
            [
                html.Div(id="form-error"),
                dmc.Stack(
                    [
                        dmc.TextInput(id="form-hostname", label="Host name", required=True, autoComplete="off"),
                        dmc.Group(
                            [
                                dmc.TextInput(
                                    id="form-ip_address",
                                    label="IP address",
                                    description="Empty: reached by its host name",
                                    autoComplete="off",
                                    flex=1,
                                    miw=200,
                                ),
                                dmc.NumberInput(
                                    id="form-ssh_port", label="SSH port", value=22, min=1, max=65535, w=110
                                ),
                            ],
                            align="flex-end",
                        ),
                        dmc.TextInput(id="form-ssh_username", label="Account", required=True, autoComplete="off"),
                        *_secret_inputs(),
                        dmc.Select(
                            id="form-operating_system",
                            label="Operating system",
                            data=[{"value": name, "label": states.system(name)} for name in SYSTEMS],
                            placeholder="Found at login",
                            clearable=True,
                        ),
                        dmc.TagsInput(id="form-tags", label="Tags", placeholder="production, db"),
                        dmc.Switch(id="form-is_active", label="Collect from this server", checked=True),
                        dmc.JsonInput(
                            id="form-settings",
                            label="Settings of this server",
                            description='JSON: "intervals" (s) and "commands" by family, "disabled" families',
                            placeholder='{"intervals": {"vmstat": 5}, "disabled": ["process"]}',
                            autosize=True,
                            minRows=2,
                            formatOnBlur=True,
                            validationError="This is not JSON",
                        ),
                        dmc.Group(
                            [
                                dmc.Button("Cancel", id="form-cancel", variant="default"),
                                dmc.Button("Save", id="form-save"),
                            ],
                            justify="flex-end",
                        ),
                    ],
                    gap="sm",
                ),
                dcc.Store(id="form-id"),
            ]
        ),
        id="form",
        title="Server",
        position="right",
        size="md",
        padding="md",
        closeOnClickOutside=False,
    )


def _secret_inputs() -> list[Any]:
    return [
        dmc.PasswordInput(id="form-ssh_password", label="Password", autoComplete="new-password"),
        dmc.Textarea(
            id="form-ssh_private_key",
            label="Private key",
            description="OpenSSH or PEM; an alternative to the password",
            autosize=True,
            minRows=2,
            maxRows=5,
            autoComplete="off",
            spellCheck=False,
            classNames={"input": "hps-mono"},
        ),
        dmc.PasswordInput(id="form-ssh_key_passphrase", label="Passphrase of the key", autoComplete="new-password"),
        dmc.CheckboxGroup(
            dmc.Group(
                [
                    dmc.Checkbox(label="Forget the password", value="ssh_password"),
                    dmc.Checkbox(label="Forget the key", value="ssh_private_key"),
                ]
            ),
            id="form-forget",
            value=[],
        ),
    ]


def register(app: Dash, data: Data) -> None:
    async def opened(_add: int | None, asked: dict[str, Any] | None) -> list[Any]:
        if ctx.triggered_id == "servers-add" or asked is None:
            return [True, "Add a server", None, *_blank()]
        server = await asyncio.to_thread(data.server, asked["id"])
        return [True, f"Change {server.hostname}", server.id, *_filled(server)]

    app.callback(
        Output("form", "opened"),
        Output("form", "title"),
        Output("form-id", "data"),
        *[Output(f"form-{name}", "value") for name in _FIELDS],
        Output("form-is_active", "checked"),
        Output("form-ssh_password", "placeholder"),
        Output("form-ssh_private_key", "placeholder"),
        Output("form-forget", "value"),
        Output("form-forget", "style"),
        Output("form-error", "children"),
        Input("servers-add", "n_clicks"),
        Input("server-edit", "data"),
        prevent_initial_call=True,
    )(opened)
    in_browser(
        app,
        "close",
        Output("form", "opened", allow_duplicate=True),
        Input("form-cancel", "n_clicks"),
        prevent_initial_call=True,
    )
    _register_save(app, data)


def _register_save(app: Dash, data: Data) -> None:

    async def save(_: int | None, server_id: int | None, changed: int, *values: Any) -> tuple[Any, ...]:
        try:
            fields = _fields(dict(zip((*_FIELDS, "is_active", "forget"), values, strict=True)))
            if server_id is None:
                server = await asyncio.to_thread(data.add_server, fields)
            else:
                server = await asyncio.to_thread(data.update_server, server_id, fields)
        except HpsError as error:
            return no_update, notices.failure(error), no_update, no_update, no_update
        # Who has no pinned key yet goes on to the fingerprints.
        following = (no_update, no_update) if server.host_key else ({"id": server.id, "at": time.time()}, True)
        return False, None, changed + 1, *following

    app.callback(
        Output("form", "opened", allow_duplicate=True),
        Output("form-error", "children", allow_duplicate=True),
        Output("servers-changed", "data", allow_duplicate=True),
        Output("server-test", "data", allow_duplicate=True),
        Output("connection", "opened", allow_duplicate=True),
        Input("form-save", "n_clicks"),
        State("form-id", "data"),
        State("servers-changed", "data"),
        *[State(f"form-{name}", "value") for name in _FIELDS],
        State("form-is_active", "checked"),
        State("form-forget", "value"),
        prevent_initial_call=True,
        running=[(Output("form-save", "loading"), True, False)],
    )(save)


def _blank() -> list[Any]:
    return ["", "", 22, "", None, [], "", "", "", "", True, "", "", [], {"display": "none"}, None]


def _filled(server: Any) -> list[Any]:
    kept = server.has_password or server.has_private_key
    return [
        server.hostname,
        server.ip_address or "",
        server.ssh_port,
        server.ssh_username,
        server.operating_system,
        server.tags,
        *[""] * len(_SECRETS),
        json.dumps(server.settings, indent=2) if server.settings else "",
        server.is_active,
        _KEEP if server.has_password else "",
        _KEEP if server.has_private_key else "",
        [],
        {} if kept else {"display": "none"},
        None,
    ]


def _fields(form: dict[str, Any]) -> dict[str, Any]:
    """What the registry is told: an empty secret is left out, so that the stored one stays."""
    fields = {name: form[name] for name in _PLAIN}
    fields["ip_address"] = (form["ip_address"] or "").strip() or None
    fields["operating_system"] = form["operating_system"] or None
    fields["is_active"] = bool(form["is_active"])
    fields |= {name: form[name] for name in _SECRETS if form[name]}
    fields |= {name: None for name in form["forget"] or [] if not form[name]}
    try:
        fields["settings"] = json.loads(form["settings"]) if (form["settings"] or "").strip() else {}
    except ValueError:
        raise InvalidInput("settings is not JSON") from None
    return fields
