"""Writing a commit: COPY of every shape of row, duplicates, refusals, the ledger, the lease."""

import threading
from datetime import timedelta
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from hps_platform.errors import FencedOut
from hps_platform.metrics import FAMILIES
from hps_platform.store import landing, leases
from hps_platform.store.database import Connection, session
from hps_platform_tests.integration.store import samples

VMSTAT, IOSTAT, PROCESS = FAMILIES["vmstat"], FAMILIES["iostat"], FAMILIES["process"]


def stored(conn: Connection, table: str, schema: dict[str, Any], key: tuple[str, ...]) -> pl.DataFrame:
    columns = ", ".join(f'"{name}"' for name in schema)
    rows = conn.execute(f"SELECT {columns} FROM {table}".encode()).fetchall()  # noqa: S608  # names of the families
    return pl.DataFrame(rows, schema=schema, orient="row").sort(key)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("nulls", [0.0, 0.3, 1.0])
def test_every_row_arrives_as_it_was(conn: Connection, name: str, nulls: float) -> None:
    family = FAMILIES[name]
    rows = samples.frame(family, samples.every(7.001, 50), nulls=nulls, seed=len(name))
    assert samples.land(conn, family, rows).rows == rows.height
    columns = landing.table_columns(family)
    found = stored(conn, family.table, {column: rows.schema[column] for column in columns}, family.primary_key)
    assert_frame_equal(found, rows.select(columns).sort(family.primary_key))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30) | st.none(), min_size=1))
def test_any_text_arrives(conn: Connection, texts: list[str | None]) -> None:
    conn.execute("TRUNCATE process_metrics")
    rows = samples.frame(PROCESS, [samples.START], servers=[1], keys=len(texts)).with_columns(
        pl.Series("command", texts, dtype=pl.String)
    )
    samples.land(conn, PROCESS, rows)
    found = conn.execute("SELECT command FROM process_metrics ORDER BY pid").fetchall()
    assert [text for (text,) in found] == texts


def test_rows_that_are_there_stay(conn: Connection) -> None:
    times = samples.every(60, 30)
    old = samples.frame(IOSTAT, times[:20], seed=1)
    new = samples.frame(IOSTAT, times[10:], seed=2)
    samples.land(conn, IOSTAT, old)
    landed = samples.land(conn, IOSTAT, new)
    assert (landed.rows, landed.duplicates) == (60, 60)
    columns = landing.table_columns(IOSTAT)
    found = stored(conn, IOSTAT.table, {column: old.schema[column] for column in columns}, IOSTAT.primary_key)
    fresh = new.filter(pl.col("timestamp") > old["timestamp"].max())
    assert_frame_equal(found, pl.concat([old, fresh]).select(columns).sort(IOSTAT.primary_key))


def test_rows_that_postgresql_refuses_come_back_and_the_rest_lands(conn: Connection) -> None:
    rows = samples.frame(IOSTAT, samples.every(60, 40), servers=[1], keys=1, nulls=0)
    # Longer than an index entry may be, and not to be compressed away: decoding rejects such keys before.
    unfit = "".join(chr(0x4E00 + (number * 7919) % 20_000) for number in range(4_000))
    bad = pl.when(pl.col("kafka_offset").is_in([3, 17, 39])).then(pl.lit(unfit)).otherwise("disk").alias("disk")
    landed = samples.land(conn, IOSTAT, rows.with_columns(bad))
    assert landed.rows == 37
    assert [refused["kafka_offset"].to_list() for refused, _ in landed.refused] == [[3], [17], [39]]
    assert all("index" in reason for _, reason in landed.refused)


def test_the_ledger_moves_only_from_where_it_stands(conn: Connection) -> None:
    places = {("t", number): (5, 9) for number in range(3)}
    assert landing.positions(conn, places) == dict.fromkeys(places, 5)
    landing.advance(conn, {("t", 0): (5, 6), ("t", 1): (5, 7)})

    def again() -> None:
        with conn.transaction():
            landing.advance(conn, {("t", 0): (6, 8), ("t", 1): (5, 8), ("t", 2): (5, 8)})

    with pytest.raises(FencedOut, match="1 of 3"):
        again()
    assert landing.positions(conn, places) == {("t", 0): 6, ("t", 1): 7, ("t", 2): 5}


def test_marks_of_two_writers_do_not_block_each_other(migrated_dsn: str) -> None:
    hours = [("vmstat", samples.START + timedelta(hours=number), 1) for number in range(50)]
    failures: list[BaseException] = []

    def mark(order: list[Any]) -> None:
        try:
            with session(migrated_dsn, application_name="test") as conn:
                for _ in range(20):
                    with conn.transaction():
                        landing.mark_dirty(conn, order)
        except Exception as error:  # noqa: BLE001  # the test looks at it
            failures.append(error)

    threads = [threading.Thread(target=mark, args=(order,)) for order in (hours, hours[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_lease_changes_hands_when_it_is_stale_or_ending(conn: Connection) -> None:
    assert leases.take(conn, "g", "a", 60) == 1
    assert leases.take(conn, "g", "b", 60) is None
    conn.execute("UPDATE landing_leases SET ends_at = now() + interval '21 seconds'")
    assert leases.take(conn, "g", "b", 60) is None
    conn.execute("UPDATE landing_leases SET ends_at = now() + interval '19 seconds'")
    assert leases.take(conn, "g", "b", 60) == 2
    conn.execute("UPDATE landing_leases SET renewed_at = now() - interval '11 seconds'")
    assert leases.take(conn, "g", "c", 60) == 3
    with pytest.raises(FencedOut):
        leases.hold(conn, "g", "b", 2)
    leases.hold(conn, "g", "c", 3)
    leases.release(conn, "g", "b", 2)
    assert leases.take(conn, "g", "d", 60) is None
    leases.release(conn, "g", "c", 3)
    assert leases.take(conn, "g", "d", 60) == 4


def test_a_holder_whose_session_is_gone_is_given_up_sooner(conn: Connection, migrated_dsn: str) -> None:
    holder = psycopg.connect(migrated_dsn, autocommit=True, application_name=leases.session_name("g", "a"))
    assert leases.take(holder, "g", "a", 60) == 1
    conn.execute("UPDATE landing_leases SET renewed_at = now() - interval '5 seconds'")
    lease = leases.state(conn, "g")
    assert lease is not None
    assert not lease.stale
    holder.close()
    pid = holder.info.backend_pid if not holder.closed else 0
    assert pid == 0
    gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = %s"
    while conn.execute(gone, (leases.session_name("g", "a"),)).fetchone() != (True,):
        pass
    lease = leases.state(conn, "g")
    assert lease is not None
    assert lease.stale


def test_a_hanging_holders_sessions_are_ended(conn: Connection, migrated_dsn: str) -> None:
    holder = psycopg.connect(migrated_dsn, application_name=leases.session_name("g", "a"))
    leases.take(holder, "g", "a", 60)
    holder.commit()
    holder.execute("LOCK TABLE landing_leases")
    conn.execute("SELECT 1")
    lease = leases.Lease("g", "a", 1, samples.START, samples.START, stale=True, ending=False, awaited=False)
    assert leases.end_sessions(conn, lease) == 1
    conn.execute("SET statement_timeout = '10s'")
    conn.execute("UPDATE landing_leases SET renewed_at = 'epoch'")
    assert leases.take(conn, "g", "b", 60) == 2
    holder.close()
