"""The conservation ledger as an asset: what landing saw, taken in by minute and by hour."""

import dagster as dg

from hps_platform.defs.resources import Platform
from hps_platform.defs.samples import samples_key
from hps_platform.metrics import FAMILIES
from hps_platform.store import completeness as ledger


@dg.asset(
    key=["samples", "completeness"],
    deps=[samples_key(family) for family in FAMILIES.values()],
    group_name="samples",
    kinds={"postgres"},
    description="Of every minute of a family on a server: samples collected, landed, rejected and missing.",
    metadata={"tables": list(ledger.TABLES)},
)
def completeness(platform: Platform) -> dg.MaterializeResult[None]:
    entries, more = 0, True
    while more:
        with platform.database.connection() as conn:
            taken = ledger.fold(conn)
        entries += taken
        more = taken > 0
    return dg.MaterializeResult(metadata={"entries": entries})
