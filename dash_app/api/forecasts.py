"""Forecasts: the days ahead of a server's metrics, and when they reach their limits."""

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from dash_app.api.shapes import PROBLEMS, DataDep, Instant, ServerId

router = APIRouter(prefix="/api/forecasts", tags=["Forecasts"], responses=PROBLEMS)


class ForecastQuery(BaseModel):
    server_id: ServerId
    metric: str | None = Field(None, description="What is forecast, as cpu_busy_pct; all of it if left out")
    horizon: Literal["7", "90"] = Field("7", description="Days: a week by the hour, or a quarter by the day's peak")


class Point(BaseModel):
    timestamp: Instant = Field(description="Begin of the hour or day")
    p10: float
    p50: float
    p90: float = Field(description="Exceeded once in ten times")


class TrendAnswer(BaseModel):
    direction: Literal["up", "down", "flat"]
    per_week: float = Field(description="In the metric's unit")
    confidence: float = Field(ge=0.5, le=1, description="That the sign is right; below 0.95 the direction is flat")


class RunwayAnswer(BaseModel):
    """When daily peaks reach the limit; null where that is not foreseen, `reason` then says why."""

    limit: float
    p10: date | None = Field(description="Before this day with a chance of one in ten")
    p50: date | None
    p90: date | None
    reason: str | None


class WeeksAnswer(BaseModel):
    this_week: float = Field(description="Mean of the last seven days")
    week_before: float
    change: float


class BacktestAnswer(BaseModel):
    """What forecasts made on days already past were worth."""

    origins: int
    mase: dict[int, float] = Field(description="Mean absolute scaled error, by steps ahead")
    naive_mase: dict[int, float] = Field(description="The seasonal naive's")
    coverage: float | None = Field(description="Share of steps between P10 and P90; 0.8 is meant")


class ForecastAnswer(BaseModel):
    metric: str
    key: str = Field(description="Mount point of a file system, else empty")
    title: str
    unit: str
    made_at: Instant | None
    step_s: int | None
    points: list[Point] = Field(description="Ascending; empty where there is a reason")
    trend: TrendAnswer | None
    runway: RunwayAnswer | None = Field(description="null: the metric has no limit")
    week_on_week: WeeksAnswer | None
    backtest: BacktestAnswer | None
    reason: str | None = Field(description="Why there is no forecast")


class Forecasts(BaseModel):
    server_id: ServerId
    horizon_days: int
    results: list[ForecastAnswer]


@router.get("/")
def forecasts(asked: Annotated[ForecastQuery, Query()], data: DataDep) -> Forecasts:
    """Made each night from the last twelve weeks. Every metric asked for is there, at least with a reason."""
    horizon = int(asked.horizon)
    found = data.forecasts(asked.server_id, metric=asked.metric, horizon_days=horizon)
    return Forecasts(server_id=asked.server_id, horizon_days=horizon, results=[ForecastAnswer(**one) for one in found])
