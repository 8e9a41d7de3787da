"""Every error of the API as problem details (RFC 9457): the sentence for a person is in `detail`.

This module alone knows which HTTP status an error of `hps_platform.errors` is.
"""

import logging
import math
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hps_platform import errors

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_STATUS: tuple[tuple[type[errors.HpsError], int], ...] = (
    (errors.Unauthenticated, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.ModelUntrusted, 409),
    (errors.InvalidInput, 422),
    (errors.NotEnoughData, 422),
    (errors.TooManyAttempts, 429),
    (errors.SshError, 502),
    (errors.Unavailable, 503),
)


class Problem(BaseModel):
    """What every error answers."""

    type: str = Field("about:blank", description="Kind of problem; the title says it where it is about:blank")
    title: str = Field(description="The HTTP status in words")
    status: int
    detail: str = Field(description="What is wrong, in a sentence")
    errors: list[dict[str, Any]] | None = Field(None, description="Each input that was refused: where and why")


def status_of(error: errors.HpsError) -> int:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def response(
    status: int, detail: str, *, headers: dict[str, str] | None = None, errors: list[dict[str, Any]] | None = None
) -> JSONResponse:
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=errors)
    return JSONResponse(
        problem.model_dump(exclude_none=True), status_code=status, headers=headers, media_type=MEDIA_TYPE
    )


def explain(error: errors.HpsError) -> JSONResponse:
    """The answer to an error of ours."""
    status = status_of(error)
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Token"
    if isinstance(error, errors.TooManyAttempts):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if status == 503:
        headers["Retry-After"] = "5"
    return response(status, str(error), headers=headers)


def unexpected(error: Exception, where: str) -> JSONResponse:
    """The answer to a failure that nobody foresaw: the log has the details, the client has none."""
    logger.error("%s failed", where, exc_info=error)
    return response(500, "Something went wrong in the platform; its log says more.")


def _sentence(error: dict[str, Any]) -> str:
    """One refused input in words: `server_id: Input should be a valid integer`."""
    text = str(error["msg"]).removeprefix("Value error, ")
    where = ".".join(str(part) for part in error["loc"] if part not in ("query", "body", "path"))
    own = error["type"] == "value_error"
    return text if own or not where else f"{where}: {text}"


class Boundary:
    """Innermost middleware: what nobody foresaw is logged and answered here, before Dash gives it a silent answer.

    `passed` are exceptions that mean something to the middleware outside, such as Dash's `PreventUpdate`.
    """

    def __init__(self, app: ASGIApp, *, passed: tuple[type[Exception], ...] = ()) -> None:
        self._app = app
        self._passed = passed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except self._passed:
            raise
        except Exception as error:  # the one place where every endpoint's failures end
            if started:
                raise
            await unexpected(error, f"{scope['method']} {scope['path']}")(scope, receive, send)


def install(api: FastAPI) -> None:
    """Registers the handlers of errors that are foreseen; `Boundary` is for the others."""

    async def ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, errors.HpsError)  # noqa: S101  registered for that type
        if status_of(error) == 500:
            logger.error("%s %s failed: %s", request.method, request.url.path, error)
        return explain(error)

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101  registered for that type
        return response(error.status_code, str(error.detail), headers=dict(error.headers or {}))

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101  registered for that type
        found = [dict(item) for item in error.errors()]
        listed = [{"loc": list(item["loc"]), "msg": str(item["msg"]), "type": item["type"]} for item in found]
        return response(422, "; ".join(_sentence(item) for item in found), errors=listed)

    api.add_exception_handler(errors.HpsError, ours)
    api.add_exception_handler(HTTPException, http)
    api.add_exception_handler(RequestValidationError, invalid)
