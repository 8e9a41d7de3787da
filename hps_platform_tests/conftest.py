"""Fixtures that every test may use."""

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "hps_platform_tests.integration.services",
    "hps_platform_tests.e2e.demo",
    "hps_platform_tests.e2e.browser",
]

# How long an example takes says more of the machine's other work than of the code.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
