"""Fixtures that every test may use, and which tests share a process."""

import pytest

pytest_plugins = [
    "hps_platform_tests.integration.services",
    "hps_platform_tests.e2e.demo",
    "hps_platform_tests.e2e.browser",
]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file stay together, because they share servers; all end-to-end tests do, because they share a demo."""
    for item in items:
        name = "demo" if "e2e" in item.path.parts else item.path.stem + item.path.parent.name
        item.add_marker(pytest.mark.xdist_group(name))
