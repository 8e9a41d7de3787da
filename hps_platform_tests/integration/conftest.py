"""Fixtures that every integration test may use, beside those of the whole test suite."""

from hps_platform_tests.integration.mlflow_server import mlflow_uri

__all__ = ["mlflow_uri"]
