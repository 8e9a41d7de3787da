"""What happens to days that are over: archived while Kafka still has their texts, dropped when their time is up."""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from hps_platform.errors import ArchiveDamaged, Conflict, HpsError
from hps_platform.metrics import FAMILIES
from hps_platform.metrics.family import Family
from hps_platform.retention import texts
from hps_platform.retention.policy import Policy
from hps_platform.settings import Settings
from hps_platform.store import completeness, partitions, rollups
from hps_platform.store.archive import days, files, records
from hps_platform.store.archive.days import Outdated
from hps_platform.store.archive.records import ArchivedDay
from hps_platform.store.database import Connection
from hps_platform.store.schema import Grain, rollup_table

logger = logging.getLogger(__name__)

_LOCK = 0x687073_05


@dataclass(frozen=True, slots=True)
class Place:
    """Where archived days go, and from where their texts come (`None`: they are not kept)."""

    root: str
    bootstrap: str | None

    @classmethod
    def of(cls, settings: Settings) -> "Place":
        root = settings.archive_url or str(settings.data_dir / "archive")
        return cls(root, settings.bootstrap if settings.archive_raw_text else None)


@dataclass(slots=True)
class Report:
    """What a night did. `held`: per partition that should have been archived or dropped, why it was not."""

    archived: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    bytes: int = 0

    def note(self, one: ArchivedDay) -> None:
        self.archived.append(f"{one.family} {one.day}")
        self.rows += one.rows
        self.bytes += one.bytes + one.raw_bytes

    def metadata(self) -> Iterator[tuple[str, Any]]:
        """As an orchestrator shows it."""
        yield "archived", len(self.archived)
        yield "dropped", len(self.dropped)
        yield "rows", self.rows
        yield "bytes", self.bytes
        yield "damaged", self.damaged
        yield "held", self.held

    @contextmanager
    def holding(self, partition: str) -> Iterator[None]:
        """One day that fails holds up no other: it stays in the tables, and the report says why."""
        try:
            yield
        except HpsError as error:
            logger.warning("%s stays: %s", partition, error)
            self.held[partition] = str(error)


@contextmanager
def alone(conn: Connection) -> Iterator[None]:
    """Archiving, dropping and restoring are done by one process at a time; raises `Conflict` while another is at it."""
    [[free]] = conn.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchall()
    if not free:
        raise Conflict("another process is archiving or restoring: try again when it is done")
    try:
        yield
    finally:
        conn.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def _kept_texts(before: ArchivedDay | None, open_files: ExitStack) -> Path | None:
    """The texts that were kept when the day was archived before; a damaged file is given up, and logged."""
    if before is None or before.raw_file is None:
        return None
    try:
        return open_files.enter_context(files.fetched(before.raw_file))
    except ArchiveDamaged as error:
        logger.warning("texts of %s %s that Kafka has no more are lost: %s", before.family, before.day, error)
        return None


def archive_day(conn: Connection, place: Place, family: Family, day: date) -> ArchivedDay | None:
    """Writes a day's files anew and records them; `None` when it has no rows. What they replace is removed last."""
    before = records.find(conn, family.name, day)
    home = f"family={family.name}/date={day}"
    with tempfile.TemporaryDirectory(prefix="hps-archive-") as name, ExitStack() as open_files:
        room = Path(name)
        path, rows = days.export(conn, family, day, room)
        if not rows:
            return None
        kept = texts.keep(place.bootstrap, family, path, _kept_texts(before, open_files), room)
        stored = files.lay_down(path, f"{place.root}/{home}", "rows")
        # Below an underscore, where Spark and others look for no rows.
        raw = files.lay_down(kept.path, f"{place.root}/_raw/{home}", "raw") if kept.path else None
        records.save(conn, family.name, day, (stored, rows), kept.messages, (raw, kept.texts) if raw else None)
    after = records.find(conn, family.name, day)
    if before and after:
        for replaced in {before.url, before.raw_url} - {after.url, after.raw_url, None}:
            files.remove(str(replaced))
    return after


def _ended(conn: Connection, table: str, before: date) -> Iterator[partitions.Partition]:
    """Partitions of a table that end by then, oldest first."""
    return (one for one in partitions.listing(conn, [table]) if one.end.date() <= before)


def archive_closed(conn: Connection, place: Place, today: date, after_days: int) -> Report:
    """Archives every day that is over for `after_days` and is not archived yet."""
    report = Report()
    with alone(conn):
        for family in FAMILIES.values():
            known = {one.day for one in records.listing(conn, family.name)}
            for one in list(_ended(conn, family.table, today - timedelta(days=after_days))):
                if one.start.date() in known:
                    continue
                with report.holding(one.name):
                    done = archive_day(conn, place, family, one.start.date())
                    if done:
                        report.note(done)
    return report


def _roll_up(conn: Connection, family: Family, day: date) -> None:
    while partitions.dirty(conn, family, day) and rollups.refresh(conn):
        pass


def _ready(conn: Connection, place: Place, family: Family, day: date, report: Report) -> days.Fingerprint | None:
    """Everything that comes before a day's drop: late rows taken in, rollups, the file, and the proof that it is right.

    `None`: the partition is empty. A damaged file is written anew, for the rows are still there, and reported.
    """
    one = records.find(conn, family.name, day)
    if one and one.dropped_at:  # rows came late
        days.restore(conn, family, day, None)
    _roll_up(conn, family, day)
    if one is None or one.dropped_at:
        one = archive_day(conn, place, family, day)
        if one is None:
            return None
        report.note(one)
    try:
        return days.prove(conn, family, one)
    except ArchiveDamaged as error:
        report.damaged.append(str(error))
        records.note_verified(conn, one, str(error))
        archive_day(conn, place, family, day)
        raise


@dataclass(slots=True)
class _Due:
    """Partitions past their time: of raw rows and rollups, without days that were restored for longer; of the ledger.

    The conservation ledger is one for all families: its minutes go with the last of their minutes, its hours alike.
    """

    raw: list[tuple[Family, partitions.Partition]] = field(default_factory=list)
    rolled: list[tuple[Family, partitions.Partition]] = field(default_factory=list)
    ledger: list[partitions.Partition] = field(default_factory=list)


def _due(conn: Connection, policies: Mapping[str, Policy], today: date) -> _Due:
    due = _Due()
    for family in FAMILIES.values():
        policy = policies[family.name]
        kept = {one.day for one in records.listing(conn, family.name) if one.keep_until and one.keep_until > today}
        ended = _ended(conn, family.table, today - timedelta(days=policy.raw_days))
        due.raw += [(family, one) for one in ended if one.start.date() not in kept]
        for grain in Grain:
            age = policy.minute_days if grain is Grain.MINUTE else policy.hour_days
            ended = _ended(conn, rollup_table(family, grain), today - timedelta(days=age))
            due.rolled += [
                (family, one) for one in ended if not any(one.start.date() <= day < one.end.date() for day in kept)
            ]
    minutes, hours = completeness.TABLES
    due.ledger += _ended(conn, minutes, today - timedelta(days=max(one.minute_days for one in policies.values())))
    due.ledger += _ended(conn, hours, today - timedelta(days=max(one.hour_days for one in policies.values())))
    return due


def overdue(conn: Connection, policies: Mapping[str, Policy], today: date) -> list[str]:
    """Partitions that are past their time and still there."""
    due = _due(conn, policies, today)
    return [one.name for one in (*(one for _, one in (*due.raw, *due.rolled)), *due.ledger)]


def _drop_raw(
    conn: Connection, place: Place, due: Sequence[tuple[Family, partitions.Partition]], report: Report
) -> None:
    """All files are proved before the first day is dropped, and none is on a night on which one was damaged."""
    proofs: list[tuple[Family, partitions.Partition, days.Fingerprint | None]] = []
    for family, one in due:
        with report.holding(one.name):
            proofs.append((family, one, _ready(conn, place, family, one.start.date(), report)))
    for family, one, proof in proofs:
        day = one.start.date()
        with report.holding(one.name):
            if report.damaged:
                raise Conflict("nothing is dropped on a night on which an archived file was found damaged")
            try:
                days.drop(conn, family, day, proof)
            except Outdated:
                again = archive_day(conn, place, family, day)
                days.drop(conn, family, day, days.prove(conn, family, again) if again else None)
            report.dropped.append(one.name)


def _drop_rollups(conn: Connection, due: Sequence[tuple[Family, partitions.Partition]], report: Report) -> None:
    for family, one in due:
        start, end = one.start.date(), one.end.date()
        with report.holding(one.name), conn.transaction():
            if any(start <= raw.start.date() < end for raw in partitions.listing(conn, [family.table])):
                raise Conflict("samples of that time are still there: the rollups go after them")
            partitions.drop(conn, one.name)
            grain = next(grain for grain in Grain if one.table == rollup_table(family, grain))
            records.note_rollup_dropped(conn, family.name, grain, start, end)
            report.dropped.append(one.name)


def drop_expired(conn: Connection, place: Place, policies: Mapping[str, Policy], today: date) -> Report:
    """Drops what is past its time: raw days that are safe in the archive, and rollups."""
    report = Report()
    with alone(conn):
        due = _due(conn, policies, today)
        _drop_raw(conn, place, due.raw, report)
        _drop_rollups(conn, due.rolled, report)
        for one in due.ledger:
            with report.holding(one.name):
                partitions.drop(conn, one.name)
                report.dropped.append(one.name)
    return report


def verify(conn: Connection, limit: int) -> list[ArchivedDay]:
    """Reads the files of those `limit` days that were not looked at for longest; returns all that are damaged."""
    for one in records.least_verified(conn, limit):
        damage = None
        try:
            for file in filter(None, (one.file, one.raw_file)):
                with files.fetched(file):
                    pass
        except ArchiveDamaged as error:
            damage = str(error)
        records.note_verified(conn, one, damage)
    return records.damaged(conn)


def restore(conn: Connection, family: Family, day: date, keep_until: date) -> int:
    """Brings an archived day back into the tables, where it stays until then; returns how many rows came."""
    with alone(conn):
        return days.restore(conn, family, day, keep_until)
