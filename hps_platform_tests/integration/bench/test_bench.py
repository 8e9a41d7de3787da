"""`hps bench`, small: one JSON object on stdout, nothing lost, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "hps_platform.cli", "bench", *words]


def _environment(folder: Path) -> dict[str, str]:
    # Addresses of a stack that must not be touched: nothing listens there.
    return {**os.environ, "TMPDIR": str(folder), "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "DATABASE_HOST": "nowhere"}


def _bench(folder: Path, *words: str) -> dict[str, Any]:
    done = subprocess.run(_command(*words), capture_output=True, check=False, env=_environment(folder), timeout=200)
    assert done.returncode == 0, done.stderr.decode()
    report: dict[str, Any] = json.loads(done.stdout)
    assert {"machine", "versions", "parameters", "duration"} <= report.keys()
    _nothing_left(folder)
    return report


def _nothing_left(folder: Path) -> None:
    assert list(folder.iterdir()) == []
    for process in psutil.process_iter(["cmdline"]):
        assert not any(str(folder) in word for word in process.info["cmdline"] or ()), process


def test_collect_loses_nothing_and_logs_in_once(tmp_path: Path) -> None:
    report = _bench(tmp_path, "collect", "--hosts", "13", "--seconds", "8")
    assert (report["hosts"], report["logins"], report["lost"], report["dead_letters"]) == (13, 13, 0, 0)
    # vmstat and iostat at 2 s, and at least one round of the four others.
    assert report["samples"] == report["printed"] >= 13 * (2 * 4 + 4)
    assert 0 < report["floor_cpu_share"] < report["cpu_share"] < 1
    assert 0 <= report["slip_p50_ms"] <= report["slip_p99_ms"] < 2_000
    assert report["rss_kb_per_host"] > 0


def test_ingest_lands_every_row_in_both_shapes(tmp_path: Path) -> None:
    report = _bench(
        tmp_path,
        "ingest",
        "--rows",
        "20000",
        "--servers",
        "50",
        "--preload",
        "1000",
        "--rounds",
        "1",
        "--steady-seconds",
        "5",
    )
    assert report["rows"] == 20_000  # that they all landed is checked by the benchmark itself
    assert [shape["rows_per_message"] for shape in report["shapes"]] == [10, 1]
    assert all(
        shape["rows_per_s"] > 0 and shape["ratio"] > 0 and shape["cpu_us_per_row"] > 0 for shape in report["shapes"]
    )
    assert report["ceiling_rows_per_s"] > 0
    assert report["flat_ceiling_rows_per_s"] > 0
    assert report["peak_rss_mb"] > 0
    assert all(times.keys() == {"postgres", "kafka", "lander"} for times in report["cpu_s"].values())
    assert 0 < report["steady"]["age_p50_ms"] <= report["steady"]["age_p95_ms"]


def test_target_measures_this_machine(tmp_path: Path) -> None:
    report = _bench(tmp_path, "target", "--seconds", "6")
    assert (report["logins_per_hour"], report["logins"]) == (0, 1)
    assert 0 <= report["cpu_share"] < 0.5  # in so few seconds it may be less than a tick of the clock
    assert report["state"] in ("up", "degraded")


def test_parse_measures_every_planned_command(tmp_path: Path) -> None:
    report = _bench(tmp_path, "parse", "--seconds", "0.05")
    measured = {name: entry for name, entry in report.items() if isinstance(entry, dict) and "rows_per_s" in entry}
    assert len(measured) >= 4 * 6
    assert all(entry["rows_per_s"] > 0 and entry["mb_per_s"] > 0 for entry in measured.values())


def test_an_interrupted_benchmark_leaves_nothing_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        _command("collect", "--hosts", "2", "--seconds", "60", "--no-floor"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(tmp_path),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(b"2 logins"):
            process.send_signal(signal.SIGTERM)
            break
    printed, _ = process.communicate(timeout=60)
    assert (process.returncode, printed) == (128 + signal.SIGTERM, b"")
    _nothing_left(tmp_path)


def test_query_asks_every_question_at_every_scale(tmp_path: Path) -> None:
    small = (
        "--servers",
        "3",
        "--interval",
        "30",
        "--days",
        "0.1",
        "--runs",
        "2",
        "--cold-runs",
        "1",
        "--rollup-days",
        "3",
    )
    report = _bench(tmp_path, "query", *small, "--scales", "1,3")
    names = ("chart_24h", "chart_90d_one", "chart_90d_fleet", "fleet_overview", "top10_p95", "provenance")
    assert [(entry["name"], entry["scale"]) for entry in report["queries"]] == [(n, s) for s in (1, 3) for n in names]
    for entry in report["queries"]:
        assert 0 < entry["warm_p50_ms"] <= entry["warm_p95_ms"]
        assert entry["cold_p95_ms"] > 0
        assert entry["raw_p95_ms"] > 0
        assert entry["rows_read"] == sum(entry["plan"].values()) > 0
    chart = report["queries"][0]
    assert chart["plan"]["vmstat_metrics_1m"] >= 1300
    # The hour that is not rolled up yet is read from the raw table, and no other.
    assert chart["plan"].get("vmstat_metrics", 0) <= 120 + 1
    first, last = report["queries"][0], report["queries"][6]
    assert report["history_rows"] == last["history_rows"] > 2 * first["history_rows"]
