"""The live stream of one browser tab: from the hub over Dash's WebSocket into the charts.

A tab has at most one stream; a new choice, a reconnect or leaving the page ends the one before. At its start each chart
gets a whole figure of the last minutes, from the tables and the hub's memory put together by timestamp. After that the
points that are new go to the browser (`push` in `assets/hps.js`), each push with those of the last seconds once more:
the browser appends what is newer than a line's last point. So nothing is drawn twice and nothing is missing, whatever
is lost or repeated on the way. `dcc.Graph.extendData` is no way to do this: what arrives while a slow browser still
draws is appended together with what came before it, twice.
"""

import asyncio
import contextlib
import itertools
import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
from dash import Dash, Input, State, ctx, html, set_props

from dash_app import figures
from dash_app.components import choices, notices, states, text
from dash_app.components.text import Scale, scale
from dash_app.data import Data
from dash_app.figures import Theme
from dash_app.series import Series, combine, joined, rows_to_frame, sample_value, step_of
from hps_platform.errors import HpsError
from hps_platform.metrics import Column, Family

if TYPE_CHECKING:
    from dash_app.live import Batch
    from hps_platform.store.servers import Server

logger = logging.getLogger(__name__)

GATHER_S = 0.08
"""Samples that arrive within this time are pushed together: hosts print at the same moment."""
CHECK_S = 30.0
"""How often a stream asks its tab whether it is still there: a closed tab shares its socket with others."""
TAIL = 16
"""Points of a line that each push carries once more."""
OUTGROWN = 4096.0
HUB_S = 300.0
"""How much the hub remembers; what is older comes from the tables."""
_FILLS = itertools.count(int(time.time()))
"""Numbers of figures, rising also over a restart."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a tab wants to see."""

    servers: tuple[int, ...]
    metrics: tuple[str, ...]
    window_s: int
    theme: Theme

    @classmethod
    def read(cls, wanted: Mapping[str, Any]) -> "Choice":
        return cls(tuple(wanted["servers"]), tuple(wanted["metrics"]), int(wanted["window_s"]), wanted["theme"])


Point = tuple[int, float | None]
"""Epoch milliseconds and the value in the axis' unit; None leaves a gap."""


@dataclass(slots=True)
class Chart:
    """One chart of the stream. `last`: the newest timestamp of each server's line; `steps`: its last distance of two
    samples (ms); `tails`: its newest points; `fill`: which of its figures these points belong to."""

    metric: str
    family: Family
    column: Column
    scale: Scale = field(default=Scale(1.0, ""))
    last: dict[int, int] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)
    tails: dict[int, deque[Point]] = field(default_factory=dict)
    fill: int = 0

    @property
    def id(self) -> dict[str, str]:
        return {"type": "live-chart", "metric": self.metric}

    @property
    def step_ms(self) -> int:
        return int(self.family.interval_s * 1000)

    def take(self, batch: "Batch") -> bool:
        """Whether it brought a point; older samples than the line's last one do not."""
        last = self.last.get(batch.server_id)
        if batch.metric != self.family.name or last is None or batch.timestamp_ms <= last:
            return False
        value = sample_value(batch.rows, self.column, self.family)
        if value is None:
            return False
        tail = self.tails.setdefault(batch.server_id, deque(maxlen=TAIL))
        step, passed = self.steps.get(batch.server_id, self.step_ms), batch.timestamp_ms - last
        if last and passed > 2.5 * step:
            tail.append((last + step, None))
        # A server may be asked less often than others: how often shows from one sample to the next.
        self.steps[batch.server_id] = max(self.step_ms, passed if last else 0)
        tail.append((batch.timestamp_ms, value / self.scale.divisor))
        self.last[batch.server_id] = batch.timestamp_ms
        return True

    @property
    def outgrown(self) -> bool:
        """Numbers have become too long for the unit of the axis."""
        newest = [tail[-1][1] or 0.0 for tail in self.tails.values()]
        return scale(self.column.unit, 2048.0).unit != self.column.unit and max(newest, default=0.0) >= OUTGROWN


class Streams:
    """Which stream serves which tab."""

    def __init__(self) -> None:
        self._stops: dict[str, asyncio.Event] = {}

    def begin(self, view: str) -> asyncio.Event:
        """Ends the tab's stream, if there is one; the event tells the new one when to end in its turn."""
        self.end(view)
        stop = self._stops[view] = asyncio.Event()
        return stop

    def end(self, view: str) -> None:
        if (before := self._stops.pop(view, None)) is not None:
            before.set()

    def ended(self, view: str, stop: asyncio.Event) -> None:
        if self._stops.get(view) is stop:
            del self._stops[view]

    def __len__(self) -> int:
        return len(self._stops)


def register(app: Dash, data: Data) -> None:
    streams = Streams()

    async def announce() -> None:
        """Runs at each connection of a tab, also after a restart of this server, and so starts its stream anew."""
        if ctx.websocket is not None:
            set_props("live-connected", {"data": time.time()})

    app.callback(persistent=True, websocket=True)(announce)

    async def stream(wanted: dict[str, Any] | None, view: str) -> None:
        if wanted is None:
            streams.end(view)
            return
        stop = streams.begin(view)
        try:
            await _Stream(data, Choice.read(wanted), view, stop).run()
        finally:
            streams.ended(view, stop)

    app.callback(
        Input("live-choice", "data"), State("view", "data"), persistent=True, websocket=True, prevent_initial_call=True
    )(stream)


class _Stream:
    def __init__(self, data: Data, choice: Choice, view: str, stop: asyncio.Event) -> None:
        self._data = data
        self._choice = choice
        self._view = view
        self._stop = stop
        self._socket = ctx.websocket
        self._servers: dict[int, Server] = {}
        self._charts = [Chart(name, *choices.metric(name)) for name in choice.metrics]
        self._waiting: list[Batch] = []
        self._arrived = asyncio.Event()
        self._silent: set[tuple[str, int]] = set()

    async def run(self) -> None:
        """Until the tab goes, chooses anew, or the hub stops."""
        known = await asyncio.to_thread(self._data.servers)
        self._servers = {one: server for one in self._choice.servers for server in known if server.id == one}
        pump = asyncio.create_task(self._pump())
        try:
            await self._fill(self._charts)
            self._send({})
            # A browser without shared workers has no socket: one answer to one request, and it asks again.
            if self._socket is not None:
                await self._push_until_stopped(pump)
        finally:
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump

    async def _pump(self) -> None:
        """Takes samples off the hub at once, so that its queue never fills while a browser is written to."""
        families = {chart.family.name for chart in self._charts}
        async for batch in self._data.live(families, set(self._servers)):
            self._waiting.append(batch)
            self._arrived.set()

    async def _push_until_stopped(self, pump: "asyncio.Task[None]") -> None:
        checked = time.monotonic()
        stopping = asyncio.create_task(self._stop.wait())
        try:
            while not (self._stop.is_set() or pump.done() or self._socket.is_shutdown):
                arriving = asyncio.create_task(self._arrived.wait())
                await asyncio.wait({arriving, stopping, pump}, timeout=CHECK_S, return_when=asyncio.FIRST_COMPLETED)
                arriving.cancel()
                if self._arrived.is_set():
                    await asyncio.sleep(GATHER_S)
                    await self._push()
                if time.monotonic() - checked > CHECK_S:
                    if not await self._tab_is_there():
                        return
                    checked = time.monotonic()
        finally:
            stopping.cancel()
        if pump.done() and not pump.cancelled() and (error := pump.exception()) is not None:
            raise error

    async def _tab_is_there(self) -> bool:
        try:
            return bool(await self._socket.get_prop("view", "data", timeout=10.0) == self._view)
        except TimeoutError:
            return False

    # Whole figures ------------------------------------------------------------------------------------------------

    async def _fill(self, charts: list[Chart]) -> None:
        """Draws charts from scratch, with what the tables and the hub hold of the window."""
        by_family: dict[str, list[Chart]] = {}
        for chart in charts:
            by_family.setdefault(chart.family.name, []).append(chart)
        windows = await asyncio.gather(*[asyncio.to_thread(self._window, found) for found in by_family.values()])
        for found, (older, live) in zip(by_family.values(), windows, strict=True):
            for chart in found:
                self._draw(chart, older, live)
        self._tell_silent()

    def _window(self, charts: list[Chart]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Samples of one family in the window: from the tables, and the newest from the hub's memory. Blocks."""
        family, now = charts[0].family, datetime.now(UTC)
        columns = list(dict.fromkeys(chart.column.name for chart in charts))
        rows = self._data.recent(family.name, set(self._servers), min(self._choice.window_s, HUB_S))
        live = rows_to_frame(rows, family, columns)
        start, points = now - timedelta(seconds=self._choice.window_s), self._choice.window_s
        try:
            answer = self._data.history(
                family.name, list(self._servers), start, now, columns=columns, max_points=points
            )
        except HpsError as error:
            logger.warning("a live chart starts without older samples: %s", error)
            return live.clear(), live
        return answer.frame, live

    def _draw(self, chart: Chart, older: pl.DataFrame, live: pl.DataFrame) -> None:
        together = joined(combine(older, chart.column, chart.family), combine(live, chart.column, chart.family))
        lines = []
        for server, known in self._servers.items():
            part = together.filter(pl.col("server_id") == server).select("timestamp", "value").drop_nulls()
            newest = part["timestamp"].dt.epoch("ms").max()
            chart.last[server] = newest if isinstance(newest, int) else 0
            if part.is_empty():
                self._silent.add((chart.metric, server))
            line = Series(known.hostname, server, part, step_of(part, chart.family.interval_s))
            chart.steps[server] = int(line.step_s * 1000)
            lines.append(line)
        chart.scale = figures.scale_of(lines, chart.column.unit)
        chart.tails.clear()
        chart.fill = next(_FILLS)
        now = datetime.now(UTC)
        figure = figures.chart(
            chart.column,
            lines,
            self._choice.theme,
            window=(now - timedelta(seconds=self._choice.window_s), now),
            height=220,
            streaming=True,
        )
        figure.update_layout(meta={"fill": chart.fill})
        set_props(chart.id, {"figure": figure})

    # New points ---------------------------------------------------------------------------------------------------

    async def _push(self) -> None:
        batches, self._waiting = self._waiting, []
        self._arrived.clear()
        taken = [
            (chart, batch.server_id)
            for batch in sorted(batches, key=lambda batch: batch.timestamp_ms)
            for chart in self._charts
            if chart.take(batch)
        ]
        spoken = {(chart.metric, server) for chart, server in taken}
        if self._silent & spoken:
            self._silent -= spoken
            self._tell_silent()
        if outgrown := [chart for chart in self._charts if chart.outgrown]:
            await self._fill(outgrown)
        self._send({chart.metric: chart for chart, _ in taken}, max((one.produced_ms for one in batches), default=None))

    def _send(self, charts: Mapping[str, Chart], produced_ms: int | None = None) -> None:
        newest = max((max(chart.last.values(), default=0) for chart in self._charts), default=0)
        if not newest:
            return
        parts = {
            name: {"fill": chart.fill, "lines": {server: list(tail) for server, tail in chart.tails.items()}}
            for name, chart in charts.items()
        }
        push = {
            "newest": newest,
            "produced": produced_ms,
            "window": self._choice.window_s * 1000,
            "asked": self._socket is None,
            "at": time.time(),
            "charts": parts,
        }
        set_props("live-push", {"data": push})

    # Words --------------------------------------------------------------------------------------------------------

    def _tell_silent(self) -> None:
        """Which lines have no point yet, with the likely reason."""
        lines = []
        for server in self._servers.values():
            columns = [chart.column for chart in self._charts if (chart.metric, server.id) in self._silent]
            if columns:
                lines.append(html.Div(_silence(server, columns, len(self._charts))))
        span = text.duration(self._choice.window_s)
        note = (
            notices.note([html.Div(line) for line in lines], title=f"No samples in the last {span}") if lines else None
        )
        set_props("live-notes", {"children": note})


def _silence(server: "Server", columns: list[Column], charts: int) -> str:
    if len(columns) == charts:
        return (
            f"{server.hostname}: nothing at all. {states.state(server.status).label}; "
            f"the collector last saw it {text.ago(server.last_seen_at)}."
        )
    names = text.listing([column.label or column.name for column in columns], limit=8)
    return f"{server.hostname}: {names}. Its system may not print it, or prints it more seldom."
