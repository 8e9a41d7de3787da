"""One family's day between its partition and its file: exported, proved to be equal, dropped, restored.

A file is proved by loading it into a temporary table and comparing what PostgreSQL itself makes of both: the number of
rows and the sum of their hashes. So a fault anywhere on the way, in the export as on the disk, leaves the partition be.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
from psycopg import Connection, sql

from hps_platform.errors import ArchiveDamaged, Conflict, NotFound
from hps_platform.metrics.family import Family
from hps_platform.store import copy, partitions
from hps_platform.store.archive import files, records
from hps_platform.store.archive.records import ArchivedDay
from hps_platform.store.landing import table_columns
from hps_platform.store.schema import PROVENANCE, Grain

_PIECE_ROWS = 250_000
_GROUP_ROWS = 100_000  # Parquet's row groups: what a question for one server reads at least
_PROVENANCE_TYPES: dict[str, pl.DataType] = {"smallint": pl.Int16(), "bigint": pl.Int64()}


class Outdated(Conflict):
    """The partition has changed since it was archived: archive the day again."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells two sets of rows apart, in whatever order they are."""

    rows: int
    hashes: int

    def __add__(self, other: "Fingerprint") -> "Fingerprint":
        return Fingerprint(self.rows + other.rows, self.hashes + other.hashes)


def schema(family: Family) -> dict[str, pl.DataType]:
    """Columns of a day's file; times with PostgreSQL's microseconds."""
    provenance = {name: _PROVENANCE_TYPES[kind] for name, kind in PROVENANCE.items()}
    return {**family.frame_schema, "timestamp": pl.Datetime("us", "UTC"), **provenance}


def fingerprint(conn: Connection[Any], family: Family, table: str) -> Fingerprint:
    """Of every row of a table that has the family's columns."""
    columns = sql.SQL(", ").join(map(sql.Identifier, table_columns(family)))
    query = sql.SQL("SELECT count(*), coalesce(sum(hash_record_extended(ROW({}), 0)::numeric), 0) FROM {}")
    row = conn.execute(query.format(columns, sql.Identifier(table))).fetchone()
    assert row is not None  # noqa: S101  # an aggregate always has a row
    return Fingerprint(row[0], int(row[1]))


def _pieces(conn: Connection[Any], partition: str) -> list[tuple[int, datetime]]:
    """Where each piece of some `_PIECE_ROWS` begins, in the order of the key: by server and hour."""
    counts = conn.execute(
        sql.SQL("SELECT server_id, date_trunc('hour', timestamp), count(*) FROM {} GROUP BY 1, 2 ORDER BY 1, 2").format(
            sql.Identifier(partition)
        )
    )
    begins: list[tuple[int, datetime]] = []
    held = 0
    for server_id, hour, rows in counts:
        if not begins or held + rows > _PIECE_ROWS:
            begins.append((server_id, hour))
            held = 0
        held += rows
    return begins


def _copy_out(
    conn: Connection[Any],
    family: Family,
    partition: str,
    begin: tuple[int, datetime],
    end: tuple[int, datetime] | None,
) -> pl.DataFrame:
    """Rows from `begin` on to before `end`, in the order of the key. CSV: the text of a double is exact."""
    moment = sql.SQL('(extract(epoch FROM "timestamp") * 1000000)::bigint')
    columns = [moment if name == "timestamp" else sql.Identifier(name) for name in table_columns(family)]
    bounds = [sql.SQL('(server_id, "timestamp") >= ({}, {})').format(*map(sql.Literal, begin))]
    if end:
        bounds.append(sql.SQL('(server_id, "timestamp") < ({}, {})').format(*map(sql.Literal, end)))
    statement = sql.SQL("COPY (SELECT {} FROM {} WHERE {} ORDER BY {}) TO STDOUT (FORMAT csv)").format(
        sql.SQL(", ").join(columns),
        sql.Identifier(partition),
        sql.SQL(" AND ").join(bounds),
        sql.SQL(", ").join(map(sql.Identifier, family.primary_key)),
    )
    with conn.cursor() as cursor, cursor.copy(statement) as out:
        text = b"".join(bytes(block) for block in out)
    wide = {name: pl.Int64() if kind.is_temporal() else kind for name, kind in schema(family).items()}
    frame = pl.read_csv(text, has_header=False, schema=wide)
    return frame.with_columns(pl.col("timestamp").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))


def export(conn: Connection[Any], family: Family, day: date, room: Path) -> tuple[Path, int]:
    """Writes a day's rows, as they are at one moment, to a file below `room`; returns it and how many they are.

    Zstandard, ascending by the primary key, in memory only some `_PIECE_ROWS` at a time.
    """
    partition = partitions.name_of(family.table, day)
    parts, rows = [], 0
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        conn.execute("SET LOCAL statement_timeout = '30min'")
        begins = _pieces(conn, partition)
        for number, begin in enumerate(begins):
            end = begins[number + 1] if number + 1 < len(begins) else None
            frame = _copy_out(conn, family, partition, begin, end)
            parts.append(room / f"part-{number:05d}.parquet")
            frame.write_parquet(parts[-1])
            rows += frame.height
    path = room / "rows.parquet"
    if parts:
        pl.scan_parquet(parts).sink_parquet(path, compression="zstd", row_group_size=_GROUP_ROWS)
    for part in parts:
        part.unlink()
    return path, rows


def _slices(path: Path, columns: list[str]) -> Iterator[pl.DataFrame]:
    whole = pl.scan_parquet(path)
    there = [name for name in columns if name in whole.collect_schema()]
    begin = 0
    while True:
        frame = whole.select(there).slice(begin, _PIECE_ROWS).collect()
        if frame.is_empty():
            return
        yield frame
        begin += frame.height


def _stage(conn: Connection[Any], family: Family) -> str:
    """An empty temporary table with the family's columns; its rows go at the end of the transaction."""
    stage = f"archive_{family.table}"
    names = {"stage": sql.Identifier(stage), "table": sql.Identifier(family.table)}
    conn.execute(
        sql.SQL("CREATE TEMPORARY TABLE IF NOT EXISTS {stage} (LIKE {table}) ON COMMIT DELETE ROWS").format(**names)
    )
    conn.execute(sql.SQL("TRUNCATE {stage}").format(**names))
    return stage


def prove(conn: Connection[Any], family: Family, one: ArchivedDay) -> Fingerprint:
    """The fingerprint of a file's rows; raises `ArchiveDamaged` when it isn't the file that was laid down."""
    found = Fingerprint(0, 0)
    with files.fetched(one.file) as path:
        for frame in _slices(path, table_columns(family)):
            with conn.transaction():
                stage = _stage(conn, family)
                copy.send(conn, stage, frame.columns, copy.encode(frame))
                found += fingerprint(conn, family, stage)
    if found.rows != one.rows:
        raise ArchiveDamaged(f"{one.url} holds {found.rows} rows, not {one.rows}")
    return found


def drop(conn: Connection[Any], family: Family, day: date, proof: Fingerprint | None) -> None:
    """Drops a day's partition of raw rows if its rows are those of the `proof`; `None`: if it is empty.

    `Outdated` when they are not; `Conflict` when hours of the day wait to be rolled up, or somebody uses the table all
    the time. Readers and writers of other days wait for half a second at most.
    """
    partition = partitions.name_of(family.table, day)
    with conn.transaction():
        conn.execute("SET LOCAL statement_timeout = '30min'")
        conn.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(sql.Identifier(partition)))
        if partitions.dirty(conn, family, day):
            raise Conflict(f"{partition} holds hours that are not rolled up yet")
        if fingerprint(conn, family, partition) != (proof or Fingerprint(0, 0)):
            raise Outdated(f"{partition} has changed since it was archived")
        partitions.drop(conn, partition)
        if proof:
            records.note_dropped(conn, family.name, day)


def restore(conn: Connection[Any], family: Family, day: date, keep_until: date | None) -> int:
    """Brings an archived day's rows back into its table, beside what is there; returns how many came.

    Its rollups are computed again where they are gone. `NotFound` when the day is not archived.
    """
    one = records.find(conn, family.name, day)
    if one is None:
        raise NotFound(f"{family.name} of {day} is not archived")
    columns = table_columns(family)
    rows = 0
    with files.fetched(one.file) as path, conn.transaction():
        conn.execute("SET LOCAL statement_timeout = '30min'")
        partitions.ensure(conn, [family], [day])
        for frame in _slices(path, columns):
            stage = _stage(conn, family)
            copy.send(conn, stage, frame.columns, copy.encode(frame))
            statement = sql.SQL("INSERT INTO {} ({names}) SELECT {names} FROM {} ON CONFLICT DO NOTHING").format(
                sql.Identifier(family.table),
                sql.Identifier(stage),
                names=sql.SQL(", ").join(map(sql.Identifier, columns)),
            )
            rows += conn.execute(statement).rowcount
        records.note_restored(conn, family.name, day, keep_until)
        if any(one.lacks(grain) for grain in Grain):
            partitions.mark_day(conn, family, day)
    return rows
