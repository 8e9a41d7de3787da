"""Asset checks on the family tables: is the newest row fresh, and is everything accounted for, from host to table."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from hps_platform import landing
from hps_platform.defs.resources import Platform
from hps_platform.defs.samples import samples_key
from hps_platform.metrics import FAMILIES

_FRESH = [
    dg.AssetCheckSpec(
        "fresh", asset=samples_key(family), description="The newest row is no older than three intervals."
    )
    for family in FAMILIES.values()
]
_COMPLETE = [
    dg.AssetCheckSpec(
        "complete",
        asset=samples_key(family),
        description="Every offset of the topic is landed or a dead letter, up to what arrived in the last half minute.",
    )
    for family in FAMILIES.values()
]
_CONSERVED = [
    dg.AssetCheckSpec(
        "conserved",
        asset=samples_key(family),
        description="What collectors numbered is landed, rejected or explained, and the table holds what was landed.",
    )
    for family in FAMILIES.values()
]


@dg.multi_asset_check(
    specs=[*_FRESH, *_COMPLETE, *_CONSERVED], description="Freshness, completeness and conservation of every family."
)
def samples_checks(platform: Platform) -> Iterator[dg.AssetCheckResult]:
    now = datetime.now(UTC)
    with platform.database.connection() as conn:
        states = landing.family_states(conn, platform.settings.bootstrap)
        books = landing.conservation(conn, now)
    for family in FAMILIES.values():
        state = states[family.name]
        yield dg.AssetCheckResult(
            asset_key=samples_key(family),
            check_name="fresh",
            passed=state.fresh(now),
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"newest": str(state.newest), "active_servers": state.active_servers},
        )
        yield dg.AssetCheckResult(
            asset_key=samples_key(family),
            check_name="complete",
            passed=state.complete,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={"landed": state.landed, "behind": state.behind, "expired": state.expired},
        )
        book = books[family.name]
        yield dg.AssetCheckResult(
            asset_key=samples_key(family),
            check_name="conserved",
            passed=book.holds,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={
                "missing": book.missing,
                "unexplained": book.unexplained,
                "differences": "; ".join(str(one) for one in book.differences) or "none",
            },
        )


check_samples = dg.define_asset_job("check_samples", selection=dg.AssetSelection.checks(samples_checks))

every_ten_minutes = dg.ScheduleDefinition(
    name="check_samples_every_ten_minutes",
    job=check_samples,
    cron_schedule="4-59/10 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
