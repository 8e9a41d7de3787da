"""Rows of vmstat as a fleet gives them, in any order and amount: for benchmarks that need many and no host.

A row is a function of its server and its tick (two seconds), so the same rows come in the order of time and of the key.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from hps_platform.metrics import FAMILIES, wire
from hps_platform.metrics.family import Kind
from hps_platform.metrics.sample import STREAMED
from hps_platform.store.landing import table_columns

FAMILY = FAMILIES["vmstat"]
TICK_S = 2
_PARTITIONS = 12
_FILLED = (
    "r",
    "b",
    "swpd",
    "fre",
    "buff",
    "cache",
    "pi",
    "po",
    "bi",
    "bo",
    "interrupts",
    "cs",
    "us",
    "sy",
    "idle",
    "wa",
)
"""What Linux prints."""
_HEADING = (
    "procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu-----\n"
    " r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa st\n"
)

Ints = npt.NDArray[np.int64]


def yesterday() -> datetime:
    """Midnight UTC: the rows of a benchmark lie in that day's partition."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)


def rows(servers: Ints, ticks: Ints, start: datetime) -> pl.DataFrame:
    """One row for each pair, without origin; columns that Linux doesn't have are null."""
    noise = (servers * 7_919 + ticks * 104_729) % 10_007
    columns: dict[str, pl.Series] = {
        "server_id": pl.Series(servers),
        "timestamp": pl.Series(ticks * (TICK_S * 1000) + round(start.timestamp() * 1000)),
    }
    for number, column in enumerate(FAMILY.columns):
        if column.name not in _FILLED:
            columns[column.name] = pl.repeat(None, len(servers), dtype=FAMILY.wire_schema[column.name], eager=True)
        elif column.kind is Kind.REAL:
            columns[column.name] = pl.Series((noise * (number + 3)) % 101 * 1.0)
        else:
            columns[column.name] = pl.Series((noise * (number + 3)) % 4_000_037)
    return pl.DataFrame(columns)


def chunks(servers: int, ticks: int, *, by_key: bool, size: int = 250_000) -> Iterator[tuple[Ints, Ints]]:
    """Servers and ticks of every row: server after server, or as they arrive."""
    total = servers * ticks
    for first in range(0, total, size):
        number = np.arange(first, min(first + size, total), dtype=np.int64)
        if by_key:
            yield number // ticks + 1, number % ticks
        else:
            yield number % servers + 1, number // servers


def table_rows(servers: Ints, ticks: Ints, start: datetime) -> pl.DataFrame:
    """The same as rows of the table, from offsets of their own."""
    return (
        rows(servers, ticks, start)
        .with_columns(
            pl.col("timestamp").cast(pl.Datetime("ms", "UTC")),
            kafka_partition=(pl.col("server_id") % _PARTITIONS).cast(pl.Int16),
            kafka_offset=pl.col("timestamp"),
        )
        .select(table_columns(FAMILY))
    )


def messages(
    servers: int, ticks: int, per_message: int, start: datetime
) -> Iterator[tuple[bytes, bytes, wire.Headers]]:
    """Key, value and headers of every sample in the order of time; `ticks` is a multiple of `per_message`."""
    fleet = np.arange(1, servers + 1, dtype=np.int64)
    keys = [wire.key(int(server)) for server in fleet]
    wanted = ["server_id", "timestamp", *_FILLED]
    for first in range(0, ticks, per_message):
        pairs = np.repeat(fleet, per_message), np.tile(np.arange(first, first + per_message, dtype=np.int64), servers)
        lines = rows(*pairs, start).select(wanted).write_ndjson().encode().splitlines()
        headers = _headers(first // per_message + 1, per_message)
        for number, key in enumerate(keys):
            yield key, b"\n".join(lines[number * per_message : (number + 1) * per_message]), headers


def _headers(seq: int, reports: int) -> wire.Headers:
    line = (
        f" 1  0  {seq % 9999:5d} 612344 108224 2410980    0    0     4    18  310  {seq % 999:3d}  6  2 91  1  0  0\n"
    )
    return [
        ("schema", FAMILY.schema.encode()),
        ("collector", b"bench"),
        ("session", b"3f2c9a5e-bench"),
        ("seq", str(seq).encode()),
        ("command", b"LC_ALL=C vmstat -n 2"),
        ("exit_code", b""),
        ("parser", f"linux/1{STREAMED}".encode()),
        ("raw", (_HEADING + line * reports).encode()),
    ]
