"""Provenance: from a sample on a chart back to the command output, the message, the run and the model behind it."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from dash_app.api.shapes import PROBLEMS, DataDep, Instant, ServerId
from hps_platform.metrics import FAMILIES

router = APIRouter(prefix="/api/provenance", tags=["Provenance"], responses=PROBLEMS)


class Told(BaseModel):
    """A message in Kafka and what it says of itself; what it says is null where Kafka has not kept it."""

    topic: str
    kafka_partition: int
    kafka_offset: int
    command: str | None
    exit_code: int | None
    raw: str | None = Field(description="The command's output that these rows were parsed from")
    parser: str | None = Field(description="Dialect and version; `;stream`: one report of a running command")
    schema_: str | None = Field(alias="schema", description="Name and version of the rows' schema")
    collector: str | None
    session: str | None = Field(description="One run of the collector")
    seq: int | None = Field(description="Number of the sample in its session, family and host")
    produced_at: datetime | None


class Predecessor(Told):
    """The sample before, which rates of counters were taken from."""

    timestamp: datetime


class Reparsed(BaseModel):
    """The text parsed with today's dialect."""

    parser: str | None
    equal: bool = Field(description="Whether it gives the landed rows; rates to a thousandth")
    rows: list[dict[str, Any]]
    message: str | None


class ScoredBy(BaseModel):
    """The scored minute that the sample is in."""

    timestamp: datetime
    is_anomaly: bool
    anomaly_score: float
    model_version: str | None
    run_id: str
    mlflow_url: str | None


class Provenance(Told):
    """One sample and the way it came."""

    metric: str
    server_id: int
    timestamp: datetime
    table: str
    partition: str = Field(description="The table's partition of that day")
    rows: list[dict[str, Any]] = Field(description="What is in the table")
    note: str | None = Field(description="Why the message is not there, and since when messages are")
    available_from: datetime | None
    run_id: str | None = Field(description="Dagster run that landed it")
    run_url: str | None
    predecessor: Predecessor | None
    reparsed: Reparsed | None
    anomaly: ScoredBy | None


@router.get("/{family}/{server_id}/{timestamp}/", response_model=Provenance)
def provenance(
    family: Annotated[str, Path(description=f"Family: {', '.join(FAMILIES)}")],
    server_id: Annotated[ServerId, Path()],
    timestamp: Annotated[Instant, Path(description="The sample's moment, to the millisecond")],
    data: DataDep,
    within: Annotated[
        float, Query(ge=0, le=31 * 86_400, description="Seconds after the moment in which the first sample will do")
    ] = 0.0,
) -> dict[str, Any]:
    """Where a sample came from."""
    data.server(server_id)
    return data.provenance(family, server_id, timestamp, within=timedelta(seconds=within))
