"""Days go into the archive and come back as they were; nothing is dropped that is not safe there."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from hps_platform import retention
from hps_platform.errors import ArchiveDamaged, ArchiveUnavailable, Conflict, NotFound
from hps_platform.metrics import FAMILIES
from hps_platform.metrics.family import Family
from hps_platform.retention import Place, Policy
from hps_platform.store import completeness, partitions, rollups
from hps_platform.store.archive import days, reading, records
from hps_platform.store.database import Connection, session
from hps_platform.store.schema import Grain, rollup_table
from hps_platform_tests.integration.store import samples
from hps_platform_tests.integration.store.samples import START
from hps_platform_tests.integration.store.test_rollups import assert_up_to_date

VMSTAT, IOSTAT, PROCESS = FAMILIES["vmstat"], FAMILIES["iostat"], FAMILIES["process"]
DAY = START.date()
LATER = DAY + timedelta(days=40)
POLICY = dict.fromkeys(FAMILIES, Policy(30, 90, 1826))


def stored(conn: Connection, family: Family) -> pl.DataFrame:
    schema = days.schema(family)
    columns = ", ".join(f'"{name}"' for name in schema)
    rows = conn.execute(f"SELECT {columns} FROM {family.table}".encode()).fetchall()  # noqa: S608  # the family's names
    return pl.DataFrame(rows, schema=schema, orient="row").sort(family.primary_key)


def raw_days(conn: Connection, family: Family) -> list[date]:
    return [one.start.date() for one in partitions.listing(conn, [family.table])]


def archived(conn: Connection, family: Family, start: datetime, end: datetime, servers: Sequence[int]) -> pl.DataFrame:
    names = [column.name for column in family.columns]
    with reading.explained(family):
        return reading.read(conn, family, servers, names, start, end).collect().sort(family.primary_key)


def record(conn: Connection, family: Family, day: date = DAY) -> records.ArchivedDay:
    found = records.find(conn, family.name, day)
    assert found is not None
    return found


def damage(url: str) -> None:
    """One byte in the middle."""
    path = Path(url)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_restored_day_equals_the_original(
    conn: Connection, place: Place, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(days, "_PIECE_ROWS", 200)  # several pieces
    family = FAMILIES[name]
    rows = samples.frame(family, samples.every(173.037, 450), nulls=0.3, seed=len(name))
    texts = [column.name for column in family.columns if column.sql_type == "text" and column.name != family.key]
    odd = pl.Series(["", ' a "quoted", ü\r\n\\N ', None, "\\N", "NULL", ","]).gather(
        pl.Series(range(rows.height), dtype=pl.Int64) % 6
    )
    samples.land(conn, family, rows.with_columns(odd.alias(text) for text in texts))
    before = stored(conn, family)
    report = retention.drop_expired(conn, place, POLICY, LATER)
    assert report.rows == before.height
    assert (report.held, raw_days(conn, family)) == ({}, [])
    assert stored(conn, family).is_empty()
    assert retention.restore(conn, family, DAY, LATER + timedelta(days=7)) == before.height
    assert_frame_equal(stored(conn, family), before)
    assert retention.restore(conn, family, DAY, LATER + timedelta(days=7)) == 0
    assert retention.drop_expired(conn, place, POLICY, LATER + timedelta(days=6)).dropped == []
    assert retention.drop_expired(conn, place, POLICY, LATER + timedelta(days=7)).held == {}
    assert raw_days(conn, family) == []


def test_sixty_days_of_which_thirty_stay(conn: Connection, place: Place) -> None:
    families = (VMSTAT, IOSTAT, PROCESS)
    everything = {
        one.name: samples.frame(one, samples.every(3 * 3600 + 1, 8 * 60), keys=2, nulls=0.1) for one in families
    }
    for one in families:
        samples.land(conn, one, everything[one.name])
    last = everything["vmstat"]["timestamp"].max()
    assert isinstance(last, datetime)
    today = last.date() + timedelta(days=1)
    originals = {one.name: stored(conn, one) for one in families}
    report = retention.archive_closed(conn, place, today, 2)
    assert len(report.archived) == 3 * 58
    assert retention.archive_closed(conn, place, today, 2).archived == []
    report = retention.drop_expired(conn, place, POLICY, today)
    assert (report.held, report.damaged) == ({}, [])
    assert len(report.dropped) == 3 * 30
    for one in families:
        original = originals[one.name]
        cut = datetime.combine(today - timedelta(days=30), datetime.min.time(), START.tzinfo)
        assert raw_days(conn, one)[0] == cut.date()
        old = archived(conn, one, START, last + timedelta(seconds=1), [1, 2]).cast(
            original.select(list(one.frame_schema)).schema
        )
        assert_frame_equal(old, original.filter(pl.col("timestamp") < cut).select(old.columns))
        assert_frame_equal(stored(conn, one), original.filter(pl.col("timestamp") >= cut))
        assert_up_to_date(conn, one, original.with_columns(pl.col("timestamp").cast(pl.Datetime("ms", "UTC"))))
    whole = pl.scan_parquet(f"{place.root}/family=vmstat", hive_partitioning=True, try_parse_hive_dates=True)
    by_date = whole.group_by("date").agg(pl.col("timestamp").dt.date().unique().alias("days")).collect()
    assert by_date.height == 58
    assert all(found == [day] for day, found in by_date.iter_rows())


def test_only_what_is_asked_for_is_read_from_the_archive(conn: Connection, place: Place) -> None:
    rows = samples.frame(IOSTAT, samples.every(600, 144 * 3), servers=[1, 2, 3])
    samples.land(conn, IOSTAT, rows)
    retention.drop_expired(conn, place, POLICY, LATER + timedelta(days=3))
    start, end = START + timedelta(hours=20), START + timedelta(hours=30)
    found = reading.read(conn, IOSTAT, [2], ["kb_s"], start, end).collect()
    expected = rows.filter(pl.col("server_id") == 2, pl.col("timestamp").is_between(start, end, closed="left"))
    assert found.columns == ["server_id", "timestamp", "disk", "kb_s"]
    assert_frame_equal(found.sort(IOSTAT.primary_key), expected.select(found.columns).sort(IOSTAT.primary_key))
    assert [one.day for one in reading.days(conn, IOSTAT, start, end)] == [DAY, DAY + timedelta(days=1)]
    empty = reading.read(conn, VMSTAT, [2], ["us"], start, end).collect()
    assert (empty.height, empty.columns) == (0, ["server_id", "timestamp", "us"])


def test_a_damaged_file_is_noticed_before_any_drop(conn: Connection, place: Place) -> None:
    rows = samples.frame(VMSTAT, samples.every(1800, 48 * 3))
    samples.land(conn, VMSTAT, rows)
    today = LATER + timedelta(days=3)
    retention.archive_closed(conn, place, today, 2)
    damage(record(conn, VMSTAT, DAY + timedelta(days=2)).url)
    report = retention.drop_expired(conn, place, POLICY, today)
    assert report.dropped == []
    assert len(raw_days(conn, VMSTAT)) == 3
    [words] = report.damaged
    assert "SHA-256" in words
    # The rows were still there, so the file was written anew.
    again = retention.drop_expired(conn, place, POLICY, today)
    assert (again.damaged, again.held, len(again.dropped)) == ([], {}, 3)
    assert retention.verify(conn, 10) == []


@pytest.mark.parametrize("fault", ["truncated", "gone"])
def test_files_of_dropped_days_are_looked_at_in_turn(conn: Connection, place: Place, fault: str) -> None:
    samples.land(conn, VMSTAT, samples.frame(VMSTAT, samples.every(7200, 12 * 5)))
    retention.drop_expired(conn, place, POLICY, LATER + timedelta(days=5))
    bad = Path(record(conn, VMSTAT, DAY + timedelta(days=3)).url)
    if fault == "gone":
        bad.unlink()
    else:
        bad.write_bytes(bad.read_bytes()[:-40])
    found = [retention.verify(conn, 2) for _ in range(3)]
    assert [[one.day for one in each] for each in found][-1] == [DAY + timedelta(days=3)]
    assert found[0] == []
    with pytest.raises(ArchiveDamaged):
        retention.restore(conn, VMSTAT, DAY + timedelta(days=3), LATER)
    with pytest.raises(ArchiveDamaged):
        archived(conn, VMSTAT, START, START + timedelta(days=5), [1])


def test_an_export_that_loses_something_is_not_trusted(
    conn: Connection, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples.land(conn, VMSTAT, samples.frame(VMSTAT, samples.every(600, 20)))
    copy_out = days._copy_out

    def careless(*arguments: Any) -> pl.DataFrame:
        return copy_out(*arguments).with_columns(pl.col("us").round(6))

    monkeypatch.setattr(days, "_copy_out", careless)
    report = retention.drop_expired(conn, place, POLICY, LATER)
    assert report.dropped == []
    assert "changed since it was archived" in report.held[partitions.name_of("vmstat_metrics", DAY)]


def test_rows_that_changed_since_are_archived_again(conn: Connection, place: Place) -> None:
    samples.land(conn, VMSTAT, samples.frame(VMSTAT, samples.every(600, 20)))
    retention.archive_closed(conn, place, LATER, 2)
    first = record(conn, VMSTAT)
    conn.execute("UPDATE vmstat_metrics SET us = 1.5 WHERE server_id = 2")
    before = stored(conn, VMSTAT)
    assert retention.drop_expired(conn, place, POLICY, LATER).held == {}
    assert record(conn, VMSTAT).url != first.url
    assert not Path(first.url).exists()
    retention.restore(conn, VMSTAT, DAY, LATER)
    assert_frame_equal(stored(conn, VMSTAT), before)


def test_rows_that_come_after_the_drop_join_the_archive_and_the_rollups(conn: Connection, place: Place) -> None:
    rows = samples.frame(VMSTAT, samples.every(20, 1000), servers=[1])
    late = rows.filter(pl.col("kafka_offset") % 7 == 0)
    samples.land(conn, VMSTAT, rows.filter(pl.col("kafka_offset") % 7 != 0))
    retention.drop_expired(conn, place, POLICY, LATER)
    minutes = conn.execute("SELECT count(*), sum(samples) FROM vmstat_metrics_1m").fetchall()
    samples.land(conn, VMSTAT, late)
    rollups.refresh(conn)
    assert conn.execute("SELECT count(*), sum(samples) FROM vmstat_metrics_1m").fetchall() == minutes
    assert rollups.pending(conn) == 6
    assert retention.drop_expired(conn, place, POLICY, LATER).held == {}
    assert_up_to_date(conn, VMSTAT, rows)
    assert raw_days(conn, VMSTAT) == []
    assert archived(conn, VMSTAT, START, START + timedelta(days=1), [1]).height == rows.height


def test_rollups_go_in_their_own_time(conn: Connection, place: Place) -> None:
    samples.land(conn, VMSTAT, samples.frame(VMSTAT, samples.every(7200, 12)))
    rolled = [rollup_table(VMSTAT, grain) for grain in Grain]

    def left(days_later: int) -> list[int]:
        retention.drop_expired(conn, place, {**POLICY, "vmstat": Policy(5, 10, 60)}, DAY + timedelta(days=days_later))
        return [len(partitions.listing(conn, [table])) for table in (VMSTAT.table, *rolled)]

    assert left(5) == [1, 1, 1, 1]
    assert left(6) == [0, 1, 1, 1]
    assert left(11) == [0, 0, 1, 1]
    assert left(61) == [0, 0, 1, 1]  # the month has not ended 60 days ago
    assert left(31 + 60) == [0, 0, 0, 0]
    # Restored after its rollups are gone: they are made again.
    retention.restore(conn, VMSTAT, DAY, LATER)
    rollups.refresh(conn)
    for table, rows in zip(rolled, (24, 24, 8), strict=True):
        assert conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchall() == [(rows,)]  # noqa: S608  # names of the families


def test_the_ledger_goes_with_the_last_of_the_rollups(conn: Connection, place: Place) -> None:
    minutes, hours = completeness.TABLES
    with conn.transaction():
        partitions.ensure_days(conn, completeness.TABLES, [DAY, DAY + timedelta(days=1)])
    policy = {**POLICY, "vmstat": Policy(30, 91, 1826)}
    assert retention.drop_expired(conn, place, policy, DAY + timedelta(days=91)).dropped == []
    assert retention.overdue(conn, policy, DAY + timedelta(days=92)) == [partitions.name_of(minutes, DAY)]
    assert retention.drop_expired(conn, place, policy, DAY + timedelta(days=92)).dropped == [
        partitions.name_of(minutes, DAY)
    ]
    later = retention.drop_expired(conn, place, policy, date(2026, 4, 1) + timedelta(days=1826))
    assert later.dropped == [partitions.name_of(minutes, DAY + timedelta(days=1)), partitions.name_of(hours, DAY)]


def test_a_table_in_use_all_the_time_is_left_alone(
    conn: Connection, place: Place, migrated_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "_DROP_TRIES", 2)
    samples.land(conn, VMSTAT, samples.frame(VMSTAT, samples.every(600, 20)))
    with session(migrated_dsn, application_name="reader") as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM vmstat_metrics")
        report = retention.drop_expired(conn, place, POLICY, LATER)
        assert "in use" in report.held[partitions.name_of("vmstat_metrics", DAY)]
        assert record(conn, VMSTAT).dropped_at is None
    assert retention.drop_expired(conn, place, POLICY, LATER).held == {}


def test_one_at_a_time(conn: Connection, place: Place, migrated_dsn: str) -> None:
    with (
        session(migrated_dsn, application_name="other") as other,
        retention.alone(other),
        pytest.raises(Conflict, match="another process"),
    ):
        retention.drop_expired(conn, place, POLICY, LATER)
    assert retention.drop_expired(conn, place, POLICY, LATER).held == {}


def test_an_archive_behind_a_url(conn: Connection) -> None:
    """fsspec's memory stands for a store of objects: nothing there has a path on this machine."""
    rows = samples.frame(VMSTAT, samples.every(600, 100))
    samples.land(conn, VMSTAT, rows)
    before = stored(conn, VMSTAT)
    place = Place("memory://hps", None)
    assert retention.drop_expired(conn, place, POLICY, LATER).held == {}
    assert record(conn, VMSTAT).url.startswith("memory://hps/family=vmstat/date=2026-03-01/rows-")
    assert archived(conn, VMSTAT, START, START + timedelta(days=1), [1, 2]).height == rows.height
    assert retention.verify(conn, 5) == []
    retention.restore(conn, VMSTAT, DAY, LATER)
    assert_frame_equal(stored(conn, VMSTAT), before)


def test_a_place_that_can_not_be_written_is_said_so_and_nothing_is_dropped(conn: Connection, tmp_path: Path) -> None:
    samples.land(conn, VMSTAT, samples.frame(VMSTAT, samples.every(600, 20)))
    (tmp_path / "file").write_text("in the way")
    report = retention.drop_expired(conn, Place(str(tmp_path / "file"), None), POLICY, LATER)
    assert report.dropped == []
    assert str(tmp_path / "file") in report.held[partitions.name_of("vmstat_metrics", DAY)]
    with pytest.raises(ArchiveUnavailable):
        retention.archive_day(conn, Place("nosuchscheme://there", None), VMSTAT, DAY)


def test_a_day_that_is_not_archived_can_not_be_restored(conn: Connection) -> None:
    with pytest.raises(NotFound, match="2026-03-01 is not archived"):
        retention.restore(conn, VMSTAT, DAY, LATER)
