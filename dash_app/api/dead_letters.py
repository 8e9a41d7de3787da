"""Dead letters: what no parser understood or landing refused, whole, with the reason; and sending one again."""

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field

from dash_app.api.problems import Problem
from dash_app.api.shapes import PROBLEMS, DataDep, Instant, Listed, PagingDep, ServerId, paged

router = APIRouter(
    prefix="/api/dead-letters",
    tags=["Dead letters"],
    responses={**PROBLEMS, 403: {"model": Problem, "description": "Only administrators replay dead letters"}},
)

Id = Path(ge=1, le=2**63 - 1, description="Id of the dead letter")


class LetterAnswer(BaseModel):
    id: int
    metric: str = Field(description="The family; empty where not even that is known")
    server_id: ServerId | None
    timestamp: Instant | None
    command: str | None
    exit_code: int | None
    raw: str | None = Field(description="The command's output")
    parser: str | None
    outcome: str | None = Field(description="unknown, failed, no_data; rejected: landing refused it")
    reason: str
    collector: str | None
    session: str | None
    seq: int | None
    rejected_rows: int
    topic: str
    kafka_partition: int
    kafka_offset: int
    landed_at: Instant
    replayed_at: Instant | None = Field(description="When it was sent again as a sample")


class LetterList(Listed):
    results: list[LetterAnswer]


class Replayed(BaseModel):
    rows: int = Field(description="Rows of the sample that was sent again")


@router.get("/")
def list_dead_letters(
    request: Request,
    paging: PagingDep,
    data: DataDep,
    metric: str | None = Query(None, description="A family"),
    server_id: int | None = Query(None, ge=1, le=2**63 - 1),
    replayed: bool | None = Query(None, description="Only those that were sent again, or only those that were not"),
) -> LetterList:
    """The newest first, in pages."""
    found, count = data.dead_letters(paging.page, paging.page_size, metric, server_id, replayed)
    return LetterList(**paged(request, paging, count, [LetterAnswer(**letter) for letter in found]))


@router.get("/{letter_id}/")
def show_dead_letter(data: DataDep, letter_id: int = Id) -> LetterAnswer:
    return LetterAnswer(**data.dead_letter(letter_id))


@router.post("/{letter_id}/replay/")
def replay_dead_letter(data: DataDep, letter_id: int = Id) -> Replayed:
    """Reads the text with today's dialects and sends the sample again; 422 says why while nothing is made of it."""
    return Replayed(rows=data.replay_dead_letter(letter_id))
