"""The web application, put together: the REST API first, then the pages, and the guard around everything."""

import base64
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from starlette.routing import Match

from dash_app import sign_in
from dash_app.api import (
    anomaly_detection,
    auth,
    dead_letters,
    docs,
    export,
    incidents,
    metrics,
    monitoring,
    problems,
    provenance,
    servers,
    sockets,
)
from dash_app.data import Data
from dash_app.guard import Credentials, Guard
from dash_app.live import Hub
from hps_platform import __version__
from hps_platform.settings import Settings
from hps_platform.store.database import Database

logger = logging.getLogger(__name__)

_DESCRIPTION = (
    "Agentless monitoring of Unix servers. Programs send `Authorization: Token <token>`, with a token of "
    "`POST /api/auth/token/` or `hps token create`. Moments are ISO 8601 in UTC; errors are problem details (RFC 9457)."
)
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

Mount = Callable[[FastAPI, Data], Any]


def create_app(settings: Settings, *, mount: Mount | None = None, pages: bool = True) -> FastAPI:
    """The application of one process. `mount` puts pages under "/" (those of `dash_app.shell` unless given);
    `pages=False` leaves the API alone. Connects to nothing before its start."""
    db = Database(settings.dsn(), max_size=12, timeout_s=5.0, application_name="hps app")
    queries = Database(
        settings.queries_dsn,
        max_size=12,
        timeout_s=5.0,
        statement_timeout_s=settings.query_timeout_s,
        application_name="hps queries",
    )
    hub = Hub(settings.bootstrap)
    data = Data(db, hub, settings, queries)
    credentials = Credentials(db)

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        hub.start()
        try:
            yield
        finally:
            hub.stop()
            api.state.readiness.close()
            queries.close()
            db.close()

    api = FastAPI(
        title="HPS Platform",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
    )
    api.state.data = data
    api.state.readiness = monitoring.Readiness(data)
    problems.install(api)
    resources = (
        *(auth, servers, metrics, provenance, export, dead_letters, anomaly_detection, incidents),
        *(monitoring, docs, sockets),
    )
    for resource in resources:
        api.include_router(resource.router)
    api.include_router(sign_in.router(db, credentials, settings))
    _add_ends(api)
    docs.describe(api)

    script_hashes: Callable[[], Collection[str]] = tuple
    api.add_middleware(problems.Boundary, passed=_page_signals() if pages else ())
    if pages:
        script_hashes = _hashes_of((mount or _shell)(api, data))
    # Last, hence outermost: nothing of the pages' own middleware runs for a stranger.
    api.add_middleware(Guard, settings=settings, credentials=credentials, script_hashes=script_hashes)
    return api


def _page_signals() -> tuple[type[Exception], ...]:
    from dash.exceptions import PreventUpdate

    return (PreventUpdate,)


def _shell(api: FastAPI, data: Data) -> Any:
    from dash_app.shell import mount  # Dash and its components take a second, which the API alone needn't wait for

    return mount(api, data)


def _add_ends(api: FastAPI) -> None:
    """What no route took: the slash that was left out, and an answer in the API's manner instead of a page."""

    @api.api_route(
        "/api/{rest:path}",
        methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        include_in_schema=False,
    )
    async def unknown(request: Request, rest: str) -> Response:
        return _missing(api, request)

    @api.get("/health", include_in_schema=False)
    @api.get("/ready", include_in_schema=False)
    @api.get("/metrics/", include_in_schema=False)
    async def other_slash(request: Request) -> Response:
        return _missing(api, request)


def _missing(api: FastAPI, request: Request) -> Response:
    path = request.scope["path"]
    allowed = [method for method in _METHODS if _taken(api, request, path, method)]
    if allowed:
        text = f"{request.method} is not possible here: {', '.join(allowed)}"
        return problems.response(405, text, headers={"Allow": ", ".join(allowed)})
    other = path.removesuffix("/") if path.endswith("/") else f"{path}/"
    if not any(_taken(api, request, other, method) for method in _METHODS):
        return problems.response(404, f"There is nothing at {path}: see /api/docs")
    if request.method in ("GET", "HEAD"):
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{quote(other)}{query}", status_code=307)
    return problems.response(404, f"There is nothing at {path}: the path is {other}")


def _taken(api: FastAPI, request: Request, path: str, method: str) -> bool:
    """Whether a route of ours is for this path and method; the ends themselves and the pages' do not count."""
    scope = {**request.scope, "path": path, "raw_path": path.encode(), "method": method}
    asked = request.scope["endpoint"]
    return any(
        route.matches(scope)[0] is Match.FULL
        for route in api.router.routes
        if not getattr(route, "path", "").endswith(":path}") and getattr(route, "endpoint", None) is not asked
    )


def _hashes_of(dash: Any) -> Callable[[], Collection[str]]:
    """Hashes of the scripts that the pages carry inline: Dash's own, callbacks in the browser, the index page's."""

    def hashes() -> Collection[str]:
        written = [_hash(script) for script in _INLINE_SCRIPT.findall(dash.index_string)]
        return [*dash.csp_hashes(), *written]

    return hashes


def _hash(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"
