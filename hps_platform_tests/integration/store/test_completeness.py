"""The conservation ledger: numbers that come in any order, twice, late or never, and rows beside the table's."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import psycopg
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, pool

from hps_platform.metrics import FAMILIES
from hps_platform.store import completeness, partitions
from hps_platform.store.database import Connection, _config, migrate
from hps_platform_tests.integration.store import samples

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
VMSTAT = FAMILIES["vmstat"]


def minute(number: int) -> datetime:
    return NOON + timedelta(minutes=number)


def run(number: int, first: int | None, last: int | None = None, **more: Any) -> dict[str, Any]:
    """An entry of minute `number`; a row a sample."""
    rows = 0 if first is None else (last or first) - first + 1
    entry = {
        "family": "vmstat",
        "server_id": 1,
        "timestamp": minute(number),
        "session": "s1",
        "first_seq": first,
        "last_seq": last or first,
        "landed": True,
        "landed_rows": rows,
        "rejected_rows": 0,
        "recount": False,
    }
    return entry | more


def fold(conn: Connection, *entries: dict[str, Any]) -> None:
    completeness.append(conn, pl.DataFrame(entries, schema=completeness.LOG_SCHEMA))
    assert completeness.fold(conn) == len(entries)
    assert completeness.fold(conn) == 0


def minutes(conn: Connection, family: str = "vmstat") -> list[tuple[int, int, int, int, int]]:
    """Minute, collected, landed, rejected, missing."""
    rows = conn.execute(
        """
        SELECT timestamp, sum(collected), sum(landed), sum(rejected), sum(missing) FROM completeness
        WHERE family = %s GROUP BY 1 ORDER BY 1
        """,
        (family,),
    )
    return [((at - NOON) // timedelta(minutes=1), *counts) for at, *counts in rows]


def hours(conn: Connection) -> list[tuple[int, ...]]:
    rows = conn.execute("SELECT timestamp, collected, landed, rejected, missing FROM completeness_1h ORDER BY 1")
    return [((at - NOON) // timedelta(hours=1), *counts) for at, *counts in rows]


def test_numbers_that_follow_each_other_are_complete(conn: Connection) -> None:
    fold(conn, run(0, 1, 30), run(1, 31, 60))
    fold(conn, run(2, 61, 75))
    fold(conn, run(2, 76, 90), run(60, 91, 95))
    assert minutes(conn) == [(0, 30, 30, 0, 0), (1, 30, 30, 0, 0), (2, 30, 30, 0, 0), (60, 5, 5, 0, 0)]
    assert hours(conn) == [(0, 90, 90, 0, 0), (1, 5, 5, 0, 0)]


def test_a_hole_in_a_minute_and_between_neighbours(conn: Connection) -> None:
    fold(conn, run(0, 1, 10), run(0, 21, 30), run(1, 41, 60))
    assert minutes(conn) == [(0, 30, 20, 0, 10), (1, 30, 20, 0, 10)]


def test_minutes_that_are_missing_whole_get_their_share(conn: Connection) -> None:
    fold(conn, run(0, 1, 30), run(4, 121, 150))
    assert minutes(conn) == [
        (0, 30, 30, 0, 0),
        (1, 30, 0, 0, 30),
        (2, 30, 0, 0, 30),
        (3, 30, 0, 0, 30),
        (4, 30, 30, 0, 0),
    ]
    assert hours(conn) == [(0, 150, 60, 0, 90)]


def test_what_comes_late_heals(conn: Connection) -> None:
    fold(conn, run(0, 1, 30), run(4, 121, 150))
    fold(conn, run(2, 61, 90))
    assert minutes(conn) == [
        (0, 30, 30, 0, 0),
        (1, 30, 0, 0, 30),
        (2, 30, 30, 0, 0),
        (3, 30, 0, 0, 30),
        (4, 30, 30, 0, 0),
    ]
    fold(conn, run(1, 31, 60), run(3, 91, 120))
    assert [row[4] for row in minutes(conn)] == [0] * 5
    assert hours(conn) == [(0, 150, 150, 0, 0)]


def test_a_session_begins_with_one_and_another_with_its_own(conn: Connection) -> None:
    fold(conn, run(0, 4, 10))
    fold(conn, run(0, 1, 5, session="s2"), run(3, 6, 6, session="s2"))
    assert minutes(conn) == [(0, 15, 12, 0, 3), (3, 1, 1, 0, 0)]


def test_a_pause_is_no_gap(conn: Connection) -> None:
    fold(conn, run(0, 1, 10))
    fold(conn, run(3 * 24 * 60, 11, 20))
    assert [row[4] for row in minutes(conn)] == [0, 0]


def test_rejected_samples_count_until_they_land(conn: Connection) -> None:
    fold(conn, run(0, 1, 3), run(0, 4, 6, landed=False, landed_rows=0, rejected_rows=3))
    assert minutes(conn) == [(0, 6, 3, 3, 0)]
    fold(conn, run(0, 5, 5, rejected_rows=-1))
    assert minutes(conn) == [(0, 6, 4, 2, 0)]
    assert conn.execute("SELECT landed_rows, rejected_rows FROM completeness").fetchall() == [(4, 2)]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    numbers=st.lists(st.integers(1, 120), min_size=1, max_size=40, unique=True),
    order=st.randoms(use_true_random=False),
    cuts=st.integers(1, 5),
)
def test_the_order_of_arrival_does_not_matter(conn: Connection, numbers: list[int], order: Any, cuts: int) -> None:
    def ledger(parts: Iterable[list[int]]) -> list[tuple[int, int, int, int, int]]:
        conn.execute("TRUNCATE completeness, completeness_1h")
        for part in parts:
            fold(conn, *(run((number - 1) // 10, number) for number in part))
        return minutes(conn)

    at_once = ledger([sorted(numbers)])
    shuffled = [*numbers, *numbers[:3]]  # some come twice
    order.shuffle(shuffled)
    size = -(-len(shuffled) // cuts)
    assert ledger([shuffled[at : at + size] for at in range(0, len(shuffled), size)]) == at_once
    assert sum(row[2] for row in at_once) == len(numbers)
    assert sum(row[1] for row in at_once) == max(numbers)


def land(conn: Connection, rows: pl.DataFrame, **more: Any) -> None:
    samples.land(conn, VMSTAT, rows)
    for number, part in rows.group_by(pl.col("timestamp").dt.truncate("1m"), "server_id"):
        at, server = number
        entry = run(0, None, timestamp=at, server_id=server, session="", landed_rows=part.height, **more)
        completeness.append(conn, pl.DataFrame([entry], schema=completeness.LOG_SCHEMA))


def test_rows_are_compared_with_the_table_by_minute(conn: Connection) -> None:
    rows = samples.frame(VMSTAT, samples.every(20, 9, NOON))
    land(conn, rows)
    span = (NOON - timedelta(hours=1), NOON + timedelta(hours=1))
    assert completeness.differences(conn, VMSTAT, *span) == []  # from the log alone
    completeness.fold(conn)
    assert completeness.differences(conn, VMSTAT, *span) == []
    conn.execute("DELETE FROM vmstat_metrics WHERE server_id = 2 AND timestamp = %s", (minute(1),))
    lost = completeness.Difference("vmstat", 2, minute(1), 3, 2)
    assert completeness.differences(conn, VMSTAT, *span) == [lost]
    assert completeness.differences(conn, VMSTAT, minute(2), minute(3)) == []


def test_rows_that_were_there_already_are_counted_in_the_table(conn: Connection) -> None:
    rows = samples.frame(VMSTAT, samples.every(20, 9, NOON))
    land(conn, rows)
    completeness.fold(conn)
    conn.execute("DELETE FROM vmstat_metrics WHERE server_id = 2 AND timestamp = %s", (minute(1),))
    land(conn, rows, recount=True)
    completeness.fold(conn)
    assert completeness.differences(conn, VMSTAT, NOON, minute(60)) == []
    assert conn.execute("SELECT sum(landed_rows) FROM completeness").fetchone() == (18,)


def test_sums_by_hour_of_the_older_schema_are_kept(postgres_dsn: str) -> None:
    def connect() -> Connection:
        return psycopg.connect(postgres_dsn)

    config = _config()
    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=pool.NullPool)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        connection.exec_driver_sql(
            "INSERT INTO completeness VALUES ('vmstat', 1, '2026-02-28 23:00Z', 's1', 1, 100, 98, 2, 98, 2, now()),"
            " ('vmstat', 1, '2026-03-01 11:00Z', 's1', 101, 200, 100, 0, 100, 0, now())"
        )
    engine.dispose()
    migrate(postgres_dsn)
    with psycopg.connect(postgres_dsn, autocommit=True) as conn:
        conn.execute("SET timezone = 'UTC'")
        partitions.ensure_days(conn, completeness.TABLES, [NOON.date()])
        fold(conn, run(0, 201, 230))
        assert [row[1:] for row in minutes(conn)] == [(100, 98, 2, 0), (100, 100, 0, 0), (30, 30, 0, 0)]
