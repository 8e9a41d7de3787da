"""The pool and the migrations against a real server."""

import threading

import psycopg
import pytest

from hps_platform.errors import DatabaseUnavailable
from hps_platform.metrics import FAMILIES
from hps_platform.stack.ports import free_port
from hps_platform.stack.postgres import Postgres
from hps_platform.store.database import Connection, Database, migrate, migrations, session
from hps_platform.store.partitions import tables
from hps_platform.store.rollups import summary_columns
from hps_platform.store.schema import PROVENANCE, Grain, rollup_key, rollup_table


def _columns(conn: Connection, table: str) -> list[tuple[str, str, bool]]:
    return conn.execute(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (table,),
    ).fetchall()


def _primary_key(conn: Connection, table: str) -> tuple[str, ...]:
    rows = conn.execute(
        "SELECT attname FROM pg_index, unnest(indkey) WITH ORDINALITY AS k (number, place)"
        " JOIN pg_attribute ON attnum = k.number"
        " WHERE indrelid = %(t)s::regclass AND attrelid = %(t)s::regclass AND indisprimary ORDER BY place",
        {"t": table},
    )
    return tuple(name for (name,) in rows)


_SQL_NAMES = {"timestamptz": "timestamp with time zone"}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_migrated_tables_are_what_the_family_says(conn: Connection, name: str) -> None:
    family = FAMILIES[name]
    expected = [("server_id", "bigint", True), ("timestamp", "timestamp with time zone", True)]
    expected += [(column.name, column.sql_type, column.name == family.key) for column in family.columns]
    expected += [(column, kind, True) for column, kind in PROVENANCE.items()]
    assert _columns(conn, family.table) == expected
    assert _primary_key(conn, family.table) == family.primary_key
    for grain in Grain:
        table = rollup_table(family, grain)
        found = {column: kind for column, kind, _ in _columns(conn, table)}
        assert sorted(found) == sorted(summary_columns(family, grain))  # columns that came later stand at the end
        for column in family.rollup_columns:
            for part in grain.summaries(column):
                assert found[f"{column.name}_{part}"] == column.summary_type(part)
        assert _primary_key(conn, table) == rollup_key(family)
    for table in tables(family):
        [(strategy, key)] = conn.execute(
            "SELECT partstrat, pg_get_partkeydef(partrelid) FROM pg_partitioned_table WHERE partrelid = %s::regclass",
            (table,),
        ).fetchall()
        assert (strategy, key) == ("r", 'RANGE ("timestamp")')


def test_migrating_again_and_at_once_changes_nothing(postgres_dsn: str) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(migrate(postgres_dsn))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [migrations()[-1][0]] * 3


def test_a_block_commits_or_rolls_back_as_a_whole(migrated_dsn: str) -> None:
    class Unforeseen(Exception):
        pass

    def insert(db: Database, fail: bool) -> None:
        with db.connection() as conn:
            conn.execute(
                "INSERT INTO landing_offsets (topic, partition, next_offset) VALUES ('t', %s, 1)", (int(fail),)
            )
            if fail:
                raise Unforeseen

    with Database(migrated_dsn) as db:
        insert(db, fail=False)
        with pytest.raises(Unforeseen):
            insert(db, fail=True)
        with db.connection() as conn:
            assert conn.execute("SELECT partition FROM landing_offsets").fetchall() == [(0,)]
            assert conn.execute("SHOW timezone").fetchone() == ("UTC",)


def test_no_server_is_said_so_soon() -> None:
    dsn = f"postgresql://hps:secret@127.0.0.1:{free_port()}/hps"
    with Database(dsn, timeout_s=0.5) as db, pytest.raises(DatabaseUnavailable) as refused:
        db.ping()
    assert "secret" not in str(refused.value)
    assert "127.0.0.1" in str(refused.value)
    with pytest.raises(DatabaseUnavailable), session(dsn, application_name="test"):
        pass
    with pytest.raises(DatabaseUnavailable):
        migrate(dsn)


def test_the_pool_outlives_a_restart_of_the_server(migrated_dsn: str, postgres_server: Postgres) -> None:
    with Database(migrated_dsn, timeout_s=20) as db:
        db.ping()
        postgres_server.stop()
        postgres_server.start()
        db.ping()


def test_a_query_that_takes_too_long_is_given_up(migrated_dsn: str) -> None:
    with (
        Database(migrated_dsn, statement_timeout_s=0.2) as db,
        pytest.raises(DatabaseUnavailable, match="gave up"),
        db.connection() as conn,
    ):
        conn.execute("SELECT pg_sleep(5)")


def test_errors_of_a_question_are_no_outages(migrated_dsn: str) -> None:
    with (
        Database(migrated_dsn) as db,
        pytest.raises(psycopg.errors.UndefinedTable),
        db.connection() as conn,
    ):
        conn.execute("SELECT * FROM nowhere")
