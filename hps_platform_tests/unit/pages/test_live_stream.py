"""The live stream of a tab: each sample once, gaps shown, silence told, an end when nobody looks."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from dash_app.components.text import Scale
from dash_app.live import Batch
from dash_app.pages.live import stream
from dash_app.pages.live.stream import Chart, Choice, Streams
from hps_platform.errors import DatabaseUnavailable
from hps_platform.metrics import FAMILIES
from hps_platform_tests.unit.pages.fleet import AIX, LINUX, NOW, Fleet, samples, server, shown

VMSTAT = FAMILIES["vmstat"]
MS = int(NOW.timestamp() * 1000)


def batch(at_ms: int, us: float | None, server: int = AIX) -> Batch:
    return Batch("vmstat", server, at_ms, [{"server_id": server, "timestamp": at_ms, "us": us}], at_ms + 40)


class Socket:
    """The browser's side. It stays for as many pushes as it is told to."""

    def __init__(self, told: list[tuple[str, dict[str, Any]]], pushes: int) -> None:
        self._told = told
        self._pushes = pushes

    @property
    def is_shutdown(self) -> bool:
        return sum(name == "live-push" for name, _ in self._told) >= self._pushes

    async def get_prop(self, *_: Any, **__: Any) -> str:
        return "tab"


def run(
    monkeypatch: pytest.MonkeyPatch, fleet: Fleet, *, pushes: int = 2, servers: tuple[int, ...] = (AIX,)
) -> list[tuple[str, dict[str, Any]]]:
    """What the stream tells the browser until it has pushed so often."""
    told: list[tuple[str, dict[str, Any]]] = []

    def set_props(component: str | dict[str, str], props: dict[str, Any]) -> None:
        told.append((component if isinstance(component, str) else component["metric"], props))

    class Context:
        websocket = Socket(told, pushes)

    monkeypatch.setattr(stream, "set_props", set_props)
    monkeypatch.setattr(stream, "ctx", Context)
    choice = Choice(servers, ("vmstat.us",), 300, "dark")
    asyncio.run(asyncio.wait_for(stream._Stream(fleet.as_data(), choice, "tab", asyncio.Event()).run(), timeout=20))
    return told


def test_points_are_taken_once_and_only_forwards() -> None:
    chart = Chart("vmstat.us", VMSTAT, VMSTAT.by_name["us"], Scale(1.0, "%"), last={AIX: MS})
    assert not chart.take(batch(MS, 1.0))
    assert chart.take(batch(MS + 2000, 2.0))
    assert not chart.take(batch(MS + 2000, 2.0))
    assert not chart.take(batch(MS + 1000, 9.0))
    assert not chart.take(batch(MS + 4000, None))
    assert not chart.take(batch(MS + 4000, 9.0, LINUX))
    assert list(chart.tails[AIX]) == [(MS + 2000, 2.0)]


def test_missing_samples_leave_a_gap() -> None:
    chart = Chart("vmstat.us", VMSTAT, VMSTAT.by_name["us"], Scale(1.0, "%"), last={AIX: MS})
    chart.take(batch(MS + 20_000, 3.0))
    assert list(chart.tails[AIX]) == [(MS + 2000, None), (MS + 20_000, 3.0)]


def test_a_server_that_is_asked_less_often_has_no_gaps() -> None:
    chart = Chart("vmstat.us", VMSTAT, VMSTAT.by_name["us"], Scale(1.0, "%"), last={AIX: MS}, steps={AIX: 2000})
    for second in (10, 20, 30, 90, 100):
        chart.take(batch(MS + second * 1000, 1.0))
    assert [moment - MS for moment, value in chart.tails[AIX] if value is None] == [2000, 40_000]


def test_numbers_that_outgrow_their_unit_are_noticed() -> None:
    column = VMSTAT.by_name["bi"]
    chart = Chart("vmstat.bi", VMSTAT, column, Scale(1.0, "KiB/s"), last={AIX: 0})
    rows: list[dict[str, Any]] = [{"bi": 900.0}]
    chart.take(Batch("vmstat", AIX, MS, rows, 0))
    assert not chart.outgrown
    chart.take(Batch("vmstat", AIX, MS + 2000, [{"bi": 9000.0}], 0))
    assert chart.outgrown


def test_a_stream_begins_with_a_whole_figure_and_goes_on_with_new_points(monkeypatch: pytest.MonkeyPatch) -> None:
    older = samples("vmstat", {"us": [1.0, 2.0, 3.0]}, end=NOW)
    tail = [{"server_id": AIX, "timestamp": MS + step, "us": 4.0} for step in (0, 2000)]
    fleet = Fleet(
        frames={"vmstat": older},
        tail=tail,
        batches=[batch(MS + 2000, 4.0), batch(MS + 4000, 5.0), batch(MS + 6000, 6.0)],
    )
    told = run(monkeypatch, fleet)
    name, first = told[0]
    assert name == "vmstat.us"
    trace = first["figure"].data[0]
    assert trace.x == tuple(MS + step for step in (-4000, -2000, 0, 2000))
    assert trace.y == (1.0, 2.0, 4.0, 4.0)  # the hub's word holds where both know a sample
    pushes = [props["data"] for component, props in told if component == "live-push"]
    assert pushes[0]["newest"] == MS + 2000
    part = pushes[-1]["charts"]["vmstat.us"]
    assert part["lines"] == {AIX: [(MS + 4000, 5.0), (MS + 6000, 6.0)]}
    assert part["fill"] == first["figure"].layout.meta["fill"]
    assert pushes[-1]["newest"] == MS + 6000


def test_a_new_stream_numbers_its_figures_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(batches=[batch(MS, 1.0)])
    fills = [run(monkeypatch, fleet, pushes=1)[0][1]["figure"].layout.meta["fill"] for _ in range(2)]
    assert fills[1] > fills[0]


def test_silence_is_told_with_its_likely_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = server(id=LINUX, hostname="lnx01", state="unreachable", last_seen_at=NOW - timedelta(days=900))
    fleet = Fleet(known=[server(), dead], batches=[batch(MS, 1.0)])
    told = run(monkeypatch, fleet, pushes=1, servers=(AIX, LINUX))
    notes = [shown(props["children"]) for component, props in told if component == "live-notes"]
    assert "lnx01: nothing at all. Unreachable" in notes[0]
    assert "aix01: nothing at all" in notes[0]
    assert "lnx01" in notes[-1]
    assert "aix01" not in notes[-1]


def test_a_database_that_is_away_does_not_stop_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(Fleet):
        def history(self, *_: Any, **__: Any) -> Any:
            raise DatabaseUnavailable("PostgreSQL does not answer")

    told = run(
        monkeypatch, Away(tail=[{"server_id": AIX, "timestamp": MS, "us": 4.0}], batches=[batch(MS + 2000, 5.0)])
    )
    assert told[0][1]["figure"].data[0].y == (4.0,)
    assert told[-1][1]["data"]["charts"]["vmstat.us"]["lines"] == {AIX: [(MS + 2000, 5.0)]}


def test_a_tab_has_one_stream_at_most() -> None:
    async def story() -> None:
        streams = Streams()
        first = streams.begin("tab")
        other = streams.begin("other")
        second = streams.begin("tab")
        assert first.is_set()
        assert not second.is_set()
        assert not other.is_set()
        streams.ended("tab", first)  # the old one's end does not touch the new one
        assert len(streams) == 2
        streams.end("tab")
        assert second.is_set()
        assert len(streams) == 1

    asyncio.run(story())


def test_the_stream_ends_when_the_tab_chooses_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        begun, stop = asyncio.Event(), asyncio.Event()
        monkeypatch.setattr(stream, "set_props", lambda *_: begun.set())
        monkeypatch.setattr(stream, "ctx", type("Context", (), {"websocket": Socket([], 1)}))
        choice = Choice((AIX,), ("vmstat.us",), 300, "dark")
        running = asyncio.create_task(stream._Stream(Fleet().as_data(), choice, "tab", stop).run())
        await asyncio.wait_for(begun.wait(), timeout=10)
        stop.set()
        await asyncio.wait_for(running, timeout=10)

    asyncio.run(story())
