"""Anomaly detection as a service: training, scoring of new minutes, runs on demand, and what they found.

It joins the detector (`hps_platform.analysis`), the tables (`hps_platform.store`) and the models
(`hps_platform.model_registry`). Assets, API and command line call what is named here.
"""

from hps_platform.detection.attribution import attribution
from hps_platform.detection.champions import events as model_events
from hps_platform.detection.champions import last_events, promote, rejected, rollback
from hps_platform.detection.drift import drifts
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
from hps_platform.detection.training import Trained, TrainingReport, Workers, model_name, train, train_all
from hps_platform.store.model_files import ModelDrift, ModelEvent

__all__ = [
    "Detection",
    "IncidentReport",
    "ModelDrift",
    "ModelEvent",
    "ScoreReport",
    "Trained",
    "TrainingReport",
    "Workers",
    "acknowledge",
    "add_threshold",
    "anomalies",
    "anomaly",
    "attribution",
    "coverage",
    "daily_incidents",
    "drifts",
    "false_alarm",
    "incident",
    "last_events",
    "learnt",
    "list_incidents",
    "model_events",
    "model_name",
    "promote",
    "refresh_incidents",
    "rejected",
    "remove_threshold",
    "reopen",
    "resolve",
    "rollback",
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
