"""What a landing run tells whoever started it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from enum import StrEnum


class Outcome(StrEnum):
    """How a run ended; none of them is a failure."""

    HANDED_OVER = "handed_over"  # a successor has raised the fence
    ENDED = "ended"  # the window is over and nobody came; the lease was given back
    STOPPED = "stopped"  # asked to; the lease was given back
    NOT_NEEDED = "not_needed"  # another run holds the lease and is not about to end


@dataclass(frozen=True, slots=True)
class CommitReport:
    """One commit. `rows` per family and day; `offsets` per topic and partition: first and next.

    `lag_ms` is how long the oldest message of the commit waited since it was produced. `rows` counts what was read;
    `duplicates` of them were in the tables already, per family.
    """

    at: datetime
    messages: int
    rows: Mapping[tuple[str, date], int]
    duplicates: Mapping[str, int]
    rejected: int  # dead letters, those of the collector included
    offsets: Mapping[str, Mapping[int, tuple[int, int]]]
    lag_ms: int


@dataclass(slots=True)
class WindowReport:
    """A whole run."""

    outcome: Outcome
    fence: int = 0
    commits: int = 0
    messages: int = 0
    rows: int = 0
    duplicates: int = 0
    rejected: int = 0
    restarts: int = 0  # how often PostgreSQL or Kafka went away meanwhile
    gaps: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)  # expired before they could be landed

    def add(self, commit: CommitReport) -> None:
        self.commits += 1
        self.messages += commit.messages
        self.rows += sum(commit.rows.values()) - sum(commit.duplicates.values())
        self.duplicates += sum(commit.duplicates.values())
        self.rejected += commit.rejected

    def metadata(self) -> dict[str, str | int]:
        """The figures under the names that a run's log shows."""
        figures: dict[str, str | int] = {name: value for name, value in asdict(self).items() if isinstance(value, int)}
        gaps = {f"{topic}[{number}]": f"{first}-{end}" for (topic, number), (first, end) in self.gaps.items()}
        return {"outcome": str(self.outcome), **figures, **({"gaps": str(gaps)} if gaps else {})}


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """A range landed again. `rows` were missing or came out differently, `duplicates` are as they were.

    `changed` counts messages whose rows came out differently, `unreadable` those that today's dialects make nothing of
    (they keep their rows), `letters` dead letters that became samples again. `kept_since`: what was produced before has
    expired from Kafka, a part of the range maybe.
    """

    family: str
    messages: int = 0
    rows: int = 0
    duplicates: int = 0
    rejected: int = 0
    changed: int = 0
    unreadable: int = 0
    letters: int = 0
    kept_since: datetime | None = None

    def metadata(self) -> dict[str, str | int]:
        figures = {name: value for name, value in asdict(self).items() if isinstance(value, str | int)}
        return {**figures, **({"kept_since": self.kept_since.isoformat()} if self.kept_since else {})}

    def __add__(self, other: "ReplayReport") -> "ReplayReport":
        sums = {name: value + getattr(other, name) for name, value in asdict(self).items() if isinstance(value, int)}
        return ReplayReport(self.family, **sums, kept_since=self.kept_since or other.kept_since)
