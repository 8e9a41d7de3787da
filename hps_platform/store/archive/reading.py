"""Questions that reach beyond the tables: rows of days that are only in the archive, and the raw text of a message."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from psycopg import Connection

from hps_platform.errors import ArchiveDamaged
from hps_platform.metrics.family import Family
from hps_platform.store.archive import files, records
from hps_platform.store.archive.days import schema
from hps_platform.store.archive.records import ArchivedDay


@contextmanager
def explained(family: Family) -> Iterator[None]:
    """Around collecting what `read` gave: what polars says about a broken file becomes `ArchiveDamaged`."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ArchiveDamaged(f"an archived day of {family.name} can't be read: {text}") from error


def days(conn: Connection[Any], family: Family, start: datetime, end: datetime) -> list[ArchivedDay]:
    """Days in [`start`, `end`) whose raw rows are only in the archive, ascending."""
    last = (end - timedelta(microseconds=1)).astimezone(UTC).date()
    return records.dropped(conn, family.name, start.astimezone(UTC).date(), last)


def read(
    conn: Connection[Any],
    family: Family,
    server_ids: Sequence[int],
    columns: Sequence[str],
    start: datetime,
    end: datetime,
) -> pl.LazyFrame:
    """Archived rows in [`start`, `end`) of days that are not in the tables: `server_id, timestamp, <key>, <columns>`.

    Columns may be those of `PROVENANCE` too. Types as `family.frame_schema`; ascending by server and time within each
    day. Nothing is read before `collect`, which belongs into `explained`; then, from a disk, only the row groups and
    columns that are asked for.
    """
    names = ["server_id", "timestamp", *([family.key] if family.key else [])]
    names += [name for name in columns if name not in names]
    types = {**schema(family), **family.frame_schema}
    wanted = {name: types[name] for name in names}
    parts = []
    for one in days(conn, family, start, end):
        with explained(family):
            rows = pl.scan_parquet(files.source(one.url))
            there = rows.collect_schema()
        chosen = rows.filter(
            pl.col("server_id").is_in(list(server_ids)), pl.col("timestamp").is_between(start, end, closed="left")
        )
        # A column that the family got since is null, as it is in the tables.
        values = [
            (pl.col(name) if name in there else pl.lit(None)).cast(kind).alias(name) for name, kind in wanted.items()
        ]
        parts.append(chosen.select(values))
    return pl.concat(parts) if parts else pl.LazyFrame(schema=wanted)


def message(
    conn: Connection[Any], family: Family, server_id: int, timestamp: datetime, place: tuple[int, int]
) -> dict[str, Any] | None:
    """The archived message of a sample, by its partition and offset; `None` where its text is not kept.

    `server_id, timestamp, produced_at, command, exit_code, parser, schema, collector, session, seq, raw`.
    """
    one = records.find(conn, family.name, timestamp.astimezone(UTC).date())
    if one is None or one.raw_url is None:
        return None
    with explained(family):
        rows = pl.scan_parquet(files.source(one.raw_url)).filter(
            pl.col("kafka_partition") == place[0], pl.col("kafka_offset") == place[1], pl.col("server_id") == server_id
        )
        found = rows.collect().to_dicts()
    return found[0] if found else None
