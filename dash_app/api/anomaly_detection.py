"""Anomalies: score a range on demand, what was scored before, runs, and thresholds."""

import math
from typing import Annotated, Any, Literal

import polars as pl
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from dash_app.api.problems import Problem
from dash_app.api.shapes import (
    PROBLEMS,
    DataDep,
    Instant,
    Listed,
    Paging,
    ServerId,
    moment,
    page_of,
    paged,
    span,
)

router = APIRouter(prefix="/api/anomaly-detection", tags=["Anomaly detection"], responses=PROBLEMS)

ThresholdId = Path(ge=1, le=2**63 - 1, description="Id of the threshold")


class ServerQuery(Paging):
    server_id: ServerId | None = Field(None, description="Id of a server; all if left out")


class HistoryQuery(ServerQuery):
    start: Instant | None = None
    end: Instant | None = None
    is_anomaly: Literal["true", "all"] = Field("true", description="`all`: normal minutes too")


class RunsQuery(ServerQuery):
    trigger: Literal["scheduled", "on_demand"] | None = None


class PlotQuery(BaseModel):
    server_id: ServerId
    start: Instant | None = Field(None, description="Beginning, inclusive; an hour before the end if left out")
    end: Instant | None = Field(None, description="End, exclusive; now if left out")


class DetectionRequest(BaseModel):
    start: Instant
    end: Instant
    server_id: ServerId


class ScoredMinute(BaseModel):
    timestamp: Instant
    is_anomaly: bool
    anomaly_score: float = Field(ge=-1, le=0, description="From -1 to 0; lower is more anomalous")
    metric_values: dict[str, float | None]


class Summary(BaseModel):
    total_points: int
    anomalies_detected: int
    anomaly_rate: float = Field(description="In percent")
    execution_time_seconds: float


class DetectionAnswer(BaseModel):
    results: list[ScoredMinute] = Field(description="Every scored minute, ascending")
    summary: Summary
    run_id: str


class Contribution(BaseModel):
    column: str
    weight: float


class AnomalyAnswer(ScoredMinute):
    server_id: ServerId
    hostname: str | None
    contributions: list[Contribution] = Field(description="What made it anomalous, best first")
    forest_score: float | None = Field(description="The forest's own decision function")
    run_id: str | None
    model_version: str | None


class History(Listed):
    results: list[AnomalyAnswer]


class RunAnswer(BaseModel):
    run_id: str
    server_id: ServerId | None
    trigger: str
    start_time: Instant | None
    end_time: Instant | None
    total_points_analyzed: int | None
    anomalies_detected: int | None
    anomaly_rate: float | None = Field(description="In percent")
    model_version: str | None
    borrowed_from: str | None = Field(description="The host whose model stood in for one of the server's own")
    model_features: Any
    execution_time_seconds: float | None
    status: str
    error_message: str | None
    started_at: Instant | None
    completed_at: Instant | None


class Runs(Listed):
    results: list[RunAnswer]


class PlotData(BaseModel):
    """Arrays of one length, ascending by time."""

    timestamp: list[str]
    values: dict[str, list[float | None]]
    anomaly_score: list[float | None]
    is_anomaly: list[bool]


class MinuteQuery(BaseModel):
    server_id: ServerId
    timestamp: Instant = Field(description="The minute, as scheduled scoring told it")


class Attribution(BaseModel):
    """`expected` and all of `values` add up to `forest_score`."""

    server_id: ServerId
    timestamp: Instant
    model_version: str
    forest_score: float = Field(description="The forest's own decision function; lower is more anomalous")
    expected: float = Field(description="Its mean over usual minutes of the day before")
    values: dict[str, float] = Field(
        description="By metric its exact Shapley value, the most anomalous first; negative: it made the minute stranger"
    )
    background: int = Field(description="How many usual minutes stand in for what a metric might have been")


class ThresholdFields(BaseModel):
    model_config = ConfigDict(extra="forbid")

    server_id: ServerId
    metric_name: str = Field("*", min_length=1, max_length=100, description="A feature, or * for every other")
    anomaly_score_threshold: float = Field(-0.1, ge=-1, le=0)
    severity_level: Literal["low", "medium", "high", "critical"] = "medium"
    enable_alerts: bool = True
    alert_cooldown_minutes: int = Field(30, ge=0, le=10_080)
    is_active: bool = True


class ThresholdChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    metric_name: str | None = Field(None, min_length=1, max_length=100)
    anomaly_score_threshold: float | None = Field(None, ge=-1, le=0)
    severity_level: Literal["low", "medium", "high", "critical"] | None = None
    enable_alerts: bool | None = None
    alert_cooldown_minutes: int | None = Field(None, ge=0, le=10_080)
    is_active: bool | None = None


class ThresholdAnswer(ThresholdFields):
    model_config = ConfigDict(extra="ignore")

    id: int
    severity_level: str  # type: ignore[assignment]  # what is stored is told, whoever stored it


class Thresholds(Listed):
    results: list[ThresholdAnswer]


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


@router.post("/", response_model=DetectionAnswer)
def detect(asked: DetectionRequest, data: DataDep) -> dict[str, Any]:
    """Scores every minute of the range with the server's champion model and keeps the run."""
    start, end = span(asked.start, asked.end)
    data.server(asked.server_id)
    found = data.detect(asked.server_id, start, end)
    shown = found.results.select("timestamp", "is_anomaly", "anomaly_score", "metric_values")
    results = [{**row, "metric_values": row["metric_values"] or {}} for row in shown.iter_rows(named=True)]
    return {"results": results, "summary": found.summary, "run_id": str(found.run_id)}


@router.get("/history/")
def history(request: Request, asked: Annotated[HistoryQuery, Query()], data: DataDep) -> History:
    """Newest first; only anomalies unless `is_anomaly=all`."""
    if asked.start and asked.end:
        span(asked.start, asked.end)
    if asked.server_id is not None:
        data.server(asked.server_id)
    found = data.anomalies(
        server_id=asked.server_id,
        start=asked.start,
        end=asked.end,
        only_anomalies=asked.is_anomaly == "true",
        page=asked.page,
        page_size=asked.page_size,
    )
    return History(**paged(request, asked, found.count, found.results))


@router.get("/plot-data/")
def plot_data(asked: Annotated[PlotQuery, Query()], data: DataDep) -> PlotData:
    """Scores and the features they came from, minute by minute, as arrays."""
    start, end = span(asked.start, asked.end)
    data.server(asked.server_id)
    frame = data.scored_minutes(asked.server_id, start, end)
    fixed = {"timestamp", "anomaly_score", "is_anomaly"}
    return PlotData(
        timestamp=[moment(value) for value in frame["timestamp"]],
        values={
            name: [_finite(value) for value in frame[name]]
            for name, kind in frame.schema.items()
            if name not in fixed and kind.is_numeric()
        },
        anomaly_score=[_finite(value) for value in frame["anomaly_score"]],
        is_anomaly=frame["is_anomaly"].cast(pl.Boolean).fill_null(False).to_list(),
    )


@router.get(
    "/attribution/",
    responses={409: {"model": Problem, "description": "The minute's model can't be opened any more"}},
)
def attribution(asked: Annotated[MinuteQuery, Query()], data: DataDep) -> Attribution:
    """What each metric has to do with the Isolation Forest's score of one minute; worked out on request."""
    data.server(asked.server_id)
    minute = asked.timestamp.replace(second=0, microsecond=0)
    found = data.attribution(asked.server_id, minute)
    return Attribution(server_id=asked.server_id, timestamp=minute, **found)


@router.get("/runs/")
def runs(request: Request, asked: Annotated[RunsQuery, Query()], data: DataDep) -> Runs:
    """Newest first."""
    if asked.server_id is not None:
        data.server(asked.server_id)
    found = data.detection_runs(
        server_id=asked.server_id, trigger=asked.trigger, page=asked.page, page_size=asked.page_size
    )
    return Runs(**paged(request, asked, found.count, found.results))


_CONFLICT: dict[int | str, dict[str, Any]] = {
    403: {"model": Problem, "description": "Only administrators change thresholds"},
    409: {"model": Problem, "description": "That server has a threshold for that metric already"},
}


@router.get("/thresholds/")
def list_thresholds(request: Request, asked: Annotated[ServerQuery, Query()], data: DataDep) -> Thresholds:
    return Thresholds(**page_of(request, asked, data.thresholds(asked.server_id)))


@router.post("/thresholds/", status_code=201, responses=_CONFLICT)
def add_threshold(fields: ThresholdFields, data: DataDep, response: Response) -> ThresholdAnswer:
    """An anomaly then counts only at or below this score; without a row the alert budget alone decides."""
    added = ThresholdAnswer(**data.add_threshold(fields.model_dump()))
    response.headers["Location"] = f"/api/anomaly-detection/thresholds/{added.id}/"
    return added


@router.get("/thresholds/{threshold_id}/")
def show_threshold(data: DataDep, threshold_id: int = ThresholdId) -> ThresholdAnswer:
    return ThresholdAnswer(**data.threshold(threshold_id))


@router.put("/thresholds/{threshold_id}/", responses=_CONFLICT)
def replace_threshold(fields: ThresholdFields, data: DataDep, threshold_id: int = ThresholdId) -> ThresholdAnswer:
    return ThresholdAnswer(**data.update_threshold(threshold_id, fields.model_dump()))


@router.patch("/thresholds/{threshold_id}/", responses=_CONFLICT)
def change_threshold(fields: ThresholdChange, data: DataDep, threshold_id: int = ThresholdId) -> ThresholdAnswer:
    """Only the fields that are sent."""
    sent = {name: value for name, value in fields.model_dump(exclude_unset=True).items() if value is not None}
    return ThresholdAnswer(**data.update_threshold(threshold_id, sent))


@router.delete("/thresholds/{threshold_id}/", status_code=204, responses=_CONFLICT)
def remove_threshold(data: DataDep, threshold_id: int = ThresholdId) -> None:
    data.remove_threshold(threshold_id)
