"""The features that detection reads, from raw samples and from rollups."""

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from hps_platform.analysis.minutes import minutes as from_frames
from hps_platform.store import minutes, rollups
from hps_platform.store.database import Database
from hps_platform_tests.integration.detection import samples

HOURS = 6
END = samples.START + timedelta(hours=HOURS)


@pytest.fixture
def db(migrated_dsn: str) -> Iterator[Database]:
    with Database(migrated_dsn) as opened:
        yield opened


def land(db: Database, rows: dict[str, pl.DataFrame]) -> None:
    with db.connection() as conn:
        samples.land(conn, rows)


def read(db: Database, server_id: int = 1) -> pl.DataFrame:
    with db.connection() as conn:
        return minutes.read(conn, server_id, samples.START, END)


def agree(one: pl.DataFrame, other: pl.DataFrame, tolerance: float) -> None:
    assert one.columns == other.columns
    assert one["timestamp"].to_list() == other["timestamp"].to_list()
    for name in one.columns[1:]:
        a, b = (frame[name].cast(pl.Float64).fill_null(-1).to_numpy() for frame in (one, other))
        # Rollups are single precision: of sizes that is a KiB or two, and these are differences of sizes.
        least = tolerance if name != "fs_growth_kb_s" or tolerance < 1e-6 else 0.05
        assert np.allclose(a, b, rtol=tolerance, atol=least), name


def test_raw_rolled_up_half_and_from_frames_are_the_same(db: Database) -> None:
    rows = samples.frames(1, HOURS / 24)
    # Each minute twice, so that averages have something to do; and another server that must not show.
    doubled = {
        name: pl.concat([frame, frame.with_columns(pl.col("timestamp") + timedelta(seconds=20))])
        for name, frame in rows.items()
    }
    land(db, doubled)
    land(db, samples.frames(2, HOURS / 24, seed=9))
    expected = from_frames(doubled)
    agree(read(db), expected, 1e-9)
    with db.connection() as conn:
        rollups.refresh(conn)
    agree(read(db), expected, 1e-5)
    late = {name: frame.with_columns(pl.col("timestamp") + timedelta(seconds=40)) for name, frame in rows.items()}
    some = {name: frame.filter(frame["timestamp"] >= END - timedelta(hours=2)) for name, frame in late.items()}
    land(db, some)
    agree(read(db), from_frames({name: pl.concat([doubled[name], some[name]]) for name in some}), 1e-5)


def test_shared_processors_count_by_entitlement_and_loopbacks_do_not_count(db: Database) -> None:
    rows = samples.frames(1, 1 / 24)
    rows["vmstat"] = rows["vmstat"].with_columns(ec=pl.lit(130.0))
    land(db, rows)
    frame = read(db)
    assert frame["cpu_busy_pct"].to_list() == [130.0] * 60
    en0 = rows["netstat"].filter(pl.col("interface") == "en0")
    assert np.allclose(frame["net_pkts_s"].to_numpy(), (en0["ipkts_s"] + en0["opkts_s"]).to_numpy())
    disks = rows["iostat"].group_by("timestamp").agg(pl.col("busy_pct").max(), pl.col("kb_s").sum()).sort("timestamp")
    assert np.allclose(frame["disk_busy_pct"].to_numpy(), disks["busy_pct"].to_numpy())
    assert np.allclose(frame["disk_kb_s"].to_numpy(), disks["kb_s"].to_numpy())


def test_a_family_that_is_missing_leaves_its_features_null(db: Database) -> None:
    rows = samples.frames(1, 1 / 24)
    del rows["memory"], rows["iostat"]
    land(db, rows)
    frame = read(db)
    assert len(frame) == 60
    assert frame["mem_used_pct"].null_count() == frame["disk_busy_pct"].null_count() == 60
    assert frame["cpu_busy_pct"].null_count() == 0


def test_file_systems_grow_between_samples_and_not_over_a_silence(db: Database) -> None:
    rows = samples.frames(1, 3 / 24)
    minute = (pl.col("timestamp") - samples.START).dt.total_minutes()
    every_ten = rows["filesystem"].filter((minute % 10 == 0) & ((minute < 30) | (minute >= 100)))
    rows["filesystem"] = every_ten.with_columns(
        used_kb=pl.when(pl.col("mount") == "/var").then(900_000 + 60 * minute).otherwise(8_000_000 - minute)
    )
    land(db, rows)
    growth = read(db)["fs_growth_kb_s"].to_list()
    # The first sample has none before it; what got smaller counts for nothing; each holds for an hour at most.
    assert growth[:10] == [None] * 10
    assert growth[10:81] == [1.0] * 71
    assert growth[81:110] == [None] * 29
    assert growth[110:170] == [1.0] * 60
    agree(read(db), from_frames(rows), 1e-9)


def test_where_samples_begin_and_end(db: Database) -> None:
    with db.connection() as conn:
        assert minutes.oldest(conn, 1) is None
        assert minutes.newest(conn, 1, samples.START) is None
    land(db, samples.frames(1, 1 / 24, start=samples.START + timedelta(minutes=30)))
    for _ in range(2):
        with db.connection() as conn:
            assert minutes.oldest(conn, 1) == samples.START
            newest = minutes.newest(conn, 1, samples.START)
            rollups.refresh(conn)
        assert newest == samples.START + timedelta(minutes=89, seconds=7)


def test_nothing_gives_an_empty_frame(db: Database) -> None:
    frame = read(db, 77)
    assert frame.is_empty()
    assert frame.columns == ["timestamp", *minutes.FEATURES, *minutes.CPU_SHARES]
