"""Thresholds that people set per server and metric: table `anomaly_thresholds`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, errors, sql
from psycopg.rows import class_row

from hps_platform.errors import Conflict, InvalidInput, NotFound

SEVERITIES = ("low", "medium", "high", "critical")
FIELDS = (
    "server_id",
    "metric_name",
    "anomaly_score_threshold",
    "severity_level",
    "enable_alerts",
    "alert_cooldown_minutes",
    "is_active",
)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A minute is an anomaly only at or below `anomaly_score_threshold`; `metric_name` is a feature or `*`.

    Alerts and cooldown silence notifications, never the detection.
    """

    id: int
    server_id: int
    metric_name: str
    anomaly_score_threshold: float
    severity_level: str
    enable_alerts: bool
    alert_cooldown_minutes: int
    is_active: bool


_COLUMNS = sql.SQL(", ").join(sql.Identifier(name) for name in ("id", *FIELDS))
_SELECT = sql.SQL("SELECT {} FROM anomaly_thresholds").format(_COLUMNS)


def list_thresholds(conn: Connection[Any], server_id: int | None = None) -> list[Threshold]:
    """By server and metric, of one server or of all."""
    where = sql.SQL(" WHERE %s::bigint IS NULL OR server_id = %s ORDER BY server_id, metric_name")
    with conn.cursor(row_factory=class_row(Threshold)) as cursor:
        return cursor.execute(_SELECT + where, (server_id, server_id)).fetchall()


def get_threshold(conn: Connection[Any], threshold_id: int) -> Threshold:
    with conn.cursor(row_factory=class_row(Threshold)) as cursor:
        found = cursor.execute(_SELECT + sql.SQL(" WHERE id = %s"), (threshold_id,)).fetchone()
    if found is None:
        raise NotFound(f"no threshold {threshold_id}")
    return found


def add_threshold(conn: Connection[Any], fields: Mapping[str, Any]) -> Threshold:
    """`server_id` is required, all else has a default. `Conflict` when that metric of the server has one already."""
    chosen = _checked(fields)
    if "server_id" not in chosen:
        raise InvalidInput("a threshold needs a server_id")
    query = sql.SQL("INSERT INTO anomaly_thresholds ({}) VALUES ({}) RETURNING {}").format(
        sql.SQL(", ").join(sql.Identifier(name) for name in chosen),
        sql.SQL(", ").join(sql.Placeholder(name) for name in chosen),
        _COLUMNS,
    )
    with _explained(fields), conn.cursor(row_factory=class_row(Threshold)) as cursor:
        added = cursor.execute(query, chosen).fetchone()
    assert added is not None  # noqa: S101  # INSERT … RETURNING gives a row or raises
    return added


def update_threshold(conn: Connection[Any], threshold_id: int, fields: Mapping[str, Any]) -> Threshold:
    """Changes only the fields given."""
    chosen = _checked(fields)
    if not chosen:
        return get_threshold(conn, threshold_id)
    query = sql.SQL("UPDATE anomaly_thresholds SET {}, updated_at = now() WHERE id = {} RETURNING {}").format(
        sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in chosen),
        sql.Placeholder("id"),
        _COLUMNS,
    )
    with _explained(fields), conn.cursor(row_factory=class_row(Threshold)) as cursor:
        changed = cursor.execute(query, {**chosen, "id": threshold_id}).fetchone()
    if changed is None:
        raise NotFound(f"no threshold {threshold_id}")
    return changed


def remove_threshold(conn: Connection[Any], threshold_id: int) -> None:
    if conn.execute("DELETE FROM anomaly_thresholds WHERE id = %s", (threshold_id,)).rowcount == 0:
        raise NotFound(f"no threshold {threshold_id}")


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    unknown = [name for name in fields if name not in FIELDS]
    if unknown:
        raise InvalidInput(f"a threshold has no field {unknown[0]!r}")
    return dict(fields)


@contextmanager
def _explained(fields: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except errors.UniqueViolation as error:
        raise Conflict(f"that server has a threshold for {fields.get('metric_name', '*')!r} already") from error
    except errors.ForeignKeyViolation as error:
        raise NotFound(f"no server {fields.get('server_id')}") from error
    except (errors.CheckViolation, errors.NotNullViolation, errors.DataError) as error:
        raise InvalidInput(
            f"a threshold's score lies between -1 and 0, its severity is one of {', '.join(SEVERITIES)}, "
            "its cooldown between 0 and 10080 minutes"
        ) from error
