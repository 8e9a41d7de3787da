"""What a landing commit writes: rows by COPY, dead letters, dirty hours, and the ledger of offsets.

All of it belongs into one transaction, which the caller opens (`conn.transaction()`) and ends. The lease that guards
it lives in `store.leases`, the bytes of COPY in `store.copy`, the counts of what landed in `store.completeness`.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import numpy as np
import polars as pl
import psycopg
from psycopg import Connection, sql

from hps_platform.errors import DatabaseUnavailable, FencedOut
from hps_platform.metrics.family import Family
from hps_platform.store import copy
from hps_platform.store.schema import PROVENANCE

logger = logging.getLogger(__name__)

Position = tuple[str, int]  # topic, partition
Range = tuple[int, int]  # first offset, next offset


@dataclass(frozen=True, slots=True)
class Rejected:
    """What is kept of a message that did not become rows, or not only."""

    family: str
    reason: str
    topic: str
    partition: int
    offset: int
    rejected_rows: int
    server_id: int | None = None
    timestamp: datetime | None = None
    command: str | None = None
    exit_code: int | None = None
    raw: str | None = None
    value: bytes | None = None
    parser: str | None = None
    outcome: str | None = None
    collector: str | None = None
    session: str | None = None
    seq: int | None = None


@dataclass(slots=True)
class FamilyRows:
    """Rows of one family for one commit: in order of the primary key, with provenance, and already encoded.

    Columns that none of them has a value of are left out.
    """

    family: Family
    frame: pl.DataFrame
    pieces: list[bytes | memoryview]


@dataclass(slots=True)
class Landed:
    """What became of one family's rows."""

    rows: int = 0
    duplicates: int = 0
    refused: list[tuple[pl.DataFrame, str]] = field(default_factory=list)  # rows PostgreSQL does not take, and why


def table_columns(family: Family) -> list[str]:
    return ["server_id", "timestamp", *(column.name for column in family.columns), *PROVENANCE]


def family_rows(family: Family, frame: pl.DataFrame) -> FamilyRows:
    """Sorts and encodes; `frame` has columns of the family, `kafka_partition` and `kafka_offset`."""
    there = set(frame.columns)
    some = [name for name in table_columns(family) if name in there and frame[name].null_count() < frame.height]
    chosen = frame.select(some)
    if family.key is not None and frame.schema[family.key] == pl.String:
        ordered = chosen.sort(family.primary_key)
    else:  # by numbers numpy finds the order in a third of the time
        ordered = chosen[np.lexsort([chosen[name].to_physical().to_numpy() for name in reversed(family.primary_key)])]
    return FamilyRows(family, ordered, copy.encode(ordered))


def _through_staging(conn: Connection[Any], rows: FamilyRows) -> int:
    family = rows.family
    names = {"stage": sql.Identifier(f"stage_{family.table}"), "table": sql.Identifier(family.table)}
    conn.execute(
        sql.SQL("CREATE TEMPORARY TABLE IF NOT EXISTS {stage} (LIKE {table}) ON COMMIT DELETE ROWS").format(**names)
    )
    conn.execute(sql.SQL("TRUNCATE {stage}").format(**names))
    copy.send(conn, f"stage_{family.table}", rows.frame.columns, rows.pieces)
    columns = sql.SQL(", ").join(map(sql.Identifier, table_columns(family)))
    return conn.execute(
        sql.SQL(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM {stage}"
            " ORDER BY kafka_partition, kafka_offset ON CONFLICT DO NOTHING"
        ).format(**names, columns=columns)
    ).rowcount


def copy_rows(conn: Connection[Any], rows: FamilyRows, *, expect_duplicates: bool = False) -> Landed:
    """Lands rows; those whose key is there already are left as they are and counted as duplicates.

    Of two rows with one key in the batch, the first that was sent lands. The common case is one COPY; only a batch
    that holds a duplicate, or is expected to, goes through a temporary table. Rows that PostgreSQL refuses for what
    they are come back in `refused`; the rest of the batch lands.
    """
    if not expect_duplicates:
        landed = _copy_directly(conn, rows)
        if landed is not None:
            return landed
    try:
        with conn.transaction():
            count = _through_staging(conn, rows)
    except (psycopg.DataError, psycopg.errors.ProgramLimitExceeded) as error:
        return _without_refused(conn, rows, error)
    return Landed(rows=count, duplicates=rows.frame.height - count)


def _copy_directly(conn: Connection[Any], rows: FamilyRows) -> Landed | None:
    """`None` when some of the rows are there already."""
    family = rows.family
    try:
        with conn.transaction():
            return Landed(rows=copy.send(conn, family.table, rows.frame.columns, rows.pieces))
    except psycopg.errors.CheckViolation as error:
        raise DatabaseUnavailable(f"{family.table} lacks a partition: {error.diag.message_primary}") from error
    except psycopg.errors.UniqueViolation:
        logger.info("%s: rows that are there already; landing this batch through a temporary table", family.name)
    except (psycopg.DataError, psycopg.errors.ProgramLimitExceeded) as error:
        return _without_refused(conn, rows, error)
    return None


def _without_refused(conn: Connection[Any], rows: FamilyRows, error: psycopg.Error) -> Landed:
    """Halves the batch until the rows that PostgreSQL refuses stand alone."""
    frame = rows.frame
    if frame.height == 1:
        return Landed(refused=[(frame, error.diag.message_primary or str(error))])
    middle = frame.height // 2
    landed = Landed()
    for part in (frame[:middle], frame[middle:]):
        half = copy_rows(conn, FamilyRows(rows.family, part, copy.encode(part)))
        landed.rows += half.rows
        landed.duplicates += half.duplicates
        landed.refused += half.refused
    return landed


def remove_rows(conn: Connection[Any], family: Family, rows: pl.DataFrame) -> int:
    """Takes away what the messages that `rows` come from left in the table at these times; how many rows."""
    places = rows.select("server_id", "timestamp", "kafka_partition", "kafka_offset").unique()
    statement = sql.SQL("""
        DELETE FROM {} AS old
        USING unnest(%s::bigint[], %s::timestamptz[], %s::smallint[], %s::bigint[])
            AS gone (server_id, "timestamp", kafka_partition, kafka_offset)
        WHERE old.server_id = gone.server_id AND old."timestamp" = gone."timestamp"
          AND old.kafka_partition = gone.kafka_partition AND old.kafka_offset = gone.kafka_offset
    """).format(sql.Identifier(family.table))
    return conn.execute(statement, tuple(series.to_list() for series in places)).rowcount


def mark_dirty(conn: Connection[Any], hours: Iterable[tuple[str, datetime, int]]) -> None:
    """Marks (family, hour, server) for the rollups. In sorted order, so that two writers can't block each other."""
    for family, marks in groupby(sorted(set(hours)), key=lambda mark: mark[0]):
        _, starts, servers = zip(*marks, strict=True)
        conn.execute(
            """
            INSERT INTO dirty_hours (family, hour, server_id, marked_at)
            SELECT %s, to_timestamp(hour), server_id, clock_timestamp()
            FROM unnest(%s::bigint[], %s::bigint[]) AS new (hour, server_id)
            ON CONFLICT (family, hour, server_id) DO UPDATE SET marked_at = excluded.marked_at
            """,
            (family, _literal(int(start.timestamp()) for start in starts), _literal(servers)),
        )


def _literal(numbers: Iterable[int]) -> str:
    """PostgreSQL's text of an array: for thousands of numbers a tenth of what adapting them one by one takes."""
    return f"{{{','.join(map(str, numbers))}}}"


_REJECTED_COLUMNS = (
    "family, server_id, timestamp, command, exit_code, raw, value, parser, outcome, reason, collector, session, seq,"
    " rejected_rows, topic, kafka_partition, kafka_offset"
)


def save_rejected(conn: Connection[Any], letters: Sequence[Rejected]) -> int:
    """Keeps dead letters; one that is there already is left as it is. Returns how many are new."""
    if not letters:
        return 0
    columns = _REJECTED_COLUMNS.split(", ")
    statement = sql.SQL("INSERT INTO dead_letters ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(
        sql.SQL(", ").join(sql.Identifier(name.strip()) for name in columns),
        sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
    )
    with conn.cursor() as cursor:
        cursor.executemany(
            statement,
            [
                (
                    *(letter.family, letter.server_id, letter.timestamp, letter.command, letter.exit_code, letter.raw),
                    *(letter.value, letter.parser, letter.outcome, letter.reason, letter.collector, letter.session),
                    *(letter.seq, letter.rejected_rows, letter.topic, letter.partition, letter.offset),
                )
                for letter in letters
            ],
        )
        return cursor.rowcount


def positions(conn: Connection[Any], watermarks: Mapping[Position, Range]) -> dict[Position, int]:
    """The next offset of each partition; one that the ledger doesn't know yet begins at its low watermark."""
    wanted = sorted(watermarks)
    conn.execute(
        """
        INSERT INTO landing_offsets (topic, partition, next_offset)
        SELECT * FROM unnest(%s::text[], %s::integer[], %s::bigint[]) ON CONFLICT DO NOTHING
        """,
        ([topic for topic, _ in wanted], [number for _, number in wanted], [watermarks[at][0] for at in wanted]),
    )
    rows = conn.execute(
        "SELECT topic, partition, next_offset FROM landing_offsets WHERE topic = ANY(%s)",
        (sorted({topic for topic, _ in wanted}),),
    )
    return {(topic, number): offset for topic, number, offset in rows if (topic, number) in watermarks}


def ledger(conn: Connection[Any]) -> dict[Position, tuple[int, datetime]]:
    """Every partition's next offset and when it last moved."""
    rows = conn.execute("SELECT topic, partition, next_offset, updated_at FROM landing_offsets ORDER BY 1, 2")
    return {(topic, number): (offset, at) for topic, number, offset, at in rows}


def advance(conn: Connection[Any], moves: Mapping[Position, Range]) -> None:
    """Moves the ledger from each range's first to its next offset; raises `FencedOut` unless all stood at the first."""
    ordered = sorted(moves)
    moved = conn.execute(
        """
        UPDATE landing_offsets AS old SET next_offset = new.next_offset, updated_at = now()
        FROM unnest(%s::text[], %s::integer[], %s::bigint[], %s::bigint[])
            AS new (topic, partition, first_offset, next_offset)
        WHERE old.topic = new.topic AND old.partition = new.partition AND old.next_offset = new.first_offset
        """,
        (
            [topic for topic, _ in ordered],
            [number for _, number in ordered],
            [moves[at][0] for at in ordered],
            [moves[at][1] for at in ordered],
        ),
    ).rowcount
    if moved != len(ordered):
        raise FencedOut(f"another run has moved {len(ordered) - moved} of {len(ordered)} partitions meanwhile")


def save_gaps(conn: Connection[Any], gaps: Mapping[Position, Range], reason: str) -> None:
    """Records offsets that can't be landed any more, and moves the ledger past them."""
    for (topic, number), (first, following) in sorted(gaps.items()):
        conn.execute(
            "INSERT INTO landing_gaps (topic, partition, first_offset, next_offset, reason) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (topic, partition, first_offset) DO UPDATE"
            " SET next_offset = excluded.next_offset, reason = excluded.reason",
            (topic, number, first, following, reason),
        )
    advance(conn, gaps)


def expired(conn: Connection[Any]) -> dict[str, int]:
    """Per topic how many offsets were lost before they could be landed."""
    rows = conn.execute(
        "SELECT topic, sum(greatest(next_offset - first_offset, 0))::bigint FROM landing_gaps GROUP BY topic"
    )
    return dict(rows.fetchall())


def utc(milliseconds: int | None) -> datetime | None:
    """A moment of the wire; `None` when there is none or no calendar reaches it."""
    if milliseconds is None:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
