"""The gate: which challengers replace a champion."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from hps_platform.analysis import detector
from hps_platform.analysis.incidents import unlearnt
from hps_platform.detection.promotion import Learnt, Lesson, compare, learn
from hps_platform.errors import NotEnoughData
from hps_platform_tests.unit.analysis.series import START, metrics

COLUMNS = ("cpu", "packets", "memory")
"""Without the errors, whose ordinary bursts hide most of what is put in."""
STEP_S = 300.0
"""Five minutes: a fifth of the time that minutes would take."""


@pytest.fixture(scope="module")
def first() -> Learnt:
    return learn(Lesson(poisoned(metrics(10, step_s=STEP_S), 5, 1), COLUMNS))


def lesson(first: Learnt, frame: pl.DataFrame) -> Lesson:
    return Lesson(frame, COLUMNS, champion=first.detector, reference=first.reference)


def newest() -> pl.DataFrame:
    """The ten days until the fourteenth."""
    return metrics(14, step_s=STEP_S).filter(pl.col("timestamp") >= START + timedelta(days=4))


def during(start: float, days: float) -> pl.Expr:
    begin = START + timedelta(days=start)
    return pl.col("timestamp").is_between(begin, begin + timedelta(days=days), closed="left")


def poisoned(frame: pl.DataFrame, start: float, days: float) -> pl.DataFrame:
    hog = pl.when(during(start, days))
    return frame.with_columns(cpu=hog.then(98.0).otherwise("cpu"), packets=hog.then(5.0).otherwise("packets"))


def test_the_first_model_passes_and_leaves_an_outage_out(first: Learnt) -> None:
    assert first.passed
    assert first.reason == "the first model of this server; left out: 2026-03-07, unlike any other day"
    assert first.metrics == {"abnormal_share": pytest.approx(0.1), "incident_share": 0.0, "odd_days": 1.0}
    assert first.rows.filter(during(5, 1)).is_empty()
    assert set(first.influence) == set(COLUMNS)
    assert sum(first.influence.values()) == pytest.approx(1, abs=0.01)


def test_a_good_challenger_passes(first: Learnt) -> None:
    found = learn(lesson(first, newest()))
    assert found.passed, found.reason
    assert found.reason.startswith("no worse than the champion: it finds")
    assert found.metrics["challenger_found"] >= found.metrics["champion_found"] - 6
    assert 45 <= found.metrics["injected"] <= 48


def test_a_day_of_outage_is_neither_learnt_nor_promoted(first: Learnt) -> None:
    found = learn(lesson(first, poisoned(newest(), 9, 1)))
    assert not found.passed
    assert "2026-03-11 unlike any other day" in found.reason
    assert found.rows.filter(during(9, 1)).is_empty()


def test_an_outage_over_midnight_is_noticed_by_the_champion(first: Learnt) -> None:
    found = learn(lesson(first, poisoned(newest(), 9.3, 1.6)))
    assert not found.passed
    assert "hold an outage" in found.reason


def test_planned_work_is_neither_learnt_nor_an_outage(first: Learnt) -> None:
    planned = (START + timedelta(days=9), START + timedelta(days=10))
    found = learn(replace(lesson(first, poisoned(newest(), 9, 1)), planned=[planned]))
    assert found.passed, found.reason
    assert found.metrics["odd_days"] == 0
    assert found.rows.filter(during(9, 1)).is_empty()


def hours_of_trouble() -> tuple[pl.DataFrame, list[tuple[datetime, datetime]]]:
    """Three hours of different days in which the server stood still, and what is not learnt of them."""
    frame, spans = newest(), []
    for day in (7.3, 9.4, 11.6):
        frame = poisoned(frame, day, 1 / 24)
        spans.append((START + timedelta(days=day), START + timedelta(days=day, hours=1)))
    return frame, unlearnt(spans, frame["timestamp"][0], frame["timestamp"][-1])


def test_a_known_incident_is_neither_learnt_nor_an_alarm_of_the_replay(first: Learnt) -> None:
    frame, spans = hours_of_trouble()
    unknown, known = learn(lesson(first, frame)), learn(replace(lesson(first, frame), incidents=spans))
    assert known.passed, known.reason
    assert known.metrics["incident_share"] == pytest.approx(3 * 2.25 / 240, rel=0.1)
    assert known.metrics["abnormal_share"] == unknown.metrics["abnormal_share"]
    assert all(known.rows.filter(pl.col("timestamp").is_between(*span, closed="left")).is_empty() for span in spans)
    for model in ("champion", "challenger"):
        rate = f"{model}_alarms_per_day"
        assert known.metrics[rate] < unknown.metrics[rate]


def test_an_outage_stays_one_when_it_is_a_known_incident(first: Learnt) -> None:
    outage = (START + timedelta(days=9), START + timedelta(days=10))
    found = learn(replace(lesson(first, poisoned(newest(), 9, 1)), incidents=[outage]))
    assert not found.passed
    assert "hold an outage" in found.reason
    assert found.rows.filter(during(9, 1)).is_empty()


def test_a_server_that_has_just_become_another_one_has_to_settle(first: Learnt) -> None:
    changed = pl.when(during(12, 2))
    frame = newest().with_columns(
        cpu=changed.then(pl.col("cpu") + 6).otherwise("cpu"),
        packets=changed.then(pl.col("packets") * 1.1).otherwise("packets"),
        memory=changed.then(pl.col("memory") + 2).otherwise("memory"),
    )
    found = learn(lesson(first, frame))
    assert not found.passed, found.reason


def test_a_challenger_that_finds_less_is_rejected(first: Learnt) -> None:
    frame = newest()
    random = np.random.default_rng(0)
    noise = frame.with_columns(pl.col(name) + pl.Series(random.normal(0, 400, len(frame))) for name in COLUMNS)
    blind = detector.fit(noise, columns=COLUMNS)
    passed, reason, figures = compare(first.detector, first.detector.score(frame), blind, frame, 0.25)
    assert not passed
    assert reason.startswith("it misses what the champion finds")
    assert figures["challenger_found"] < figures["champion_found"] - 6


def test_too_little_is_said_to_be_too_little() -> None:
    with pytest.raises(NotEnoughData, match="24 are needed"):
        learn(Lesson(metrics(0.5), COLUMNS))
    with pytest.raises(NotEnoughData, match="no samples"):
        learn(Lesson(metrics(0.5).clear(), COLUMNS))
