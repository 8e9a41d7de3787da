"""Keeping the orchestrator's database small.

Dagster purges its ticks by itself, but not the events of its runs: some 25 kB a run, half a gigabyte a month here.
What assets need later (materialisations, observations, check results) stays.
"""

from datetime import datetime

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
