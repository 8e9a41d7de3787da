"""Exports: every form holds the rows of the answer, with its header, whatever the range, in pieces."""

import io
from datetime import timedelta
from typing import Any

import orjson
import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from hps_platform.errors import InvalidInput
from hps_platform.history import answer, asked, export, exports
from hps_platform.metrics import FAMILIES
from hps_platform.store import partitions, rollups
from hps_platform.store.database import Connection, Database
from hps_platform_tests.integration.store import samples
from hps_platform_tests.integration.store.samples import START

IOSTAT = FAMILIES["iostat"]
END = START + timedelta(hours=30)


@pytest.fixture(autouse=True)
def _landed(conn: Connection) -> None:
    samples.land(conn, IOSTAT, samples.frame(IOSTAT, samples.every(60, 26 * 60), nulls=0.1))
    rollups.refresh(conn)
    with conn.transaction():
        partitions.ensure_days(conn, ["completeness", "completeness_1h"], [START.date()])
        conn.execute(
            "INSERT INTO completeness_1h VALUES ('iostat', 1, %s, 60, 57, 1, 2, 171, 3)", (START + timedelta(hours=1),)
        )
        conn.execute(
            "INSERT INTO completeness (family, server_id, timestamp, session, collected, landed)"
            " VALUES ('iostat', 1, %s, 's', 4, 3)",
            (START + timedelta(minutes=61),),
        )


def read(form: str, data: bytes, schema: Any) -> tuple[dict[str, Any], pl.DataFrame]:
    if form == "parquet":
        file = pq.ParquetFile(io.BytesIO(data))
        metadata = {key.decode(): value for key, value in file.schema_arrow.metadata.items()}
        header = {name: orjson.loads(metadata[name]) for name in ("query", "units", "completeness")}
        return header, pl.DataFrame(pl.from_arrow(file.read())).cast(schema)
    if form == "csv":
        comments = [line[2:].split(b": ", 1) for line in data.splitlines() if line.startswith(b"# ")]
        header = {name.decode(): orjson.loads(value) for name, value in comments}
        rows = pl.read_csv(io.BytesIO(data), comment_prefix="#", schema_overrides={"timestamp": pl.String()})
    elif form == "json":
        header = orjson.loads(data)
        rows = pl.DataFrame(header.pop("results"), infer_schema_length=None)
    else:
        lines = data.splitlines()
        header = orjson.loads(lines[0])
        rows = pl.DataFrame([orjson.loads(line) for line in lines[1:]], infer_schema_length=None)
    moments = pl.col("timestamp").str.to_datetime(time_unit="ms", time_zone="UTC")
    return header, rows.with_columns(moments).cast(schema)


@pytest.mark.parametrize("interval", [None, "5m", "1d"])
@pytest.mark.parametrize("form", ["csv", "json", "ndjson", "parquet"])
def test_every_form_holds_the_answer(
    db: Database, form: str, interval: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(exports, "SLICE_ROWS", 100)
    question = asked("iostat", [1, 2], START, END, columns=["busy_pct", "kb_s"], interval=interval, completeness=True)
    expected = answer(db, question).frame
    pieces = list(export(db, question, form))
    header, rows = read(form, b"".join(pieces), expected.schema)
    assert_frame_equal(rows, expected, rel_tol=1e-9)
    assert header["query"]["interval"] == interval
    assert header["query"]["columns"] == ["busy_pct", "kb_s"]
    assert header["units"] == {"busy_pct": "%", "kb_s": "KiB/s"}
    assert header["completeness"] == {"share": 0.95, "collected": 60, "landed": 57, "rejected": 1, "missing": 2}
    assert rows.height < 200 or len(pieces) > 10


def test_slices_stay_small_however_much_a_time_holds(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(exports, "SLICE_ROWS", 30)
    heights = [frame.height for frame in exports._slices(db, asked("iostat", [1, 2], START, END))]
    assert sum(heights) == 26 * 60 * 2 * 3
    assert max(heights) <= 30


def test_an_empty_range_is_a_file_with_a_header(db: Database) -> None:
    question = asked("iostat", [1], START - timedelta(days=9), START - timedelta(days=8))
    for form in ("csv", "json", "ndjson", "parquet"):
        schema = answer(db, asked("iostat", [1], START, END)).frame.schema
        header, _ = read(form, b"".join(export(db, question, form)), schema) if form == "parquet" else ({}, None)
        assert form != "parquet" or header["completeness"]["share"] is None
    assert orjson.loads(b"".join(export(db, question, "json")))["results"] == []
    assert b"server_id,timestamp,disk,tps" in b"".join(export(db, question, "csv"))


def test_what_cant_be_exported_is_said_before_the_first_byte(db: Database) -> None:
    with pytest.raises(InvalidInput, match="format 'xls'"):
        export(db, asked("iostat", [1], START, END), "xls")
    with pytest.raises(InvalidInput, match="number of points"):
        export(db, asked("iostat", [1], START, END, max_points=10), "csv")


def test_answers_say_how_complete_they_are(db: Database) -> None:
    how: dict[str, Any] = {"columns": ["busy_pct"], "completeness": True}
    hours = answer(db, asked("iostat", [1, 2], START, END, interval="1h", **how)).frame
    shares = hours.filter(pl.col("completeness").is_not_null())
    assert shares["completeness"].to_list() == [0.95] * 3  # three disks
    assert shares["timestamp"].unique().to_list() == [START + timedelta(hours=1)]
    minutes = answer(db, asked("iostat", [1], START, END, **how)).frame.drop_nulls("completeness")
    assert minutes["timestamp"].unique().to_list() == [START + timedelta(minutes=61)]
    assert minutes["completeness"].unique().to_list() == [0.75]
    tags = {1: ["db"], 2: ["db"]}
    tagged = answer(db, asked("iostat", [1, 2], START, END, interval="1h", tags=tags, **how)).frame
    assert tagged["completeness"].drop_nulls().unique().to_list() == [0.95]
