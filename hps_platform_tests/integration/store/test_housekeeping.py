"""Pruning, on a real server: what is old goes, and nothing else."""

from datetime import UTC, datetime, timedelta

from hps_platform.store import housekeeping, partitions
from hps_platform.store.database import Connection, session
from hps_platform.store.housekeeping import prune_run_events


def test_old_engine_events_go_and_materialisations_stay(postgres_dsn: str) -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    old, young = (now - timedelta(days=days) for days in (9, 1))
    events = [(old, "STEP_START"), (old, None), (old, "ASSET_MATERIALIZATION"), (young, "STEP_START")]
    with session(postgres_dsn, application_name="test") as conn:
        conn.execute("CREATE TABLE event_logs (timestamp timestamp, dagster_event_type text)")
        for moment, kind in events:
            conn.execute("INSERT INTO event_logs VALUES (%s, %s)", (moment.replace(tzinfo=None), kind))
        assert prune_run_events(postgres_dsn, now - timedelta(days=7)) == 2
        left = conn.execute("SELECT dagster_event_type FROM event_logs ORDER BY timestamp").fetchall()
    assert left == [("ASSET_MATERIALIZATION",), ("STEP_START",)]


def test_old_dead_letters_go(conn: Connection) -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    for offset, at in enumerate([now - timedelta(days=91), now - timedelta(days=89)]):
        conn.execute(
            "INSERT INTO dead_letters (family, reason, rejected_rows, topic, kafka_partition, kafka_offset, landed_at)"
            " VALUES ('vmstat', 'unknown', 0, 't', 0, %s, %s)",
            (offset, at),
        )
    before = now - timedelta(days=90)
    assert housekeeping.prune_dead_letters(conn, before) == 1
    assert conn.execute("SELECT kafka_offset FROM dead_letters").fetchall() == [(1,)]


def test_old_scored_minutes_go_by_partition(conn: Connection) -> None:
    days = [datetime(2026, 11, day, tzinfo=UTC) for day in (1, 2, 3)]
    partitions.ensure_days(conn, ["anomaly_detection_results"], [day.date() for day in days])
    for day in days:
        conn.execute(
            "WITH run AS (INSERT INTO anomaly_detection_runs (run_id, server_id, trigger, start_time, end_time, status)"
            " VALUES (gen_random_uuid(), 1, 'scheduled', %(day)s, %(day)s + interval '1 day', 'completed')"
            " RETURNING run_id) INSERT INTO anomaly_detection_results"
            " (server_id, timestamp, is_anomaly, anomaly_score, detection_run_id, trigger)"
            " SELECT 1, %(day)s, false, -0.01, run_id, 'scheduled' FROM run",
            {"day": day},
        )
        conn.execute(
            "INSERT INTO anomaly_alarm_levels (server_id, day, budget, level, model_version)"
            " VALUES (1, %s, 0.25, 3, '1')",
            (day.date(),),
        )
    assert housekeeping.prune_detection(conn, days[2].date()) == 2 + 2 + 2
    for table, column in (
        ("anomaly_detection_results", "timestamp"),
        ("anomaly_detection_runs", "start_time"),
        ("anomaly_alarm_levels", "day"),
    ):
        rows = conn.execute(f"SELECT {column}::date FROM {table}".encode()).fetchall()  # noqa: S608  # of this test
        assert rows == [(days[2].date(),)]
