"""Forecasts: each night every server's week and quarter ahead, and what such forecasts were worth on days past."""

import dagster as dg

from hps_platform import forecasting
from hps_platform.defs.models import FEATURES
from hps_platform.defs.resources import Platform


@dg.asset(
    key=["forecasts", "servers"],
    deps=FEATURES,
    group_name="forecasts",
    kinds={"postgres"},
    description="P10, P50 and P90 of every server's metrics, trends, and when limits are reached; table forecasts.",
    metadata={"table": "forecasts"},
)
def servers(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult[None]:
    report = forecasting.forecast_all(platform.database)
    for server, reason in report.failed.items():
        context.log.warning("server %s keeps its forecasts: %s", server, reason)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": report.made,
            "servers": report.servers,
            "without_forecast": dict(report.without),
            "failed": report.failed,
        }
    )


@dg.asset(
    key=["forecasts", "backtest"],
    deps=[servers],
    group_name="forecasts",
    kinds={"mlflow"},
    description="Error against the seasonal naive, and coverage of the bands, from rolling origins; a run in MLflow.",
)
def backtest(platform: Platform) -> dg.MaterializeResult[None]:
    noted = forecasting.note(platform.database, platform.registry)
    return dg.MaterializeResult(metadata={"mlflow_run": noted.run_id or "nothing to note yet", **noted.metrics})


@dg.asset_check(
    asset=backtest, description="A week ahead no worse than the seasonal naive; 6 to 9.5 of 10 in the bands."
)
def worth_it(platform: Platform) -> dg.AssetCheckResult:
    wrong = forecasting.complaints(forecasting.rated(platform.database))
    return dg.AssetCheckResult(passed=not wrong, severity=dg.AssetCheckSeverity.WARN, metadata={"wrong": wrong})


make_forecasts = dg.define_asset_job("make_forecasts", selection=dg.AssetSelection.groups("forecasts"))

nightly = dg.ScheduleDefinition(
    name="forecasts_nightly",
    job=make_forecasts,
    cron_schedule="43 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="After upkeep, before people come to work.",
)
