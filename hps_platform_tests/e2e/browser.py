"""A Chromium for tests, and a page that is signed in and remembers what went wrong on it."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from hps_platform_tests.e2e.demo import DemoApp

PATIENCE_MS = 60_000
"""A whole demo runs beside the browser: what takes a second alone may take many."""
WIDE, NARROW = (1440, 900), (390, 844)


class Trouble(list[str]):
    """Errors in the console, uncaught exceptions, and requests to anywhere but the app."""

    def watch(self, page: Page, base: str) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.append(f"uncaught: {error}"))
        page.on("request", lambda request: self._request(request, base))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.append(message.text)

    def _request(self, request: Request, base: str) -> None:
        if not request.url.startswith((base, base.replace("http", "ws", 1), "data:", "blob:")):
            self.append(f"asked elsewhere: {request.url}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The installed Chromium, else the one that Playwright installs."""
    found = os.environ.get("HPS_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


OpenPage = Callable[..., Page]


@contextmanager
def opening(browser: Browser, app: DemoApp) -> Iterator[OpenPage]:
    """`open_page("/live", theme="dark", size=NARROW)` gives a signed-in page; no trouble may be left at the end."""
    trouble = Trouble()
    with ExitStack() as closing:

        def opened(path: str = "/", *, theme: str = "light", size: tuple[int, int] = WIDE) -> Page:
            context = browser.new_context(
                viewport={"width": size[0], "height": size[1]},
                color_scheme="dark" if theme == "dark" else "light",
            )
            closing.callback(context.close)
            context.set_default_timeout(PATIENCE_MS)
            page = context.new_page()
            trouble.watch(page, app.url)
            sign_in(page, app, path)
            return page

        yield opened
    assert trouble == []


def sign_in(page: Page, app: DemoApp, path: str = "/") -> None:
    """From the page that was asked for to the sign-in page and back to it."""
    page.goto(app.url + path)
    page.get_by_label("User name").fill(app.username)
    page.get_by_label("Password").fill(app.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("#page[data-path]")
