"""The newest minutes are counted, rolled up, scored and put together to incidents in one run: starting a run costs more
than its work."""

import dagster as dg

from hps_platform.defs.anomalies import anomalies, incidents
from hps_platform.defs.completeness import completeness
from hps_platform.defs.rollups import rollups

refresh_minutes = dg.define_asset_job(
    "refresh_minutes", selection=dg.AssetSelection.assets(completeness, rollups, anomalies, incidents)
)

every_three_minutes = dg.ScheduleDefinition(
    name="minutes_every_three_minutes",
    job=refresh_minutes,
    cron_schedule="1-59/3 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
