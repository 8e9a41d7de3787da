"""Random samples of any family, as frames and in tables."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from hps_platform.metrics.family import Family, Kind
from hps_platform.store import landing, partitions
from hps_platform.store.database import Connection

START = datetime(2026, 3, 1, tzinfo=UTC)


def frame(
    family: Family,
    times: Sequence[datetime],
    *,
    servers: Sequence[int] = (1, 2),
    keys: int = 3,
    nulls: float = 0.2,
    seed: int = 0,
) -> pl.DataFrame:
    """One sample per server and time, `keys` rows each where the family has a key; some values missing."""
    rng = np.random.default_rng(seed)
    lines = range(keys if family.key else 1)
    rows = [(server, at, line) for server in servers for at in times for line in lines]
    columns: dict[str, Any] = {
        "server_id": [server for server, _, _ in rows],
        "timestamp": [at for _, at, _ in rows],
    }
    for column in family.columns:
        if column.name == family.key:
            columns[column.name] = [f"key{line}" if column.kind is Kind.TEXT else line for _, _, line in rows]
            continue
        missing = rng.random(len(rows)) < nulls
        if column.kind is Kind.TEXT:
            values: list[Any] = [f"text {'ü' * int(number)}" for number in rng.integers(0, 4, len(rows))]
        elif column.kind is Kind.REAL:
            values = rng.normal(50, 30, len(rows)).tolist()
        else:
            values = rng.integers(0, 10**9, len(rows)).tolist()
        columns[column.name] = [None if gone else value for gone, value in zip(missing, values, strict=True)]
    columns["kafka_partition"] = [server % 3 for server, _, _ in rows]
    columns["kafka_offset"] = list(range(len(rows)))
    schema = {**family.frame_schema, "kafka_partition": pl.Int16(), "kafka_offset": pl.Int64()}
    return pl.DataFrame(columns, schema=schema)


def every(step_s: float, count: int, start: datetime = START) -> list[datetime]:
    return [start + timedelta(seconds=step_s * number) for number in range(count)]


def land(conn: Connection, family: Family, rows: pl.DataFrame) -> landing.Landed:
    """As landing does it: partitions, rows and marks."""
    with conn.transaction():
        partitions.ensure(conn, [family], rows["timestamp"].dt.date().unique().to_list())
        landed = landing.copy_rows(conn, landing.family_rows(family, rows))
        hours = rows.select(pl.col("timestamp").dt.truncate("1h"), "server_id").unique()
        landing.mark_dirty(conn, {(family.name, hour, server) for hour, server in hours.iter_rows()})
    return landed
