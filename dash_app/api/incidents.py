"""Incidents: what anomalous minutes were put together to, why, and what people say of it; and what is not watched."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from dash_app.api.problems import Problem
from dash_app.api.shapes import PROBLEMS, DataDep, Instant, Listed, Paging, ServerId, page_of, paged, span
from hps_platform.errors import InvalidInput

router = APIRouter(prefix="/api/incidents", tags=["Incidents"], responses=PROBLEMS)

IncidentId = Path(ge=1, le=2**63 - 1, description="Id of the incident")
State = Literal["open", "acknowledged", "resolved", "false_alarm"]
LONGEST = timedelta(days=400)


class IncidentsQuery(Paging):
    server_id: ServerId | None = Field(None, description="Id of a server; all if left out")
    state: list[State] | None = Field(None, description="Repeat it for several; all if left out")
    start: Instant | None = Field(None, description="Only those that end later")
    end: Instant | None = Field(None, description="Only those that begin earlier")


class Cause(BaseModel):
    column: str
    weight: float = Field(description="Its share")
    observed: float | None
    usual_low: float | None = Field(description="Eight of ten minutes of this hour of the day lie above")
    usual_high: float | None = Field(description="Eight of ten minutes of this hour of the day lie below")


class OnServer(BaseModel):
    server_id: ServerId
    hostname: str
    started_at: Instant
    ended_at: Instant
    minutes: int
    peak_at: Instant
    peak_score: float
    heads: list[str] = Field(description="Metrics that headed its minutes, the most frequent first")


class Incident(BaseModel):
    id: int
    state: str
    severity: str = Field(description="low, medium, high or critical")
    sentence: str = Field(description="What stood out, for a person")
    started_at: Instant
    ended_at: Instant = Field(description="The end of its last anomalous minute so far")
    minutes: int = Field(description="Anomalous minutes, of all its servers")
    peak_at: Instant
    peak_server_id: int
    peak_score: float = Field(ge=-1, le=0, description="The lowest anomaly_score")
    head_metric: str
    culprit: str | None = Field(description="The disk or interface on which it was measured, or most of it")
    causes: list[Cause] = Field(description="Of its peak, best first")
    servers: list[OnServer] = Field(description="The strangest first")
    closed_at: Instant | None


class Incidents(Listed):
    results: list[Incident]


class Happened(BaseModel):
    at: Instant
    kind: str = Field(description="opened, acknowledged, resolved, false_alarm, reopened, merged, unlearnt")
    actor: str | None = Field(description="Username; null: the platform itself")
    reason: str


class Learnt(BaseModel):
    """Minutes headed by one of `metrics`, in `minutes` from `from_minute` of the day (UTC) on, are anomalous only at
    or below `demanded_score`."""

    id: int
    server_id: ServerId
    incident_id: int | None
    metrics: list[str]
    from_minute: int
    minutes: int
    demanded_score: float
    created_by: str | None
    created_at: Instant


class LearntList(Listed):
    results: list[Learnt]


class Process(BaseModel):
    command: str
    cpu_pct: float | None
    rss_kb: float | None


class FileSystem(BaseModel):
    mount: str
    used_pct: float


class Similar(BaseModel):
    id: int
    state: str
    started_at: Instant
    ended_at: Instant
    peak_score: float
    sentence: str
    hostname: str
    same_server: bool = Field(description="false: on a server of the same system and a common tag")


class Nearby(BaseModel):
    at: Instant
    server_id: ServerId
    kind: str
    message: str


class Window(BaseModel):
    server_id: ServerId
    start: Instant
    end: Instant


class Explanation(BaseModel):
    processes: list[Process] = Field(description="The busiest on the strangest server at the peak")
    absent: list[str] = Field(description="Programs that usually run there at this hour and did not, the busiest first")
    filesystems: list[FileSystem] = Field(description="The fullest there")
    similar: list[Similar] = Field(description="Earlier ones headed by the same metric, on its servers or their peers")
    nearby: list[Nearby] = Field(description="What collectors told from an hour before to an hour after, and restarts")
    maintenance: list[Window]


class IncidentInFull(Incident):
    events: list[Happened] = Field(description="Its life, the oldest first")
    learnt: list[Learnt] = Field(description="What it taught as a false alarm")
    explanation: Explanation


class Said(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=1000)


class Covered(BaseModel):
    server_id: ServerId
    hostname: str
    state: str = Field(description="watched, partly, silent, learning, off")
    text: str = Field(description="In a sentence, why")
    scored_until: Instant | None


class Coverage(Listed):
    results: list[Covered]


class Day(BaseModel):
    day: date
    servers: int = Field(description="That were scored")
    minutes: int = Field(description="Anomalous ones")
    incidents: int = Field(description="That began")
    acknowledged: int
    false_alarms: int


class Daily(BaseModel):
    results: list[Day]


class DailyQuery(BaseModel):
    server_id: ServerId | None = None
    start: Instant | None = Field(None, description="Its day in UTC, inclusive; 29 days before the end if left out")
    end: Instant | None = Field(None, description="Its day in UTC, inclusive; today if left out")


class OfServer(Paging):
    server_id: ServerId | None = Field(None, description="Id of a server; all if left out")


@router.get("/")
def list_incidents(request: Request, asked: Annotated[IncidentsQuery, Query()], data: DataDep) -> Incidents:
    """Newest first."""
    if asked.start and asked.end:
        span(asked.start, asked.end)
    if asked.server_id is not None:
        data.server(asked.server_id)
    found = data.incidents(
        server_id=asked.server_id,
        states=asked.state,
        start=asked.start,
        end=asked.end,
        page=asked.page,
        page_size=asked.page_size,
    )
    return Incidents(**paged(request, asked, found.count, found.results))


@router.get("/daily/")
def daily(asked: Annotated[DailyQuery, Query()], data: DataDep) -> Daily:
    """Counts by day, the oldest first."""
    if asked.server_id is not None:
        data.server(asked.server_id)
    end = asked.end or datetime.now(UTC)
    start = asked.start or end - timedelta(days=29)
    if not start <= end <= start + LONGEST:
        raise InvalidInput(f"the range has to end after its start and within {LONGEST.days} days")
    return Daily(results=[Day(**day) for day in data.daily_incidents(start.date(), end.date(), asked.server_id)])


@router.get("/coverage/")
def coverage(request: Request, asked: Annotated[OfServer, Query()], data: DataDep) -> Coverage:
    """Of every server whether anomalies can be found on it, and if not, why."""
    if asked.server_id is not None:
        data.server(asked.server_id)
    found = [one for one in data.coverage() if asked.server_id in (None, one["server_id"])]
    return Coverage(**page_of(request, asked, found))


_REFUSED: dict[int | str, dict[str, Any]] = {
    403: {"model": Problem, "description": "Only administrators handle incidents"},
    409: {"model": Problem, "description": "Not in the state that it is in"},
}


@router.get("/learnt/")
def list_learnt(request: Request, asked: Annotated[OfServer, Query()], data: DataDep) -> LearntList:
    """What false alarms taught, the newest first."""
    return LearntList(**page_of(request, asked, data.learnt(asked.server_id)))


@router.delete("/learnt/{learnt_id}/", status_code=204, responses=_REFUSED)
def unlearn(data: DataDep, learnt_id: int = Path(ge=1, le=2**63 - 1)) -> None:
    """That pattern counts again as it did before."""
    data.unlearn(learnt_id)


@router.get("/{incident_id}/")
def show_incident(data: DataDep, incident_id: int = IncidentId) -> IncidentInFull:
    """With its life and what explains it. One that became a part of another answers with that one."""
    return IncidentInFull(**data.incident(incident_id))


@router.post("/{incident_id}/acknowledge/", responses=_REFUSED)
def acknowledge(data: DataDep, said: Said | None = None, incident_id: int = IncidentId) -> Incident:
    """Somebody looks after it. It is resolved by itself once it is over, and its events keep who looked after it."""
    return Incident(**data.handle_incident(incident_id, "acknowledge", said.reason if said else ""))


@router.post("/{incident_id}/resolve/", responses=_REFUSED)
def resolve(data: DataDep, said: Said | None = None, incident_id: int = IncidentId) -> Incident:
    """It is over. Should it go on, it opens again."""
    return Incident(**data.handle_incident(incident_id, "resolve", said.reason if said else ""))


@router.post("/{incident_id}/false-alarm/", responses=_REFUSED)
def false_alarm(data: DataDep, said: Said | None = None, incident_id: int = IncidentId) -> Incident:
    """It was none: the like of it has to be stranger from now on. `reopen` undoes that."""
    return Incident(**data.handle_incident(incident_id, "false-alarm", said.reason if said else ""))


@router.post("/{incident_id}/reopen/", responses=_REFUSED)
def reopen(data: DataDep, said: Said | None = None, incident_id: int = IncidentId) -> Incident:
    """Open until a person closes it; what it taught as a false alarm is forgotten."""
    return Incident(**data.handle_incident(incident_id, "reopen", said.reason if said else ""))
