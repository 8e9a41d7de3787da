"""Per-server models: trained from the rollups, registered in MLflow, put to use under the alias champion."""

import dagster as dg

from hps_platform import detection
from hps_platform.defs.resources import Platform
from hps_platform.defs.rollups import rollups_key
from hps_platform.metrics import FAMILIES

FEATURES = [rollups_key(FAMILIES[name]) for name in ("vmstat", "iostat", "netstat", "memory")]
"""What the models see."""


class Training(dg.Config):
    """`only_due`: leave servers alone whose champion is younger than a week."""

    only_due: bool = True


@dg.asset(
    key=["models", "champions"],
    deps=FEATURES,
    group_name="models",
    kinds={"mlflow", "sklearn"},
    description="One Isolation Forest model a server, registered in MLflow as hps.<server id>.",
)
def champions(context: dg.AssetExecutionContext, platform: Platform, config: Training) -> dg.MaterializeResult[None]:
    report = detection.train_all(platform.database, platform.registry, only_due=config.only_due)
    for server, reason in report.failed.items():
        context.log.warning("server %s keeps its model: %s", server, reason)
    return dg.MaterializeResult(
        metadata={
            "trained": len(report.trained),
            "kept": len(report.kept),
            "failed": {str(server): reason for server, reason in report.failed.items()},
            "mlflow": dg.MetadataValue.url(platform.settings.tracking_uri),
        }
    )


train_models = dg.define_asset_job("train_models", selection=dg.AssetSelection.assets(champions))

hourly = dg.ScheduleDefinition(
    name="train_due_models_hourly",
    job=train_models,
    cron_schedule="17 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Trains servers without a model once they have a day of history, and others weekly.",
)
