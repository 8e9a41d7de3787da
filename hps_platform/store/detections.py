"""Runs of anomaly detection, the minutes they scored, and the alarm level of each server's days.

Thresholds that people set are in `thresholds`, what model files are in `model_files`; what any of it means belongs to
`hps_platform.detection`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import polars as pl
from psycopg import Connection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from hps_platform.errors import NotFound
from hps_platform.store import partitions

TABLE = "anomaly_detection_results"
SCHEDULED, ON_DEMAND = "scheduled", "on_demand"


@dataclass(frozen=True, slots=True)
class Run:
    """One row of `anomaly_detection_runs`; `end_time` is exclusive, `anomaly_rate` in percent. `borrowed_from`: the
    host whose model stood in for one of the server's own."""

    run_id: UUID
    server_id: int
    trigger: str
    start_time: datetime
    end_time: datetime
    total_points_analyzed: int
    anomalies_detected: int
    anomaly_rate: float
    model_version: str | None
    model_features: list[str]
    execution_time_seconds: float
    status: str
    error_message: str | None
    started_at: datetime
    completed_at: datetime | None
    borrowed_from: str | None


_RUNS = """
    SELECT runs.*, peer.hostname AS borrowed_from FROM anomaly_detection_runs AS runs
    LEFT JOIN model_files ON name = 'hps.' || runs.server_id AND version::text = runs.model_version
    LEFT JOIN servers AS peer ON peer.id = model_files.borrowed_from
    """


def begin_run(
    conn: Connection[Any],
    run_id: UUID,
    server_id: int,
    trigger: str,
    span: tuple[datetime, datetime],
    *,
    model_version: str | None = None,
    features: Sequence[str] = (),
) -> None:
    conn.execute(
        """
        INSERT INTO anomaly_detection_runs
            (run_id, server_id, trigger, start_time, end_time, model_version, model_features, status)
        VALUES (%s, %s, %s, %s, %s, %s, %s, 'running')
        """,
        (run_id, server_id, trigger, *span, model_version, Jsonb(list(features))),
    )


def complete_run(
    conn: Connection[Any], run_id: UUID, end: datetime, *, points: int, anomalies: int, seconds: float
) -> None:
    """Adds what was just scored to the run's totals: a scheduled run goes on until its day or its model ends."""
    conn.execute(
        """
        UPDATE anomaly_detection_runs SET
            end_time = greatest(end_time, %(end)s),
            total_points_analyzed = total_points_analyzed + %(points)s,
            anomalies_detected = anomalies_detected + %(anomalies)s,
            anomaly_rate = CASE WHEN total_points_analyzed + %(points)s = 0 THEN 0 ELSE
                100.0 * (anomalies_detected + %(anomalies)s) / (total_points_analyzed + %(points)s) END,
            execution_time_seconds = execution_time_seconds + %(seconds)s,
            status = 'completed', error_message = NULL, completed_at = now()
        WHERE run_id = %(run_id)s
        """,
        {"run_id": run_id, "end": end, "points": points, "anomalies": anomalies, "seconds": seconds},
    )


def fail_run(conn: Connection[Any], run_id: UUID, message: str, seconds: float) -> None:
    conn.execute(
        """
        UPDATE anomaly_detection_runs
        SET status = 'failed', error_message = %s, execution_time_seconds = %s, completed_at = now() WHERE run_id = %s
        """,
        (message, seconds, run_id),
    )


def run_to_extend(
    conn: Connection[Any], server_id: int, model_version: str, start: datetime, end: datetime
) -> UUID | None:
    """The scheduled run of that model which ended at `start`, as long as `end` is still on its last day (UTC)."""
    row = conn.execute(
        """
        SELECT run_id FROM anomaly_detection_runs
        WHERE server_id = %(server)s AND trigger = 'scheduled' AND model_version = %(version)s
          AND end_time = %(start)s
          AND date_trunc('day', %(start)s::timestamptz - interval '1 us')
            = date_trunc('day', %(end)s::timestamptz - interval '1 us')
        ORDER BY started_at DESC LIMIT 1
        """,
        {"server": server_id, "version": model_version, "start": start, "end": end},
    ).fetchone()
    return row[0] if row else None


def scored_until(conn: Connection[Any], server_id: int) -> datetime | None:
    """Where scheduled scoring of the server goes on; None when it was never scored."""
    row = conn.execute(
        """
        SELECT max(end_time) FROM anomaly_detection_runs
        WHERE server_id = %s AND trigger = 'scheduled' AND status = 'completed'
        """,
        (server_id,),
    ).fetchone()
    return row[0] if row else None


def save_results(
    conn: Connection[Any], run_id: UUID, server_id: int, frame: pl.DataFrame, *, trigger: str, model_version: str
) -> None:
    """Writes scored minutes: `timestamp, is_anomaly, anomaly_score, forest_score, metric_values, contributions`, the
    last two as JSON text or null. Days get their partition as they come."""
    if frame.is_empty():
        return
    days = frame["timestamp"].dt.date().unique().sort().to_list()
    partitions.ensure_days(conn, [TABLE], days)
    chosen = frame.select("timestamp", "is_anomaly", "anomaly_score", "forest_score", "metric_values", "contributions")
    copy = (
        f'COPY {TABLE} (server_id, "timestamp", is_anomaly, anomaly_score, forest_score, metric_values,'
        " contributions, detection_run_id, trigger, model_version) FROM STDIN"
    )
    with conn.cursor() as cursor, cursor.copy(copy) as stream:
        for row in chosen.iter_rows():
            stream.write_row((server_id, *row, run_id, trigger, model_version))


def clear_scheduled(conn: Connection[Any], server_id: int, start: datetime, end: datetime) -> int:
    """Removes what scheduled runs said about [`start`, `end`), because it is about to be said again."""
    found = conn.execute(
        f'DELETE FROM {TABLE} WHERE server_id = %s AND trigger = %s AND "timestamp" >= %s AND "timestamp" < %s',  # noqa: S608  # a constant
        (server_id, SCHEDULED, start, end),
    )
    return found.rowcount


def list_runs(
    conn: Connection[Any],
    *,
    server_id: int | None = None,
    trigger: str | None = None,
    limit: int = 50,
    offset: int = 0,
) -> tuple[list[Run], int]:
    """Newest first, and how many there are in all."""
    where = """
        WHERE (%(server)s::bigint IS NULL OR server_id = %(server)s)
          AND (%(trigger)s::text IS NULL OR trigger = %(trigger)s)
        """
    asked = {"server": server_id, "trigger": trigger, "limit": limit, "offset": offset}
    with conn.cursor(row_factory=class_row(Run)) as cursor:
        rows = cursor.execute(
            f"{_RUNS} {where} ORDER BY started_at DESC, run_id LIMIT %(limit)s OFFSET %(offset)s",
            asked,
        ).fetchall()
    count = conn.execute(f"SELECT count(*) FROM anomaly_detection_runs {where}", asked).fetchone()  # noqa: S608  # same
    return rows, count[0] if count else 0


def get_run(conn: Connection[Any], run_id: UUID) -> Run:
    with conn.cursor(row_factory=class_row(Run)) as cursor:
        row = cursor.execute(f"{_RUNS} WHERE run_id = %s", (run_id,)).fetchone()
    if row is None:
        raise NotFound(f"no detection run {run_id}")
    return row


_RESULT = """
    SELECT server_id, hostname, "timestamp", is_anomaly, anomaly_score, metric_values, contributions, forest_score,
           detection_run_id::text AS run_id, model_version
    FROM anomaly_detection_results JOIN servers ON servers.id = server_id
    """
_CHOSEN = """
    WHERE (%(server)s::bigint IS NULL OR server_id = %(server)s)
      AND (%(start)s::timestamptz IS NULL OR "timestamp" >= %(start)s)
      AND (%(end)s::timestamptz IS NULL OR "timestamp" < %(end)s)
      AND CASE WHEN %(run)s::uuid IS NULL THEN trigger = 'scheduled' ELSE detection_run_id = %(run)s END
    """


def history(
    conn: Connection[Any],
    *,
    server_id: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    only_anomalies: bool = True,
    run_id: UUID | None = None,
    limit: int = 50,
    offset: int = 0,
) -> tuple[list[dict[str, Any]], int]:
    """Scored minutes of registered servers, newest first, and how many there are in all.

    Those of scheduled runs, or of one run; empty `metric_values` and `contributions` come as `{}` and `[]`.
    """
    asked = {
        "server": server_id,
        "start": start,
        "end": end,
        "run": run_id,
        "limit": limit,
        "offset": offset,
    }
    chosen = _CHOSEN + (" AND is_anomaly" if only_anomalies else "")
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            f'{_RESULT} {chosen} ORDER BY "timestamp" DESC, server_id LIMIT %(limit)s OFFSET %(offset)s', asked
        ).fetchall()
    count = conn.execute(
        f"SELECT count(*) FROM {TABLE} JOIN servers ON servers.id = server_id {chosen}",  # noqa: S608  # literals
        asked,
    ).fetchone()
    return [_filled(row) for row in rows], count[0] if count else 0


def result(conn: Connection[Any], server_id: int, timestamp: datetime) -> dict[str, Any]:
    """One minute of scheduled scoring, fields as in `history`; `NotFound`."""
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            f"{_RESULT} WHERE server_id = %s AND \"timestamp\" = %s AND trigger = 'scheduled'", (server_id, timestamp)
        ).fetchone()
    if row is None:
        raise NotFound(f"server {server_id} was not scored at {timestamp:%Y-%m-%d %H:%M} UTC")
    return _filled(row)


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "metric_values": row["metric_values"] or {}, "contributions": row["contributions"] or []}


def scores(conn: Connection[Any], server_id: int, start: datetime, end: datetime) -> pl.DataFrame:
    """Scheduled scores of [`start`, `end`), ascending: `timestamp, anomaly_score, is_anomaly`."""
    rows = conn.execute(
        f"""
        SELECT "timestamp", anomaly_score, is_anomaly FROM {TABLE}
        WHERE server_id = %s AND trigger = 'scheduled' AND "timestamp" >= %s AND "timestamp" < %s
        ORDER BY "timestamp"
        """,  # noqa: S608  # a constant
        (server_id, start, end),
    ).fetchall()
    schema = {"timestamp": pl.Datetime("us", "UTC"), "anomaly_score": pl.Float64(), "is_anomaly": pl.Boolean()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def levels(conn: Connection[Any], server_id: int, days: Sequence[date], budget: float) -> dict[date, float]:
    """The alarm levels noted for those days (UTC) under that budget; days without one are left out."""
    rows = conn.execute(
        "SELECT day, level FROM anomaly_alarm_levels WHERE server_id = %s AND day = ANY(%s) AND budget = %s",
        (server_id, list(days), budget),
    )
    return dict(rows.fetchall())


def keep_levels(
    conn: Connection[Any], server_id: int, found: Mapping[date, float], budget: float, model_version: str
) -> None:
    """Notes the alarm level of days; one that was noted before is replaced."""
    with conn.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO anomaly_alarm_levels (server_id, day, budget, level, model_version)
            VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT (server_id, day) DO UPDATE SET budget = excluded.budget, level = excluded.level,
                model_version = excluded.model_version, computed_at = now()
            """,
            [(server_id, day, budget, level, model_version) for day, level in found.items()],
        )


def as_json(value: Any) -> str:
    """JSON text for a jsonb column: no NaN, which PostgreSQL refuses."""
    return json.dumps(value, allow_nan=False)
