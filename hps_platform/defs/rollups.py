"""Rollups by minute, hour and six hours: recomputed from the ledger of dirty hours, so late data heal them."""

from collections import Counter
from collections.abc import Iterator

import dagster as dg

from hps_platform.defs.resources import Platform
from hps_platform.defs.samples import samples_key
from hps_platform.metrics import FAMILIES
from hps_platform.metrics.family import Family
from hps_platform.store import rollups as store_rollups
from hps_platform.store.schema import Grain, rollup_table


def rollups_key(family: Family) -> dg.AssetKey:
    return dg.AssetKey(["rollups", family.name])


def _specs() -> Iterator[dg.AssetSpec]:
    # A list of specs at the module's level would be loaded as assets of its own.
    for family in FAMILIES.values():
        yield dg.AssetSpec(
            key=rollups_key(family),
            deps=[samples_key(family)],
            group_name="rollups",
            kinds={"postgres"},
            description=f"Mean, minimum and maximum of {family.title.lower()} by minute, hour and six hours.",
            metadata={"tables": [rollup_table(family, grain) for grain in Grain]},
            skippable=True,
        )


@dg.multi_asset(specs=list(_specs()), description="Recomputes what changed since the last time.")
def rollups(platform: Platform) -> Iterator[dg.MaterializeResult[None]]:
    totals: Counter[str] = Counter()
    more = True
    while more:
        with platform.database.connection() as conn:
            written = store_rollups.refresh(conn)
        totals.update(written)
        more = bool(written)
    for name, rows in totals.items():
        yield dg.MaterializeResult(asset_key=rollups_key(FAMILIES[name]), metadata={"dagster/row_count": rows})


refresh_rollups = dg.define_asset_job("refresh_rollups", selection=dg.AssetSelection.assets(rollups))
