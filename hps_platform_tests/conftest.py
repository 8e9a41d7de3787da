"""Fixtures that every test may use."""

pytest_plugins = [
    "hps_platform_tests.integration.services",
    "hps_platform_tests.e2e.demo",
    "hps_platform_tests.e2e.browser",
]
