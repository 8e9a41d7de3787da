"""`hps detect evaluate`: the detector on files."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from hps_platform.analysis import detector
from hps_platform.analysis.evaluation import evaluate
from hps_platform.cli.detect import app
from hps_platform.errors import InvalidInput
from hps_platform_tests.unit.analysis.series import START, metrics, with_hog

HOG = (700, 740)


@pytest.fixture(scope="module")
def frames() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    train = metrics(3)
    test = with_hog(metrics(1, seed=4, start=START + timedelta(days=3)), *HOG)
    row = pl.int_range(pl.len())
    labels = test.select("timestamp", label=((row >= HOG[0]) & (row < HOG[1])).cast(pl.Int8))
    return train, test, labels


def test_every_test_row_gets_its_row(frames: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]) -> None:
    train, test, labels = frames
    done = evaluate(train, test, labels, alarms_per_day=0.5)
    scores = done.scores
    assert scores["timestamp"].equals(test["timestamp"])
    assert scores.columns == ["timestamp", "anomaly_score", "is_anomaly", "contributions"]
    assert scores.schema["contributions"] == pl.List(pl.Struct({"column": pl.String, "weight": pl.Float64}))
    worst = scores.sort("anomaly_score").row(0, named=True)
    assert worst["contributions"][0]["column"] == "cpu"
    assert len(worst["contributions"]) == 4
    weights = [part["weight"] for part in worst["contributions"]]
    assert weights == sorted(weights, reverse=True)
    told = done.report["labels"]
    assert told["recall"] == 1
    assert told["vus_pr"] > 0.5
    learnt = detector.fit(train)
    assert np.array_equal(learnt.score(test, train).anomaly_score, scores["anomaly_score"].to_numpy())


def test_rows_without_context_are_null_and_false(frames: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]) -> None:
    train, test, _ = frames
    later = test.with_columns(pl.col("timestamp") + timedelta(days=30))
    scores = evaluate(train, later).scores
    assert scores["anomaly_score"][:10].null_count() == 10
    assert scores["contributions"][:10].null_count() == 10
    assert not scores["is_anomaly"][:10].any()
    assert scores["anomaly_score"][10:].null_count() == 0


def test_the_command_writes_scores_and_a_report(
    frames: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame], tmp_path: Path
) -> None:
    paths = [tmp_path / f"{name}.parquet" for name in ("train", "test", "labels")]
    for frame, path in zip(frames, paths, strict=True):
        frame.write_parquet(path)
    out = tmp_path / "scores.parquet"
    files = [f"--{path.stem}={path}" for path in paths]
    ran = CliRunner().invoke(app, ["evaluate", *files, f"--scores-out={out}", "--budget=0.5", "--json"])
    assert ran.exit_code == 0, ran.output
    report = json.loads(ran.stdout)
    assert report["labels"]["recall"] == 1
    assert report["budget"] == 0.5
    assert len(pl.read_parquet(out)) == len(frames[1])


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (pl.DataFrame({"when": [1]}), "need the columns"),
        (pl.DataFrame({"timestamp": [START], "label": [1]}), "have no label"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    frames: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame], labels: pl.DataFrame, text: str
) -> None:
    with pytest.raises(InvalidInput, match=text):
        evaluate(frames[0], frames[1], labels)


def test_files_that_are_no_parquet_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    path.write_text("no")
    ran = CliRunner().invoke(app, ["evaluate", f"--train={path}", f"--test={path}"])
    assert isinstance(ran.exception, InvalidInput)
    assert "no readable Parquet file" in str(ran.exception)


def test_one_metric_and_half_a_month_of_five_minute_rows_are_enough() -> None:
    """Two days of a single metric to learn from, twelve to judge: its incident is found, and alarms are few."""
    rows, learnt_from, step = 4_000, 600, timedelta(minutes=5)
    random = np.random.default_rng(11)
    value = 30 + 10 * np.sin(2 * np.pi * np.arange(rows) / 288) + random.normal(0, 1.5, rows)
    value[2_500:2_530] += 35
    frame = pl.DataFrame({"timestamp": [START + step * row for row in range(rows)], "value": value})
    train, test = frame.head(learnt_from), frame.tail(rows - learnt_from)
    row = pl.int_range(pl.len()) + learnt_from
    labels = test.select("timestamp", label=((row >= 2_500) & (row < 2_530)).cast(pl.Int8))
    told = evaluate(train, test, labels, alarms_per_day=0.25).report
    assert told["scored_rows"] == len(test)
    assert told["labels"]["recall"] == 1
    assert told["labels"]["vus_pr"] > 0.5
    assert told["labels"]["false_alarms_per_day"] <= 0.5
    assert told["labels"]["normal_time_alarmed"] < 0.01
