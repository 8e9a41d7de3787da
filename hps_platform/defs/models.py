"""Per-server models: trained from the rollups, registered in MLflow, put to use under the alias champion."""

import dagster as dg

from hps_platform import detection
from hps_platform.analysis import minutes
from hps_platform.defs.resources import Platform
from hps_platform.defs.rollups import rollups_key
from hps_platform.metrics import FAMILIES

FEATURES = [rollups_key(FAMILIES[name]) for name in minutes.FAMILIES]
"""What the models see."""


class Training(dg.Config):
    """`only_due`: leave servers alone whose champion can be opened and is younger than a week."""

    only_due: bool = True


@dg.asset(
    key=["models", "champions"],
    deps=FEATURES,
    group_name="models",
    kinds={"mlflow", "sklearn"},
    description="One model a server, registered in MLflow as hps.<server id>; new ones must beat the champion.",
)
def champions(context: dg.AssetExecutionContext, platform: Platform, config: Training) -> dg.MaterializeResult[None]:
    settings = platform.settings
    report = detection.train_all(
        platform.database,
        platform.registry,
        only_due=config.only_due,
        budget=settings.alert_budget,
        workers=detection.Workers(settings.training_jobs, settings.training_backend, settings.dask_scheduler),
    )
    rejected = {one.hostname: one.reason for one in report.trained if not one.promoted}
    for server, reason in rejected.items():
        context.log.warning("the new model of %s was rejected: %s", server, reason)
    for server, reason in report.refused.items():
        context.log.warning("the champion of %s can't be opened, it is trained anew: %s", server, reason)
    for server, reason in report.failed.items():
        context.log.warning("server %s keeps its model: %s", server, reason)
    return dg.MaterializeResult(
        metadata={
            "trained": len(report.trained),
            "rejected": rejected,
            "borrowed": {one.hostname: one.borrowed_from for one in report.trained if one.borrowed_from},
            "drifted": report.drifted,
            "refused": report.refused,
            "kept": len(report.kept),
            "failed": {str(server): reason for server, reason in report.failed.items()},
            "mlflow": dg.MetadataValue.url(settings.tracking_uri),
        }
    )


@dg.asset_check(
    asset=champions, name="no_drift", description="No server has become another one than its champion learnt."
)
def no_drift(platform: Platform) -> dg.AssetCheckResult:
    measured = detection.drifts(platform.database)
    return dg.AssetCheckResult(
        passed=not any(one.drifted for one in measured),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "drifted": [one.model for one in measured if one.drifted],
            "score_psi": {one.model: one.score for one in measured},
            "feature_psi": {one.model: one.features for one in measured},
        },
    )


@dg.asset_check(
    asset=champions, name="challengers_pass", description="The newest version of every model passed its gate."
)
def challengers_pass(platform: Platform) -> dg.AssetCheckResult:
    rejected = detection.rejected(platform.database)
    return dg.AssetCheckResult(
        passed=not rejected,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"rejected": {f"{one.model} version {one.version}": one.reason for one in rejected}},
    )


train_models = dg.define_asset_job("train_models", selection=dg.AssetSelection.assets(champions))

hourly = dg.ScheduleDefinition(
    name="train_due_models_hourly",
    job=train_models,
    cron_schedule="17 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Trains servers without a usable model once they have a day of history, others weekly and on drift.",
)
