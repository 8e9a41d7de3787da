"""Models fitted on a Dask cluster: a real scheduler and a worker process of its own."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hps_platform.detection import Workers, training
from hps_platform.detection.promotion import Learnt, Lesson, learn
from hps_platform.errors import NotEnoughData, SettingsError
from hps_platform_tests.unit.analysis.series import metrics

distributed = pytest.importorskip("distributed", reason="the extra hps-platform[dask] is not installed")
COLUMNS = ("cpu", "packets", "memory")


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler with one worker."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        yield cluster.scheduler_address


def lesson(days: float) -> Lesson:
    return Lesson(metrics(days, step_s=300.0), COLUMNS)


def lessons(**days: float) -> Iterator[tuple[Any, Lesson]]:
    for hostname, length in days.items():
        yield SimpleNamespace(hostname=hostname), lesson(length)


def test_models_come_back_as_they_are_fitted_here(scheduler: str) -> None:
    workers = Workers(2, "dask", scheduler)
    with training._attempts(workers, lessons(one=3, young=0.5, two=4)) as attempts:
        found = {server.hostname: outcome for server, outcome, seconds in attempts if seconds > 0}
    assert isinstance(found["young"], NotEnoughData)
    for hostname, days in (("one", 3.0), ("two", 4.0)):
        there, here = found[hostname], learn(lesson(days))
        assert isinstance(there, Learnt)
        assert (there.passed, there.reason) == (here.passed, here.reason)
        np.testing.assert_array_equal(there.detector.held_scores, here.detector.held_scores)


def test_without_an_address_it_says_what_is_missing() -> None:
    with pytest.raises(SettingsError, match="HPS_DASK_SCHEDULER"), training._attempts(Workers(1, "dask"), lessons()):
        pass
