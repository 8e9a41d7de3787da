"""Samples over REST: shapes, ranges, aggregates, limits, CSV, and the live minute from Kafka."""

import csv
import io
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from hps_platform import metrics, stream
from hps_platform.metrics import FAMILIES
from hps_platform.metrics.sample import Sample
from hps_platform.metrics.wire import encode, key
from hps_platform.store import landing, partitions, rollups
from hps_platform_tests.integration.api.conftest import Web

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
MINUTES = 90


def land(web: Web, family: str, rows: list[dict[str, Any]]) -> None:
    """Rows straight into the raw table, their hours marked for the rollups, as landing does."""
    shown = metrics.family(family)
    names = list(rows[0])
    with web.db.connection() as conn:
        partitions.ensure(conn, [shown], sorted({row["timestamp"].date() for row in rows}))
        columns = ", ".join(f'"{name}"' for name in (*names, "kafka_partition", "kafka_offset"))
        with conn.cursor() as cursor, cursor.copy(f"COPY {shown.table} ({columns}) FROM STDIN".encode()) as copy:
            for offset, row in enumerate(rows):
                copy.write_row((*row.values(), 0, offset))
        hours = {(row["timestamp"].replace(minute=0, second=0), row["server_id"]) for row in rows}
        landing.mark_dirty(conn, [(family, hour, server) for hour, server in hours])


@pytest.fixture(scope="module")
def landed(web: Web) -> Iterator[int]:
    """A server with 90 minutes of vmstat each 2 s, and of two disks each minute."""
    with web.admin as client:
        number: int = client.post("/api/servers/", json={"hostname": "landed", "ssh_username": "m"}).json()["id"]
        vmstat = [
            {"server_id": number, "timestamp": START + timedelta(seconds=2 * n), "us": float(n % 30), "sy": 1.5, "r": 2}
            for n in range(30 * MINUTES)
        ]
        iostat = [
            {"server_id": number, "timestamp": START + timedelta(minutes=n), "disk": disk, "busy_pct": busy}
            for n in range(MINUTES)
            for disk, busy in (("hdisk0", 10.0), ("hdisk1", 90.0))
        ]
        land(web, "vmstat", vmstat)
        land(web, "iostat", iostat)
        yield number
        client.delete(f"/api/servers/{number}/")


def ask(web: Web, path: str, **query: Any) -> Any:
    with web.viewer as client:
        answer = client.get(f"/api/metrics/{path}/", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def moment(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_samples_as_they_were_taken(web: Web, landed: int) -> None:
    answer = ask(
        web,
        "historical",
        metric="vmstat",
        server_id=landed,
        start=moment(START),
        end=moment(START + timedelta(seconds=6)),
        columns="sy,us",
    )
    assert list(answer) == ["metric", "interval", "units", "results"]
    assert answer["metric"] == "vmstat"
    assert answer["interval"] is None
    assert answer["units"] == {"us": "%", "sy": "%"}
    assert [row["timestamp"] for row in answer["results"]] == [
        "2026-03-02T10:00:00Z",
        "2026-03-02T10:00:02Z",
        "2026-03-02T10:00:04Z",
    ]
    assert [row["us"] for row in answer["results"]] == [0, 1, 2]
    assert set(answer["results"][0]) == {"server_id", "timestamp", "us", "sy", "completeness"}


def test_every_column_unless_some_are_chosen(web: Web, landed: int) -> None:
    answer = ask(web, "vmstat", server_id=landed, start=moment(START), end=moment(START + timedelta(seconds=2)))
    assert set(answer["results"][0]) == {"server_id", "timestamp", "completeness", *FAMILIES["vmstat"].by_name}
    assert set(answer["units"]) == set(FAMILIES["vmstat"].units)
    assert answer["results"][0]["wa"] is None


@pytest.mark.parametrize(("agg", "value"), [("mean", 14.5), ("min", 0), ("max", 29), ("p95", None), ("sum", 435)])
def test_time_spans(web: Web, landed: int, agg: str, value: float | None) -> None:
    answer = ask(
        web,
        "historical",
        metric="vmstat",
        server_id=str(landed),
        start=moment(START),
        end=moment(START + timedelta(hours=1)),
        interval="1m",
        columns="us",
        agg=agg,
    )
    assert answer["interval"] == "1m"
    assert len(answer["results"]) == 60
    us = answer["results"][10]["us"]
    assert us == value if value is not None else 26 <= us <= 29
    times = [row["timestamp"] for row in answer["results"]]
    assert times == sorted(times)


def test_families_with_a_key_carry_it(web: Web, landed: int) -> None:
    answer = ask(web, "iostat", server_id=landed, start=moment(START), end=moment(START + timedelta(minutes=2)))
    assert {(row["disk"], row["busy_pct"]) for row in answer["results"]} == {("hdisk0", 10), ("hdisk1", 90)}
    assert len(answer["results"]) == 4


def test_moments_may_have_a_zone(web: Web, landed: int) -> None:
    for start in ("2026-03-02T11:00:00+01:00", "2026-03-02T10:00:00", "2026-03-02T15:30:00+05:30"):
        answer = ask(web, "vmstat", server_id=landed, start=start, end=moment(START + timedelta(seconds=4)))
        assert len(answer["results"]) == 2
    with web.viewer as client:
        unescaped = f"/api/metrics/vmstat/?server_id={landed}&start=2026-03-02T11:00:00+01:00&end=2026-03-02T10:00:04Z"
        assert len(client.get(unescaped).json()["results"]) == 2


def test_csv(web: Web, landed: int) -> None:
    path = f"/api/metrics/historical/?metric=vmstat&format=csv&columns=us&server_id={landed}"
    with web.viewer as client:
        answer = client.get(f"{path}&start={moment(START)}&end={moment(START + timedelta(seconds=4))}")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["timestamp"], float(row["us"])) for row in rows] == [
        ("2026-03-02T10:00:00Z", 0),
        ("2026-03-02T10:00:02Z", 1),
    ]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"start": "2026-03-02T10:00:00Z", "end": "2026-03-02T10:00:00Z"}, "End time must be after start time"),
        ({"start": "2026-03-02T11:00:00Z", "end": "2026-03-02T10:00:00Z"}, "End time must be after start time"),
        ({"start": "yesterday"}, "start: "),
        ({"columns": "us,nonsense"}, "'nonsense'"),
        ({"interval": "fortnight"}, "interval"),
        ({"agg": "median", "interval": "1m"}, "median"),
        ({"format": "xml"}, "format: "),
        ({"metric": "gpu"}, "no metric family 'gpu'"),
        ({"server_id": "one"}, "server_id 'one'"),
        ({"server_id": "-1"}, "server_id '-1'"),
    ],
)
def test_refusals(web: Web, landed: int, query: dict[str, str], detail: str) -> None:
    with web.viewer as client:
        answer = client.get("/api/metrics/historical/", params={"metric": "vmstat", "server_id": landed, **query})
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert detail in answer.json()["detail"]
        assert client.get("/api/metrics/historical/").status_code == 422


@pytest.mark.parametrize("path", ["realtime/?metric=vmstat&", "historical/?metric=vmstat&", "vmstat/?", "processes/?"])
def test_an_unknown_server_is_404(web: Web, path: str) -> None:
    with web.viewer as client:
        answer = client.get(f"/api/metrics/{path}server_id=999999")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "there is no server 999999"


def test_too_many_rows_are_refused_with_an_interval_that_fits(web: Web) -> None:
    with web.admin as client:
        number = client.post("/api/servers/", json={"hostname": "many-disks", "ssh_username": "m"}).json()["id"]
        rows = [
            {"server_id": number, "timestamp": START + timedelta(seconds=10 * n), "disk": f"d{disk}", "busy_pct": 1.0}
            for n in range(505)
            for disk in range(100)
        ]
        land(web, "iostat", rows)
        query = {"server_id": number, "start": moment(START), "end": moment(START + timedelta(hours=2))}
        answer = client.get("/api/metrics/iostat/", params=query)
        assert answer.status_code == 422
        detail = answer.json()["detail"]
        interval = detail.rsplit("interval=", 1)[1].rstrip(".")
        fitting = client.get("/api/metrics/iostat/", params={**query, "interval": interval})
        assert fitting.status_code == 200, detail
        assert 0 < len(fitting.json()["results"]) <= 50_000
        client.delete(f"/api/servers/{number}/")


@pytest.mark.parametrize("path", ["vmstat", "iostat", "netstat", "processes", "filesystems", "memory", "lpar"])
def test_each_family_has_a_path_of_its_own(web: Web, server_id: int, path: str) -> None:
    answer = ask(web, path, server_id=server_id)
    assert answer["metric"] in FAMILIES
    assert answer["metric"] == {"processes": "process", "filesystems": "filesystem"}.get(path, path)
    assert answer["results"] == []


def test_the_live_minute_comes_from_the_tail(web: Web, server_id: int) -> None:
    family, now_ms = FAMILIES["iostat"], int(time.time() * 1000)
    producer = stream.Producer(web.settings.bootstrap, "test")
    for seq, (age_ms, disks) in enumerate([(90_000, ["old"]), (1000, ["d0", "d1"])], start=1):
        rows = [{"disk": disk, "busy_pct": 12.5} for disk in disks]
        sample = Sample("iostat", server_id, now_ms - age_ms, rows, "iostat", "", "t/1", "c", "s", seq)
        value, headers = encode(family, sample)
        producer.send(family.topic, key(server_id), value, headers)
    assert producer.flush(10) == 0
    producer.close()
    deadline = time.monotonic() + 15
    while not (answer := ask(web, "realtime", metric="iostat", server_id=server_id))["results"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert answer["interval"] is None
    assert [(row["disk"], row["busy_pct"], row["tps"]) for row in answer["results"]] == [
        ("d0", 12.5, None),
        ("d1", 12.5, None),
    ]
    shown = pl.Series([row["timestamp"] for row in answer["results"]]).str.to_datetime(time_zone="UTC")
    assert shown.dt.epoch("ms").to_list() == [now_ms - 1000] * 2
    narrow = ask(web, "realtime", metric="iostat", server_id=server_id, columns="tps")
    assert set(narrow["results"][0]) == {"server_id", "timestamp", "disk", "tps"}
    assert narrow["units"] == {"tps": answer["units"]["tps"]}
    with web.viewer as client:
        health = client.get(f"/api/servers/{server_id}/health/").json()
    fresh = {family["metric"]: family["fresh"] for family in health["families"]}
    assert fresh["iostat"] is True
    assert fresh["memory"] is False


def test_answers_have_a_tag_and_say_how_long_they_hold(web: Web, landed: int) -> None:
    times = {"start": moment(START), "end": moment(START + timedelta(hours=1))}
    query = {"server_id": str(landed), "interval": "5m", **times}
    with web.viewer as client:
        first = client.get("/api/metrics/vmstat/", params=query)
        assert first.headers["cache-control"] == "private, no-cache"  # its hours are not rolled up yet
        same = client.get("/api/metrics/vmstat/", params=query, headers={"If-None-Match": first.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
        assert same.headers["etag"] == first.headers["etag"]
        other = client.get("/api/metrics/vmstat/", params=query, headers={"If-None-Match": '"another"'})
        assert (other.status_code, other.content) == (200, first.content)
        with web.db.connection() as conn:
            rollups.refresh(conn)
        closed = client.get("/api/metrics/vmstat/", params=query)
        assert closed.headers["cache-control"] == "private, max-age=300"
        assert closed.json() == first.json()
        assert client.get("/api/metrics/vmstat/", params=query).headers["etag"] == closed.headers["etag"]


def test_charts_and_lines_by_tag(web: Web, landed: int) -> None:
    times = {"start": moment(START), "end": moment(START + timedelta(hours=1))}
    chart = ask(web, "vmstat", server_id=landed, columns="us", points=500, **times)
    assert chart["interval"] is None
    assert len(chart["results"]) <= 500
    assert max(row["us"] for row in chart["results"]) == 29
    with web.admin as client:
        client.patch(f"/api/servers/{landed}/", json={"tags": ["front"]})
    tagged = ask(web, "vmstat", server_id=landed, columns="us", interval="1h", group="tag", **times)
    assert tagged["results"] == [{"tag": "front", "timestamp": moment(START), "us": 14.5, "completeness": None}]
    days = ask(web, "vmstat", server_id=landed, columns="us", interval="1d", timezone="Europe/Berlin", **times)
    assert days["results"][0]["timestamp"] == "2026-03-01T23:00:00Z"
    with web.viewer as client:
        answer = client.get("/api/metrics/vmstat/", params={"server_id": landed, "timezone": "Middle/Earth", **times})
    assert answer.status_code == 422
    assert "Middle/Earth" in answer.json()["detail"]


def test_a_range_of_any_length_is_exported(web: Web, landed: int) -> None:
    query = {"metric": "vmstat", "server_id": str(landed), "columns": "us"}
    query |= {"start": moment(START), "end": moment(START + timedelta(minutes=MINUTES))}
    with web.viewer as client:
        lines = client.get("/api/export/", params={**query, "format": "ndjson"}).text.splitlines()
        header = json.loads(lines[0])
        assert header["query"]["server_id"] == [landed]
        assert header["units"] == {"us": "%"}
        assert set(header["completeness"]) == {"share", "collected", "landed", "rejected", "missing"}
        rows = [json.loads(line) for line in lines[1:]]
        assert [row["us"] for row in rows] == [float(n % 30) for n in range(30 * MINUTES)]
        plain = client.get("/api/export/", params=query)
        assert plain.headers["content-type"].startswith("text/csv")
        assert plain.headers["content-disposition"].endswith('.csv"')
        table = pl.read_csv(io.StringIO(plain.text), comment_prefix="#")
        assert table["us"].to_list() == [float(n % 30) for n in range(30 * MINUTES)]
        parquet = client.get("/api/export/", params={**query, "format": "parquet", "interval": "1h"})
        assert pl.read_parquet(io.BytesIO(parquet.content))["us"].to_list() == [14.5, 14.5]
        refused = client.get("/api/export/", params={**query, "interval": "fortnight"})
        assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
        assert client.get("/api/export/", params={**query, "server_id": "999999"}).status_code == 404
