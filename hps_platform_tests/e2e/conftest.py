"""One demo and one browser for the tests of this package, gone before others begin.

A demo takes a good part of a core, and Playwright leaves an event loop running in the thread of the tests.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from hps_platform_tests.e2e import browser, demo


@pytest.fixture(scope="package")
def demo_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[demo.DemoApp]:
    with demo.demo(tmp_path_factory.mktemp("demo")) as app:
        yield app


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as started:
        yield started


@pytest.fixture(scope="package")
def contexts(chromium: Browser, demo_app: demo.DemoApp) -> Iterator[browser.Contexts]:
    made = browser.Contexts(chromium, demo_app)
    yield made
    made.close()


@pytest.fixture
def open_page(contexts: browser.Contexts, demo_app: demo.DemoApp) -> Iterator[browser.OpenPage]:
    with browser.opening(contexts, demo_app) as open_page:
        yield open_page


@pytest.fixture(scope="package")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: `HPS_TEST_SCREENSHOTS`, else a folder of this session's."""
    chosen = os.environ.get("HPS_TEST_SCREENSHOTS")
    folder = Path(chosen) if chosen else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
