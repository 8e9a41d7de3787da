"""Landing a range of time again from Kafka: rows that are missing come back, rows that are there stay as they are.

With `reparse` each message's rows are made anew from the raw text in its headers, and those that come out differently
take the place of the old. Whatever changes marks its hour for the rollups.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from hps_platform.errors import InvalidInput, NotFound
from hps_platform.landing import sequence
from hps_platform.landing.decoding import Batch, decode
from hps_platform.landing.letters import replay_understood
from hps_platform.landing.reparsing import Reparser
from hps_platform.landing.reports import ReplayReport
from hps_platform.metrics import family as family_named
from hps_platform.metrics.family import Family
from hps_platform.metrics.wire import DEAD_LETTER_TOPIC
from hps_platform.store import completeness, landing, letters, partitions
from hps_platform.store.database import Connection, session
from hps_platform.store.landing import Position
from hps_platform.stream import Record, held_since, offsets_at, read_spans, watermarks

_MOST_LETTERS = 10_000
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


@dataclass(frozen=True, slots=True)
class _Range:
    family: Family
    start: datetime
    end: datetime
    reparser: Reparser | None

    def land(self, conn: Connection, records: Sequence[Record]) -> ReplayReport:
        """One batch in one transaction."""
        remade: dict[tuple[int, int], Record] = {}
        if self.reparser is not None:
            for record in records:
                anew = self.reparser(record)
                if anew is not None:
                    remade[record.partition, record.offset] = anew
        batch = decode([remade.get((record.partition, record.offset), record) for record in records], {}, exact=True)
        report = ReplayReport(self.family.name, messages=len(records))
        with conn.transaction():
            for found in batch.rows:
                frame = found.frame.filter(pl.col("timestamp").is_between(self.start, self.end, closed="left"))
                if not frame.is_empty():
                    report += self._land_rows(conn, batch, frame, remade)
            letters = [one for one in batch.rejected if one.timestamp and self.start <= one.timestamp < self.end]
            return report + ReplayReport(self.family.name, rejected=landing.save_rejected(conn, letters))

    def _land_rows(
        self, conn: Connection, batch: Batch, frame: pl.DataFrame, remade: Mapping[tuple[int, int], Record]
    ) -> ReplayReport:
        partitions.ensure(conn, [self.family], frame["timestamp"].dt.date().unique().to_list())
        schema = {"kafka_partition": pl.Int16(), "kafka_offset": pl.Int64()}
        places = list(schema)
        changed = frame.join(pl.DataFrame(list(remade), schema=schema, orient="row"), on=places, how="semi")
        if not changed.is_empty():
            landing.remove_rows(conn, self.family, changed)
        landed = landing.copy_rows(conn, landing.family_rows(self.family, frame), expect_duplicates=True)
        if landed.rows:
            # Only rows that were remade are new: other hours are as they were.
            touched = changed if landed.rows == changed.height else frame
            hours = touched.select(pl.col("timestamp").dt.truncate("1h"), "server_id").unique()
            landing.mark_dirty(conn, {(self.family.name, hour, server) for hour, server in hours.iter_rows()})
            seen = batch.messages.join(touched.select(places), on=places, how="semi")
            completeness.append(conn, sequence.runs(seen, recount=True))
        return ReplayReport(
            self.family.name,
            rows=landed.rows,
            duplicates=landed.duplicates,
            changed=changed.select(places).unique().height,
        )


def _kept_since(bootstrap: str, family: Family, end: datetime) -> datetime | None:
    """From when on Kafka has everything; `NotFound` when that is after the range."""
    since_ms = held_since(bootstrap, family.topic)
    if since_ms is None:
        return None
    since = datetime.fromtimestamp(since_ms / 1000, UTC)
    if end <= since:
        raise NotFound(
            f"Kafka keeps {family.topic} since {since:%Y-%m-%dT%H:%M:%SZ}: samples of a range before that have expired"
            " and can't be landed again"
        )
    return since


def _letters(dsn: str, bootstrap: str, chosen: _Range) -> int:
    """The range's dead letters that today's dialects understand become samples; how many."""
    with session(dsn, application_name="hps replay") as conn:
        found, _ = letters.listing(
            conn, family=chosen.family.name, replayed=False, start=chosen.start, end=chosen.end, limit=_MOST_LETTERS
        )
        return replay_understood(conn, bootstrap, [one for one in found if one.topic == DEAD_LETTER_TOPIC])


def replay(
    dsn: str, bootstrap: str, family: str, start: datetime, end: datetime, *, reparse: bool = False
) -> ReplayReport:
    """Lands samples of a family taken in [`start`, `end`) again, idempotently, beside a landing run.

    Only what landing has been over is read. `NotFound` says since when it is possible when all of the range has expired
    from Kafka; when a part of it has, `kept_since` of the report says so.
    """
    shown = family_named(family)
    if start.tzinfo is None or end.tzinfo is None:
        raise InvalidInput("start and end need a time zone: write them like 2025-01-31T12:00:00Z")
    if end <= start:
        raise InvalidInput("End time must be after start time")
    first_ms, end_ms = (math.ceil(moment.timestamp() * 1000) for moment in (start, end))
    reparser = Reparser(shown, first_ms, end_ms) if reparse else None
    span_of_time = _Range(shown, start.astimezone(UTC), end.astimezone(UTC), reparser)
    kept_since = _kept_since(bootstrap, shown, span_of_time.end)
    total = ReplayReport(shown.name)
    span = _span(dsn, bootstrap, shown, start)
    if span:
        with session(dsn, application_name="hps replay") as conn:
            for records in read_spans(bootstrap, span):
                if records:
                    total += span_of_time.land(conn, records)
    if reparser is not None:
        sent = _letters(dsn, bootstrap, span_of_time)
        total += ReplayReport(shown.name, unreadable=reparser.unreadable, letters=sent)
    if kept_since is not None and kept_since > span_of_time.start:
        total += ReplayReport(shown.name, kept_since=kept_since)
    return total
