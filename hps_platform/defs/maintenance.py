"""Upkeep, each night: partitions made ahead, closed days archived, what is past its time dropped, logs kept small."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from hps_platform import retention
from hps_platform.defs.resources import Platform
from hps_platform.store import events, housekeeping, partitions
from hps_platform.store.database import session

DAYS_AHEAD = 7
KEEP_RUN_EVENTS_DAYS = 7
VERIFIED_A_NIGHT = 30


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


@dg.asset(
    key=["maintenance", "archive"],
    group_name="maintenance",
    kinds={"parquet"},
    description="Closed days of every family as Parquet, with the text that their samples were read from.",
)
def archive(platform: Platform) -> dg.MaterializeResult[None]:
    settings = platform.settings
    with session(settings.dsn(), application_name="hps archive") as conn:
        today = datetime.now(UTC).date()
        report = retention.archive_closed(conn, retention.Place.of(settings), today, settings.archive_after_days)
    return dg.MaterializeResult(metadata=dict(report.metadata()))


@dg.asset_check(asset=archive, description="Archived files are what was archived; some are read each night, in turn.")
def intact(platform: Platform) -> dg.AssetCheckResult:
    with session(platform.settings.dsn(), application_name="hps archive") as conn:
        damaged = retention.verify(conn, VERIFIED_A_NIGHT)
    words = {f"{one.family} {one.day}": str(one.damage) for one in damaged}
    return dg.AssetCheckResult(passed=not damaged, severity=dg.AssetCheckSeverity.ERROR, metadata={"damaged": words})


@dg.asset(
    key=["maintenance", "retention"],
    deps=[archive],
    group_name="maintenance",
    kinds={"postgres"},
    description="Partitions past their time dropped: samples that are proved to be in the archive, and rollups.",
)
def expired(platform: Platform) -> dg.MaterializeResult[None]:
    settings = platform.settings
    with session(settings.dsn(), application_name="hps retention") as conn:
        report = retention.drop_expired(
            conn, retention.Place.of(settings), retention.policies(settings), datetime.now(UTC).date()
        )
    return dg.MaterializeResult(metadata=dict(report.metadata()))


@dg.asset_check(asset=expired, description="Nothing past its time is left in the tables: all of it is safe elsewhere.")
def nothing_overdue(platform: Platform) -> dg.AssetCheckResult:
    with session(platform.settings.dsn(), application_name="hps retention") as conn:
        left = retention.overdue(conn, retention.policies(platform.settings), datetime.now(UTC).date())
    return dg.AssetCheckResult(passed=not left, severity=dg.AssetCheckSeverity.ERROR, metadata={"overdue": left})


@dg.asset(
    key=["maintenance", "old_rows"],
    group_name="maintenance",
    kinds={"postgres"},
    description="Dead letters and scored minutes past their time removed.",
)
def old_rows(platform: Platform) -> dg.MaterializeResult[None]:
    settings, now = platform.settings, datetime.now(UTC)
    with session(settings.dsn(), application_name="hps housekeeping", statement_timeout_s=1800) as conn:
        letters = housekeeping.prune_dead_letters(conn, now - timedelta(days=settings.dead_letter_retention_days))
        scored = housekeeping.prune_detection(conn, now.date() - timedelta(days=settings.anomaly_retention_days))
    return dg.MaterializeResult(metadata={"dead_letters": letters, "detection": scored})


upkeep = dg.define_asset_job("upkeep", selection=dg.AssetSelection.groups("maintenance"))

nightly = dg.ScheduleDefinition(
    name="upkeep_nightly", job=upkeep, cron_schedule="23 1 * * *", default_status=dg.DefaultScheduleStatus.RUNNING
)
