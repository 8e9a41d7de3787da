"""Fixtures that every test may use."""

pytest_plugins = ["hps_platform_tests.integration.services"]
