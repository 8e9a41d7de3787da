"""Upkeep: day partitions made ahead, what collectors told and the orchestrator's own log kept small."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from hps_platform.defs.resources import Platform
from hps_platform.store import events, housekeeping, partitions

DAYS_AHEAD = 7
KEEP_RUN_EVENTS_DAYS = 7


@dg.asset(
    key=["maintenance", "day_partitions"],
    group_name="maintenance",
    kinds={"postgres"},
    description=f"Day partitions of every family's table, made {DAYS_AHEAD} days ahead.",
)
def day_partitions(platform: Platform) -> dg.MaterializeResult[None]:
    today = datetime.now(UTC).date()
    with platform.database.connection() as conn:
        made = partitions.ensure_ahead(conn, today, DAYS_AHEAD)
    return dg.MaterializeResult(metadata={"made": len(made), "until": str(today + timedelta(days=DAYS_AHEAD))})


@dg.asset(
    key=["maintenance", "run_events"],
    group_name="maintenance",
    kinds={"postgres"},
    description=f"Engine events of runs older than {KEEP_RUN_EVENTS_DAYS} days removed; materialisations stay.",
)
def run_events(platform: Platform) -> dg.MaterializeResult[None]:
    before = datetime.now(UTC) - timedelta(days=KEEP_RUN_EVENTS_DAYS)
    removed = housekeeping.prune_run_events(platform.settings.dsn(platform.settings.dagster_db), before)
    return dg.MaterializeResult(metadata={"removed": removed})


@dg.asset(
    key=["maintenance", "collector_events"],
    group_name="maintenance",
    kinds={"postgres"},
    description="What collectors told, older than HPS_EVENT_DAYS, removed; of each server the last state stays.",
)
def collector_events(platform: Platform) -> dg.MaterializeResult[None]:
    before = datetime.now(UTC) - timedelta(days=platform.settings.event_days)
    with platform.database.connection() as conn:
        removed = events.prune(conn, before)
    return dg.MaterializeResult(metadata={"removed": removed})


upkeep = dg.define_asset_job("upkeep", selection=dg.AssetSelection.assets(day_partitions, run_events, collector_events))

nightly = dg.ScheduleDefinition(
    name="upkeep_nightly", job=upkeep, cron_schedule="23 1 * * *", default_status=dg.DefaultScheduleStatus.RUNNING
)
