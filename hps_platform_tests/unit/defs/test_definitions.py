"""The golden list of what Dagster runs: a change of it is deliberate."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pytest

from hps_platform.definitions import defs
from hps_platform.metrics import FAMILIES

SAMPLES = sorted(f"samples/{name}" for name in FAMILIES)
FEATURES = [f"rollups/{name}" for name in ("filesystem", "iostat", "memory", "netstat", "vmstat")]
ASSETS: Mapping[str, list[str]] = {
    **{f"kafka/hps.{name}": [] for name in FAMILIES},
    "kafka/hps.dead_letter": [],
    **{f"samples/{name}": [f"kafka/hps.{name}"] for name in FAMILIES},
    "samples/completeness": SAMPLES,
    **{f"rollups/{name}": [f"samples/{name}"] for name in FAMILIES},
    "models/champions": FEATURES,
    "detection/anomalies": ["models/champions", *FEATURES],
    "detection/incidents": ["detection/anomalies"],
    "detection/scorecard": [],
    "forecasts/servers": FEATURES,
    "forecasts/backtest": ["forecasts/servers"],
    "maintenance/day_partitions": [],
    "maintenance/run_events": [],
    "maintenance/collector_events": [],
    "maintenance/archive": [],
    "maintenance/retention": ["maintenance/archive"],
    "maintenance/old_rows": [],
}
CHECKS = sorted(
    [
        *((asset, check) for asset in SAMPLES for check in ("complete", "conserved", "fresh")),
        ("forecasts/backtest", "worth_it"),
        ("maintenance/archive", "intact"),
        ("models/champions", "challengers_pass"),
        ("models/champions", "no_drift"),
        ("maintenance/retention", "nothing_overdue"),
    ]
)
SCHEDULES = {
    "minutes_every_three_minutes": "1-59/3 * * * *",
    "check_samples_every_ten_minutes": "4-59/10 * * * *",
    "train_due_models_hourly": "17 * * * *",
    "upkeep_nightly": "23 1 * * *",
    "forecasts_nightly": "43 2 * * *",
}


@pytest.fixture(scope="module")
def repository() -> dg.RepositoryDefinition:
    loaded: Any = defs  # the decorator makes a function of it that takes nothing
    return loaded().get_repository_def()  # type: ignore[no-any-return]  # see above


def test_assets_and_what_they_come_from(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    found = {
        key.to_user_string(): sorted(parent.to_user_string() for parent in graph.get(key).parent_keys)
        for key in graph.get_all_asset_keys()
    }
    assert found == ASSETS


def test_samples_are_partitioned_by_day_and_can_be_landed_again(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    for name in SAMPLES:
        node = graph.get(dg.AssetKey(name.split("/")))
        assert isinstance(node.partitions_def, dg.DailyPartitionsDefinition), name
        assert node.is_executable, name


def test_checks(repository: dg.RepositoryDefinition) -> None:
    keys = repository.asset_graph.asset_check_keys
    assert sorted((key.asset_key.to_user_string(), key.name) for key in keys) == CHECKS


def test_schedules_and_sensors_start_by_themselves(repository: dg.RepositoryDefinition) -> None:
    assert {schedule.name: schedule.cron_schedule for schedule in repository.schedule_defs} == SCHEDULES
    assert [sensor.name for sensor in repository.sensor_defs] == ["keep_landing"]
    assert all(schedule.default_status is dg.DefaultScheduleStatus.RUNNING for schedule in repository.schedule_defs)
    assert all(sensor.default_status is dg.DefaultSensorStatus.RUNNING for sensor in repository.sensor_defs)
