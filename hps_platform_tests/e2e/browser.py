"""A Chromium for tests, and a page that is signed in and remembers what went wrong on it."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

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


class Contexts:
    """Signed-in contexts of a browser, one for each theme and size: what one page has loaded the next finds cached."""

    def __init__(self, browser: Browser, app: DemoApp) -> None:
        self._browser, self._app = browser, app
        self._signed_in: dict[tuple[str, tuple[int, int]], BrowserContext] = {}

    def fresh(self, theme: str, size: tuple[int, int]) -> BrowserContext:
        """One that is not signed in; the caller closes it."""
        context = self._browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if theme == "dark" else "light",
        )
        context.set_default_timeout(PATIENCE_MS)
        return context

    def signed_in(self, theme: str, size: tuple[int, int]) -> BrowserContext:
        context = self._signed_in.get((theme, size))
        if context is None:
            context = self._signed_in[theme, size] = self.fresh(theme, size)
            page = context.new_page()
            sign_in(page, self._app)
            page.close()
        return context

    def close(self) -> None:
        for context in self._signed_in.values():
            context.close()


@contextmanager
def opening(contexts: Contexts, app: DemoApp) -> Iterator[OpenPage]:
    """`open_page("/live", theme="dark", size=NARROW)` gives a signed-in page; no trouble may be left at the end.

    `alone`: in a context of its own, for a test that changes what a context keeps: its sign-in, its theme.
    """
    trouble = Trouble()
    with ExitStack() as closing:

        def opened(path: str = "/", *, theme: str = "light", size: tuple[int, int] = WIDE, alone: bool = False) -> Page:
            context = contexts.fresh(theme, size) if alone else contexts.signed_in(theme, size)
            page = context.new_page()
            closing.callback(context.close if alone else page.close)
            trouble.watch(page, app.url)
            if alone:
                sign_in(page, app, path)
            else:
                page.goto(app.url + path)
                page.wait_for_selector("#page[data-path]")
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
