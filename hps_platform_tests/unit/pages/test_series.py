"""Rows put together to lines."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from dash_app.series import combine, how_combined, joined, rows_to_frame, sample_value, series_of
from hps_platform.metrics import FAMILIES
from hps_platform_tests.unit.pages.fleet import AIX, NOW, samples

IOSTAT, NETSTAT, PROCESS, VMSTAT = (FAMILIES[name] for name in ("iostat", "netstat", "process", "vmstat"))
MS = int(NOW.timestamp() * 1000)


def disks() -> pl.DataFrame:
    return pl.concat(
        [
            samples("iostat", {"busy_pct": [10.0, 20.0], "kb_s": [1.0, 2.0]}, keys=("hdisk0",)),
            samples("iostat", {"busy_pct": [70.0, 5.0], "kb_s": [10.0, None]}, keys=("hdisk1",)),
        ]
    )


def test_shares_count_by_the_busiest_and_rates_add_up() -> None:
    assert combine(disks(), IOSTAT.by_name["busy_pct"], IOSTAT)["value"].to_list() == [70.0, 20.0]
    assert combine(disks(), IOSTAT.by_name["kb_s"], IOSTAT)["value"].to_list() == [11.0, 2.0]
    assert how_combined(IOSTAT.by_name["busy_pct"], IOSTAT) == "highest disk"
    assert how_combined(IOSTAT.by_name["kb_s"], IOSTAT) == "sum over disks"
    assert how_combined(VMSTAT.by_name["us"], VMSTAT) == ""


def test_what_no_disk_prints_is_nothing_and_not_zero() -> None:
    frame = samples("iostat", {"kb_read_s": [None, None]}, keys=("hdisk0", "hdisk1")).cast({"kb_read_s": pl.Float64})
    assert combine(frame, IOSTAT.by_name["kb_read_s"], IOSTAT)["value"].to_list() == [None, None]
    assert series_of(frame, IOSTAT.by_name["kb_read_s"], IOSTAT, {AIX: "aix01"}) == []


def test_loopbacks_do_not_count() -> None:
    frame = pl.concat([samples("netstat", {"ipkts_s": [5.0]}, keys=(key,)) for key in ("en0", "en1", "lo0", "lo")])
    assert combine(frame, NETSTAT.by_name["ipkts_s"], NETSTAT)["value"].to_list() == [10.0]


def test_chosen_keys_get_a_line_each() -> None:
    found = series_of(disks(), IOSTAT.by_name["busy_pct"], IOSTAT, {AIX: "aix01"}, keys=["hdisk1", "gone"])
    assert [(one.name, one.frame["value"].to_list()) for one in found] == [("aix01 · hdisk1", [70.0, 5.0])]


def test_processes_are_told_apart_by_pid_in_samples_and_by_command_in_summaries() -> None:
    column = PROCESS.by_name["cpu_pct"]
    raw = pl.DataFrame({"server_id": [AIX, AIX], "timestamp": [NOW, NOW], "pid": [7, 8], "cpu_pct": [3.0, 9.0]})
    summary = raw.rename({"pid": "command"}).cast({"command": pl.String})
    assert combine(raw, column, PROCESS)["value"].to_list() == [9.0]
    assert combine(summary, column, PROCESS)["value"].to_list() == [9.0]


@pytest.mark.parametrize("name", ["busy_pct", "kb_s"])
def test_one_live_sample_says_the_same_as_a_frame(name: str) -> None:
    rows = [
        {"server_id": AIX, "timestamp": MS, "disk": "hdisk0", "busy_pct": 3.0, "kb_s": 8.0},
        {"server_id": AIX, "timestamp": MS, "disk": "hdisk1", "busy_pct": 4.0, "kb_s": None},
    ]
    frame = rows_to_frame(rows, IOSTAT, [name])
    assert [sample_value(rows, IOSTAT.by_name[name], IOSTAT)] == combine(frame, IOSTAT.by_name[name], IOSTAT)[
        "value"
    ].to_list()


def test_a_live_sample_without_the_column_is_nothing() -> None:
    assert sample_value([{"us": None}, {}], VMSTAT.by_name["us"], VMSTAT) is None
    assert sample_value([], VMSTAT.by_name["us"], VMSTAT) is None


def test_live_rows_become_a_frame_of_samples() -> None:
    rows: list[dict[str, Any]] = [
        {"server_id": AIX, "timestamp": MS, "us": 4, "r": 2},
        {"server_id": AIX, "timestamp": MS + 1},
    ]
    frame = rows_to_frame(rows, VMSTAT, ["us", "r"])
    assert frame.schema["timestamp"] == pl.Datetime("ms", "UTC")
    assert frame["timestamp"].to_list() == [NOW, NOW + timedelta(milliseconds=1)]
    assert frame["us"].to_list() == [4.0, None]
    assert frame.schema["r"] == pl.Int64()
    assert rows_to_frame([], VMSTAT, ["us"]).schema["timestamp"] == pl.Datetime("ms", "UTC")


def test_two_sources_are_joined_where_the_newer_begins() -> None:
    us = VMSTAT.by_name["us"]
    older = combine(samples("vmstat", {"us": [1.0, 2.0, 3.0, 4.0]}), us, VMSTAT)
    newer = combine(rows_to_frame([{"server_id": AIX, "timestamp": MS - 2000, "us": 30}], VMSTAT, ["us"]), us, VMSTAT)
    assert joined(older, newer)["value"].to_list() == [1.0, 2.0, 30.0]
    assert joined(older, newer.clear())["value"].to_list() == [1.0, 2.0, 3.0, 4.0]
    assert joined(older.clear(), newer)["value"].to_list() == [30.0]
