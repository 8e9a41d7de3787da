"""Rollups equal a recomputation from raw, whatever came late; and their marks are cleared only when seen."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from hps_platform.metrics import FAMILIES
from hps_platform.metrics.family import Column, Family, Summary
from hps_platform.store import rollups
from hps_platform.store.database import Connection, session
from hps_platform.store.rollups import MAX_KEY_CHARACTERS
from hps_platform.store.schema import Grain, rollup_key, rollup_table
from hps_platform_tests.integration.store import samples

VMSTAT, PROCESS = FAMILIES["vmstat"], FAMILIES["process"]


def summary(column: Column, part: Summary) -> pl.Expr:
    values = pl.col(column.name)
    if part is Summary.LAST:
        return values.sort_by("timestamp").drop_nulls().last()
    if part is Summary.P95:
        return values.quantile(0.95, "linear").cast(pl.Float32)
    found: pl.Expr = getattr(values, part)()
    return found.cast(pl.Float32)


def recomputed(family: Family, rows: pl.DataFrame, grain: Grain) -> pl.DataFrame:
    if grain is Grain.SIX_HOURS:
        return of_hours(family, recomputed(family, rows, Grain.HOUR))
    key = family.summary_key
    if key and key != family.key:
        rows = rows.with_columns(pl.col(key).fill_null("").str.slice(0, MAX_KEY_CHARACTERS))
    values = [
        summary(column, part).alias(f"{column.name}_{part}")
        for column in family.rollup_columns
        for part in column.summaries
    ]
    bucket = pl.col("timestamp").dt.truncate("1m" if grain is Grain.MINUTE else "1h")
    groups = rows.with_columns(bucket).group_by(rollup_key(family))
    found = groups.agg(pl.len().cast(pl.Int32).alias("samples"), *values).sort(rollup_key(family))
    return foremost(family, found) if family.rollup_top else found


def of_hours(family: Family, hours: pl.DataFrame) -> pl.DataFrame:
    """Six hours as their hours make them."""
    values = []
    for column in family.rollup_columns:
        for part in Grain.SIX_HOURS.summaries(column):
            value = pl.col(f"{column.name}_{part}")
            if part is Summary.MEAN:
                weight = pl.col("samples").filter(value.is_not_null()).sum()
                mean = (value.cast(pl.Float64) * pl.col("samples")).sum() / weight
                values.append(pl.when(weight > 0).then(mean).cast(pl.Float32).alias(value.meta.output_name()))
            elif part is Summary.LAST:
                values.append(value.sort_by("timestamp").drop_nulls().last())
            else:
                values.append(getattr(value, part)())
    groups = hours.with_columns(pl.col("timestamp").dt.truncate("6h")).group_by(rollup_key(family))
    return groups.agg(pl.col("samples").sum().cast(pl.Int32), *values).sort(rollup_key(family))


def foremost(family: Family, rows: pl.DataFrame) -> pl.DataFrame:
    """The busiest of each bucket, chosen the slow way: one after the other, in turn by each order."""
    kept = []
    for _, bucket in rows.group_by("server_id", "timestamp"):
        chosen: dict[str, int] = {}
        orders = [
            bucket.with_row_index().sort(
                pl.col("samples") * pl.col(f"{name}_mean").cast(pl.Float64),
                str(family.summary_key),
                descending=[True, False],
                nulls_last=True,
            )["index"]
            for name in family.rollup_by
        ]
        for turn in zip(*orders, strict=True):
            for index in turn:
                if len(chosen) < (family.rollup_top or 0):
                    chosen.setdefault(str(index), index)
        kept.append(bucket[list(chosen.values())])
    return pl.concat(kept).sort(rollup_key(family))


def stored(conn: Connection, family: Family, grain: Grain, schema: Any) -> pl.DataFrame:
    columns = ", ".join(f'"{name}"' for name in schema)
    query = f"SELECT {columns} FROM {rollup_table(family, grain)}"  # noqa: S608  # names of the families
    return pl.DataFrame(conn.execute(query.encode()).fetchall(), schema=schema, orient="row").sort(rollup_key(family))


def assert_up_to_date(conn: Connection, family: Family, rows: pl.DataFrame) -> None:
    for grain in Grain:
        expected = recomputed(family, rows, grain)
        assert_frame_equal(stored(conn, family, grain, expected.schema), expected, rel_tol=1e-5)
    assert rollups.pending(conn) == 0


@pytest.mark.parametrize("name", FAMILIES)
def test_equal_to_a_recomputation(conn: Connection, name: str) -> None:
    family = FAMILIES[name]
    rows = samples.frame(family, samples.every(70, 500), seed=3)
    samples.land(conn, family, rows)
    assert set(rollups.refresh(conn)) == {name}
    assert_up_to_date(conn, family, rows)
    assert rollups.refresh(conn) == {}


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"process"}))
def test_six_hours_equal_a_recomputation_from_raw(conn: Connection, name: str) -> None:
    """Where every sample has every value; of processes the hours have left some out."""
    family = FAMILIES[name]
    rows = samples.frame(family, samples.every(97, 600), nulls=0, seed=6)
    samples.land(conn, family, rows)
    rollups.refresh(conn)
    values = [
        summary(column, part).alias(f"{column.name}_{part}")
        for column in family.rollup_columns
        for part in Grain.SIX_HOURS.summaries(column)
    ]
    groups = rows.with_columns(pl.col("timestamp").dt.truncate("6h")).group_by(rollup_key(family))
    expected = groups.agg(pl.len().cast(pl.Int32).alias("samples"), *values).sort(rollup_key(family))
    assert_frame_equal(stored(conn, family, Grain.SIX_HOURS, expected.schema), expected, rel_tol=1e-5)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    seconds=st.lists(st.integers(4 * 3600, 7 * 3600), min_size=1, max_size=40, unique=True),
    cuts=st.lists(st.integers(0, 40), max_size=3),
    max_hours=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_late_rows_heal_whatever_the_order(
    conn: Connection, seconds: list[int], cuts: list[int], max_hours: int, seed: int
) -> None:
    tables = [VMSTAT.table, *(rollup_table(VMSTAT, grain) for grain in Grain)]
    conn.execute(f"TRUNCATE {', '.join(tables)}".encode())
    times = [samples.START + timedelta(seconds=number) for number in seconds]
    bounds = [0, *sorted(cuts), len(times)]
    landed = []
    for number, (first, last) in enumerate(pairwise(bounds)):
        if times[first:last]:
            landed.append(samples.frame(VMSTAT, times[first:last], seed=seed + number))
            samples.land(conn, VMSTAT, landed[-1])
        rollups.refresh(conn, max_hours=max_hours)
    while rollups.refresh(conn, max_hours=max_hours):
        pass
    assert_up_to_date(conn, VMSTAT, pl.concat(landed))


def test_rows_taken_out_leave_the_rollups(conn: Connection) -> None:
    rows = samples.frame(VMSTAT, samples.every(30, 240))
    samples.land(conn, VMSTAT, rows)
    rollups.refresh(conn)
    conn.execute("DELETE FROM vmstat_metrics WHERE server_id = 1")
    conn.execute(
        "INSERT INTO dirty_hours SELECT DISTINCT 'vmstat', date_trunc('hour', timestamp), 1, now() FROM vmstat_metrics"
    )
    rollups.refresh(conn)
    assert_up_to_date(conn, VMSTAT, rows.filter(pl.col("server_id") == 2))


def test_long_and_missing_commands_make_a_key(conn: Connection) -> None:
    rows = samples.frame(PROCESS, samples.every(20, 10), keys=4, nulls=0).with_columns(
        pl.when(pl.col("pid") == 0)
        .then(pl.lit("/usr/bin/java " + "-Dx=y " * 2000))
        .when(pl.col("pid") == 1)
        .then(None)
        .otherwise(pl.col("command"))
        .alias("command")
    )
    samples.land(conn, PROCESS, rows)
    rollups.refresh(conn)
    assert_up_to_date(conn, PROCESS, rows)


def test_of_many_commands_the_busiest_and_the_largest_are_kept(conn: Connection) -> None:
    commands = pl.format("program {}", pl.col("pid") % 45)
    rows = samples.frame(PROCESS, samples.every(20, 30), keys=90, nulls=0.1).with_columns(commands.alias("command"))
    samples.land(conn, PROCESS, rows)
    rollups.refresh(conn)
    assert_up_to_date(conn, PROCESS, rows)
    counts = conn.execute("SELECT count(*) FROM process_metrics_1h GROUP BY server_id, timestamp").fetchall()
    assert counts == [(20,), (20,)]


@pytest.mark.parametrize("os", ["aix", "linux", "solaris"])
def test_a_minute_of_vmstat_takes_no_more_than_two_samples(conn: Connection, os: str) -> None:
    """As many columns as the system prints, the others null."""
    printed = {
        "aix": "r b avm fre pi po fr sr interrupts syscalls cs us sy idle wa pc ec",
        "linux": "r b swpd fre buff cache pi po bi bo interrupts cs us sy idle wa st",
        "solaris": "r b fre pi po sr interrupts syscalls cs us sy idle",
    }[os].split()
    rows = samples.frame(VMSTAT, samples.every(2, 60), servers=[1], nulls=0)
    absent = [column.name for column in VMSTAT.columns if column.name not in printed]
    samples.land(conn, VMSTAT, rows.with_columns(pl.lit(None).cast(rows.schema[name]).alias(name) for name in absent))
    rollups.refresh(conn)
    [[raw]] = conn.execute("SELECT max(pg_column_size(one.*)) FROM vmstat_metrics AS one").fetchall()
    [[minute]] = conn.execute("SELECT max(pg_column_size(one.*)) FROM vmstat_metrics_1m AS one").fetchall()
    assert minute <= 2 * raw


def test_a_mark_renewed_meanwhile_stays(migrated_dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    times = samples.every(60, 10)
    first, late = samples.frame(VMSTAT, times[:5]), samples.frame(VMSTAT, times[5:], seed=1)
    samples.land(conn, VMSTAT, first)
    clear = rollups._clear

    def land_first(other: Connection) -> None:
        conn.execute("SET statement_timeout = '5s'")  # landing must not wait for a refresh under way
        samples.land(conn, VMSTAT, late)
        clear(other)

    monkeypatch.setattr(rollups, "_clear", land_first)
    with session(migrated_dsn, application_name="rollup") as other:
        rollups.refresh(other)
    monkeypatch.undo()
    assert rollups.pending(conn) == 2
    rollups.refresh(conn)
    assert_up_to_date(conn, VMSTAT, pl.concat([first, late]))


def test_one_refresh_does_no_more_than_it_may(conn: Connection) -> None:
    samples.land(conn, VMSTAT, samples.frame(VMSTAT, samples.every(600, 60)))
    before = rollups.pending(conn)
    rollups.refresh(conn, max_hours=3)
    assert rollups.pending(conn) == before - 3 * 2
