"""Forecasts as they are kept: of each server, metric and horizon the newest one. What is in them belongs to
`hps_platform.analysis`."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from datetime import datetime
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb


@dataclass(frozen=True, slots=True)
class Forecast:
    """`key` is the mount point of a file system's metric, else empty. Values begin at `first_at`, one each `step_s`.

    Without a forecast the values are empty and `reason` says why.
    """

    server_id: int
    metric: str
    key: str
    horizon_days: int
    made_at: datetime
    first_at: datetime
    step_s: int
    p10: Sequence[float] = field(default_factory=list)
    p50: Sequence[float] = field(default_factory=list)
    p90: Sequence[float] = field(default_factory=list)
    trend: Mapping[str, Any] | None = None
    runway: Mapping[str, Any] | None = None
    week_on_week: Mapping[str, Any] | None = None
    backtest: Mapping[str, Any] | None = None
    reason: str | None = None


_NAMES = tuple(one.name for one in fields(Forecast))
_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, _NAMES))


def replace(conn: Connection[Any], server_id: int, made: Sequence[Forecast]) -> None:
    """All that is kept of a server gives way to what was made; doing it again changes nothing."""
    query = sql.SQL("INSERT INTO forecasts ({}) VALUES ({})").format(
        _COLUMNS, sql.SQL(", ").join(sql.Placeholder() * len(_NAMES))
    )
    with conn.transaction(), conn.cursor() as cursor:
        cursor.execute("DELETE FROM forecasts WHERE server_id = %s", (server_id,))
        cursor.executemany(query, [_row(one) for one in made])


def find(
    conn: Connection[Any],
    *,
    server_id: int | None = None,
    metric: str | None = None,
    horizon_days: int | None = None,
) -> list[Forecast]:
    """By server, metric, key and horizon; of all where nothing is chosen."""
    query = sql.SQL("""
        SELECT {} FROM forecasts
        WHERE (%(server)s::bigint IS NULL OR server_id = %(server)s)
          AND (%(metric)s::text IS NULL OR metric = %(metric)s)
          AND (%(horizon)s::smallint IS NULL OR horizon_days = %(horizon)s)
        ORDER BY server_id, metric, key, horizon_days
    """).format(_COLUMNS)
    with conn.cursor(row_factory=class_row(Forecast)) as cursor:
        return cursor.execute(query, {"server": server_id, "metric": metric, "horizon": horizon_days}).fetchall()


def _row(one: Forecast) -> list[Any]:
    return [Jsonb(value) if isinstance(value, Mapping) else value for value in astuple(one)]
