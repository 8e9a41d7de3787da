"""The sign-in page: `/login` with its own style, and `/logout`. It loads nothing of the application behind it."""

import html
from pathlib import Path
from string import Template
from urllib.parse import parse_qs, quote, urlsplit

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from dash_app import session
from dash_app.guard import Credentials
from hps_platform import access
from hps_platform.errors import DatabaseUnavailable, TooManyAttempts, Unauthenticated
from hps_platform.settings import Settings
from hps_platform.store.database import Database

_HERE = Path(__file__).parent
_PAGE = Template((_HERE / "page.html").read_text(encoding="utf-8"))
_FORM = "application/x-www-form-urlencoded"


def local_path(wanted: str) -> str:
    """`wanted` where it is a path of this application, else `/`: nobody is led elsewhere after signing in."""
    if not wanted.startswith("/") or wanted.startswith(("//", "/\\", "/login", "/logout")) or "\\" in wanted:
        return "/"
    parts = urlsplit(wanted)
    if parts.scheme or parts.netloc or any(ord(character) < 32 for character in wanted):
        return "/"
    return wanted


def client_address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _page(next_path: str, *, error: str = "", username: str = "", status: int = 200) -> HTMLResponse:
    content = _PAGE.substitute(
        action=html.escape("/login" if next_path == "/" else f"/login?next={quote(next_path, safe='/')}"),
        error=f'<p class="error" role="alert">{html.escape(error)}</p>' if error else "",
        username=html.escape(username),
        focus_username="" if username else "autofocus",
        focus_password="autofocus" if username else "",
    )
    return HTMLResponse(content, status_code=status)


def router(db: Database, credentials: Credentials, settings: Settings) -> APIRouter:
    routes = APIRouter(include_in_schema=False)

    @routes.get("/login")
    async def show(request: Request) -> Response:
        next_path = local_path(request.query_params.get("next", "/"))
        token = request.cookies.get(session.COOKIE)
        if token:
            try:
                await credentials.user_of_session(token)
            except (Unauthenticated, DatabaseUnavailable):
                return _page(next_path)
            return RedirectResponse(next_path, status_code=303)
        return _page(next_path)

    @routes.post("/login")
    async def sign_in(request: Request) -> Response:
        next_path = local_path(request.query_params.get("next", "/"))
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != _FORM:
            return _page(next_path, error="The form was not sent as a form.", status=415)
        fields = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=10)
        username, password = fields.get("username", [""])[0], fields.get("password", [""])[0]
        try:
            signed_in = await anyio.to_thread.run_sync(
                lambda: access.sign_in(
                    db, username, password, address=client_address(request), hours=settings.session_hours
                )
            )
        except Unauthenticated as error:
            return _page(next_path, error=str(error), username=username, status=401)
        except TooManyAttempts as error:
            return _page(next_path, error=str(error), username=username, status=429)
        except DatabaseUnavailable:
            return _page(next_path, error="The database does not answer. Try again in a moment.", status=503)
        answer = RedirectResponse(next_path, status_code=303)
        answer.set_cookie(
            session.COOKIE,
            signed_in.token,
            max_age=settings.session_hours * 3600,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https" or settings.public_url.startswith("https:"),
            path="/",
        )
        return answer

    @routes.post("/logout")
    async def sign_out(request: Request) -> Response:
        token = request.cookies.get(session.COOKIE)
        if token:
            credentials.forget_session(token)
            await anyio.to_thread.run_sync(access.sign_out, db, token)
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(session.COOKIE, path="/")
        return answer

    @routes.get("/login/sign-in.css")
    async def style() -> Response:
        return FileResponse(_HERE / "sign-in.css", media_type="text/css")

    @routes.get("/login/icon.svg")
    async def icon() -> Response:
        return FileResponse(_HERE / "icon.svg", media_type="image/svg+xml")

    return routes
