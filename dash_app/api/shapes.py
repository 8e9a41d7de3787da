"""What requests and answers are made of in every resource: moments, server ids, pages, samples and their bytes."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import orjson
import polars as pl
from fastapi import Depends, Query, Request, Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from dash_app.api.problems import Problem
from dash_app.data import Data
from hps_platform.errors import InvalidInput
from hps_platform.history import How
from hps_platform.history.exports import written

MAX_ROWS = 50_000
_HOUR = timedelta(hours=1)
DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 50, 1_000

PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No credentials, or wrong ones"},
    404: {"model": Problem, "description": "There is no such thing"},
    422: {"model": Problem, "description": "The request can't be carried out as it was put"},
}
"""For `responses=` of routers, so that the schema shows what errors look like."""


def data_of(request: Request) -> Data:
    data: Data = request.app.state.data
    return data


DataDep = Annotated[Data, Depends(data_of)]


# Moments --------------------------------------------------------------------------------------------------------------


def _blank_was_a_plus(value: Any) -> Any:
    """`…T12:00:00+02:00` sent without escaping arrives with a blank in place of the plus."""
    return re.sub(r" (\d\d:?\d\d)$", r"+\1", value) if isinstance(value, str) and "T" in value else value


def _utc(value: datetime) -> datetime:
    """A moment without a zone is meant in UTC."""
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("the moment lies outside of the calendar") from None


Instant = Annotated[datetime, BeforeValidator(_blank_was_a_plus), AfterValidator(_utc)]
"""ISO 8601 in, aware UTC inside."""

ServerId = Annotated[int, Field(ge=1, le=2**63 - 1, description="Id of a server")]


def moment(value: datetime) -> str:
    """`2024-01-01T12:00:00Z`, with milliseconds where there are any."""
    text = value.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    return text.removesuffix(".000") + "Z"


def span(start: datetime | None, end: datetime | None) -> tuple[datetime, datetime]:
    """Beginning and end, the last hour where they are left out; `InvalidInput` unless the end is later."""
    end = end or datetime.now(UTC)
    start = start or max(end, datetime.min.replace(tzinfo=UTC) + _HOUR) - _HOUR
    if end <= start:
        raise InvalidInput("End time must be after start time")
    return start, end


def server_ids(data: Data, chosen: Sequence[str] | None) -> list[int]:
    """The servers asked for, or all; `NotFound` for one that isn't there. Blocks."""
    if not chosen:
        return [server.id for server in data.servers()]
    words = [word.strip() for value in chosen for word in value.split(",") if word.strip()]
    found: dict[int, None] = {}
    for word in words:
        if not (word.isascii() and word.isdigit()) or not 1 <= int(word) < 2**63:
            raise InvalidInput(f"server_id {word[:40]!r} is not the id of a server")
        found[int(word)] = None
    for server_id in found:
        data.server(server_id)
    return list(found)


def names(text: str | None) -> list[str] | None:
    """A comma list; None where nothing is asked for."""
    return [word.strip() for word in text.split(",") if word.strip()] or None if text else None


class RangeQuery(BaseModel):
    """A range of samples; without moments the last hour."""

    server_id: list[str] | None = Field(None, description="Id of a server; repeat it for several; all if left out")
    start: Instant | None = Field(None, description="Beginning, inclusive; an hour before the end if left out")
    end: Instant | None = Field(None, description="End, exclusive; now if left out")
    interval: str | None = Field(None, description="Width of a time span: 10s, 5m, 1h, 1d; else samples as taken")
    columns: str | None = Field(None, description="Comma list of columns; all if left out")
    agg: str = Field("mean", description="With an interval: mean, min, max, p95, sum, rate")
    points: int | None = Field(
        None, ge=1, le=2000, description="Without an interval: a chart of at most so many points a line, peaks kept"
    )
    timezone: str = Field("UTC", description="Where days of an interval begin, as Europe/Berlin")
    group: Literal["server", "tag"] = Field("server", description="tag: servers of one tag together, in `tag`")
    format: Literal["json", "csv"] = "json"

    @property
    def how(self) -> How:
        """The question as `Data.history` takes it."""
        return {
            "columns": names(self.columns),
            "interval": self.interval or None,
            "agg": self.agg,
            "max_points": self.points,
            "zone": self.timezone,
            "completeness": True,
        }


# Pages ----------------------------------------------------------------------------------------------------------------


class Paging(BaseModel):
    page: int = Field(1, ge=1, le=1_000_000, description="Which page, from 1")
    page_size: int = Field(DEFAULT_PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE, description="Results a page")


PagingDep = Annotated[Paging, Query()]


def paged(request: Request, paging: Paging, count: int, results: Sequence[Any]) -> dict[str, Any]:
    """`count, next, previous, results`; the links keep the request's other parameters."""

    def link(page: int) -> str:
        own = Paging.model_fields
        others = [(name, value) for name, value in request.query_params.multi_items() if name not in own]
        query = urlencode([*others, ("page", str(page)), ("page_size", str(paging.page_size))])
        return str(request.url.replace(query=query))

    more = paging.page * paging.page_size < count
    return {
        "count": count,
        "next": link(paging.page + 1) if more else None,
        "previous": link(paging.page - 1) if paging.page > 1 else None,
        "results": results,
    }


def page_of(request: Request, paging: Paging, everything: Sequence[Any]) -> dict[str, Any]:
    """The same, of a list that is at hand whole."""
    begin = (paging.page - 1) * paging.page_size
    return paged(request, paging, len(everything), everything[begin : begin + paging.page_size])


class Listed(BaseModel):
    """What every list answers beside its results."""

    count: int
    next: str | None
    previous: str | None


# Samples --------------------------------------------------------------------------------------------------------------


Form = Literal["json", "csv"]


class Samples(BaseModel):
    """Rows ascending by time: `server_id`, `timestamp`, the family's key where it has one, then the columns."""

    metric: str
    interval: str | None = Field(description="Width of a row's time span; null: samples as they were taken")
    units: dict[str, str]
    results: list[dict[str, Any]]


def conditional(request: Request, answer: Response, *, settled: bool) -> Response:
    """The answer with its `ETag`, or 304 when the client has it. Only of `settled` ranges it may be kept unasked."""
    tag = f'"{hashlib.blake2b(bytes(answer.body), digest_size=16).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": f"private, {'max-age=300' if settled else 'no-cache'}"}
    known = [one.strip().removeprefix("W/") for one in request.headers.get("If-None-Match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    answer.headers.update(headers)
    return answer


def samples_response(
    metric: str,
    interval: str | None,
    units: Mapping[str, str],
    frame: pl.DataFrame,
    form: Literal["json", "csv"] = "json",
) -> Response:
    """The answer's bytes, written by polars: tens of thousands of rows never become Python objects."""
    text = written(frame)
    if form == "csv":
        name = f"{metric}.csv"
        return Response(
            text.write_csv(),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )
    head = orjson.dumps({"metric": metric, "interval": interval, "units": dict(units)})
    body = b"".join((head[:-1], b',"results":', text.write_json().encode(), b"}"))
    return Response(body, media_type="application/json")
