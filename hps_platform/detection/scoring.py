"""Scoring: minutes become scores, scores become anomalies by the server's alert budget and its thresholds.

Scheduled scoring and runs on demand judge with the same code; they differ in what they keep. Training is in
`training`, reading what was found in `results`.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import polars as pl

from hps_platform.analysis.budget import DEFAULT as DEFAULT_BUDGET
from hps_platform.detection.training import model_name
from hps_platform.errors import InvalidInput, ModelNotFound, ModelUntrusted, RegistryUnavailable, one_of_many
from hps_platform.model_registry import ModelRegistry
from hps_platform.store import detections, minutes, model_files, servers, suppressions, thresholds
from hps_platform.store.database import Database
from hps_platform.store.servers import Server
from hps_platform.store.suppressions import Suppression

if TYPE_CHECKING:
    from hps_platform.analysis.detector import Detector

logger = logging.getLogger(__name__)

FIRST_DAYS = 7.0
"""How far back the first scoring of a server reaches, unless asked otherwise."""
LONGEST = timedelta(days=31)
SETTLING = timedelta(seconds=15)
"""How long after its end a minute is left alone, until its last samples have landed."""


@dataclass
class ScoreReport:
    """What a scheduled scoring did. `skipped`: reasons by hostname; `note` says when MLflow was away."""

    servers: int = 0
    minutes: int = 0
    anomalies: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Detection:
    """A run on demand. `results`: `timestamp, is_anomaly, anomaly_score, metric_values, contributions, forest_score`,
    every scored minute, ascending; `summary` as the API answers it."""

    run_id: str
    model_version: str
    results: pl.DataFrame
    summary: dict[str, Any]


@dataclass(frozen=True)
class _Model:
    detector: "Detector"
    version: str


def score_new(
    db: Database,
    registry: ModelRegistry,
    *,
    now: datetime | None = None,
    budget: float = DEFAULT_BUDGET,
    since: datetime | None = None,
    whole_history: bool = False,
) -> ScoreReport:
    """Scores every active server's minutes since the last scored one, with its champion.

    `since`, or `whole_history`, scores from there on again and replaces what was there. A server that was never scored
    gets its last seven days. One that fails is reported and does not stop the others. While MLflow is away the
    champions last seen go on, and `note` says so.
    """
    now = now or datetime.now(UTC)
    report = ScoreReport()
    champions, report.note = _champions(registry)
    with db.connection() as conn:
        active = servers.list_servers(conn, active_only=True)
    for server in active:
        version = champions.get(model_name(server.id))
        if version is None:
            report.skipped[server.hostname] = "no model yet: it takes 24 hours of samples"
            continue
        with one_of_many(report.skipped, server.hostname, logger, "scoring", but=RegistryUnavailable):
            scored, found = _score_server(db, registry, server, version, now, budget, since, whole_history)
            report.servers += 1
            report.minutes += scored
            report.anomalies += found
    return report


def run_on_demand(
    db: Database,
    registry: ModelRegistry,
    server_id: int,
    start: datetime,
    end: datetime,
    *,
    budget: float = DEFAULT_BUDGET,
) -> Detection:
    """Scores the minutes of [`start`, `end`) with the server's champion and keeps them as a run of their own.

    `InvalidInput` for a range that is empty or longer than a month, `ModelNotFound` before the first training. A run
    that fails is kept with its reason.
    """
    if end <= start:
        raise InvalidInput("End time must be after start time")
    if end - start > LONGEST:
        raise InvalidInput(f"at most {LONGEST.days} days can be scored at once")
    began = time.perf_counter()
    with db.connection() as conn:
        server = servers.get_server(conn, server_id)
    champions, _ = _champions(registry)
    version = champions.get(model_name(server_id))
    if version is None:
        raise ModelNotFound(f"{server.hostname} has no model yet: it takes 24 hours of samples")
    model = _model(db, registry, server_id, version)
    run_id = uuid4()
    with db.connection() as conn:
        detections.begin_run(
            conn,
            run_id,
            server_id,
            detections.ON_DEMAND,
            (start, end),
            model_version=model.version,
            features=model.detector.columns,
        )
    try:
        return _on_demand(db, model, server_id, run_id, (start, end), budget, began)
    except Exception as error:
        with db.connection() as conn:
            detections.fail_run(conn, run_id, str(error), time.perf_counter() - began)
        raise


def _on_demand(
    db: Database,
    model: _Model,
    server_id: int,
    run_id: UUID,
    span: tuple[datetime, datetime],
    budget: float,
    began: float,
) -> Detection:
    with db.connection() as conn:
        judged = _judge(conn, model, server_id, span, budget, afresh=False)
        results = judged.results
        told = results.with_columns(_as_json(results, "metric_values"), _as_json(results, "contributions"))
        detections.save_results(
            conn, run_id, server_id, told, trigger=detections.ON_DEMAND, model_version=model.version
        )
        total, found = len(results), int(results["is_anomaly"].sum())
        seconds = time.perf_counter() - began
        detections.complete_run(conn, run_id, span[1], points=total, anomalies=found, seconds=seconds)
    return Detection(
        run_id=str(run_id),
        model_version=model.version,
        results=results,
        summary={
            "total_points": total,
            "anomalies_detected": found,
            "anomaly_rate": round(100 * found / total, 2) if total else 0.0,
            "execution_time_seconds": round(seconds, 3),
        },
    )


def _score_server(
    db: Database,
    registry: ModelRegistry,
    server: Server,
    version: int,
    now: datetime,
    budget: float,
    since: datetime | None,
    whole_history: bool,
) -> tuple[int, int]:
    """Minutes scored and anomalies found; both 0 when nothing is new."""
    began = time.perf_counter()
    with db.connection() as conn:
        start = since or (minutes.oldest(conn, server.id) if whole_history else None)
        afresh = start is not None
        start = start or detections.scored_until(conn, server.id) or now - timedelta(days=FIRST_DAYS)
        newest = minutes.newest(conn, server.id, start)
    if newest is None:
        return 0, 0
    # The minute of the newest sample may still be growing, and later ones may be on their way.
    end = _minute(min(now - SETTLING, newest))
    start = _minute(start)
    if end <= start:
        return 0, 0
    model = _model(db, registry, server.id, version)
    with db.connection() as conn:
        judged = _judge(conn, model, server.id, (start, end), budget, afresh=afresh)
        results = judged.results
        shown = pl.col("is_anomaly")
        told = results.with_columns(
            pl.when(shown).then(_as_json(results, "metric_values")).alias("metric_values"),
            pl.when(shown).then(_as_json(results, "contributions")).alias("contributions"),
        )
        detections.clear_scheduled(conn, server.id, start, end)
        run_id = detections.run_to_extend(conn, server.id, model.version, start, end)
        if run_id is None:
            run_id = uuid4()
            detections.begin_run(
                conn,
                run_id,
                server.id,
                detections.SCHEDULED,
                (start, end),
                model_version=model.version,
                features=model.detector.columns,
            )
        detections.save_results(
            conn, run_id, server.id, told, trigger=detections.SCHEDULED, model_version=model.version
        )
        detections.keep_levels(conn, server.id, judged.levels, budget, model.version)
        total, found = len(results), int(results["is_anomaly"].sum())
        seconds = time.perf_counter() - began
        detections.complete_run(conn, run_id, end, points=total, anomalies=found, seconds=seconds)
    return total, found


@dataclass(frozen=True)
class _Judged:
    results: pl.DataFrame
    levels: dict[date, float]


def _judge(
    conn: Any, model: _Model, server_id: int, span: tuple[datetime, datetime], budget: float, *, afresh: bool
) -> _Judged:
    """Scores the span's minutes; `levels` holds the alarm levels of days that were not known before.

    `afresh`: levels known from earlier scoring do not count, because that is what is being replaced. A day of which a
    part stays as it is keeps its level.
    """
    from hps_platform.analysis import detector as detecting

    start, end = span
    before = start - timedelta(seconds=detecting.WARM_UP_S)
    read = minutes.read(conn, server_id, before, end)
    rows, history = read.filter(pl.col("timestamp") >= start), read.filter(pl.col("timestamp") < start)
    if rows.is_empty():
        return _Judged(_results(rows, model.detector, None, None), {})
    scores = model.detector.score(rows, history)
    levels = detections.levels(conn, server_id, _days(rows), budget)
    if afresh:
        levels = {day: level for day, level in levels.items() if _midnight(day) < start}
    unknown = [day for day in _days(rows) if day not in levels]
    if unknown:
        past = detections.scores(conn, server_id, _midnight(unknown[0]) - timedelta(days=7), start)
        found = _levels(unknown, past, scores, model.detector, budget)
        levels |= found
    else:
        found = {}
    results = _results(rows, model.detector, scores, levels)
    limits = {one.metric_name: one for one in thresholds.list_thresholds(conn, server_id) if one.is_active}
    allowed = {name: one.anomaly_score_threshold for name, one in limits.items()}
    results = _quieted(_within(results, allowed), suppressions.listing(conn, server_id=server_id))
    return _Judged(results, {day: level for day, level in found.items() if level < float("inf")})


def _levels(days: list[date], past: pl.DataFrame, scores: Any, model: "Detector", budget: float) -> dict[date, float]:
    import numpy as np

    from hps_platform.analysis.calibration import CEILING
    from hps_platform.analysis.features import epoch_seconds

    times = np.concatenate([epoch_seconds(past), scores.times])
    strange = np.concatenate([-CEILING * past["anomaly_score"].to_numpy(), scores.score])
    numbers = [(day - date(1970, 1, 1)).days for day in days]
    found = model.levels(numbers, times, strange, budget)
    return {day: found[number] for day, number in zip(days, numbers, strict=True)}


def _results(rows: pl.DataFrame, model: "Detector", scores: Any, levels: Mapping[date, float] | None) -> pl.DataFrame:
    """Every minute that could be scored, as `Detection.results` has it."""
    from hps_platform.analysis import explain

    shown = [name for name in (*minutes.FEATURES, *minutes.CPU_SHARES) if rows[name].null_count() < len(rows)]
    schema = {
        "timestamp": pl.Datetime("us", "UTC"),
        "is_anomaly": pl.Boolean(),
        "anomaly_score": pl.Float64(),
        "metric_values": pl.Struct(dict.fromkeys(shown, pl.Float64())),
        "contributions": pl.List(pl.Struct(dict(explain.FIELDS))),
        "forest_score": pl.Float64(),
    }
    if scores is None or levels is None:
        return pl.DataFrame(schema=schema)
    parts = explain.all_contributions(scores, model.usual)
    limits = pl.Series([levels[day] for day in rows["timestamp"].dt.date()], dtype=pl.Float64)
    frame = rows.select(
        "timestamp",
        is_anomaly=pl.Series(model.above_habit(scores.times, scores.score)) > limits,
        anomaly_score=pl.Series(scores.anomaly_score),
        metric_values=pl.struct(shown),
        contributions=parts,
        forest_score=pl.Series(scores.forest_score),
    )
    return frame.filter(pl.col("anomaly_score").is_not_nan()).cast(pl.Schema(schema))


def _within(results: pl.DataFrame, allowed: Mapping[str, float]) -> pl.DataFrame:
    """Takes back anomalies that are milder than the threshold set for their first metric, or for `*`."""
    if not allowed:
        return results
    head = pl.col("contributions").list.first().struct.field("column")
    limit = head.replace_strict(dict(allowed), default=allowed.get("*", 0.0), return_dtype=pl.Float64)
    return results.with_columns(is_anomaly=pl.col("is_anomaly") & (pl.col("anomaly_score") <= limit))


def _quieted(results: pl.DataFrame, learnt: Sequence[Suppression]) -> pl.DataFrame:
    """Takes back anomalies that are like a false alarm and no stranger than was demanded after it: of the same head
    metrics, at the same time of day."""
    if not learnt:
        return results
    head = pl.col("contributions").list.first().struct.field("column")
    minute = pl.col("timestamp").dt.hour().cast(pl.Int32) * 60 + pl.col("timestamp").dt.minute()
    quiet = [
        head.is_in(one.metrics)
        & ((minute - one.from_minute) % 1440 < one.minutes)
        & (pl.col("anomaly_score") > one.demanded_score)
        for one in learnt
    ]
    return results.with_columns(is_anomaly=pl.col("is_anomaly") & ~pl.any_horizontal(quiet).fill_null(value=False))


def _as_json(results: pl.DataFrame, name: str) -> pl.Series:
    """JSON text of each row; values that were not measured are left out."""
    texts = []
    for value in results[name].to_list():
        kept = {key: one for key, one in value.items() if one is not None} if isinstance(value, dict) else value
        texts.append(detections.as_json(kept))
    return pl.Series(name, texts, dtype=pl.String)


def _champions(registry: ModelRegistry) -> tuple[dict[str, int], str]:
    try:
        return registry.champions(), ""
    except RegistryUnavailable as error:
        known = registry.last_champions()
        if not known:
            raise
        logger.warning("%s: going on with the champions last seen", error)
        return known, f"{error}; the champions last seen are used"


def _model(db: Database, registry: ModelRegistry, server_id: int, version: int) -> _Model:
    name = model_name(server_id)
    with db.connection() as conn:
        known = model_files.model_file(conn, name, version)
    try:
        return _Model(registry.load(name, version, known.sha256), str(version))
    except ModelUntrusted as error:
        raise ModelUntrusted(f"nothing is judged until the next hourly training: {error}") from error


def _days(rows: pl.DataFrame) -> list[date]:
    days: list[date] = rows["timestamp"].dt.date().unique().sort().to_list()
    return days


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
