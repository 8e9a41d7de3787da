"""Where rows came from: their place in Kafka, the sample before them, the run that landed them.

A landing run writes down where it began in each partition; whoever began last at or below an offset landed it. What
the message says belongs to `hps_platform.stream`, what it all means to `hps_platform.history`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import dict_row

from hps_platform.metrics.family import Family
from hps_platform.store.archive import reading as archive
from hps_platform.store.schema import PROVENANCE

_MOMENT = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Place:
    """A sample's moment, and its message in the family's topic."""

    timestamp: datetime
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class LandedBy:
    """A landing run; `began_at` is when it took over."""

    run_id: str
    fence: int
    began_at: datetime


def sample_at(conn: Connection[Any], family: Family, server_id: int, start: datetime, end: datetime) -> Place | None:
    """The first sample of [`start`, `end`], of the tables or, where these have none, of the archive."""
    condition = "timestamp >= %s AND timestamp <= %s ORDER BY timestamp"
    found = _place(conn, family, server_id, condition, (start, end))
    return found or next(iter(_archived(conn, family, server_id, start, end + _MOMENT)), None)


def sample_before(conn: Connection[Any], family: Family, server_id: int, moment: datetime) -> Place | None:
    """The last sample before that moment; in the archive, of that day and the one before."""
    # Mostly it is near; the whole table has a partition for every day to look into.
    near = "timestamp < %s AND timestamp >= %s - interval '1 hour' ORDER BY timestamp DESC"
    found = _place(conn, family, server_id, near, (moment, moment))
    archived = _archived(conn, family, server_id, moment - timedelta(days=1), moment)
    if found is None and not archived:
        found = _place(conn, family, server_id, "timestamp < %s ORDER BY timestamp DESC", (moment,))
    candidates = [place for place in (found, *archived[-1:]) if place is not None]
    return max(candidates, key=lambda place: place.timestamp, default=None)


def _place(
    conn: Connection[Any], family: Family, server_id: int, condition: str, moments: tuple[datetime, ...]
) -> Place | None:
    query = sql.SQL("SELECT timestamp, kafka_partition, kafka_offset FROM {} WHERE server_id = %s AND {} LIMIT 1")
    found = conn.execute(
        query.format(sql.Identifier(family.table), sql.SQL(condition)),
        (server_id, *moments),
        prepare=False,
    ).fetchone()
    return Place(*found) if found else None


def _archived(conn: Connection[Any], family: Family, server_id: int, start: datetime, end: datetime) -> list[Place]:
    """Samples in [`start`, `end`) of days that are only in the archive, ascending."""
    if not archive.days(conn, family, start, end):
        return []
    rows = archive.read(conn, family, [server_id], list(PROVENANCE), start, end)
    with archive.explained(family):
        places = rows.select("timestamp", *PROVENANCE).unique().sort("timestamp").collect()
    return [Place(*row) for row in places.iter_rows()]


def rows_at(
    conn: Connection[Any], family: Family, server_id: int, timestamp: datetime
) -> tuple[str, list[dict[str, Any]]]:
    """The partition's name, or the archived file's, and the rows of one sample, by key: the family's columns."""
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in family.columns)
    query = sql.SQL("SELECT tableoid::regclass::text AS partition, {} FROM {} WHERE server_id = %s AND timestamp = %s")
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            query.format(columns, sql.Identifier(family.table)), (server_id, timestamp), prepare=False
        ).fetchall()
    name = str(rows[0]["partition"]) if rows else ""
    found = [{column: value for column, value in row.items() if column != "partition"} for row in rows]
    days = [] if rows else archive.days(conn, family, timestamp, timestamp + _MOMENT)
    if days:
        names = [column.name for column in family.columns]
        old = archive.read(conn, family, [server_id], names, timestamp, timestamp + _MOMENT)
        with archive.explained(family):
            name, found = days[0].url, old.select(names).collect().to_dicts()
    key = family.key
    return name, sorted(found, key=lambda row: row[key]) if key else found


def kept_since(conn: Connection[Any], family: Family) -> datetime | None:
    """The oldest sample that there is, of any server's."""
    row = conn.execute(sql.SQL("SELECT min(timestamp) FROM {}").format(sql.Identifier(family.table))).fetchone()
    return row[0] if row else None


def begin_run(conn: Connection[Any], run_id: str, fence: int, positions: Mapping[tuple[str, int], int]) -> None:
    """Writes down that a run lands from these offsets (by topic and partition) on."""
    ordered = sorted(positions)
    conn.execute(
        """
        INSERT INTO landing_runs (topic, partition, first_offset, run_id, fence)
        SELECT topic, partition, first_offset, %s, %s
        FROM unnest(%s::text[], %s::integer[], %s::bigint[]) AS new (topic, partition, first_offset)
        ON CONFLICT (topic, partition, first_offset)
        DO UPDATE SET run_id = excluded.run_id, fence = excluded.fence, began_at = excluded.began_at
        """,
        (
            run_id,
            fence,
            [topic for topic, _ in ordered],
            [partition for _, partition in ordered],
            [positions[place] for place in ordered],
        ),
    )


def landed_by(conn: Connection[Any], topic: str, partition: int, offset: int) -> LandedBy | None:
    """The run that landed a message; `None` when nobody wrote it down."""
    row = conn.execute(
        """
        SELECT run_id, fence, began_at FROM landing_runs
        WHERE topic = %s AND partition = %s AND first_offset <= %s ORDER BY first_offset DESC LIMIT 1
        """,
        (topic, partition, offset),
    ).fetchone()
    return LandedBy(*row) if row else None
