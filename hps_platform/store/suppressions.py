"""What false alarms taught: patterns of a server that have to be stranger than before; table `anomaly_suppressions`.

Which minutes one applies to is decided where minutes are scored, in `hps_platform.detection.scoring`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from hps_platform.errors import NotFound


@dataclass(frozen=True, slots=True)
class Suppression:
    """Minutes of the server headed by one of `metrics`, in `minutes` from `from_minute` (of the day, UTC) on, are
    anomalous only at or below `demanded_score`; below -1 that is never."""

    id: int
    server_id: int
    incident_id: int | None
    metrics: list[str]
    from_minute: int
    minutes: int
    demanded_score: float
    created_by: str | None
    created_at: datetime


def add(
    conn: Connection[Any],
    server_id: int,
    incident_id: int,
    metrics: Sequence[str],
    from_minute: int,
    minutes: int,
    demanded_score: float,
    actor: str | None,
) -> None:
    conn.execute(
        """
        INSERT INTO anomaly_suppressions
            (server_id, incident_id, metrics, from_minute, minutes, demanded_score, created_by)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        (server_id, incident_id, list(metrics), from_minute, minutes, demanded_score, actor),
    )


def listing(
    conn: Connection[Any], *, server_id: int | None = None, incident_id: int | None = None
) -> list[Suppression]:
    """The newest first, of one server, of one incident, or all."""
    with conn.cursor(row_factory=class_row(Suppression)) as cursor:
        return cursor.execute(
            """
            SELECT * FROM anomaly_suppressions
            WHERE (%(server)s::bigint IS NULL OR server_id = %(server)s)
              AND (%(incident)s::bigint IS NULL OR incident_id = %(incident)s)
            ORDER BY id DESC
            """,
            {"server": server_id, "incident": incident_id},
        ).fetchall()


def remove(conn: Connection[Any], suppression_id: int) -> Suppression:
    """Returns what it was; `NotFound`."""
    with conn.cursor(row_factory=class_row(Suppression)) as cursor:
        gone = cursor.execute(
            "DELETE FROM anomaly_suppressions WHERE id = %s RETURNING *", (suppression_id,)
        ).fetchone()
    if gone is None:
        raise NotFound(f"no suppression {suppression_id}")
    return gone


def remove_of_incident(conn: Connection[Any], incident_id: int) -> int:
    """How many there were."""
    return conn.execute("DELETE FROM anomaly_suppressions WHERE incident_id = %s", (incident_id,)).rowcount
