"""Asset checks on the family tables: is the newest row fresh, and is everything on the topic accounted for."""

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


@dg.multi_asset_check(specs=[*_FRESH, *_COMPLETE], description="Freshness and completeness of every family.")
def samples_checks(platform: Platform) -> Iterator[dg.AssetCheckResult]:
    now = datetime.now(UTC)
    with platform.database.connection() as conn:
        states = landing.family_states(conn, platform.settings.bootstrap)
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


check_samples = dg.define_asset_job("check_samples", selection=dg.AssetSelection.checks(samples_checks))

every_ten_minutes = dg.ScheduleDefinition(
    name="check_samples_every_ten_minutes",
    job=check_samples,
    cron_schedule="4-59/10 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
