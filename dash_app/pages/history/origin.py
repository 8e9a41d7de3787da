"""Where a point on a chart came from: what a click on it opens."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, dcc, html, no_update

from dash_app.components import notices, parts, text
from dash_app.components.aria import in_browser
from dash_app.data import Data
from hps_platform.errors import HpsError
from hps_platform.metrics import FAMILIES

_RAW_CHARACTERS = 20_000
_ROWS = 40


def dialog() -> list[Any]:
    """The drawer, empty, and what a click writes down."""
    return [
        dcc.Store(id="history-point"),
        dmc.Drawer(
            html.Div(notices.loading(6), id="origin-told"),
            id="origin",
            title="Where this point comes from",
            position="right",
            size="lg",
        ),
    ]


def step(step_s: float | None) -> Any:
    """How far a chart's points lie apart: a point stands for the samples up to the next one."""
    return dcc.Store(id="history-step", data=step_s or 0.0)


def register(app: Dash, data: Data) -> None:
    in_browser(
        app,
        "clicked",
        Output("history-point", "data"),
        Input({"type": "history-chart", "column": ALL}, "clickData"),
        prevent_initial_call=True,
    )

    async def show(point: dict[str, Any] | None, family: str, step_s: float | None) -> tuple[Any, Any]:
        if not point:
            return no_update, no_update
        moment = datetime.fromtimestamp(point["at"] / 1000, UTC)
        within = timedelta(seconds=step_s or 0.0)
        try:
            found = await asyncio.to_thread(data.provenance, family, point["server"], moment, within=within)
        except HpsError as error:
            return True, notices.failure(error)
        return True, told(found, moment)

    app.callback(
        Output("origin", "opened"),
        Output("origin-told", "children"),
        Input("history-point", "data"),
        State("history-family", "value"),
        State("history-step", "data"),
        prevent_initial_call=True,
    )(show)


def told(found: Mapping[str, Any], clicked: datetime) -> Any:
    """The way back from a sample, in the order of its steps."""
    lead = None
    if found["timestamp"] != clicked:
        lead = notices.note(
            f"The point stands for several samples; this is the first, of {_moment(found['timestamp'])}."
        )
    return dmc.Stack(
        [
            lead,
            notices.note(found["note"], title="The message is gone") if found["note"] else None,
            parts.facts_table(_facts(found)),
            _judged(found["reparsed"]),
            _raw(found["raw"]),
            _rows(found),
        ],
        gap="sm",
    )


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d} UTC"


def _place(found: Mapping[str, Any]) -> str:
    return f"{found['topic']}[{found['kafka_partition']}] {found['kafka_offset']}"


def _facts(found: Mapping[str, Any]) -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = [("Sample", _moment(found["timestamp"]))]
    if found["command"] is not None:
        code = "still running" if found["exit_code"] is None else found["exit_code"]
        lines += [
            ("Command", html.Code(found["command"])),
            ("Exit code", code),
            ("Parser", found["parser"]),
            ("Collected by", f"{found['collector']}, session {found['session']}, sample {found['seq']}"),
        ]
    lines.append(("Kafka", _place(found)))
    run = found["run_id"]
    lines.append(
        ("Landed by", parts.outside(f"Dagster run {run[:8]}", found["run_url"]) if run else "not written down")
    )
    lines.append(("Table", found["partition"]))
    if (before := found["predecessor"]) is not None:
        lines.append(("Rates since", f"{_moment(before['timestamp'])}, {_place(before)}"))
    if (scored := found["anomaly"]) is not None:
        name = f"{text.score(scored['anomaly_score'])} by model version {scored['model_version']}"
        shown = parts.outside(name, scored["mlflow_url"]) if scored["mlflow_url"] else name
        lines.append(("Anomaly score", shown))
    return lines


def _judged(reparsed: Mapping[str, Any] | None) -> Any:
    if reparsed is None:
        return None
    if reparsed["equal"]:
        return dmc.Text(f"Parsed again by {reparsed['parser']}: the same rows.", size="sm", c="dimmed")
    said = reparsed["message"] or f"{reparsed['parser']} gives {text.count(len(reparsed['rows']), 'row')} today"
    return notices.note(said, title="Parsed again, the text gives other rows")


def _raw(raw: str | None) -> Any:
    if raw is None:
        return None
    short = raw[:_RAW_CHARACTERS]
    label = "Output" if len(short) == len(raw) else f"Output, its first {len(short):,} characters"
    return html.Div(
        [dmc.Text(label, fw=600, size="sm"), dmc.Code(short, block=True, mah=320, style={"overflow": "auto"})]
    )


def _rows(found: Mapping[str, Any]) -> Any:
    family = FAMILIES[found["metric"]]
    printed = [column for column in family.columns if any(row[column.name] is not None for row in found["rows"])]
    head = [parts.number_head(column.label or column.name) for column in printed]
    rows = [
        parts.row([parts.number_cell("" if (value := row[column.name]) is None else str(value)) for column in printed])
        for row in found["rows"][:_ROWS]
    ]
    title = f"Rows in the table ({len(found['rows'])})"
    return html.Div([dmc.Text(title, fw=600, size="sm"), parts.table(head, rows, caption=title, min_width=400)])
