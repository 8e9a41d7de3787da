"""Dead letters: output and messages that gave no rows, whole, with the reason; table `dead_letters`.

Landing puts them there (`store.landing.save_rejected`). A letter whose text was understood later is `replayed_at`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import class_row

from hps_platform.errors import NotFound


@dataclass(frozen=True, slots=True)
class Letter:
    """`topic`, `kafka_partition` and `kafka_offset` name the message it came from; `raw` is the command's output."""

    id: int
    family: str
    server_id: int | None
    timestamp: datetime | None
    command: str | None
    exit_code: int | None
    raw: str | None
    parser: str | None
    outcome: str | None
    reason: str
    collector: str | None
    session: str | None
    seq: int | None
    rejected_rows: int
    topic: str
    kafka_partition: int
    kafka_offset: int
    landed_at: datetime
    replayed_at: datetime | None


_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, Letter.__dataclass_fields__))
_CHOSEN = sql.SQL("""
    WHERE (%(family)s::text IS NULL OR family = %(family)s)
      AND (%(server_id)s::bigint IS NULL OR server_id = %(server_id)s)
      AND (%(replayed)s::boolean IS NULL OR (replayed_at IS NOT NULL) = %(replayed)s)
      AND (%(start)s::timestamptz IS NULL OR "timestamp" >= %(start)s)
      AND (%(end)s::timestamptz IS NULL OR "timestamp" < %(end)s)
""")


def listing(
    conn: Connection[Any],
    *,
    family: str | None = None,
    server_id: int | None = None,
    replayed: bool | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    limit: int = 50,
    offset: int = 0,
) -> tuple[list[Letter], int]:
    """The newest to arrive first, and how many there are; `start` and `end` bound the sample's time."""
    chosen = {"family": family, "server_id": server_id, "replayed": replayed, "start": start, "end": end}
    row = conn.execute(sql.SQL("SELECT count(*) FROM dead_letters {}").format(_CHOSEN), chosen).fetchone()
    query = sql.SQL(
        "SELECT {} FROM dead_letters {} ORDER BY landed_at DESC, id DESC LIMIT %(limit)s OFFSET %(offset)s"
    ).format(_COLUMNS, _CHOSEN)
    with conn.cursor(row_factory=class_row(Letter)) as cursor:
        found = cursor.execute(query, {**chosen, "limit": limit, "offset": offset}).fetchall()
    return found, int(row[0]) if row else 0


def get(conn: Connection[Any], letter_id: int) -> Letter:
    query = sql.SQL("SELECT {} FROM dead_letters WHERE id = %s").format(_COLUMNS)
    with conn.cursor(row_factory=class_row(Letter)) as cursor:
        letter = cursor.execute(query, (letter_id,)).fetchone()
    if letter is None:
        raise NotFound(f"There is no dead letter {letter_id}.")
    return letter


def mark_replayed(conn: Connection[Any], letter_id: int) -> None:
    conn.execute("UPDATE dead_letters SET replayed_at = clock_timestamp() WHERE id = %s", (letter_id,))
