"""Forecasting as a service: each night's forecasts of every server, what they were worth, and what is known of one.

It joins how forecasts are made (`hps_platform.analysis`), rollups and the table `forecasts` (`hps_platform.store`), and
MLflow (`hps_platform.model_registry`). Assets, API and command line call what is named here.
"""

from hps_platform.forecasting.backtests import Noted, Scores, complaints, note, rated
from hps_platform.forecasting.hours import METRICS, Metric
from hps_platform.forecasting.nightly import HORIZONS, Report, forecast_all
from hps_platform.forecasting.results import forecasts

__all__ = [
    "HORIZONS",
    "METRICS",
    "Metric",
    "Noted",
    "Report",
    "Scores",
    "complaints",
    "forecast_all",
    "forecasts",
    "note",
    "rated",
]
