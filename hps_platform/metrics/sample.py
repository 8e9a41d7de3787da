"""One sample: the rows that one reading of a family on one host gave, with where they came from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Row = dict[str, Any]

STREAMED = ";stream"
"""Suffix of the `parser` header: `raw` is one report of a running stream, so its only report is a sample."""


class Sample(NamedTuple):
    """`rows` lack `server_id` and `timestamp`, which stand here; `timestamp_ms` is on the collector's clock."""

    family: str
    server_id: int
    timestamp_ms: int
    rows: Sequence[Row]
    command: str
    raw: str
    parser: str
    collector: str
    session: str
    seq: int
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Output that gave no rows, kept whole, with the reason."""

    family: str
    server_id: int
    timestamp_ms: int
    command: str
    raw: str
    parser: str
    reason: str
    collector: str = ""
    session: str = ""
    seq: int | None = None
    exit_code: int | None = None
    outcome: str = field(default="unknown")
