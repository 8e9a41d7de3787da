"""Keeping databases small: what nobody asks for any more, in the orchestrator's and in ours.

Dagster purges its ticks by itself, but not the events of its runs: some 25 kB a run, half a gigabyte a month here.
What assets need later (materialisations, observations, check results) stays. Samples and their rollups belong to
`hps_platform.retention`.
"""

from datetime import date, datetime
from typing import Any

from psycopg import Connection

from hps_platform.store import incidents, partitions
from hps_platform.store.database import session

_KEPT = ("ASSET_MATERIALIZATION", "ASSET_OBSERVATION", "ASSET_CHECK_EVALUATION", "ASSET_FAILED_TO_MATERIALIZE")


def prune_run_events(dsn: str, before: datetime) -> int:
    """Deletes engine and log events older than `before` (UTC) from Dagster's database; returns how many."""
    with session(dsn, application_name="hps housekeeping") as conn:
        deleted = conn.execute(
            """
            DELETE FROM event_logs
            WHERE timestamp < %s AND (dagster_event_type IS NULL OR dagster_event_type <> ALL(%s))
            """,
            (before.replace(tzinfo=None), list(_KEPT)),
        )
        return deleted.rowcount


def prune_dead_letters(conn: Connection[Any], before: datetime) -> int:
    """Deletes dead letters that landed before then; returns how many."""
    return conn.execute("DELETE FROM dead_letters WHERE landed_at < %s", (before,)).rowcount


def prune_detection(conn: Connection[Any], before: date) -> int:
    """Drops scored minutes of days before that one, with runs, alarm levels and closed incidents only about these.

    Returns how many partitions and rows went.
    """
    gone = len(partitions.drop_before(conn, "anomaly_detection_results", before))
    gone += conn.execute("DELETE FROM anomaly_detection_runs WHERE end_time <= %s::timestamptz", (before,)).rowcount
    gone += incidents.prune(conn, before)
    return gone + conn.execute("DELETE FROM anomaly_alarm_levels WHERE day < %s", (before,)).rowcount
