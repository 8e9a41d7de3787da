"""Anomalies: every new minute scored with its server's champion, and anomalous ones put together to incidents."""

import dagster as dg

from hps_platform import detection
from hps_platform.defs.models import FEATURES, champions
from hps_platform.defs.resources import Platform


class Scoring(dg.Config):
    """`whole_history`: score everything that is there again, not only what is new."""

    whole_history: bool = False


@dg.asset(
    key=["detection", "anomalies"],
    deps=[champions, *FEATURES],
    group_name="detection",
    kinds={"postgres", "sklearn"},
    description="Scores of every minute, and which of them are anomalous; table anomaly_detection_results.",
    metadata={"table": "anomaly_detection_results"},
)
def anomalies(context: dg.AssetExecutionContext, platform: Platform, config: Scoring) -> dg.MaterializeResult[None]:
    report = detection.score_new(
        platform.database,
        platform.registry,
        budget=platform.settings.alert_budget,
        whole_history=config.whole_history,
    )
    for server, reason in report.skipped.items():
        context.log.info("server %s was not scored: %s", server, reason)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": report.minutes,
            "anomalies": report.anomalies,
            "servers": report.servers,
            "not_scored": {str(server): reason for server, reason in report.skipped.items()},
        }
    )


@dg.asset(
    key=["detection", "incidents"],
    deps=[anomalies],
    group_name="detection",
    kinds={"postgres"},
    description="Anomalous minutes put together, per server and across the fleet; quiet ones resolved.",
    metadata={"table": "incidents"},
)
def incidents(platform: Platform) -> dg.MaterializeResult[None]:
    report = detection.refresh_incidents(platform.database)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": report.opened + report.changed,
            "opened": report.opened,
            "changed": report.changed,
            "merged": report.merged,
            "removed": report.removed,
            "resolved": report.resolved,
        }
    )


score_minutes = dg.define_asset_job("score_minutes", selection=dg.AssetSelection.assets(anomalies, incidents))
