"""The frame round every page: header, navigation, theme, signed-in user; and which page an address shows.

Pages are found in `dash_app.pages`. Who may see them is decided before this, in the app's guard.
"""

import logging
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs
from uuid import uuid4

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, set_props
from fastapi import FastAPI
from fastapi.middleware.gzip import GZipMiddleware

from dash_app.components import icons, notices
from dash_app.components.aria import aria, in_browser
from dash_app.data import Data
from dash_app.figures import FONT
from dash_app.pages import AppPage, pages
from dash_app.session import current_user
from hps_platform.errors import HpsError, Unauthenticated

logger = logging.getLogger(__name__)

TITLE = "HPS Platform"

_BRAND = ["#eaf3fd", "#d2e4f8", "#a3c8f0", "#71abe8", "#4b97ea", "#2f80d6", "#1c6bc4", "#1a60b0", "#15549c", "#0f437f"]
# From text over borders and panels to the ground, as on the sign-in page.
_SLATE = ["#e4e9f0", "#b6c1d0", "#97a3b4", "#6b7889", "#364252", "#2a3543", "#18202a", "#10151c", "#0c1016", "#080b10"]

THEME: dict[str, Any] = {
    "primaryColor": "brand",
    "primaryShade": {"light": 6, "dark": 4},
    "colors": {"brand": _BRAND, "dark": _SLATE},
    "fontFamily": FONT,
    "fontFamilyMonospace": "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace",
    "defaultRadius": "sm",
    "autoContrast": True,
}

# The scheme is set before the first paint, so that a dark page doesn't flash white.
_INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<title>{%title%}</title>
<link rel="icon" href="/assets/logo.svg" type="image/svg+xml">
<script>
(function () {
  var kept = localStorage.getItem("mantine-color-scheme-value") || "auto";
  var dark = kept === "dark" || (kept === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
})();
</script>
{%css%}
</head>
<body>
{%app_entry%}
<noscript>HPS Platform draws its pages with JavaScript; please allow it for this address.</noscript>
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>
"""


def mount(api: FastAPI, data: Data) -> Dash:
    """Attaches the pages to `api` under "/", after its own routes. One call per process."""
    app = Dash(
        __name__,
        server=cast(Any, api),  # the FastAPI backend takes it, the signature doesn't say so
        title=TITLE,
        update_title=None,  # type: ignore[arg-type]  # None switches "Updating..." off; the stub says str
        assets_folder=str(Path(__file__).parent / "assets"),
        index_string=_INDEX,
        serve_locally=True,
        suppress_callback_exceptions=True,
        on_error=_unexpected,
        # Only the live stream asks for a socket: with the global switch a refused socket would stop every page.
        websocket_callbacks=False,
    )
    # A middle level: Dash's own `compress` takes the highest, which holds the event loop up for twice as long.
    api.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=4)
    app.layout = lambda: _layout(data)
    _register(app, data)
    for page in pages():
        page.register(app, data)
    # Dash does this at the first request for "/" or a path of its own. A first request for "/live" would get a page
    # without our assets.
    app._setup_server()  # type: ignore[no-untyped-call]
    return app


def _layout(data: Data) -> Any:
    return dmc.MantineProvider(
        dmc.AppShell(
            [
                html.A("Skip to content", href="#page", className="hps-skip"),
                dcc.Location(id="url", refresh="callback-nav"),
                dcc.Store(id="view", data=uuid4().hex),
                dcc.Store(id="scheme"),
                *[part for page in pages() for part in page.lasting()],
                dmc.NotificationContainer(id="notifications", position="bottom-right"),
                _header(data),
                _navigation(data),
                dmc.AppShellMain(
                    html.Div(notices.loading(), id="page", tabIndex=-1, className="hps-page"),
                ),
            ],
            id="shell",
            header={"height": 52},
            navbar={"width": 200, "breakpoint": "sm", "collapsed": {"mobile": True}},
            padding="md",
        ),
        theme=THEME,
        defaultColorScheme="auto",
    )


def _header(data: Data) -> Any:
    return dmc.AppShellHeader(
        dmc.Group(
            [
                dmc.Group(
                    [
                        dmc.Burger(id="burger", size="sm", hiddenFrom="sm", opened=False, **aria(label="Navigation")),
                        dcc.Link(
                            [html.Img(src="/assets/logo.svg", alt="", width=24, height=24), html.Span(TITLE)],
                            href="/",
                            className="hps-brand",
                            title="Overview",
                        ),
                    ],
                    gap="sm",
                    wrap="nowrap",
                ),
                dmc.Group(
                    [
                        dmc.Text("All times UTC", size="xs", c="dimmed", visibleFrom="sm"),
                        dmc.ColorSchemeToggle(
                            id="theme",
                            lightIcon=icons.icon("sun"),
                            darkIcon=icons.icon("moon"),
                            variant="subtle",
                            color="gray",
                            size="lg",
                            **aria(label="Dark or light"),
                        ),
                        _account(),
                    ],
                    gap="xs",
                    wrap="nowrap",
                ),
            ],
            justify="space-between",
            h="100%",
            px="md",
            wrap="nowrap",
        )
    )


def _account() -> Any:
    try:
        name = current_user().username
    except Unauthenticated:
        name = "nobody"
    return dmc.Group(
        [
            dmc.Text(name, size="sm", fw=500, maw=120, truncate="end", visibleFrom="xs"),
            html.Form(
                html.Button("Sign out", type="submit", className="hps-button"),
                action="/logout",
                method="POST",
            ),
        ],
        gap="xs",
        wrap="nowrap",
    )


def _navigation(data: Data) -> Any:
    links = data.links()
    others = (("Dagster", links.dagster), ("MLflow", links.mlflow), ("API", links.api_docs))
    return dmc.AppShellNavbar(
        html.Nav(
            [
                *[
                    dmc.NavLink(
                        id=_nav_id(page),
                        label=page.name,
                        href=page.path,
                        leftSection=icons.icon(page.icon),
                        py=8,
                    )
                    for page in pages()
                ],
                dmc.Divider(my="sm"),
                *[
                    dmc.NavLink(
                        label=label,
                        href=address,
                        target="_blank",
                        leftSection=icons.icon("outside"),
                        py=6,
                        className="hps-outside",
                    )
                    for label, address in others
                ],
            ],
            **aria(label="Pages"),
        ),
        p="xs",
    )


def _nav_id(page: AppPage) -> str:
    return f"nav{page.path.replace('/', '-')}"


def _register(app: Dash, data: Data) -> None:
    by_path = {page.path: page for page in pages()}

    async def route(pathname: str | None, search: str | None) -> Any:
        page = by_path.get("/" + (pathname or "").strip("/"))
        if page is None:
            return notices.empty("There is no such page", f"Nothing is at {pathname}. The navigation leads on.")
        query = {name: values[-1] for name, values in parse_qs((search or "").lstrip("?")).items()}
        try:
            return await page.layout(data, query)
        except HpsError as error:
            return notices.failure(error)

    app.callback(Output("page", "children"), Input("url", "pathname"), Input("url", "search"))(route)
    in_browser(
        app,
        "arrived",
        Output("page", "data-path"),
        *[Output(_nav_id(page), "active") for page in pages()],
        Output("burger", "opened"),
        Input("url", "pathname"),
    )
    in_browser(app, "scheme", Output("scheme", "data"), Input("view", "data"))
    in_browser(
        app,
        "navigation",
        Output("shell", "navbar"),
        Input("burger", "opened"),
        State("shell", "navbar"),
    )


def _unexpected(error: Exception) -> Any:
    """What a callback didn't expect: logged whole, told in a corner; the page stays as it is."""
    if not isinstance(error, HpsError):
        logger.error("a callback failed", exc_info=error)
    text = str(error) if isinstance(error, HpsError) else "Something unexpected went wrong; the app's log has more."
    set_props(
        "notifications",
        {
            "sendNotifications": [
                {"action": "show", "title": "This didn't work", "message": text, "color": "red", "autoClose": 10000}
            ]
        },
    )
