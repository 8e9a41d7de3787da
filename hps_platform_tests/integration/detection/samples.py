"""Samples of a made-up machine, as frames of the families, and landing them without Kafka."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from psycopg import Connection

from hps_platform.metrics import FAMILIES
from hps_platform.store import landing, partitions

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
HOG = (2 * 1440 + 900, 2 * 1440 + 940)
"""Minutes in which the machine's processors are all taken, on the third day."""


def frames(server_id: int, days: float, *, start: datetime = START, seed: int = 1) -> dict[str, pl.DataFrame]:
    """vmstat, iostat, netstat, memory and filesystem each minute: a daily rhythm, noise, and the hog."""
    random = np.random.default_rng(seed)
    n = int(days * 1440)
    minute = np.arange(n)
    rhythm = 0.5 + 0.4 * np.sin(2 * np.pi * minute / 1440)
    load = np.clip(30 * rhythm + random.normal(0, 3, n), 0, 100)
    hogged = (minute >= HOG[0]) & (minute < HOG[1])
    user = np.where(hogged, 92.0, load)
    system = np.where(hogged, 7.0, 0.3 * load)
    stamps = pl.Series([start + timedelta(minutes=int(m), seconds=7) for m in minute]).cast(pl.Datetime("ms", "UTC"))
    vmstat = pl.DataFrame(
        {
            "timestamp": stamps,
            "r": np.where(hogged, 40, random.poisson(1 + 3 * rhythm)),
            "us": user,
            "sy": system,
            "idle": 100 - user - system,
            "pi": np.zeros(n),
            "po": np.where(random.random(n) < 0.02, 12.0, 0.0),
        }
    )
    memory = pl.DataFrame({"timestamp": stamps, "used_pct": 55 + 5 * rhythm + random.normal(0, 0.4, n)})
    disks = [
        pl.DataFrame({"timestamp": stamps, "disk": name, "busy_pct": busy, "kb_s": busy * 90})
        for name, busy in (("hdisk0", 20 * rhythm + random.gamma(2, 2, n)), ("hdisk1", random.gamma(2, 1, n)))
    ]
    interfaces = [
        pl.DataFrame(
            {"timestamp": stamps, "interface": name, "ipkts_s": rate, "opkts_s": rate * 0.8, "ierrs_s": 0.0 * rate}
        ).with_columns(oerrs_s=pl.col("ierrs_s"))
        for name, rate in (("en0", 900 * rhythm + random.normal(0, 30, n)), ("lo0", 50 + random.normal(0, 2, n)))
    ]
    mounts = [
        pl.DataFrame({"timestamp": stamps, "mount": name, "used_kb": used.astype(np.int64)})
        for name, used in (
            ("/data", 8_000_000 + np.cumsum(random.normal(0, 400, n))),
            ("/var", 900_000 + 60 * minute),
        )
    ]
    rows = {
        "vmstat": vmstat,
        "memory": memory,
        "iostat": pl.concat(disks),
        "netstat": pl.concat(interfaces),
        "filesystem": pl.concat(mounts),
    }
    return {name: _whole(name, frame, server_id) for name, frame in rows.items()}


def land(conn: Connection[tuple[object, ...]], rows: dict[str, pl.DataFrame]) -> None:
    """Into the raw tables, with their hours marked for the rollups, as landing does."""
    for name, frame in rows.items():
        family = FAMILIES[name]
        days = frame["timestamp"].dt.date().unique().to_list()
        partitions.ensure(conn, [family], days)
        columns = [*frame.columns, "kafka_partition", "kafka_offset"]
        quoted = ", ".join(f'"{column}"' for column in columns)
        with conn.cursor() as cursor, cursor.copy(f"COPY {family.table} ({quoted}) FROM STDIN".encode()) as stream:
            for offset, row in enumerate(frame.iter_rows()):
                stream.write_row((*row, 0, offset))
        hours = frame.select(pl.col("timestamp").dt.truncate("1h"), "server_id").unique()
        landing.mark_dirty(conn, [(name, hour, server) for hour, server in hours.iter_rows()])


def _whole(name: str, frame: pl.DataFrame, server_id: int) -> pl.DataFrame:
    """With every column of the family, null where the made-up machine prints nothing."""
    schema = FAMILIES[name].frame_schema
    filled = frame.with_columns(server_id=pl.lit(server_id))
    missing = [pl.lit(None).alias(column) for column in schema if column not in filled.columns]
    return filled.with_columns(missing).select(pl.col(column).cast(dtype) for column, dtype in schema.items())
