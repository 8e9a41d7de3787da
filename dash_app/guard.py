"""The guard before everything: who may come in, from where, how much they may send, and the headers of each answer.

It is plain ASGI and outermost, so it sees HTTP and WebSocket alike: the API, the pages, their assets and Dash's own
socket. Whatever is not on the short list of open paths needs a session cookie or `Authorization: Token …`.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

import anyio.to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from dash_app import session
from dash_app.api import problems
from hps_platform import access
from hps_platform.access import User
from hps_platform.errors import DatabaseUnavailable, HpsError, Unauthenticated
from hps_platform.settings import Settings
from hps_platform.store.database import Database

logger = logging.getLogger(__name__)

OPEN: frozenset[tuple[str, str]] = frozenset(
    {
        ("GET", "/health/"),
        ("GET", "/health"),  # only redirects
        ("GET", "/ready/"),
        ("GET", "/ready"),
        ("POST", "/api/auth/token/"),
        ("GET", "/login"),
        ("POST", "/login"),
        ("GET", "/login/sign-in.css"),
        ("GET", "/login/icon.svg"),
    }
)
"""Method and path of everything that answers without credentials."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_BODY = 4 * 1024 * 1024
"""Largest request body; a page's callback may carry a figure, nothing carries more."""

TRUST_S = 5.0
"""How long credentials that were right are not looked up again: a disabled account is out after that."""

GRACE_S = 120.0
"""How long credentials that were right stay so while the database does not answer: a live view outlives its restart."""

REFUSED, FOREIGN = 4401, 4403
"""Close codes of a socket: no credentials; another site's page."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

_Check = Callable[[Database, str], tuple[User, datetime | None]]


def content_security_policy(script_hashes: Iterable[str] = ()) -> str:
    """Everything from here; inline scripts only those hashed. Inline styles stay allowed: Dash and Plotly set them."""
    scripts = " ".join(["'self'", *script_hashes])
    return (
        f"default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
        "form-action 'self'; frame-ancestors 'none'"
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """Credentials that were right: when they were confirmed, and when the database was last asked (monotonic)."""

    user: User
    expires_at: datetime | None
    confirmed_at: float
    asked_at: float

    def holds(self, now: float) -> bool:
        fresh = now - self.asked_at < TRUST_S
        return fresh and (self.expires_at is None or self.expires_at > datetime.now(UTC))


class Credentials:
    """Who a cookie or a token belongs to; right answers are kept for a few seconds, by the secret's hash."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[tuple[str, bytes], _Known] = {}

    async def user_of_session(self, token: str) -> User:
        return await self._user("session", token, access.check_session)

    async def user_of_token(self, token: str) -> User:
        return await self._user("token", token, access.check_token)

    def forget_session(self, token: str) -> None:
        self._known.pop(("session", access.digest(token)), None)

    async def _user(self, kind: str, secret: str, check: _Check) -> User:
        place = (kind, access.digest(secret))
        known = self._known.get(place)
        now = time.monotonic()
        if known and known.holds(now):
            return known.user
        try:
            user, expires_at = await anyio.to_thread.run_sync(check, self._db, secret)
        except Unauthenticated:
            self._known.pop(place, None)
            raise
        except DatabaseUnavailable:
            if known is None or now - known.confirmed_at > GRACE_S:
                raise
            self._known[place] = replace(known, asked_at=time.monotonic())
            return known.user
        if len(self._known) > 10_000:
            self._known.clear()
        self._known[place] = _Known(user, expires_at, now, now)
        return user


class Guard:
    """ASGI middleware; `script_hashes` are those of the pages' own inline scripts, asked for with each answer."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        credentials: Credentials,
        script_hashes: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._app = app
        self._credentials = credentials
        self._script_hashes = script_hashes
        self._hosts = frozenset(host.lower() for host in settings.allowed_host_list)
        public = urlsplit(settings.public_url)
        self._public_origin = f"{public.scheme}://{public.netloc}".lower() if public.netloc else None
        if public.hostname:
            self._hosts |= {public.hostname.lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    # HTTP ---------------------------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(scope, message)
            await send(message)

        refusal, user = await self._admit(connection)
        if refusal is not None:
            await refusal(scope, receive, answer)
            return
        token = session.enter(user)
        try:
            await self._app(scope, _limited(receive), answer)
        finally:
            session.leave(token)

    async def _admit(self, connection: HTTPConnection) -> tuple[Response | None, User | None]:
        """A refusal, or the user (None on an open path)."""
        method, path = connection.scope["method"], connection.scope["path"]
        if refusal := self._malformed(connection.headers):
            return refusal, None
        is_open = ("GET" if method == "HEAD" else method, path) in OPEN
        user, by_cookie = None, False
        if not is_open:
            try:
                user, by_cookie = await self._identify(connection)
            except Unauthenticated as error:
                return self._turn_away(connection, error), None
            except HpsError as error:
                return problems.explain(error), None
        from_page = by_cookie or is_open
        if method not in SAFE and from_page and not self._same_origin(connection.headers, strict=by_cookie):
            return problems.response(403, "The request comes from another site."), None
        return None, user

    def _malformed(self, headers: Headers) -> Response | None:
        if not self._host_allowed(headers):
            return problems.response(400, "This host name is not among ALLOWED_HOSTS.")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            too_large = _TooLarge()
            return problems.response(too_large.status_code, too_large.detail)
        return None

    def _turn_away(self, connection: HTTPConnection, error: Unauthenticated) -> Response:
        """People are led to the sign-in page and back; programs are told."""
        path = connection.url.path
        page = path != "/metrics" and not path.startswith(("/api/", "/_dash", "/assets/", "/ws/"))
        if connection.scope["method"] in SAFE and page and "text/html" in connection.headers.get("accept", ""):
            wanted = path + (f"?{connection.url.query}" if connection.url.query else "")
            target = "/login" if wanted == "/" else f"/login?next={quote(wanted, safe='/')}"
            return RedirectResponse(target, status_code=303)
        return problems.explain(error)

    def _add_headers(self, scope: Scope, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        html = headers.get("content-type", "").startswith("text/html")
        headers.setdefault("Content-Security-Policy", content_security_policy(self._script_hashes() if html else ()))
        if html or not scope["path"].startswith(("/_dash-component-suites/", "/assets/", "/login/")):
            headers.setdefault("Cache-Control", "no-store")
        if self._public_origin and self._public_origin.startswith("https:"):
            headers.setdefault("Strict-Transport-Security", "max-age=31536000")

    # WebSocket ----------------------------------------------------------------------------------------------------

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        code = FOREIGN
        user: User | None = None
        if self._host_allowed(connection.headers):
            try:
                user, by_cookie = await self._identify(connection)
            except HpsError as error:
                logger.info("refused socket %s: %s", scope["path"], error)
                code = REFUSED
            else:
                if by_cookie and not self._same_origin(connection.headers, strict=True):
                    user = None
        if user is None:
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": code, "reason": "sign in first"})
            return

        async def while_signed_in(message: Message) -> None:
            if message["type"] == "websocket.send":
                try:
                    await self._identify(connection)
                except Unauthenticated:
                    await send({"type": "websocket.close", "code": REFUSED, "reason": "signed out"})
                    raise WebSocketDisconnect(REFUSED) from None
                except HpsError as error:
                    logger.info("the sign-in behind a socket can't be checked now: %s", error)
            await send(message)

        token = session.enter(user)
        try:
            await self._app(scope, receive, while_signed_in)
        finally:
            session.leave(token)

    # Both ---------------------------------------------------------------------------------------------------------

    async def _identify(self, connection: HTTPConnection) -> tuple[User, bool]:
        """The user and whether a cookie named them. A header counts where there is one, right or wrong."""
        authorization = connection.headers.get("authorization")
        if authorization is not None:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "token" or not token.strip():
                raise Unauthenticated("Send the header as: Authorization: Token <token>.")
            return await self._credentials.user_of_token(token.strip()), False
        cookie = connection.cookies.get(session.COOKIE)
        if not cookie:
            raise Unauthenticated("Sign in, or send the header: Authorization: Token <token>.")
        return await self._credentials.user_of_session(cookie), True

    def _host_allowed(self, headers: Headers) -> bool:
        host = headers.get("host", "").lower()
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        return "*" in self._hosts or name in self._hosts

    def _same_origin(self, headers: Headers, *, strict: bool) -> bool:
        """Whether a page of ours sent it. Browsers say so; `strict` refuses what says nothing at all."""
        origin = headers.get("origin")
        if origin is None and (referer := headers.get("referer")):
            parts = urlsplit(referer)
            origin = f"{parts.scheme}://{parts.netloc}"
        if origin is not None:
            host = headers.get("host", "").lower()
            return urlsplit(origin.lower()).netloc == host or origin.lower() == self._public_origin
        site = headers.get("sec-fetch-site")
        return site == "same-origin" if site is not None else not strict


class _TooLarge(HTTPException):
    """More body arrived than is taken; FastAPI lets this type through while it reads a body."""

    def __init__(self) -> None:
        super().__init__(413, f"The request is larger than {MAX_BODY // 1024 // 1024} MiB.")


def _limited(receive: Receive) -> Callable[[], Awaitable[Message]]:
    """Counts a body that came without a length."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MAX_BODY:
            raise _TooLarge
        return message

    return counted
