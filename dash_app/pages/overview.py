"""Overview: the fleet at a glance, worst first, and what was unusual in the last day. It refreshes itself."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc
import polars as pl
from dash import Dash, Input, Output, dcc, html

from dash_app.components import notices, parts, states, text
from dash_app.components.aria import aria
from dash_app.components.sparkline import sparkline
from dash_app.data import Data, Page
from dash_app.pages import AppPage, Query
from dash_app.pages.anomalies import incident
from hps_platform.errors import HpsError

if TYPE_CHECKING:
    from hps_platform.store.servers import Server

REFRESH_S = 10
STALE_S = 120.0
"""A server that is logged in but sent nothing for so long is shown as stale."""
HOT_PCT = 90.0
MAX_INCIDENTS = 10
MAX_ROWS = 100
"""Servers in the table: those after them are doing better."""
_DAY = timedelta(days=1)
_PRESSING = 30
"""Percent of load that an incident weighs."""
_REAL = ("open", "acknowledged", "resolved")
"""Incidents that nobody called a false alarm."""


@dataclass(frozen=True, slots=True)
class Headline:
    """A value of the fleet table: the overview frame's column, its unit, and the column of its sparkline, if any."""

    title: str
    column: str
    unit: str
    spark: str = ""

    @property
    def ceiling(self) -> float | None:
        return 100.0 if self.unit == "%" else None


HEADLINES = (
    Headline("CPU busy", "cpu_busy_pct", "%", "cpu_spark"),
    Headline("Memory used", "mem_used_pct", "%", "mem_spark"),
    Headline("Busiest disk", "disk_busy_pct", "%", "disk_spark"),
    Headline("Packets/s", "net_pkts_s", "", "net_spark"),
    Headline("Fullest FS", "fs_used_pct", "%"),
)


async def layout(data: Data, query: Query) -> Any:
    return html.Div(
        [
            parts.heading(
                "Overview",
                "All servers, the worst first. Lines show the last hour, incidents are those of the last day.",
            ),
            html.Div(id="overview-progress"),
            html.Div(notices.loading(8), id="overview-body", **aria(live="off")),
            dcc.Interval(id="overview-tick", interval=REFRESH_S * 1000),
        ]
    )


def register(app: Dash, data: Data) -> None:
    async def body(_: int | None) -> tuple[Any, Any]:
        return await _build(data, datetime.now(UTC))

    app.callback(
        Output("overview-progress", "children"),
        Output("overview-body", "children"),
        Input("overview-tick", "n_intervals"),
    )(body)


async def _build(data: Data, now: datetime) -> tuple[Any, Any]:
    """The banner of the preparation, and the page; each part says for itself when it is not available."""
    progress, servers, frame, found = await asyncio.gather(
        asyncio.to_thread(data.progress),
        asyncio.to_thread(data.servers),
        asyncio.to_thread(data.overview),
        asyncio.to_thread(data.incidents, states=_REAL, start=now - _DAY, end=now, page_size=1000),
        return_exceptions=True,
    )
    banner = None if isinstance(progress, BaseException) else _progress(progress)
    for answer in (servers, frame, found):
        if isinstance(answer, BaseException) and not isinstance(answer, HpsError):
            raise answer
    if isinstance(servers, BaseException) or isinstance(frame, BaseException):
        return banner, notices.failure(next(one for one in (servers, frame) if isinstance(one, Exception)))
    if not servers:
        return banner, notices.empty(
            "No servers yet",
            "Add the first one: an address and an account that may run vmstat, iostat and their kin.",
            parts.link("Add a server", "/servers"),
        )
    return banner, _page(servers, frame, found, now)


def _page(servers: "Sequence[Server]", frame: pl.DataFrame, found: Page | BaseException, now: datetime) -> Any:
    incidents: list[dict[str, Any]] = found.results if isinstance(found, Page) else []
    unusual = notices.failure(found) if isinstance(found, Exception) else _incidents(incidents, now)
    rows = {row["server_id"]: row for row in frame.iter_rows(named=True)}
    struck = Counter(part["server_id"] for one in incidents for part in one["servers"])
    return dmc.Stack(
        [
            _tiles(servers, rows, incidents, now),
            parts.panel(_fleet(servers, rows, struck, now)),
            parts.panel(unusual, title="Unusual in the last 24 hours", right=parts.link("All anomalies", "/anomalies")),
            dmc.Text(f"As of {text.clock(now, seconds=True)}, refreshed every {REFRESH_S} s", size="xs", c="dimmed"),
        ],
        gap="sm",
    )


def _progress(found: dict[str, Any] | None) -> Any:
    """How far the demo's history is, as long as it is being prepared."""
    if found is None:
        return None
    share = min(max(float(found.get("done") or 0.0), 0.0), 1.0)
    return dmc.Alert(
        [
            dmc.Group(
                [dmc.Text(found.get("message"), size="sm"), dmc.Text(f"{share:.0%}", size="sm", fw=600)],
                justify="space-between",
                mb=6,
            ),
            dmc.Progress(value=100 * share, animated=True, **aria(label="Preparation")),
            dmc.Text("Live samples are there already; charts and anomalies fill up by themselves.", size="sm", mt=6),
        ],
        title=found.get("title") or "Preparing the demo",
        color="blue",
        variant="light",
        mb="sm",
    )


def _shown_state(server: "Server", row: dict[str, Any] | None, now: datetime) -> states.State:
    if server.status == "up" and _age_s(server, row, now) > STALE_S:
        return states.STALE
    return states.state(server.status)


def _last(server: "Server", row: dict[str, Any] | None) -> datetime | None:
    last: datetime | None = (row or {}).get("timestamp")
    return max(filter(None, (last, server.last_seen_at)), default=None)


def _age_s(server: "Server", row: dict[str, Any] | None, now: datetime) -> float:
    last = _last(server, row)
    return (now - last).total_seconds() if last else float("inf")


def _worst_first(
    servers: "Sequence[Server]", rows: dict[int, dict[str, Any]], struck: Counter[int], now: datetime
) -> "list[Server]":
    """By state, then by load and incidents: a quiet dead host comes before a busy live one."""

    def urgency(server: "Server") -> tuple[float, float, str]:
        row = rows.get(server.id, {})
        load = max((row.get(one.column) or 0.0 for one in HEADLINES if one.unit == "%"), default=0.0)
        pressing = load + min(_PRESSING * struck[server.id], 60)
        return -_shown_state(server, row, now).urgency, -pressing, server.hostname

    return sorted(servers, key=urgency)


def _tiles(
    servers: "Sequence[Server]", rows: dict[int, dict[str, Any]], incidents: list[dict[str, Any]], now: datetime
) -> Any:
    shown = [_shown_state(server, rows.get(server.id), now) for server in servers]
    up = sum(one.urgency == 0 for one in shown)
    bad = sum(one.urgency >= states.URGENT for one in shown)
    hot = [row for row in rows.values() if (row.get("cpu_busy_pct") or 0) >= HOT_PCT]
    touched = len({part["server_id"] for one in incidents for part in one["servers"]})
    opened = sum(one["state"] == "open" for one in incidents)
    return dmc.SimpleGrid(
        [
            _tile("Servers up", f"{up} of {len(servers)}", "green" if up == len(servers) else None),
            _tile("Need attention", str(bad), "red" if bad else None),
            _tile(f"CPU at {HOT_PCT:.0f} % or more", str(len(hot)), "orange" if hot else None),
            _tile(
                "Incidents, 24 h",
                f"{len(incidents)} on {text.count(touched, 'server')}, {opened} open",
                "orange" if opened else None,
            ),
        ],
        cols={"base": 2, "md": 4},
        spacing="sm",
    )


def _tile(label: str, value: str, color: str | None) -> Any:
    return dmc.Paper(
        [
            dmc.Text(label, size="xs", c="dimmed"),
            dmc.Text(value, fw=650, fz=20, className=f"hps-{color}" if color else "", lh=1.3),
        ],
        p="xs",
        px="sm",
        withBorder=True,
    )


def _fleet(servers: "Sequence[Server]", rows: dict[int, dict[str, Any]], struck: Counter[int], now: datetime) -> Any:
    head = ["Server", "State", *[parts.number_head(one.title) for one in HEADLINES], parts.number_head("Incidents")]
    ordered = _worst_first(servers, rows, struck, now)
    body = [_fleet_row(server, rows.get(server.id, {}), struck[server.id], now) for server in ordered[:MAX_ROWS]]
    table = parts.table(head, body, caption="Servers with state and headline values", min_width=960)
    if len(ordered) <= MAX_ROWS:
        return table
    more = text.count(len(ordered) - MAX_ROWS, "server")
    return [table, dmc.Text([f"{more} in a better state: ", parts.link("all servers", "/servers")], size="sm", mt="xs")]


def _fleet_row(server: "Server", row: dict[str, Any], incidents: int, now: datetime) -> Any:
    stale = _age_s(server, row, now) > STALE_S
    facts = states.facts(server.operating_system, server.os_version)
    return parts.row(
        [
            parts.cell(
                [
                    parts.link(server.hostname, f"/history?servers={server.id}", title="History of this server"),
                    html.Span(facts, className="hps-sub hps-cut", title=facts),
                ]
            ),
            parts.cell(
                [
                    states.badge(_shown_state(server, row, now), server.status_message),
                    html.Span(
                        f"last sample {text.ago(_last(server, row), now)}",
                        className="hps-sub hps-orange" if stale and server.is_active else "hps-sub",
                    ),
                ]
            ),
            *[_value_cell(row, one, stale=stale) for one in HEADLINES],
            parts.cell(
                parts.link(str(incidents), f"/anomalies?server={server.id}") if incidents else "0",
                className="hps-number",
            ),
        ]
    )


def _value_cell(row: dict[str, Any], one: Headline, *, stale: bool) -> Any:
    value = row.get(one.column)
    hot = one.unit == "%" and value is not None and value >= HOT_PCT
    shown: Any = text.quantity(value, one.unit)
    if one.spark:
        shown = sparkline(
            shown,
            list(row.get(one.spark) or []),
            f"{one.title}, the last hour",
            ceiling=one.ceiling,
            color="orange" if hot else "blue",
        )
    look = " ".join(name for name, there in (("hps-hot", hot), ("hps-stale", stale)) if there)
    return parts.number_cell(shown, className=look)


def _incidents(found: list[dict[str, Any]], now: datetime) -> Any:
    if not found:
        return dmc.Text("Nothing unusual was found.", size="sm", c="dimmed")
    rows = [
        parts.row(
            [
                parts.cell(
                    [
                        parts.link(f"{one['started_at']:%H:%M}–{one['ended_at']:%H:%M}", incident.address(one)),
                        html.Span(text.ago(one["ended_at"], now), className="hps-sub"),
                    ],
                    style={"whiteSpace": "nowrap"},
                ),
                parts.cell(states.badge(states.incident(one["state"]))),
                parts.cell(text.listing([part["hostname"] for part in one["servers"]])),
                parts.cell(one["sentence"], style={"minWidth": 280}),
                parts.number_cell(text.duration((one["ended_at"] - one["started_at"]).total_seconds())),
                parts.number_cell(text.score(one["peak_score"])),
            ]
        )
        for one in found[:MAX_INCIDENTS]
    ]
    head = [
        *("When (UTC)", "State", "Servers", "What stood out"),
        *(parts.number_head("Length"), parts.number_head("Lowest score")),
    ]
    more = len(found) - MAX_INCIDENTS
    return [
        parts.table(head, rows, caption="Incidents of the last 24 hours, the newest first", min_width=820),
        dmc.Text(f"and {text.count(more, 'earlier one')}", size="sm", c="dimmed", mt="xs") if more > 0 else None,
    ]


PAGE = AppPage("/", "Overview", "overview", 10, layout, register)
