"""Liveness, readiness and Prometheus' text; and that what nobody foresaw is answered and logged."""

import re
from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest

from dash_app.data import Data
from hps_platform import stream
from hps_platform.collector.figures import Figures
from hps_platform.collector.outbox import Outbox
from hps_platform.collector.samples import Tally
from hps_platform.collector.spool import Message, Spool
from hps_platform.store import collectors
from hps_platform.store.collectors import Member
from hps_platform_tests.integration.api.conftest import Web


def test_health_is_open_and_short(web: Web) -> None:
    with web.client() as stranger:
        answer = stranger.get("/health/")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert stranger.head("/health/").status_code in (200, 405)


def test_readiness_shows_states_and_nothing_else(web: Web) -> None:
    with web.client() as stranger:
        answer = stranger.get("/ready/")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "unavailable",
        "database": "ok",
        "kafka": "ok",
        "mlflow": "unavailable",
        "dagster": "unavailable",
    }


def test_metrics_are_prometheus_text(web: Web, server_id: int) -> None:
    assert server_id
    with web.viewer as client:
        answer = client.get("/metrics")
        assert client.get("/metrics/").headers["location"] == "/metrics"
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert 'hps_up{service="database"} 1' in lines
    assert 'hps_up{service="mlflow"} 0' in lines
    assert any(line.startswith('hps_servers{status="pending_host_key"}') for line in lines)
    number = r"[-+0-9.e]+"
    for line in lines:
        assert re.fullmatch(rf'# (HELP|TYPE) \w+ .+|\w+({{\w+="[^"]*"(,\w+="[^"]*")*}})? {number}', line), line


def test_collectors_are_in_the_metrics_each_under_its_name(web: Web, tmp_path: Path) -> None:
    figures = Figures(logins=3, failures=Counter(unreachable=2), fenced=1)
    for late_s in (-0.01, 0.01, 0.3, 60.0):
        figures.slipped(late_s)
    outbox = Outbox(stream.Producer("127.0.0.1:9", "test"), Spool(tmp_path, max_bytes=2**20, max_age_s=60))
    outbox.put(Message("hps.vmstat", b"1", b"{}"))
    told = figures.as_dict(["up", "up", "slow"], 3, [Tally(samples=7, unknown=2, dead_letters=1)], outbox)
    members = [Member(uuid4(), "s", name) for name in ("first", "second")]
    with web.db.connection() as conn:
        for member in members:
            collectors.register(conn, member, 60)
            collectors.renew(conn, member, 60, told)
    with web.viewer as client:
        lines = client.get("/metrics").text.splitlines()
    with web.db.connection() as conn:
        for member in members:
            collectors.leave(conn, member)
    for name in ("first", "second"):
        assert {
            f'hps_collector_up{{collector="{name}"}} 1',
            f'hps_collector_logins_total{{collector="{name}"}} 3',
            f'hps_collector_login_failures_total{{collector="{name}",state="unreachable"}} 2',
            f'hps_collector_hosts{{collector="{name}",state="up"}} 2',
            f'hps_collector_outputs_total{{collector="{name}",outcome="rows"}} 7',
            f'hps_collector_outputs_total{{collector="{name}",outcome="unknown"}} 2',
            f'hps_collector_messages_waiting{{collector="{name}"}} 1',
            f'hps_collector_slip_seconds_bucket{{collector="{name}",le="0.05"}} 2',
            f'hps_collector_slip_seconds_bucket{{collector="{name}",le="0.5"}} 3',
            f'hps_collector_slip_seconds_bucket{{collector="{name}",le="+Inf"}} 4',
            f'hps_collector_slip_seconds_count{{collector="{name}"}} 4',
        } <= set(lines)
    assert sum(line.startswith("# TYPE hps_collector_logins_total") for line in lines) == 1


def test_the_unforeseen_is_logged_and_not_told(
    web: Web, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(Data, "servers_page", broken)
    with web.viewer as client:
        answer = client.get("/api/servers/")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret detail" not in answer.text
    assert "secret detail" in caplog.text


def test_pages_know_who_asks(web: Web) -> None:
    body = {
        "output": "out.children",
        "outputs": {"id": "out", "property": "children"},
        "inputs": [{"id": "in", "property": "value", "value": "x"}],
        "changedPropIds": ["in.value"],
    }
    for name in ("admin", "viewer"):
        with web.signed_in(name) as browser:
            answer = browser.post("/_dash-update-component", json=body)
            assert answer.status_code == 200, answer.text
            assert answer.json()["response"]["out"]["children"] == f"{name}:x"
            foreign = browser.post("/_dash-update-component", json=body, headers={"Origin": "https://evil.example"})
            assert foreign.status_code == 403


def test_docs_need_nothing_from_elsewhere(web: Web) -> None:
    with web.signed_in() as browser:
        page = browser.get("/api/docs")
        assert page.status_code == 200
        for path in re.findall(r'(?:href|src)="([^"]+)"', page.text):
            assert path.startswith("/"), path
            assert browser.get(path).status_code == 200, path
        assert browser.get("/api/docs/").headers["location"] == "/api/docs"
        assert browser.get("/api/docs/ORIGIN").status_code == 404
