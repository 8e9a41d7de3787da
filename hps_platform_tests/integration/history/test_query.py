"""Answers at every resolution equal what the raw samples give, rolled up or not."""

from datetime import UTC, datetime, timedelta
from importlib import import_module

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from hps_platform.errors import InvalidInput
from hps_platform.history import MAX_ROWS, OVERVIEW_COLUMNS, overview, query
from hps_platform.metrics import FAMILIES
from hps_platform.store import partitions, rollups
from hps_platform.store.database import Connection, Database
from hps_platform_tests.integration.store import samples
from hps_platform_tests.integration.store.samples import START

VMSTAT, IOSTAT, NETSTAT, PROCESS = (FAMILIES[name] for name in ("vmstat", "iostat", "netstat", "process"))


def after(**passed: float) -> datetime:
    return START + timedelta(**passed)


def expected(rows: pl.DataFrame, columns: list[str], width: str, agg: str, key: str | None = None) -> pl.DataFrame:
    keys = ["server_id", "timestamp", *([key] if key else [])]
    values = [getattr(pl.col(name).cast(pl.Float64), agg)() for name in columns]
    grouped = rows.with_columns(pl.col("timestamp").dt.truncate(width)).group_by(keys).agg(values)
    return grouped.sort("timestamp", "server_id", *([key] if key else []))


def test_raw_samples(db: Database, conn: Connection) -> None:
    rows = samples.frame(IOSTAT, samples.every(2, 60))
    samples.land(conn, IOSTAT, rows)
    answer = query(db, "iostat", [2], after(seconds=10), after(seconds=20))
    assert (answer.metric, answer.interval) == ("iostat", None)
    assert answer.units["busy_pct"] == "%"
    within = rows.filter(
        (pl.col("server_id") == 2) & pl.col("timestamp").is_between(after(seconds=10), after(seconds=20), closed="left")
    )
    assert_frame_equal(answer.frame, within.select(list(IOSTAT.frame_schema)).sort("timestamp", "server_id", "disk"))


@pytest.mark.parametrize("agg", ["mean", "min", "max", "sum"])
@pytest.mark.parametrize("width", ["10s", "1m", "5m", "1h", "6h", "1d"])
@pytest.mark.parametrize("rolled_up", ["nothing", "half", "all"])
def test_buckets(db: Database, conn: Connection, agg: str, width: str, rolled_up: str) -> None:
    rows = samples.frame(IOSTAT, samples.every(47, 600), nulls=0, seed=5)
    samples.land(conn, IOSTAT, rows)
    if rolled_up != "nothing":
        rollups.refresh(conn, max_hours=100 if rolled_up == "all" else 3)
    columns = ["busy_pct", "kb_s"]
    answer = query(db, "iostat", [1, 2], START, after(days=1), columns=columns, interval=width, agg=agg)
    assert answer.interval == width
    assert_frame_equal(answer.frame, expected(rows, columns, width, agg, "disk"), rel_tol=1e-5)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    late=st.sets(st.tuples(st.integers(1, 3), st.integers(0, 71)), max_size=30),
    width=st.sampled_from(["6h", "12h", "1d"]),
    agg=st.sampled_from(["mean", "min", "max", "sum"]),
)
@example(late={(1, hour) for hour in range(0, 72, 6)}, width="12h", agg="mean")
def test_wide_buckets_hold_what_came_late(
    db: Database, conn: Connection, late: set[tuple[int, int]], width: str, agg: str
) -> None:
    """Hours of any server anywhere, not rolled up yet: a few, or more than six hours at a time are left for."""
    tables = ", ".join(partitions.tables(VMSTAT))
    conn.execute(f"TRUNCATE {tables}, dirty_hours".encode())
    rows = samples.frame(VMSTAT, samples.every(1100, 235), servers=[1, 2, 3], nulls=0)
    hour = (pl.col("timestamp") - START).dt.total_hours()
    came_late = pl.concat_str("server_id", hour, separator=" ").is_in([f"{server} {at}" for server, at in late])
    samples.land(conn, VMSTAT, rows.filter(~came_late))
    rollups.refresh(conn)
    if late:
        samples.land(conn, VMSTAT, rows.filter(came_late))
    for _ in range(2):
        answer = query(db, "vmstat", [1, 2, 3], START, after(days=3), columns=["us"], interval=width, agg=agg)
        assert_frame_equal(answer.frame, expected(rows, ["us"], width, agg), rel_tol=1e-5)
        rollups.refresh(conn)


def test_wide_buckets_are_read_from_six_hours_and_the_rest_of_today(db: Database, conn: Connection) -> None:
    rows = samples.frame(VMSTAT, samples.every(600, 6 * 39), servers=[1, 2], nulls=0)
    samples.land(conn, VMSTAT, rows.filter(pl.col("timestamp") < after(hours=38)))
    rollups.refresh(conn)
    samples.land(conn, VMSTAT, rows.filter(pl.col("timestamp") >= after(hours=38)))
    # Left: six hours until noon of the second day, then hours, and the last hour's samples.
    conn.execute("DELETE FROM vmstat_metrics_1h WHERE timestamp < %s", (after(hours=36),))
    conn.execute("DELETE FROM vmstat_metrics_6h WHERE timestamp >= %s", (after(hours=36),))
    conn.execute("TRUNCATE vmstat_metrics_1m")
    conn.execute("DELETE FROM vmstat_metrics WHERE timestamp < %s", (after(hours=38),))
    for width in ("6h", "12h", "1d"):
        answer = query(db, "vmstat", [1, 2], START, after(days=2), columns=["us"], interval=width)
        assert_frame_equal(answer.frame, expected(rows, ["us"], width, "mean"), rel_tol=1e-5)


def test_a_fleets_chart_is_made_of_six_hours(db: Database, conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = list(range(1, 21))
    rows = samples.frame(VMSTAT, samples.every(3600, 24 * 40), servers=servers, nulls=0)
    samples.land(conn, VMSTAT, rows)
    while rollups.refresh(conn):
        pass
    conn.execute("TRUNCATE vmstat_metrics, vmstat_metrics_1m, vmstat_metrics_1h")
    monkeypatch.setattr(import_module("hps_platform.history.query"), "MAX_ROWS", 5000)
    answer = query(db, "vmstat", servers, START, after(days=40), columns=["us"], max_points=1200, envelope=True)
    assert answer.interval == "6h"
    for agg in ("mean", "min", "max"):
        column = "us" if agg == "mean" else f"us_{agg}"
        found = answer.frame.select("server_id", "timestamp", us=column)
        assert_frame_equal(found, expected(rows, ["us"], "6h", agg), rel_tol=1e-5)


def test_means_weigh_samples_not_minutes(db: Database, conn: Connection) -> None:
    times = [*samples.every(1, 50), *samples.every(60, 10, after(minutes=1))]
    rows = samples.frame(VMSTAT, times, servers=[1], nulls=0)
    samples.land(conn, VMSTAT, rows)
    rollups.refresh(conn)
    answer = query(db, "vmstat", [1], START, after(minutes=5), columns=["us"], interval="5m")
    [mean] = answer.frame["us"]
    assert mean == pytest.approx(rows.filter(pl.col("timestamp") < after(minutes=5))["us"].mean(), rel=1e-5)


def test_p95(db: Database, conn: Connection) -> None:
    rows = samples.frame(VMSTAT, samples.every(10, 360), servers=[1], nulls=0)
    samples.land(conn, VMSTAT, rows)
    answer = query(db, "vmstat", [1], START, after(hours=1), columns=["us"], interval="1h", agg="p95")
    assert answer.frame["us"].to_list() == pytest.approx([rows["us"].quantile(0.95, "linear")])


def test_percentiles_that_rollups_keep_are_read_from_them(db: Database, conn: Connection) -> None:
    rows = samples.frame(VMSTAT, samples.every(7, 1500), servers=[1], seed=4)
    samples.land(conn, VMSTAT, rows.filter(pl.col("timestamp") < after(hours=2)))
    rollups.refresh(conn)
    samples.land(conn, VMSTAT, rows.filter(pl.col("timestamp") >= after(hours=2)))  # not rolled up yet
    conn.execute("DELETE FROM vmstat_metrics WHERE timestamp < %s", (after(hours=1),))
    for width in ("1m", "1h"):
        answer = query(db, "vmstat", [1], START, after(hours=3), columns=["us", "r"], interval=width, agg="p95")
        bucket = rows.with_columns(pl.col("timestamp").dt.truncate(width)).group_by("timestamp", maintain_order=True)
        wanted = bucket.agg(pl.col("us", "r").cast(pl.Float64).quantile(0.95, "linear"))
        assert_frame_equal(answer.frame.drop("server_id"), wanted, rel_tol=1e-5)


def test_rates_bridge_a_reset(db: Database, conn: Connection) -> None:
    counts = [100, 200, 300, 50, 150]  # rebooted after the third
    rows = samples.frame(NETSTAT, samples.every(60, 5), servers=[1], keys=1).with_columns(pl.Series("ipkts", counts))
    samples.land(conn, NETSTAT, rows)
    answer = query(db, "netstat", [1], START, after(minutes=5), columns=["ipkts"], interval="1h", agg="rate")
    assert answer.frame["ipkts"].to_list() == pytest.approx([300 / 180])


def test_processes_are_summed_up_by_command(db: Database, conn: Connection) -> None:
    rows = samples.frame(PROCESS, samples.every(60, 60), servers=[1], nulls=0)
    samples.land(conn, PROCESS, rows)
    for _ in range(2):
        answer = query(db, "process", [1], START, after(hours=1), columns=["cpu_pct"], interval="1h")
        assert_frame_equal(answer.frame, expected(rows, ["cpu_pct"], "1h", "mean", "command"), rel_tol=1e-5)
        rollups.refresh(conn)


def test_the_resolution_fits_the_points(db: Database, conn: Connection) -> None:
    samples.land(conn, VMSTAT, samples.frame(VMSTAT, samples.every(2, 5400), servers=[1]))
    hour = query(db, "vmstat", [1], START, after(hours=1), columns=["us"], max_points=2000)
    assert (hour.interval, hour.frame.height) == (None, 1800)
    three = query(db, "vmstat", [1], START, after(hours=3), columns=["us"], max_points=300)
    assert (three.interval, three.frame.height) == ("1m", 180)


def test_samples_taken_seldom_are_not_torn_apart(db: Database, conn: Connection) -> None:
    samples.land(conn, VMSTAT, samples.frame(VMSTAT, samples.every(60, 600), servers=[1]))
    answer = query(db, "vmstat", [1], START, after(hours=10), columns=["us"], max_points=1700)
    assert (answer.interval, answer.frame.height) == ("1m", 600)


def test_too_many_rows_are_refused_with_an_interval_that_fits(db: Database, conn: Connection) -> None:
    rows = samples.frame(VMSTAT, samples.every(2, 30_000), servers=[1, 2], nulls=0)
    samples.land(conn, VMSTAT, rows)
    with pytest.raises(InvalidInput, match=r"more than 50,000 rows: .* interval=10s$"):
        query(db, "vmstat", [1, 2], START, after(days=1))
    answer = query(db, "vmstat", [1, 2], START, after(days=1), interval="10s")
    assert answer.frame.height == 12_000
    wide = query(db, "vmstat", [1, 2], START, after(days=1), max_points=40_000)
    assert wide.frame.height <= MAX_ROWS
    assert wide.interval == "10s"


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"end": START}, "End time must be after start time"),
        ({"start": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001  # that is what is wrong
        ({"columns": ["nosuch"]}, "no column 'nosuch'"),
        ({"interval": "1 fortnight"}, "interval"),
        ({"agg": "median"}, "agg 'median'"),
        ({"agg": "rate"}, "needs an interval"),
        ({"agg": "rate", "interval": "1h", "columns": ["us"]}, "rate makes no sense of vmstat's us"),
        ({"max_points": 0}, "max_points"),
    ],
)
def test_questions_that_make_no_sense(db: Database, more: dict[str, object], sentence: str) -> None:
    asked: dict[str, object] = {"start": START, "end": after(hours=1), **more}
    with pytest.raises(InvalidInput, match=sentence):
        query(db, "vmstat", [1], **asked)  # type: ignore[arg-type]


def test_texts_and_counters_are_not_averaged(db: Database) -> None:
    with pytest.raises(InvalidInput, match="mean makes no sense of process's user"):
        query(db, "process", [1], START, after(hours=1), columns=["user"], interval="1h")
    with pytest.raises(InvalidInput, match="mean makes no sense of netstat's ipkts"):
        query(db, "netstat", [1], START, after(hours=1), columns=["ipkts"], interval="1h")


def test_nothing_there_is_an_empty_frame_of_the_same_shape(db: Database) -> None:
    for interval in (None, "1m", "1h"):
        answer = query(db, "iostat", [1], START, after(hours=1), columns=["busy_pct"], interval=interval)
        assert answer.frame.columns == ["server_id", "timestamp", "disk", "busy_pct"]
        assert answer.frame.is_empty()
    assert query(db, "vmstat", [], START, after(hours=1), max_points=100).frame.is_empty()


def test_overview(db: Database, conn: Connection) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    times = [now - timedelta(seconds=60 * number) for number in range(120)]
    vmstat = samples.frame(VMSTAT, times, servers=[1], nulls=0)
    vmstat = vmstat.with_columns(
        pl.lit(None, pl.Float64).alias("ec"), pl.lit(20.0).alias("us"), pl.lit(5.0).alias("sy")
    )
    samples.land(conn, VMSTAT, vmstat)
    disks = samples.frame(IOSTAT, times, servers=[1], nulls=0)
    samples.land(conn, IOSTAT, disks)
    found = overview(db, [1, 2])
    assert tuple(found.columns) == OVERVIEW_COLUMNS
    first, second = found.rows(named=True)
    assert first["timestamp"] == now
    assert first["cpu_busy_pct"] == 25.0
    newest = disks.filter(pl.col("timestamp") == now)
    assert first["disk_busy_pct"] == newest["busy_pct"].max()
    assert first["disk_kb_s"] == pytest.approx(newest["kb_s"].sum())
    assert first["cpu_spark"] == [25.0] * 60
    assert first["mem_spark"] == [None] * 60
    assert (second["server_id"], second["cpu_busy_pct"], second["cpu_spark"]) == (2, None, [None] * 60)
    assert overview(db).is_empty()  # nobody is registered


def test_a_wide_chart_is_thinned_and_keeps_its_peaks(db: Database, conn: Connection) -> None:
    rows = samples.frame(VMSTAT, samples.every(2, 14_400), servers=[1], nulls=0)
    rows = rows.with_columns(us=pl.when(pl.int_range(pl.len()) == 7001).then(pl.lit(1e6)).otherwise("us"))
    samples.land(conn, VMSTAT, rows)
    rollups.refresh(conn)
    raw = query(db, "vmstat", [1], START, after(hours=2), columns=["us"], max_points=400)
    assert (raw.interval, raw.step_s) == (None, 18.0)
    assert 200 < raw.frame.height <= 400
    fine = query(db, "vmstat", [1], START, after(hours=8), columns=["us"], max_points=200, envelope=True)
    assert (fine.interval, fine.step_s) == ("1m", 144.0)
    assert fine.frame.height <= 200
    assert fine.frame.columns == ["server_id", "timestamp", "us", "us_min", "us_max"]
    assert fine.units == {"us": "%"}
    [peak] = fine.frame.filter(pl.col("us_max") > 1e5)["timestamp"]
    assert peak == after(seconds=14_002).replace(second=0)


@pytest.mark.parametrize("rolled_up", [False, True])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "America/St_Johns"])
def test_days_begin_at_midnight_of_a_zone(db: Database, conn: Connection, zone: str, rolled_up: bool) -> None:
    begin = datetime(2026, 3, 27, tzinfo=UTC)  # clocks change in Berlin two days later
    rows = samples.frame(VMSTAT, samples.every(600, 6 * 144, begin), servers=[1], nulls=0)
    samples.land(conn, VMSTAT, rows)
    if rolled_up:
        rollups.refresh(conn)
    answer = query(
        db, "vmstat", [1], begin, begin + timedelta(days=6), columns=["us"], interval="1d", agg="sum", zone=zone
    )
    local = rows.with_columns(pl.col("timestamp").dt.convert_time_zone(zone).dt.truncate("1d"))
    days = local.group_by("timestamp").agg(pl.col("us").sum()).sort("timestamp")
    assert_frame_equal(
        answer.frame.select("timestamp", "us"),
        days.with_columns(pl.col("timestamp").dt.convert_time_zone("UTC")),
        rel_tol=1e-5,
    )


@pytest.mark.parametrize("rolled_up", [False, True])
@pytest.mark.parametrize("agg", ["mean", "max", "p95"])
def test_lines_by_tag(db: Database, conn: Connection, agg: str, rolled_up: bool) -> None:
    rows = samples.frame(IOSTAT, samples.every(30, 240), servers=[1, 2, 3], nulls=0)
    samples.land(conn, IOSTAT, rows)
    if rolled_up:
        rollups.refresh(conn)
    tags = {1: ["db", "prod"], 2: ["db", "db"], 3: []}
    answer = query(
        db, "iostat", [1, 2, 3], START, after(hours=2), columns=["busy_pct"], interval="1h", agg=agg, tags=tags
    )
    assert answer.frame.columns == ["tag", "timestamp", "disk", "busy_pct"]
    together = pl.concat(
        [
            rows.filter(pl.col("server_id") <= 2).with_columns(tag=pl.lit("db")),
            rows.filter(pl.col("server_id") == 1).with_columns(tag=pl.lit("prod")),
        ]
    )
    value = pl.col("busy_pct")
    how = {"mean": value.mean(), "max": value.max(), "p95": value.quantile(0.95, "linear")}[agg]
    wanted = together.group_by("tag", pl.col("timestamp").dt.truncate("1h"), "disk").agg(how)
    assert_frame_equal(answer.frame, wanted.sort("timestamp", "tag", "disk"), rel_tol=1e-5)
    chart = query(db, "iostat", [1, 2], START, after(hours=2), columns=["busy_pct"], max_points=10, tags=tags)
    assert set(chart.frame["tag"]) == {"db", "prod"}


def test_a_chart_older_than_the_raw_samples_comes_from_rollups(db: Database, conn: Connection) -> None:
    for day in range(3):
        rows = samples.frame(VMSTAT, samples.every(30, 2880, after(days=day)), servers=[1], nulls=0, seed=day)
        samples.land(conn, VMSTAT, rows)
    rollups.refresh(conn)
    before = query(db, "vmstat", [1], START, after(hours=2), columns=["us"], interval="1m")
    conn.execute("DROP TABLE vmstat_metrics_p20260301")
    assert query(db, "vmstat", [1], after(days=1), after(days=1, hours=2), max_points=2000).interval is None
    older = query(db, "vmstat", [1], START, after(hours=2), columns=["us"], max_points=2000)
    assert_frame_equal(older.frame, before.frame)
    conn.execute("DROP TABLE vmstat_metrics_1m_p20260301")
    assert query(db, "vmstat", [1], after(hours=20), after(hours=30), columns=["us"], max_points=2000).interval == "1h"


def test_a_question_that_takes_too_long_is_refused_with_an_interval(db: Database, conn: Connection) -> None:
    samples.land(conn, VMSTAT, samples.frame(VMSTAT, samples.every(1, 20_000), nulls=0))
    with (
        Database(db.dsn, statement_timeout_s=0.001) as hasty,
        pytest.raises(InvalidInput, match=r"interval=\d+[smhd]$"),
    ):
        query(hasty, "vmstat", [1, 2], START, after(days=1), interval="1m", agg="p95")
