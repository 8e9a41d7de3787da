"""The detector as a whole: what it finds, and the promises it keeps."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hps_platform.analysis import detector
from hps_platform.analysis.detector import Detector
from hps_platform.errors import InvalidInput, ModelUntrusted, NotEnoughData
from hps_platform_tests.unit.analysis.series import START, metrics, with_hog

DAYS = 3
HOG = (700, 730)
GOLDEN = Path(__file__).parent / "golden_scores.json"


@pytest.fixture(scope="module")
def train() -> pl.DataFrame:
    return metrics(DAYS)


@pytest.fixture(scope="module")
def test() -> pl.DataFrame:
    return with_hog(metrics(1, seed=4, start=START + timedelta(days=DAYS)), *HOG)


@pytest.fixture(scope="module")
def learnt(train: pl.DataFrame) -> Detector:
    return detector.fit(train)


def test_what_is_strange_gets_the_highest_scores(learnt: Detector, train: pl.DataFrame, test: pl.DataFrame) -> None:
    scores = learnt.score(test, train)
    hog = np.zeros(len(test), dtype=bool)
    hog[HOG[0] : HOG[1]] = True
    assert np.median(scores.score[hog]) > np.quantile(scores.score[~hog], 0.999)
    assert ((scores.anomaly_score >= -1) & (scores.anomaly_score <= 0)).all()
    assert scores.anomaly_score[hog].min() == scores.anomaly_score.min()
    assert np.median(scores.forest_score[hog]) < np.median(scores.forest_score[~hog])
    top = np.asarray(learnt.columns)[scores.weights[hog].argmax(axis=1)]
    assert (top == "cpu").mean() > 0.8


def test_changing_the_future_changes_no_past_score(learnt: Detector, train: pl.DataFrame, test: pl.DataFrame) -> None:
    cut = 900
    changed = test.with_columns(
        pl.when(pl.int_range(pl.len()) >= cut).then(pl.col(name) * 9 + 5).otherwise(name).alias(name)
        for name in learnt.columns
    )
    one, other = learnt.score(test, train), learnt.score(changed, train)
    short = learnt.score(test.head(cut), train)
    for name in ("score", "forest_score", "weights"):
        assert np.array_equal(getattr(one, name)[:cut], getattr(other, name)[:cut])
        assert np.abs(getattr(one, name)[:cut] - getattr(short, name)).max() < 1e-9


def test_a_day_and_four_hours_of_history_are_all_the_context_a_row_needs(
    learnt: Detector, train: pl.DataFrame, test: pl.DataFrame
) -> None:
    history = train.filter(pl.col("timestamp") >= test["timestamp"][0] - timedelta(seconds=detector.WARM_UP_S))
    all_of_it, enough = learnt.score(test.head(200), train), learnt.score(test.head(200), history)
    assert np.abs(all_of_it.score - enough.score).max() < 1e-9
    one_by_one = [learnt.score(test[row : row + 1], pl.concat([history, test[:row]])).score[0] for row in (0, 50, 199)]
    assert np.abs(all_of_it.score[[0, 50, 199]] - one_by_one).max() < 1e-9


def test_rows_without_context_have_no_score(learnt: Detector, test: pl.DataFrame) -> None:
    scores = learnt.score(test)
    assert np.isnan(scores.score[:10]).all()
    assert np.isfinite(scores.score[10:]).all()


def test_the_order_of_the_rows_given_is_kept(learnt: Detector, train: pl.DataFrame, test: pl.DataFrame) -> None:
    shuffled = test.sample(fraction=1, shuffle=True, seed=1)
    straight, mixed = learnt.score(test, train), learnt.score(shuffled, train)
    by_time = dict(zip(test["timestamp"], straight.score, strict=True))
    assert np.array_equal(mixed.score, [by_time[moment] for moment in shuffled["timestamp"]])


_SMALL = (
    "from datetime import timedelta\n"
    "from hps_platform.analysis import detector\n"
    "from hps_platform_tests.unit.analysis.series import START, metrics, with_hog\n"
    "train = metrics(3, step_s=300)\n"
    "test = with_hog(metrics(1, seed=4, start=START + timedelta(days=3), step_s=300), 140, 150)\n"
    "scores = detector.fit(train).score(test, train).score.tolist()\n"
)


@pytest.fixture(scope="module")
def small_scores() -> list[float]:
    found: dict[str, list[float]] = {}
    exec(_SMALL, {}, found)  # noqa: S102  the same text as the fresh process runs
    return found["scores"]


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_same_seed_gives_the_same_scores_in_a_fresh_process(small_scores: list[float], threads: str) -> None:
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), threads)
    ran = subprocess.run(
        [sys.executable, "-c", _SMALL + "print(*scores)"],
        check=True,
        env=os.environ | limits,
        capture_output=True,
        text=True,
    )
    assert np.abs(np.array(ran.stdout.split(), dtype=float) - small_scores).max() < 1e-9


def test_the_scores_are_those_kept_in_the_golden_file(small_scores: list[float]) -> None:
    """A change here changes every alarm: measure it (`hps detect scorecard`) before the file is written anew."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert np.abs(np.array(golden) - small_scores).max() < 1e-6


def test_a_restored_detector_is_the_same(learnt: Detector, train: pl.DataFrame, test: pl.DataFrame) -> None:
    state = learnt.state()
    again = detector.restore(state)
    assert np.array_equal(again.score(test, train).score, learnt.score(test, train).score)
    with pytest.raises(ModelUntrusted, match="train anew"):
        detector.restore({**state, "format": 99})


def test_a_stored_state_needs_no_classes_of_ours(learnt: Detector) -> None:
    def modules(value: object) -> set[str]:
        if isinstance(value, dict):
            return set().union(*(modules(one) for one in value.values()))
        if isinstance(value, list):
            return set().union(*(modules(one) for one in value)) if value else set()
        return {type(value).__module__.partition(".")[0]}

    assert modules(learnt.state()) <= {"builtins", "numpy", "sklearn"}


def test_less_than_a_day_is_not_enough() -> None:
    with pytest.raises(NotEnoughData, match="24 are needed"):
        detector.fit(metrics(0.9))
    assert detector.fit(metrics(1.0)).columns == ("cpu", "packets", "memory", "errors")


def test_columns_missing_constant_and_half_empty_are_survived(train: pl.DataFrame, test: pl.DataFrame) -> None:
    row = pl.int_range(pl.len())
    odd = train.with_columns(
        constant=pl.lit(5.0),
        never=pl.lit(None, dtype=pl.Float64),
        half=pl.when(row % 2 == 0).then("cpu"),
        name=pl.lit("text"),
    )
    learnt = detector.fit(odd)
    assert learnt.columns == ("cpu", "packets", "memory", "errors", "constant", "half")
    scores = learnt.score(test.drop("packets"), odd)
    assert np.isfinite(scores.score).all()
    assert np.isfinite(scores.weights).all()
    assert np.quantile(scores.score, 0.5) < 2.5


def test_gaps_and_nulls_do_not_alarm_by_themselves(learnt: Detector, train: pl.DataFrame) -> None:
    calm = metrics(1, seed=8, start=START + timedelta(days=DAYS))
    holes = calm.filter(~pl.int_range(pl.len()).is_between(300, 360)).with_columns(
        memory=pl.when(pl.int_range(pl.len()).is_between(600, 700)).then(None).otherwise("memory")
    )
    whole, holed = learnt.score(calm, train), learnt.score(holes, train)
    assert np.isnan(holed.score[300:310]).all()
    assert np.nanquantile(holed.score, 0.99) < np.nanquantile(whole.score, 0.99) + 1.0


def test_five_minute_data_works_too() -> None:
    train = metrics(6, step_s=300)
    test = with_hog(metrics(1, seed=5, start=START + timedelta(days=6), step_s=300), 140, 150)
    scores = detector.fit(train).score(test, train).score
    # A lone burst of errors may be as strange.
    assert scores[140:150].max() > np.quantile(np.delete(scores, np.s_[140:162]), 0.99)


def test_frames_that_can_not_be_used_are_refused(learnt: Detector) -> None:
    with pytest.raises(InvalidInput, match="no numeric column"):
        detector.fit(pl.DataFrame({"timestamp": [START], "name": ["x"]}))
    with pytest.raises(NotEnoughData, match="no metric has values"):
        detector.fit(metrics(2).with_columns(pl.lit(None, dtype=pl.Float64).alias("cpu")).select("timestamp", "cpu"))
    with pytest.raises(InvalidInput):
        learnt.score(pl.DataFrame({"cpu": [1.0]}))
