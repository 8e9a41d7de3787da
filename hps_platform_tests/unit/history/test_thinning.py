"""Thinned lines keep their peaks, their bounds, their gaps' edges and all keys of a moment."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from hps_platform.history.thinning import thin

START = datetime(2026, 3, 1, tzinfo=UTC)


def line(values: list[float | None], server: int = 1, **more: list[float | None]) -> pl.DataFrame:
    times = [START + timedelta(seconds=2 * number) for number in range(len(values))]
    schema = {
        "server_id": pl.Int64(),
        "timestamp": pl.Datetime("ms", "UTC"),
        **dict.fromkeys(("us", *more), pl.Float64()),
    }
    return pl.DataFrame({"server_id": [server] * len(values), "timestamp": times, "us": values, **more}, schema=schema)


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 6000),
    points=st.integers(20, 2000),
    peaks=st.lists(st.tuples(st.floats(0, 1), st.sampled_from([-1e6, 1e6])), max_size=3),
    missing=st.floats(0, 0.9),
    seed=st.integers(0, 99),
)
def test_peaks_stay(height: int, points: int, peaks: list[tuple[float, float]], missing: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values: list[float | None] = [None if rng.random() < missing else float(v) for v in rng.normal(50, 5, height)]
    for at, peak in peaks:
        values[int(at * (height - 1))] = peak
    frame = line(values)
    thinned, _ = thin(frame, "server_id", None, ["us"], points)
    assert thinned.height <= max(points, 0)
    assert thinned["timestamp"].is_sorted()
    assert thinned.join(frame, on=list(frame.columns), how="anti", nulls_equal=True).is_empty()
    assert (thinned["us"].max(), thinned["us"].min()) == (frame["us"].max(), frame["us"].min())


def test_the_envelope_s_extremes_stay() -> None:
    calm: list[float | None] = [50.0 + number % 3 for number in range(5000)]
    low, high = [value and value - 1 for value in calm], [value and value + 1 for value in calm]
    high[1234], low[4321] = 1e6, -1e6
    thinned, _ = thin(line(calm, us_min=low, us_max=high), "server_id", None, ["us"], 400)
    assert thinned.height <= 400
    assert (thinned["us_max"].max(), thinned["us_min"].min()) == (1e6, -1e6)


def test_every_line_has_its_points_and_short_ones_stay_whole() -> None:
    long, short = line([float(n % 7) for n in range(3000)]), line([1.0, None, 3.0], server=2)
    thinned, _ = thin(pl.concat([long, short]).sort("timestamp", "server_id"), "server_id", None, ["us"], 100)
    assert thinned.filter(pl.col("server_id") == 2).height == 3
    assert 50 <= thinned.filter(pl.col("server_id") == 1).height <= 100


def test_a_moment_keeps_all_its_keys() -> None:
    rng = np.random.default_rng(1)
    disks = [line(rng.normal(50, 9, 3000).tolist()).with_columns(disk=pl.lit(f"d{number}")) for number in range(4)]
    thinned, _ = thin(pl.concat(disks).sort("timestamp", "disk"), "server_id", "disk", ["us"], 200)
    assert thinned.group_by("timestamp").len()["len"].unique().to_list() == [4]
    assert thinned["timestamp"].n_unique() <= 200
    for disk in disks:
        [name] = disk["disk"].unique()
        assert thinned.filter(pl.col("disk") == name)["us"].max() == disk["us"].max()


@settings(deadline=None, max_examples=60)
@given(
    disks=st.integers(1, 6),
    points=st.integers(60, 1200),
    holes=st.lists(st.tuples(st.integers(100, 2900), st.integers(20, 400)), max_size=4),
    seed=st.integers(0, 99),
)
def test_what_was_left_out_is_told_from_what_is_missing(
    disks: int, points: int, holes: list[tuple[int, int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    gone = {number for first, length in holes for number in range(first, first + length)}
    there = pl.Series([START + timedelta(seconds=2 * number) for number in range(3000) if number not in gone])
    frame = pl.concat(
        line(rng.normal(50, 9, 3000).tolist()).with_columns(disk=pl.lit(f"d{number}")) for number in range(disks)
    ).filter(pl.col("timestamp").is_in(there.cast(pl.Datetime("ms", "UTC")).implode()))
    thinned, apart_s = thin(frame.sort("timestamp", "disk"), "server_id", "disk", ["us"], points)
    assert thinned["timestamp"].n_unique() <= points
    assert apart_s <= 5 * 6000 / points + 2
    seconds = thinned["timestamp"].unique().sort().diff().dt.total_milliseconds().drop_nulls() / 1000
    left = frame["timestamp"].unique().sort().diff().dt.total_milliseconds().drop_nulls() / 1000
    found = int((seconds > max(apart_s, 5.0)).sum())
    assert found == int((left > max(apart_s, 5.0)).sum())


def test_many_columns_share_the_points() -> None:
    frame = line([float(n) for n in range(4000)])
    names = [f"c{number}" for number in range(60)]
    frame = frame.with_columns((pl.col("us") * number).sin().alias(name) for number, name in enumerate(names))
    thinned, _ = thin(frame, "server_id", None, names, 200)
    assert thinned.height <= 200
