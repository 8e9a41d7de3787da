"""Anomaly detection as a service: training, scoring of new minutes, runs on demand, and what they found.

It joins the detector (`hps_platform.analysis`), the tables (`hps_platform.store`) and the models
(`hps_platform.model_registry`). Assets, API and command line call what is named here.
"""

from hps_platform.detection.incidents import (
    IncidentReport,
    acknowledge,
    coverage,
    daily_incidents,
    false_alarm,
    incident,
    learnt,
    list_incidents,
    reopen,
    resolve,
    unlearn,
)
from hps_platform.detection.incidents import refresh as refresh_incidents
from hps_platform.detection.results import (
    add_threshold,
    anomalies,
    anomaly,
    remove_threshold,
    runs,
    scored_minutes,
    threshold,
    thresholds,
    update_threshold,
)
from hps_platform.detection.scoring import Detection, ScoreReport, run_on_demand, score_new
from hps_platform.detection.training import Trained, TrainingReport, model_name, train, train_all

__all__ = [
    "Detection",
    "IncidentReport",
    "ScoreReport",
    "Trained",
    "TrainingReport",
    "acknowledge",
    "add_threshold",
    "anomalies",
    "anomaly",
    "coverage",
    "daily_incidents",
    "false_alarm",
    "incident",
    "learnt",
    "list_incidents",
    "model_name",
    "refresh_incidents",
    "remove_threshold",
    "reopen",
    "resolve",
    "run_on_demand",
    "runs",
    "score_new",
    "scored_minutes",
    "threshold",
    "thresholds",
    "train",
    "train_all",
    "unlearn",
    "update_threshold",
]
