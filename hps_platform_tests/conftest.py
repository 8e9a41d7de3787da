"""Fixtures that every test may use, and how `make test` deals tests out to its processes, of which there are more than
two cores need, since many tests wait.

A file's tests stay together, as they share servers; all of `e2e` stays together, as it shares one demo, and comes
first, as it takes longest. What needs an MLflow server stays together as well: one takes ten seconds of CPU to start.
"""

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler.loadscope import LoadScopeScheduling

if TYPE_CHECKING:
    from xdist.remote import Producer

pytest_plugins = ["hps_platform_tests.integration.services"]

# How long an example takes says more of the machine's other work than of the code.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


_TOGETHER = {
    "e2e": ("/e2e/",),
    "models": ("/integration/detection/", "/integration/model_registry/", "/integration/api/test_anomaly_detection"),
}


class _ByPart(LoadScopeScheduling):  # type: ignore[misc]  # xdist publishes no types
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((part for part, files in _TOGETHER.items() if any(name in file for name in files)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> LoadScopeScheduling:
    return _ByPart(config, log)
