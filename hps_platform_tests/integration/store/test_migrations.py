"""Migrating forward from every revision there has been, with a row in every table: no value is lost."""

from typing import Any

import pytest
from psycopg import sql

from hps_platform.store.database import Connection, migrate, migrations, session

_REVISIONS = [revision for revision, _ in migrations()]
_OF_TYPE = {
    "bigint": "7",
    "reference": "1",  # what others refer to has numbers of its own
    "integer": "7",
    "smallint": "7",
    "text": "words",
    "real": "2.25",
    "double precision": "2.25",
    "boolean": "true",
    "timestamp with time zone": "2026-03-01 00:00:10Z",
    "date": "2026-03-01",
    "jsonb": '{"a": 1}',
    "uuid": "550e8400-e29b-41d4-a716-446655440000",
    "bytea": "\\x00ff",
    "text[]": "{a,b}",
    "bigint[]": "{1,2}",
    "inet": "10.0.0.1",
    "int8multirange": "{[1,5)}",
    "double precision[]": "{1.5,2.25}",
}
_OF_COLUMN = {
    "trigger": "scheduled",
    "status": "completed",
    "ssh_port": "22",
    "sha256": "a" * 64,
    "severity_level": "high",
    "event": "promoted",
    "severity": "high",
    "state": "open",
    "anomaly_score_threshold": "-0.5",
}


def _tables(conn: Connection) -> dict[str, bool]:
    """Every table that holds rows of ours and whether it is partitioned; those that others refer to come first."""
    rows = conn.execute(
        "SELECT relname, relkind = 'p' FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'alembic_version'"
        " ORDER BY EXISTS (SELECT FROM pg_constraint WHERE conrelid = pg_class.oid AND contype = 'f'), relname"
    )
    return dict(rows.fetchall())


def _add_partition(conn: Connection, table: str) -> None:
    stamp, end = ("202603", "2026-04-01") if table.endswith(("_1h", "_6h")) else ("20260301", "2026-03-02")
    statement = f"CREATE TABLE {table}_p{stamp} PARTITION OF {table} FOR VALUES FROM ('2026-03-01Z') TO ('{end}Z')"
    conn.execute(statement.encode())


def _fill(conn: Connection) -> dict[str, dict[str, Any]]:
    """Puts a row into every table; returns them."""
    filled = {}
    for table, partitioned in _tables(conn).items():
        if partitioned:
            _add_partition(conn, table)
        columns = conn.execute(
            "SELECT attname, CASE WHEN EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND conrelid = attrelid"
            " AND attnum = ANY(conkey) AND atttypid = 'bigint'::regtype) THEN 'reference'"
            " ELSE format_type(atttypid, atttypmod) END FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = ''",
            (table,),
        ).fetchall()
        values = [_OF_COLUMN.get(name, _OF_TYPE[kind]) for name, kind in columns]
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING to_jsonb({}.*)").format(
            sql.Identifier(table),
            sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns),
            sql.SQL(", ").join(map(sql.Literal, values)),
            sql.Identifier(table),
        )
        row = conn.execute(statement).fetchone()
        assert row is not None
        filled[table] = row[0]
    return filled


@pytest.mark.parametrize("revision", _REVISIONS)
def test_rows_of_every_revision_come_along(postgres_dsn: str, revision: str) -> None:
    assert migrate(postgres_dsn, revision) == revision
    with session(postgres_dsn, application_name="test") as conn:
        before = _fill(conn)
    assert migrate(postgres_dsn) == _REVISIONS[-1]
    with session(postgres_dsn, application_name="test") as conn:
        for table, row in before.items():
            rows = conn.execute(sql.SQL("SELECT to_jsonb(one.*) FROM {} AS one").format(sql.Identifier(table)))
            found = [each for (each,) in rows]
            kept = [{name: each[name] for name in row if name in each} for each in found]
            assert {name: value for name, value in row.items() if name in found[0]} in kept, table


def test_a_capacitys_mean_becomes_its_last_value(postgres_dsn: str) -> None:
    migrate(postgres_dsn, "0009")
    with session(postgres_dsn, application_name="test") as conn:
        _add_partition(conn, "filesystem_metrics_1m")
        conn.execute(
            "INSERT INTO filesystem_metrics_1m (server_id, timestamp, mount, samples, size_kb_mean, inodes_mean)"
            " VALUES (1, '2026-03-01 00:00Z', '/', 1, 1048576, NULL)"
        )
    migrate(postgres_dsn)
    with session(postgres_dsn, application_name="test") as conn:
        rows = conn.execute("SELECT mount, size_kb_last, inodes_last FROM filesystem_metrics_1m").fetchall()
    assert rows == [("/", 1048576, None)]


def test_hours_that_have_raw_rows_are_rolled_up_anew(postgres_dsn: str) -> None:
    migrate(postgres_dsn, "0009")
    with session(postgres_dsn, application_name="test") as conn:
        _fill(conn)
        conn.execute("TRUNCATE dirty_hours, iostat_metrics")
        conn.execute("UPDATE vmstat_metrics_1h SET timestamp = '2026-03-01 00:00Z'")
    migrate(postgres_dsn)
    with session(postgres_dsn, application_name="test") as conn:
        marks = dict(conn.execute("SELECT family, hour::text FROM dirty_hours").fetchall())
    assert marks["vmstat"] == "2026-03-01 00:00:00+00"
    assert "iostat" not in marks


def test_six_hours_are_made_from_the_hours_there_are(postgres_dsn: str) -> None:
    migrate(postgres_dsn, "0015")
    with session(postgres_dsn, application_name="test") as conn:
        _add_partition(conn, "vmstat_metrics_1h")
        conn.execute("""
            INSERT INTO vmstat_metrics_1h (server_id, timestamp, samples, us_mean, us_min, us_max, sy_mean) VALUES
                (1, '2026-03-01 04:00Z', 10, 1, 0, 5, NULL), (1, '2026-03-01 05:00Z', 30, 5, 2, 9, 7),
                (1, '2026-03-01 06:00Z', 60, 8, 8, 8, 8), (2, '2026-03-01 05:00Z', 1, 3, 3, 3, 3)""")
        _add_partition(conn, "filesystem_metrics_1h")
        conn.execute("""
            INSERT INTO filesystem_metrics_1h (server_id, timestamp, mount, samples, size_kb_last) VALUES
                (1, '2026-03-01 00:00Z', '/', 6, 100), (1, '2026-03-01 02:00Z', '/', 6, 200),
                (1, '2026-03-01 03:00Z', '/', 6, NULL), (1, '2026-03-01 02:00Z', '/var', 6, 50)""")
    migrate(postgres_dsn)
    with session(postgres_dsn, application_name="test") as conn:
        rows = conn.execute("""
            SELECT server_id, extract(hour FROM timestamp)::int, samples, us_mean, us_min, us_max, sy_mean
            FROM vmstat_metrics_6h_p202603 ORDER BY 1, 2""").fetchall()
        sizes = conn.execute("SELECT mount, samples, size_kb_last FROM filesystem_metrics_6h ORDER BY 1").fetchall()
    assert rows == [(1, 0, 40, 4.0, 0.0, 9.0, 7.0), (1, 6, 60, 8.0, 8.0, 8.0, 8.0), (2, 0, 1, 3.0, 3.0, 3.0, 3.0)]
    assert sizes == [("/", 18, 200), ("/var", 6, 50)]
