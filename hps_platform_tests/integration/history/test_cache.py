"""Answers are cached for closed ranges only, and never outlive what is landed into their range."""

from datetime import UTC, datetime, timedelta

import pytest

from hps_platform.history import Answer, asked, cached
from hps_platform.metrics import FAMILIES
from hps_platform.store import query_cache, rollups
from hps_platform.store.database import Connection, Database
from hps_platform_tests.integration.store import samples
from hps_platform_tests.integration.store.samples import START

VMSTAT = FAMILIES["vmstat"]


def ask(db: Database, *, servers: tuple[int, ...] = (1, 2), interval: str | None = "5m") -> Answer:
    return cached(
        db, db, asked("vmstat", servers, START, START + timedelta(hours=2), columns=["us"], interval=interval)
    )


def entries(conn: Connection) -> int:
    [(count,)] = conn.execute("SELECT count(*) FROM query_cache").fetchall()
    return int(count)


@pytest.fixture(autouse=True)
def _landed(conn: Connection) -> None:
    samples.land(conn, VMSTAT, samples.frame(VMSTAT, samples.every(10, 720), nulls=0))


@pytest.mark.parametrize("interval", ["5m", "1d", None])
def test_a_closed_range_is_answered_from_the_cache(db: Database, conn: Connection, interval: str | None) -> None:
    rollups.refresh(conn)
    first = ask(db, interval=interval)
    assert first.settled
    conn.execute(
        "TRUNCATE vmstat_metrics, vmstat_metrics_1m, vmstat_metrics_1h, vmstat_metrics_6h"
    )  # nothing marks an hour for that
    again = ask(db, interval=interval)
    assert again.frame.equals(first.frame)
    assert (again.interval, again.step_s, again.units) == (first.interval, first.step_s, first.units)
    assert again.settled
    assert ask(db, servers=(1,), interval=interval).frame.is_empty()  # another question


def test_a_range_with_dirty_hours_is_not_cached(db: Database, conn: Connection) -> None:
    assert not ask(db).settled
    assert entries(conn) == 0


def test_a_range_that_has_not_ended_is_not_cached(db: Database, conn: Connection) -> None:
    rollups.refresh(conn)
    now = datetime.now(UTC)
    for interval, start in (("1m", now - timedelta(hours=1)), ("1d", now - timedelta(days=3))):
        answer = cached(db, db, asked("vmstat", [1], start, now + timedelta(seconds=1), interval=interval))
        assert not answer.settled
    assert entries(conn) == 0


def test_what_is_landed_late_or_again_is_in_the_next_answer(db: Database, conn: Connection) -> None:
    rollups.refresh(conn)
    before = ask(db)
    conn.execute("UPDATE vmstat_metrics SET us = 99 WHERE server_id = 1")
    conn.execute("INSERT INTO dirty_hours VALUES ('vmstat', %s, 1, now())", (START,))
    marked = ask(db)
    assert not marked.settled
    assert marked.frame.filter(server_id=1)["us"].head(12).to_list() == [99.0] * 12
    assert before.frame.filter(server_id=2).equals(marked.frame.filter(server_id=2))
    conn.execute("INSERT INTO dirty_hours VALUES ('vmstat', %s, 1, now())", (START + timedelta(hours=1),))
    rollups.refresh(conn)
    assert entries(conn) == 0
    healed = ask(db)
    assert healed.settled
    assert healed.frame.filter(server_id=1)["us"].unique().to_list() == [99.0]


def test_other_hours_and_families_stay_cached(db: Database, conn: Connection) -> None:
    rollups.refresh(conn)
    ask(db)
    conn.execute("INSERT INTO dirty_hours VALUES ('iostat', %s, 1, now())", (START,))
    conn.execute("INSERT INTO dirty_hours VALUES ('vmstat', %s, 1, now())", (START + timedelta(hours=2),))
    conn.execute("DELETE FROM dirty_hours")
    assert entries(conn) == 1


def test_the_cache_is_bounded(db: Database, conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    rollups.refresh(conn)
    monkeypatch.setattr(query_cache, "_MAX_ENTRIES", 3)
    for number in range(1, 6):
        ask(db, servers=(number,))
    assert entries(conn) == 3
    conn.execute("UPDATE query_cache SET made_at = made_at - interval '6 minutes'")
    conn.execute("TRUNCATE vmstat_metrics, vmstat_metrics_1m, vmstat_metrics_1h, vmstat_metrics_6h")
    assert ask(db, servers=(5,)).frame.is_empty()
    assert entries(conn) == 1
    monkeypatch.setattr(query_cache, "MAX_BYTES", 100)
    assert not ask(db, servers=(1,)).settled
