"""The gate that a new model has to pass before a server is judged by it.

First its training minutes are checked: enough of them, no outage among them, no change that has not settled. Then
challenger and champion both replay the server's last days, as they were and with anomalies put in: the challenger must
find no fewer and alarm no more often. Pure functions of frames and detectors, so that they can run in any process;
reading, registering and promoting belong to `hps_platform.detection.training`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hps_platform.analysis import budget as budgeting
from hps_platform.analysis import drift
from hps_platform.analysis.drift import Drift
from hps_platform.analysis.features import DAY_S
from hps_platform.analysis.injection import Injection, inject
from hps_platform.analysis.maintenance import Span
from hps_platform.errors import NotEnoughData

if TYPE_CHECKING:
    import numpy.typing as npt

    from hps_platform.analysis.detector import Detector, Scores

ABNORMAL_AT_MOST = 0.05
"""The share of training minutes that the champion may find anomalous; four times the worst that the budget brings."""
SETTLED_AFTER = timedelta(days=3)
"""A server that has become another one is learnt anew once it has been so for this long."""
_SUDDEN_PSI = 1.0
MISSES_TOLERATED = 1 / 8
"""Of the injected anomalies, how many fewer the challenger may find: two equally good models differ by that much."""
EPISODES_TOLERATED = 2
"""Alarms in the replay by which the challenger may exceed the champion or the budget, whichever is more. Whoever finds
more of what really happened in those days alarms more too."""
_INJECTED_DAYS = 10
_LATE = timedelta(minutes=10)


@dataclass(frozen=True)
class Lesson:
    """What one training is made of: minutes (`timestamp` and metrics), the spans of planned work and of known incidents
    among them, and the champion to beat with the `reference` of its training minutes; without a champion only the data
    are checked."""

    frame: pl.DataFrame
    columns: Sequence[str]
    planned: Sequence[Span] = ()
    incidents: Sequence[Span] = ()
    champion: "Detector | None" = None
    reference: Mapping[str, Any] | None = None
    alarms_per_day: float = budgeting.DEFAULT


@dataclass(frozen=True)
class Learnt:
    """A challenger, the minutes it learnt from, the gate's verdict with the reason and its figures, the minutes'
    distributions (see `hps_platform.analysis.drift.reference`), and each metric's share of what was strange lately."""

    detector: "Detector"
    rows: pl.DataFrame
    passed: bool
    reason: str
    metrics: Mapping[str, float]
    reference: Mapping[str, Any]
    influence: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Found:
    """What one model made of the replay: alarm episodes in the minutes as they were, and which injections it found."""

    episodes: int
    found: tuple[bool, ...]


def learn(lesson: Lesson) -> Learnt:
    """Fits a challenger and puts it to the gate. `NotEnoughData` where less than a day of normal minutes is left.

    Left out of training: planned work, known incidents, days unlike any other, and what the champion finds anomalous.
    Unlike planned work, an incident counts when the data are checked: known or not, an outage is nothing to learn from.
    """
    from hps_platform.analysis import detector

    frame, planned = lesson.frame, _within(lesson.frame, lesson.planned)
    known = _within(frame, lesson.incidents)
    ordinary = frame.filter(~planned)
    if ordinary.is_empty():
        raise NotEnoughData("no samples in this range, and 24 hours are needed to know a server's normal behaviour")
    champion = lesson.champion
    # Scored with the planned work in it: a gap would make the minutes after it look strange.
    scores = champion.score(frame) if champion is not None else None
    odd = drift.odd_days(ordinary, [name for name in lesson.columns if ordinary[name].null_count() < len(ordinary)])
    abnormal = frame["timestamp"].dt.date().is_in(odd)
    if champion is not None and scores is not None:
        abnormal |= pl.Series(champion.flag(scores, lesson.alarms_per_day))
    rows = frame.filter(~abnormal & ~planned & ~known)
    learnt = detector.fit(rows, columns=lesson.columns)
    metrics = {
        "abnormal_share": int((abnormal & ~planned).sum()) / len(ordinary),
        "incident_share": int((known & ~planned).sum()) / len(ordinary),
        "odd_days": float(len(odd)),
    }
    if champion is None or scores is None:
        passed, reason = True, _first(odd)
    elif objection := _objection(lesson, rows, odd, metrics["abnormal_share"]):
        passed, reason = False, objection
    else:
        passed, reason, figures = compare(champion, scores, learnt, frame, lesson.alarms_per_day, planned | known)
        metrics |= figures
    reference = drift.reference(rows, learnt.columns, learnt.held_scores)
    return Learnt(learnt, rows, passed, reason, metrics, reference, _influence(learnt, rows))


def compare(
    champion: "Detector",
    scores: "Scores",
    challenger: "Detector",
    frame: pl.DataFrame,
    alarms_per_day: float,
    explained: pl.Series | None = None,
) -> tuple[bool, str, dict[str, float]]:
    """Whether the challenger may replace the champion, whose `scores` of `frame` are known; the reason and figures.

    Rows of `frame` that are `explained`, by planned work or a known incident, count neither as alarms nor as found:
    whoever alarms there is right.
    """
    counts = np.ones(len(frame), dtype=bool) if explained is None else ~explained.to_numpy()
    first = max(0, len(frame) - round(_INJECTED_DAYS * DAY_S / champion.step_s))
    both = [name for name in challenger.columns if name in champion.columns and name in frame.columns]
    spoilt, injections = inject(frame[first:], both, step_s=champion.step_s)
    old = _replay(champion, scores, frame, spoilt, injections, alarms_per_day, counts)
    new = _replay(challenger, challenger.score(frame), frame, spoilt, injections, alarms_per_day, counts)
    days = max(1.0, len(frame) * champion.step_s / DAY_S)
    figures = {
        "injected": float(len(injections)),
        "challenger_found": float(sum(new.found)),
        "champion_found": float(sum(old.found)),
        "challenger_alarms_per_day": new.episodes / days,
        "champion_alarms_per_day": old.episodes / days,
    }
    told = (
        f"finds {sum(new.found)} of {len(injections)} injected anomalies (the champion {sum(old.found)}) and raises"
        f" {new.episodes / days:.2f} alarms a day ({old.episodes / days:.2f})"
    )
    if sum(new.found) < sum(old.found) - MISSES_TOLERATED * len(injections):
        return False, f"it misses what the champion finds: it {told}", figures
    if new.episodes > max(old.episodes, int(alarms_per_day * days)) + EPISODES_TOLERATED:
        return False, f"it alarms more often: it {told}", figures
    return True, f"no worse than the champion: it {told}", figures


def _replay(
    model: "Detector",
    scores: "Scores",
    frame: pl.DataFrame,
    spoilt: pl.DataFrame,
    injections: Sequence[Injection],
    alarms_per_day: float,
    counts: "npt.NDArray[np.bool_]",
) -> Found:
    """`spoilt` are the last rows of `frame` with the injections.

    Alarms are counted as they would have been raised. What is found is judged at the one level at which the model's
    scores of the whole frame just keep the budget: with each day's own level, chance would decide between two models.
    """
    episodes = len(budgeting.episodes(scores.times, model.flag(scores, alarms_per_day) & counts))
    if not injections:
        return Found(episodes, ())
    first = len(frame) - len(spoilt)
    judged = model.score(spoilt, frame[:first])
    excess = np.where(counts, model.above_habit(scores.times, scores.score), -np.inf)
    days = len(frame) * model.step_s / DAY_S
    level = budgeting.level(scores.times, excess, int(alarms_per_day * days))
    fresh = (model.above_habit(judged.times, judged.score) > level) & counts[first:] & ~(excess[first:] > level)
    late = round(_LATE.total_seconds() / model.step_s)
    return Found(episodes, tuple(bool(fresh[one.first : one.last + late].any()) for one in injections))


def _objection(lesson: Lesson, rows: pl.DataFrame, odd: Sequence[Any], abnormal: float) -> str:
    """Why these minutes are nothing to learn from; empty when they are."""
    if odd:
        days = ", ".join(str(day) for day in odd)
        return f"its training data hold an outage: {days} unlike any other day"
    if abnormal > ABNORMAL_AT_MOST:
        return f"its training data hold an outage: the champion finds {abnormal:.1%} of the minutes anomalous"
    if lesson.reference is None:
        return ""
    newest: datetime = rows["timestamp"][-1]
    recent = _against(lesson.reference, rows, newest - SETTLED_AFTER, newest)
    before = _against(lesson.reference, rows, newest - SETTLED_AFTER - timedelta(days=2), newest - SETTLED_AFTER)
    if recent is not None and before is not None and _sudden(recent) and not _sudden(before):
        moved = ", ".join(name for name, psi in recent.features.items() if psi >= _SUDDEN_PSI)
        return f"the server has changed within the last {SETTLED_AFTER.days} days and not settled yet: {moved}"
    return ""


def _against(reference: Mapping[str, Any], rows: pl.DataFrame, start: datetime, end: datetime) -> Drift | None:
    part = rows.filter((pl.col("timestamp") > start) & (pl.col("timestamp") <= end))
    return None if part.is_empty() else drift.measure(reference, part)


def _sudden(found: Drift) -> bool:
    """Half of the metrics are hardly where they were."""
    return 2 * sum(psi >= _SUDDEN_PSI for psi in found.features.values()) >= len(found.features) > 0


def _first(odd: Sequence[Any]) -> str:
    left_out = f"; left out: {', '.join(str(day) for day in odd)}, unlike any other day" if odd else ""
    return f"the first model of this server{left_out}"


def _influence(learnt: "Detector", rows: pl.DataFrame) -> dict[str, float]:
    """Each metric's share of the strangeness of the last day's minutes, most first."""
    day = round(DAY_S / learnt.step_s)
    scores = learnt.score(rows[-day:], rows[-2 * day : -day])
    strange = np.nan_to_num(scores.score)
    shares = (scores.weights * strange[:, None]).sum(axis=0) / max(float(strange.sum()), 1e-9)
    return dict(sorted(zip(scores.columns, shares.tolist(), strict=True), key=lambda item: -item[1]))


def _within(frame: pl.DataFrame, spans: Sequence[Span]) -> pl.Series:
    """Which rows lie in one of the spans, ends not included."""
    stamp = frame["timestamp"]
    found = pl.repeat(value=False, n=len(frame), dtype=pl.Boolean, eager=True)
    for start, end in spans:
        found |= (stamp >= start) & (stamp < end)
    return found
