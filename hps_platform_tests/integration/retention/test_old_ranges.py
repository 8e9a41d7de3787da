"""Questions about ranges that are older than the tables: the same answers as before the rows were dropped."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from hps_platform import retention
from hps_platform.errors import ArchiveDamaged, InvalidInput
from hps_platform.history import query
from hps_platform.metrics import FAMILIES
from hps_platform.retention import Place, Policy
from hps_platform.store import rollups, seam
from hps_platform.store.archive import records
from hps_platform.store.database import Connection, Database
from hps_platform_tests.integration.store import samples
from hps_platform_tests.integration.store.samples import START

DAYS = 6
TODAY = START.date() + timedelta(days=DAYS)
# Three of six days are dropped; in the second case so are the rollups of two.
POLICIES = [Policy(3, 90, 1826), Policy(3, 4, 1826)]
NAMES = ("vmstat", "netstat", "process")


def at(**passed: float) -> datetime:
    return START + timedelta(**passed)


@pytest.fixture
def db(migrated_dsn: str, conn: Connection) -> Iterator[Database]:
    for name in NAMES:
        family = FAMILIES[name]
        rows = samples.frame(family, samples.every(487, DAYS * 177), servers=[1, 2, 3], nulls=0)
        if name == "netstat":
            rows = rows.with_columns(pl.col("kafka_offset").alias("ipkts"))
        samples.land(conn, family, rows)
    while rollups.refresh(conn):
        pass
    with Database(migrated_dsn) as database:
        yield database


def questions() -> list[dict[str, Any]]:
    inside = {"start": at(hours=5), "end": at(hours=30)}
    across = {"start": at(days=1), "end": at(days=5)}
    return [
        {"family": "vmstat", **inside},
        {"family": "vmstat", **inside, "columns": ["us"], "max_points": 100},
        {"family": "vmstat", **across, "columns": ["us", "r"], "max_points": 200},
        *(
            {"family": "vmstat", **across, "columns": ["us", "r", "fre"], "interval": interval, "agg": agg}
            for interval in ("10m", "1h", "5d")
            for agg in ("mean", "min", "max", "sum", "p95")
        ),
        {"family": "vmstat", **across, "columns": ["us"], "interval": "1d", "zone": "Asia/Kolkata"},
        {"family": "vmstat", **across, "columns": ["us"], "interval": "1h", "agg": "p95"},
        {"family": "vmstat", **across, "columns": ["us"], "interval": "1d", "zone": "Europe/Berlin", "agg": "p95"},
        {"family": "vmstat", **across, "columns": ["us"], "interval": "1h", "tags": {1: ["a", "b"], 2: ["a"]}},
        {"family": "vmstat", **across, "columns": ["us"], "interval": "30s", "agg": "max"},
        {"family": "netstat", **across, "columns": ["ipkts"], "interval": "1h", "agg": "rate"},
        {"family": "netstat", **inside, "interval": "5m"},
        {"family": "process", **across, "columns": ["cpu_pct"], "interval": "6h", "agg": "p95"},
        {"family": "process", **inside, "columns": ["cpu_pct", "command"]},
    ]


def answers(db: Database) -> list[pl.DataFrame]:
    return [query(db, question["family"], [1, 2], **_rest(question)).frame for question in questions()]


def _rest(question: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in question.items() if name != "family"}


@pytest.mark.parametrize("policy", POLICIES)
def test_every_range_answers_as_before(db: Database, conn: Connection, place: Place, policy: Policy) -> None:
    before = answers(db)
    assert all(frame.height for frame in before)
    report = retention.drop_expired(conn, place, dict.fromkeys(FAMILIES, policy), TODAY)
    assert (report.held, len(report.archived)) == ({}, 3 * len(NAMES))
    for question, old, new in zip(questions(), before, answers(db), strict=True):
        _same(new, old, str(question))
    retention.restore(conn, FAMILIES["vmstat"], START.date() + timedelta(days=1), TODAY + timedelta(days=9))
    for question, old, new in zip(questions(), before, answers(db), strict=True):
        _same(new, old, f"restored: {question}")


def _same(new: pl.DataFrame, old: pl.DataFrame, question: str) -> None:
    try:
        # Means out of rollups are single precision, those out of the archive double.
        assert_frame_equal(new, old, rel_tol=1e-5)
    except AssertionError as error:
        raise AssertionError(question) from error


def test_rows_that_came_late_or_again_are_seen_once(db: Database, conn: Connection, place: Place) -> None:
    family = FAMILIES["vmstat"]
    before = answers(db)
    retention.drop_expired(conn, place, dict.fromkeys(FAMILIES, POLICIES[0]), TODAY)
    rows = samples.frame(family, samples.every(487, DAYS * 177), servers=[1, 2, 3], nulls=0)
    samples.land(conn, family, rows.filter(pl.col("timestamp") < at(days=2)))
    for number in (0, 3 + 4, 3 + 9):  # raw rows; 95th percentiles
        _same(answers(db)[number], before[number], str(questions()[number]))


def test_a_question_that_is_too_much_is_refused(
    db: Database, conn: Connection, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    retention.drop_expired(conn, place, dict.fromkeys(FAMILIES, POLICIES[0]), TODAY)
    monkeypatch.setattr(seam, "MOST_ROWS", 100)
    with pytest.raises(InvalidInput, match="archived rows"):
        query(db, "vmstat", [1], START, at(days=2), interval="1h", agg="p95")


def test_a_damaged_day_is_said_so(db: Database, conn: Connection, place: Place) -> None:
    retention.drop_expired(conn, place, dict.fromkeys(FAMILIES, POLICIES[0]), TODAY)
    one = records.find(conn, "vmstat", date(2026, 3, 2))
    assert one is not None
    with open(one.url, "r+b") as file:  # noqa: PTH123  # a URL of a file
        file.truncate(one.bytes // 2)
    with pytest.raises(ArchiveDamaged, match="vmstat"):
        query(db, "vmstat", [1], START, at(days=2), columns=["us"])
