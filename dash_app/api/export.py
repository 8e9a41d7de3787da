"""Export: a range of any length as a file, streamed."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from dash_app.api.shapes import PROBLEMS, DataDep, Instant, names, server_ids, span
from hps_platform.history import EXPORT_MEDIA
from hps_platform.metrics import FAMILIES, family

router = APIRouter(prefix="/api/export", tags=["Export"], responses=PROBLEMS)


class ExportQuery(BaseModel):
    metric: str = Field(description=f"Family: {', '.join(FAMILIES)}")
    server_id: list[str] | None = Field(None, description="Id of a server; repeat it for several; all if left out")
    start: Instant | None = Field(None, description="Beginning, inclusive; an hour before the end if left out")
    end: Instant | None = Field(None, description="End, exclusive; now if left out")
    interval: str | None = Field(None, description="Width of a time span: 10s, 5m, 1h, 1d; else samples as taken")
    columns: str | None = Field(None, description="Comma list of columns; all if left out")
    agg: str = Field("mean", description="With an interval: mean, min, max, p95, sum, rate")
    timezone: str = Field("UTC", description="Where days of an interval begin, as Europe/Berlin")
    group: Literal["server", "tag"] = Field("server", description="tag: servers of one tag together, in `tag`")
    format: Literal["csv", "json", "ndjson", "parquet"] = "csv"


@router.get("/", response_class=StreamingResponse)
def export(asked: Annotated[ExportQuery, Query()], data: DataDep) -> Response:
    """The samples of any range, with what was asked, units and completeness before them."""
    start, end = span(asked.start, asked.end)
    pieces = data.export(
        family(asked.metric).name,
        server_ids(data, asked.server_id),
        start,
        end,
        form=asked.format,
        by_tag=asked.group == "tag",
        columns=names(asked.columns),
        interval=asked.interval or None,
        agg=asked.agg,
        zone=asked.timezone,
    )
    name = f"{asked.metric}-{start:%Y%m%dT%H%M}-{end:%Y%m%dT%H%M}.{asked.format}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(pieces, media_type=EXPORT_MEDIA[asked.format], headers=headers)
