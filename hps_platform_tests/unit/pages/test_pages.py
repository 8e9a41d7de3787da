"""Every page: it is there, it builds with data, without data and with a broken database, and the frame fits it."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from dash import Dash
from fastapi import FastAPI

import dash_app
from dash_app import session
from dash_app.pages import anomalies, overview, pages, servers
from dash_app.pages.history import PAGE as HISTORY
from dash_app.pages.history import view as history_view
from dash_app.pages.history.view import View, build
from dash_app.pages.live import default_metrics
from dash_app.pages.servers import connection, form
from dash_app.shell import mount
from hps_platform.access import User
from hps_platform.collector.probe import ConnectionReport, FamilyReport
from hps_platform.errors import DatabaseUnavailable, InvalidInput
from hps_platform.host_keys import HostKey
from hps_platform.metrics import FAMILIES
from hps_platform_tests.unit.pages.fleet import (
    AIX,
    LINUX,
    NOW,
    SERVER,
    Fleet,
    anomaly,
    incident,
    samples,
    server,
    shown,
)

ASSETS = Path(dash_app.__file__).parent / "assets"
GOLDEN = [
    ("/", "Overview"),
    ("/live", "Live"),
    ("/history", "History"),
    ("/anomalies", "Anomalies"),
    ("/servers", "Servers"),
]
DOWN = DatabaseUnavailable("PostgreSQL does not answer at 127.0.0.1:5433")


@pytest.fixture(autouse=True)
def _signed_in() -> Iterator[None]:
    token = session.enter(User(1, "ada", is_admin=True))
    yield
    session.leave(token)


def layout_of(path: str, fleet: Fleet, query: dict[str, str] | None = None) -> str:
    page = next(page for page in pages() if page.path == path)

    async def built() -> Any:
        return await page.layout(fleet.as_data(), query or {})

    return shown(asyncio.run(built()))


@pytest.fixture(scope="module")
def api() -> FastAPI:
    return FastAPI()


@pytest.fixture(scope="module")
def app(api: FastAPI) -> Dash:
    return mount(api, Fleet().as_data())


def test_golden_list_of_pages() -> None:
    assert [(page.path, page.name) for page in pages()] == GOLDEN


@pytest.mark.parametrize("path", [path for path, _ in GOLDEN])
def test_layout_of_every_page_builds(path: str) -> None:
    assert '"order":1' in layout_of(path, Fleet()).replace(" ", "")  # one h1 a page
    assert layout_of(path, Fleet(known=[]))


def test_shell_has_landmarks_and_says_who_is_signed_in(app: Dash) -> None:
    text = shown(app.get_layout())
    for expected in ("AppShellHeader", "AppShellMain", '"Nav"', "Skip to content", "ada", "/logout", "#page"):
        assert expected in text
    assert "http://127.0.0.1:3000" in text
    assert "http://127.0.0.1:5000" in text


def test_nothing_comes_from_elsewhere(app: Dash, api: FastAPI) -> None:
    async def index() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://hps") as client:
            return (await client.get("/")).text

    text = asyncio.run(index())
    assert '<html lang="en">' in text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)
    assert "/assets/hps.css" in text
    assert "/assets/hps.js" in text


def test_assets_are_there_at_the_first_request_whatever_it_is_for(app: Dash) -> None:
    assert app._got_first_request["setup_server"]


def test_functions_of_the_browser_are_there(app: Dash) -> None:
    script = (ASSETS / "hps.js").read_text()
    wanted = {
        spec["clientside_function"]["function_name"] for spec in app._callback_list if spec["clientside_function"]
    }
    assert wanted
    for name in wanted:
        assert re.search(rf"^    {name}: ", script, re.MULTILINE), name


def test_only_the_live_stream_uses_the_socket(app: Dash) -> None:
    sockets = [spec for spec in app._callback_list if spec.get("websocket")]
    assert len(sockets) == 2
    assert all(spec["persistent"] for spec in sockets)
    assert app._websocket_callbacks is False


def test_overview_puts_the_worst_first() -> None:
    known = [
        server(id=1, hostname="busy"),
        server(id=2, hostname="dead", state="unreachable", last_seen_at=NOW - timedelta(hours=1)),
        server(id=3, hostname="odd"),
        server(id=4, hostname="off", is_active=False),
        server(id=5, hostname="quiet"),
        server(id=6, hostname="silent", last_seen_at=NOW - timedelta(minutes=9)),
    ]
    rows: dict[int, dict[str, Any]] = {
        1: {"cpu_busy_pct": 97.0, "timestamp": NOW},
        3: {"cpu_busy_pct": 40.0},
        5: {"cpu_busy_pct": 2.0},
    }
    fleet = overview._worst_first(known, rows, Counter({3: 3}), NOW)
    assert [one.hostname for one in fleet] == ["dead", "silent", "odd", "busy", "quiet", "off"]


def test_large_fleets_are_cut_with_a_word() -> None:
    known = [server(id=number, hostname=f"host{number:04}") for number in range(1, 1201)]
    _, body = asyncio.run(overview._build(Fleet(known=known).as_data(), NOW))
    text = shown(body)
    assert "1 100 servers in a better state" in text
    assert len(text) < 400_000
    assert "200 of 1 200 servers" in shown(servers._table(known, "", NOW, admin=True))


def test_overview_with_incidents_and_progress() -> None:
    preparing = {"title": "Preparing 14 days", "message": "landing rows", "done": 0.62}
    fleet = Fleet(
        incidents_known=[incident(), incident(8, state="resolved", servers=(AIX, LINUX))], preparing=preparing
    )
    progress, body = asyncio.run(overview._build(fleet.as_data(), NOW))
    assert "62%" in shown(progress)
    text = shown(body)
    for expected in (
        *("aix01", "93.0 %", "Disk throughput", "2 on 2 servers, 1 open", "12:00:00 UTC", "11:50–12:00"),
        "/anomalies?incident=8&server=1",
    ):
        assert expected in text, expected


def test_overview_without_incidents_still_shows_the_fleet() -> None:
    class Unscored(Fleet):
        def incidents(self, **_: Any) -> Any:
            raise DOWN

    _, body = asyncio.run(overview._build(Unscored().as_data(), NOW))
    text = shown(body)
    assert "aix01" in text
    assert "PostgreSQL does not answer" in text


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [(Fleet(known=[]), "No servers yet"), (Fleet(broken=DOWN), "PostgreSQL does not answer")],
)
def test_overview_says_why_it_is_empty(fleet: Fleet, expected: str) -> None:
    progress, body = asyncio.run(overview._build(fleet.as_data(), NOW))
    assert progress is None
    assert expected in shown(body)


def view(family: str = "vmstat", columns: tuple[str, ...] = ("us",), **changes: Any) -> View:
    asked: dict[str, Any] = {
        "family": FAMILIES[family],
        "names": {AIX: "aix01", LINUX: "lnx01"},
        "columns": columns,
        "keys": [],
        "start": NOW - timedelta(hours=1),
        "end": NOW,
        "theme": "light",
    }
    return View(**(asked | changes))


def built(fleet: Fleet, asked: View) -> tuple[str, Any]:
    body, offered = asyncio.run(build(fleet.as_data(), asked, fleet.known))
    return shown(body), offered


def test_history_draws_a_chart_a_column_with_anomalies() -> None:
    fleet = Fleet(frames={"vmstat": samples("vmstat", {"us": [1.0, 2.0], "sy": [3.0, 4.0]})}, found=[anomaly(0)])
    text, offered = built(fleet, view(columns=("us", "sy")))
    assert text.count('"history-chart"') == 2
    assert "every sample" in text
    assert "Anomaly" in text
    assert "2026-03-02 11:00 UTC to 2026-03-02 12:00 UTC" in text
    assert offered == []
    assert [asked["max_points"] for asked in fleet.asked] == [1200]
    fleet.incidents_known, fleet.found = [incident()], [anomaly(5), anomaly(30)]
    marks = history_view._marks(fleet.as_data(), view())
    assert [(one.start, one.end) for one in marks] == [
        (NOW - timedelta(minutes=10), NOW),
        (NOW - timedelta(minutes=30), NOW - timedelta(minutes=30)),
    ]
    assert marks[0].text == f"aix01: {incident()['sentence']}"


def test_history_draws_bands_of_averages() -> None:
    values: dict[str, Sequence[float | None]] = {"us": [1.0, 2.0], "us_min": [0.5, 1.0], "us_max": [3.0, 4.0]}
    fleet = Fleet(frames={"vmstat": samples("vmstat", values, step_s=300)}, interval="5m")
    text, _ = built(fleet, view())
    assert [asked["envelope"] for asked in fleet.asked] == [True]
    assert "averages over 5 min" in text
    assert "tonexty" in text


def test_history_marks_what_is_not_complete() -> None:
    frame = samples("vmstat", {"us": [1.0] * 5}, step_s=300).with_columns(
        completeness=pl.Series([1.0, 0.5, 0.75, 1.0, None])
    )
    text, _ = built(Fleet(frames={"vmstat": frame}, interval="5m"), view())
    assert "marks 1 time with samples missing, at worst 50% there" in text
    assert '"y1": 0.03' in text
    whole, _ = built(Fleet(frames={"vmstat": frame.with_columns(completeness=1.0)}, interval="5m"), view())
    assert "samples missing" not in whole


def test_history_offers_the_keys_that_there_are() -> None:
    frame = samples("iostat", {"busy_pct": [1.0, 2.0]}, keys=("hdisk0", "hdisk1"))
    text, offered = built(Fleet(frames={"iostat": frame}), view("iostat", ("busy_pct",), keys=["hdisk1"]))
    assert offered == ["hdisk0", "hdisk1"]
    assert "aix01 · hdisk1" in text


def test_history_says_why_a_range_is_empty() -> None:
    fleet = Fleet(known=[server(last_seen_at=NOW - timedelta(days=3))])
    text, _ = built(fleet, view(names={AIX: "aix01"}, start=NOW - timedelta(days=5), end=NOW - timedelta(days=4)))
    assert "No samples of cpu and virtual memory in this range" in text
    assert "The collector last saw aix01" in text
    assert "choose a later one" in text


def test_history_says_which_column_is_not_printed() -> None:
    frame = samples("vmstat", {"us": [1.0], "st": [None]}).cast({"st": float})
    text, _ = built(Fleet(frames={"vmstat": frame}), view(columns=("us", "st")))
    assert "No values of CPU stolen here" in text


def test_history_takes_its_choice_from_the_address() -> None:
    query = {"servers": "5,99,x", "family": "iostat", "columns": "kb_s,nonsense", "keys": "hdisk0", "range": "7d"}

    async def layout() -> Any:
        return await HISTORY.layout(Fleet().as_data(), query)

    found = {one.id: one.value for one in asyncio.run(layout())._traverse_ids() if hasattr(one, "value")}
    assert found["history-servers"] == ["5"]
    assert (found["history-family"], found["history-columns"]) == ("iostat", ["kb_s"])
    assert (found["history-keys"], found["history-range"]) == (["hdisk0"], "7d")


def test_live_starts_with_what_is_sampled_often() -> None:
    assert default_metrics() == ["vmstat.us", "iostat.busy_pct", "netstat.ipkts_s", "memory.used_pct"]


def test_incidents_of_a_range_and_none() -> None:
    rows = [incident(7), incident(6, state="false_alarm", servers=(AIX, LINUX))]
    text = shown(anomalies._list(rows, 2, NOW, NOW - timedelta(days=1)))
    for expected in ("2 incidents", "aix01 and lnx01", "False alarm", "mostly hdisk3", "10 min"):
        assert expected in text
    assert "/anomalies?incident=7&server=1&at=2026-03-02T12:00:00Z" in text
    assert "2 of 1 700 incidents" in shown(anomalies._list(rows, 1700, NOW, NOW))
    assert "Nothing unusual in this range" in shown(anomalies._list([], 0, NOW, NOW))


def test_what_is_not_judged_is_said() -> None:
    watched = {"hostname": "aix01", "state": "watched", "text": "Scored until now."}
    young = {"hostname": "new01", "state": "learning", "text": "It needs 24 hours of samples; it has 2."}
    assert anomalies._coverage([watched]) is None
    assert "it has 2" in shown(anomalies._coverage([young]))
    text = shown(anomalies._coverage([watched, *[young] * 6]))
    assert "on 6 of 7 servers" in text
    assert "new01: It needs 24 hours" in text
    assert "and 2 other servers" in text


def test_incidents_over_time_are_counted_a_server_and_day() -> None:
    days = [
        {"day": NOW.date(), "servers": 4, "minutes": 20, "incidents": 4, "acknowledged": 2, "false_alarms": 1},
        {"day": NOW.date(), "servers": 0, "minutes": 0, "incidents": 0, "acknowledged": 0, "false_alarms": 0},
    ]
    text = shown(anomalies._daily(days, "light"))
    assert "1.00 incidents and 5.0 unusual minutes a server and day; 50 % acknowledged, 25 % false alarms" in text
    assert "No server was scored" in shown(anomalies._daily(days[1:], "light"))


def test_an_incident_is_explained_and_can_be_handled() -> None:
    fleet = Fleet(found=[anomaly(0), anomaly(1)], incidents_known=[incident(state="false_alarm", servers=(AIX, LINUX))])

    def page(*, admin: bool = True) -> str:
        return shown(asyncio.run(anomalies.incident.build(fleet.as_data(), 7, "dark", admin=admin)))

    text = page()
    for expected in (
        "2 servers, 2026-03-02 11:50 UTC",
        "mostly hdisk3",
        "Called a false alarm by ada: the backup",
        "Disk throughput from 23:30 to 00:40 UTC counts only at a score of −0.45 or lower.",
        "Open again",
        "What stood out",
        "http://127.0.0.1:5000/#/models/hps.1/versions/3",
        "/usr/bin/tar -cf",
        "/backup",
        "/anomalies?incident=2",
        "aix01: no answer within 10 s",
        "maintenance until 2026-03-02 13:00 UTC",
        "/anomalies?server=5&at=2026-03-02T12:00:00Z",
    ):
        assert expected in text, expected
    assert "acknowledge" not in text
    assert text.count('"disabled": true') == 0
    assert page(admin=False).count('"disabled": true') == 2
    fleet.found = []
    assert "past their time" in page()


def test_thresholds_can_be_edited() -> None:
    one = {
        "id": 3,
        "server_id": AIX,
        "metric_name": "*",
        "anomaly_score_threshold": -0.3,
        "severity_level": "high",
        "enable_alerts": False,
        "alert_cooldown_minutes": 45,
        "is_active": True,
    }
    drawer = anomalies.thresholds
    rows = shown(drawer._table([one], {AIX: "aix01"}, admin=True))
    for expected in ("aix01", "Every other", "−0.30", "High", "45 min", "On, silent", "threshold-action"):
        assert expected in rows
    assert "threshold-action" not in shown(drawer._table([one], {AIX: "aix01"}, admin=False))
    assert drawer._fields(drawer._filled(one)) == {name: value for name, value in one.items() if name != "id"}
    with pytest.raises(InvalidInput, match="Choose a server"):
        drawer._fields(drawer._BLANK)
    with pytest.raises(InvalidInput, match="score is no number"):
        drawer._fields(("1", "*", "", "low", 30, True, True))
    assert "Undo: 3" in shown(drawer._learnt(incident()["learnt"], {AIX: "aix01"}, admin=True))
    assert "alert budget alone" in shown(drawer._table([], {}, admin=True))


def test_an_anomaly_is_explained() -> None:
    fleet = Fleet(found=[anomaly(0), anomaly(1)])
    text = shown(asyncio.run(anomalies.minute.build(fleet.as_data(), AIX, "2026-03-02T12:00:00Z", "dark")))
    for expected in (
        "aix01, 2026-03-02 12:00 UTC",
        "also run queue",
        "800 KiB/s to 23.4 MiB/s",
        "70 %",
        "Usual at this hour",
        "http://127.0.0.1:5000/#/models/hps.1/versions/3",
        "/history?servers=1&family=iostat",
    ):
        assert expected in text


def test_the_forest_is_explained_when_asked() -> None:
    minute = anomalies.minute
    fleet = Fleet(found=[anomaly(0)])
    page = shown(asyncio.run(minute.build(fleet.as_data(), AIX, "2026-03-02T12:00:00Z", "dark")))
    assert '"of": "1 2026-03-02T12:00:00Z"' in page
    text = shown(minute._shares(fleet.attribution(AIX, NOW)))
    for expected in ("Disk throughput", "−0.200", "+0.010", "0.040", "−0.210", "48 usual minutes"):
        assert expected in text, expected


def test_servers_can_be_filtered() -> None:
    known = [SERVER, server(id=LINUX, hostname="lnx01", operating_system="linux", tags=["db"])]
    table = shown(servers._table(known, "db", NOW, admin=True))
    assert "lnx01" in table
    assert "aix01" not in table
    assert "server-action" in table
    assert "server-action" not in shown(servers._table(known, "", NOW, admin=False))
    assert "None of 2 servers" in shown(servers._table(known, "solaris", NOW, admin=True))
    assert "No servers yet" in shown(servers._table([], "", NOW, admin=True))


ENTERED = {
    "hostname": "aix09",
    "ip_address": "",
    "ssh_port": 22,
    "ssh_username": "hps",
    "operating_system": None,
    "tags": ["prod"],
    "ssh_password": "",
    "ssh_private_key": "",
    "ssh_key_passphrase": "",
    "settings": "",
    "is_active": True,
    "forget": [],
}


def test_an_empty_secret_stays_and_a_forgotten_one_goes() -> None:
    assert not {"ssh_password", "ssh_private_key", "ssh_key_passphrase"} & set(form._fields(ENTERED))
    assert form._fields(ENTERED | {"forget": ["ssh_password"]})["ssh_password"] is None
    assert form._fields(ENTERED | {"ssh_password": "new", "forget": ["ssh_password"]})["ssh_password"] == "new"


def test_what_the_form_sends_is_what_the_registry_takes() -> None:
    from hps_platform.store.server_fields import checked

    fields = form._fields(ENTERED | {"settings": '{"intervals": {"vmstat": 5}}', "ssh_password": "x"})
    assert checked(fields)["settings"] == {"intervals": {"vmstat": 5}}
    with pytest.raises(InvalidInput, match="settings is not JSON"):
        form._fields(ENTERED | {"settings": "{"})


def test_the_form_never_shows_a_secret() -> None:
    filled = form._filled(SERVER)
    assert len(filled) == len(form._blank())
    assert "Stored" in json.dumps(filled)


KEY = HostKey("ssh-ed25519", "SHA256:" + "Q" * 43, "ssh-ed25519 AAAA")


@pytest.mark.parametrize(
    ("report", "there", "missing"),
    [
        (ConnectionReport(message="no answer within 10 s"), ["Not reachable", "no answer within 10 s"], ["Login"]),
        (
            ConnectionReport(reachable=True, host_keys=[KEY], host_key_state="not_pinned"),
            ["Is this the host?", KEY.sha256, "Confirm this key"],
            ["Login"],
        ),
        (
            ConnectionReport(reachable=True, host_keys=[KEY], host_key_state="changed"),
            ["The host key has changed", "ANOTHER host key", "somebody may stand in between"],
            ["Login"],
        ),
        (
            ConnectionReport(
                reachable=True,
                host_keys=[KEY],
                host_key_state="pinned",
                login_ok=True,
                operating_system="hpux",
                version="B.11.31",
                cpus=4,
                clock_offset_s=-130.0,
                families={"iostat": FamilyReport("LC_ALL=C iostat 2", ok=False, message="iostat: not found")},
                message="iostat can't be read",
            ),
            ["Login as hps works", "HP-UX B.11.31, 4 CPUs", "Clock is 2 min off", "iostat: not found", "can't be read"],
            ["Confirm this key"],
        ),
    ],
    ids=["dead", "new", "changed", "partly"],
)
def test_how_far_a_connection_goes(report: ConnectionReport, there: list[str], missing: list[str]) -> None:
    text = shown(connection._report(SERVER, report))
    for expected in there:
        assert expected in text
    for unexpected in missing:
        assert unexpected not in text
