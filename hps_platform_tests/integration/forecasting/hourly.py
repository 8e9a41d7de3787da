"""Hours of made-up servers, put where rollups are kept."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from psycopg import sql

from hps_platform.metrics import FAMILIES
from hps_platform.store import partitions
from hps_platform.store.database import Connection

HOUR = timedelta(hours=1)


def put(
    conn: Connection, family: str, server_id: int, end: datetime, hours: int, columns: Mapping[str, object]
) -> None:
    """Means of the `hours` before `end`; a text is the key, a number the level of a column with a daily rhythm."""
    times = [end - back * HOUR for back in range(hours, 0, -1)]
    partitions.ensure(conn, [FAMILIES[family]], sorted({time.date() for time in times}))
    names = [name if isinstance(value, str) else f"{name}_mean" for name, value in columns.items()]
    query = sql.SQL("INSERT INTO {} (server_id, timestamp, samples, {}) VALUES (%s, %s, 60, {})").format(
        sql.Identifier(f"{family}_metrics_1h"),
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.SQL(", ").join(sql.Placeholder() * len(names)),
    )
    with conn.cursor() as cursor:
        cursor.executemany(
            query,
            [
                (server_id, time, *(_value(value, time, number) for value in columns.values()))
                for number, time in enumerate(times)
            ],
        )


def _value(value: object, time: datetime, number: int) -> object:
    """A number grows by a hundredth of itself each day, and is a tenth higher in the afternoon."""
    if not isinstance(value, int | float):
        return value
    return value * (1 + 0.01 * number / 24 + (0.1 if 12 <= time.hour < 18 else 0.0))
