"""Landing a range of time again from Kafka: rows that are missing come back, rows that are there stay as they are."""

from datetime import UTC, datetime

import polars as pl

from hps_platform.errors import InvalidInput, NotFound
from hps_platform.landing.decoding import Batch, decode
from hps_platform.landing.reports import ReplayReport
from hps_platform.metrics import family as family_named
from hps_platform.metrics.family import Family
from hps_platform.store import landing, partitions
from hps_platform.store.database import Connection, session
from hps_platform.store.landing import Position
from hps_platform.stream import offsets_at, read_spans, watermarks

_SKEW_MS = 3_600_000
"""A host's clock may be this far ahead of the broker's: landing takes such rows."""


def _span(dsn: str, bootstrap: str, family: Family, start: datetime) -> dict[Position, tuple[int, int]]:
    """Offsets to read: from what was produced at `start` on to where landing stands.

    A sample is never produced before it is taken, but maybe long after: a history that was sent later lies at the end.
    """
    since_ms = round(start.timestamp() * 1000) - _SKEW_MS
    firsts = offsets_at(bootstrap, [family.topic], since_ms)
    lows = watermarks(bootstrap, [family.topic])
    with session(dsn, application_name="hps replay") as conn:
        landed = landing.ledger(conn)
    return {
        place: (max(first, lows[place][0]), landed[place][0])
        for place, first in firsts.items()
        if place in landed and landed[place][0] > first
    }


def _land(conn: Connection, family: Family, batch: Batch, start: datetime, end: datetime) -> ReplayReport:
    within = pl.col("timestamp").is_between(start, end, closed="left")
    rows, duplicates, rejected = 0, 0, 0
    with conn.transaction():
        for found in batch.rows:
            frame = found.frame.filter(within)
            if frame.is_empty():
                continue
            partitions.ensure(conn, [family], frame["timestamp"].dt.date().unique().to_list())
            landed = landing.copy_rows(conn, landing.family_rows(family, frame), expect_duplicates=True)
            rows += landed.rows
            duplicates += landed.duplicates
            if landed.rows:
                hours = frame.select(pl.col("timestamp").dt.truncate("1h"), "server_id").unique()
                landing.mark_dirty(conn, {(family.name, hour, server) for hour, server in hours.iter_rows()})
        letters = [one for one in batch.rejected if one.timestamp and start <= one.timestamp < end]
        rejected = landing.save_rejected(conn, letters)
    return ReplayReport(family.name, len(batch.records), rows, duplicates, rejected)


def replay(dsn: str, bootstrap: str, family: str, start: datetime, end: datetime) -> ReplayReport:
    """Lands samples of a family taken in [`start`, `end`) again, idempotently, beside a landing run.

    Only what landing has been over is read. `NotFound` when Kafka keeps nothing of the topic any more.
    """
    shown = family_named(family)
    if start.tzinfo is None or end.tzinfo is None:
        raise InvalidInput("start and end need a time zone: write them like 2025-01-31T12:00:00Z")
    if end <= start:
        raise InvalidInput("End time must be after start time")
    marks = watermarks(bootstrap, [shown.topic])
    if all(low == high for low, high in marks.values()):
        raise NotFound(f"Kafka keeps no message of {shown.topic}: nothing can be landed again")
    total = ReplayReport(shown.name, 0, 0, 0, 0)
    span = _span(dsn, bootstrap, shown, start)
    if not span:
        return total
    with session(dsn, application_name="hps replay") as conn:
        for records in read_spans(bootstrap, span):
            if records:
                total += _land(conn, shown, decode(records, {}), start.astimezone(UTC), end.astimezone(UTC))
    return total
