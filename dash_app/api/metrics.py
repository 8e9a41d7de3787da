"""Samples: the last minute from the live tail, any range from the store, and a path of its own for each family."""

from typing import Annotated

import polars as pl
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from dash_app.api.shapes import (
    MAX_ROWS,
    PROBLEMS,
    DataDep,
    RangeQuery,
    Samples,
    conditional,
    names,
    samples_response,
    server_ids,
    span,
)
from dash_app.data import Data
from hps_platform.errors import InvalidInput
from hps_platform.metrics import FAMILIES, Family, family

router = APIRouter(prefix="/api/metrics", tags=["Metrics"], responses=PROBLEMS)

_METRIC = f"Family: {', '.join(FAMILIES)}"

# Paths of the families, as they were named before there was one name for each family.
_PATHS = {"process": "processes", "filesystem": "filesystems"}


class RealtimeQuery(BaseModel):
    metric: str = Field(description=_METRIC)
    server_id: list[str] | None = Field(None, description="Id of a server; repeat it for several; all if left out")
    columns: str | None = Field(None, description="Comma list of columns; all if left out")


class HistoricalQuery(RangeQuery):
    metric: str = Field(description=_METRIC)


@router.get("/realtime/", response_model=Samples)
def realtime(asked: Annotated[RealtimeQuery, Query()], data: DataDep) -> Response:
    """The last minute, straight from the live tail of Kafka."""
    shown = family(asked.metric)
    ids = server_ids(data, asked.server_id)
    chosen = _columns(shown, names(asked.columns))
    rows = data.recent(shown.name, ids)
    if len(rows) > MAX_ROWS:
        raise InvalidInput(f"{len(rows)} rows are more than {MAX_ROWS}: ask for fewer servers")
    frame = pl.DataFrame(rows, schema=shown.wire_schema).select("server_id", "timestamp", *chosen)
    frame = frame.with_columns(pl.col("timestamp").cast(pl.Datetime("ms")).dt.replace_time_zone("UTC"))
    units = {name: unit for name, unit in shown.units.items() if name in chosen}
    return samples_response(shown.name, None, units, frame)


@router.get("/historical/", response_model=Samples)
def historical(request: Request, asked: Annotated[HistoricalQuery, Query()], data: DataDep) -> Response:
    """A range from the store; more than 50,000 rows are refused with an interval that fits."""
    return _history(request, data, family(asked.metric), asked)


def _history(request: Request, data: Data, shown: Family, asked: RangeQuery) -> Response:
    start, end = span(asked.start, asked.end)
    ids = server_ids(data, asked.server_id)
    found = data.history(shown.name, ids, start, end, by_tag=asked.group == "tag", **asked.how)
    answer = samples_response(found.metric, found.interval, found.units, found.frame, asked.format)
    return conditional(request, answer, settled=found.settled)


def _columns(shown: Family, chosen: list[str] | None) -> list[str]:
    """The columns to show, the family's key always among them; `InvalidInput` for one it doesn't have."""
    for name in chosen or ():
        if name not in shown.by_name:
            raise InvalidInput(f"{shown.name} has no column {name[:60]!r}: choose of {', '.join(shown.by_name)}")
    return [name for name in shown.by_name if chosen is None or name in chosen or name == shown.key]


def _add_family_path(shown: Family) -> None:
    def read(request: Request, asked: Annotated[RangeQuery, Query()], data: DataDep) -> Response:
        return _history(request, data, shown, asked)

    router.add_api_route(
        f"/{_PATHS.get(shown.name, shown.name)}/",
        read,
        methods=["GET"],
        name=f"read_{shown.name}",
        summary=shown.title,
        description=f"{shown.help} The last hour unless a range is given.",
        response_model=Samples,
    )


for _family in FAMILIES.values():
    _add_family_path(_family)
