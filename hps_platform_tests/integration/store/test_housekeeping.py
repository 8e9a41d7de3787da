"""Pruning the orchestrator's log on a real server."""

from datetime import UTC, datetime, timedelta

from hps_platform.store.database import session
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
