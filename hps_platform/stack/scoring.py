"""How well detection did on the simulated fleet, whose incidents are known.

`of_stack` rates what a running demo found; `offline` does the same for any seed without a stack: the simulator's text
through the dialects, minute features, one model a server, the same alarm budget. Matching belongs to
`hps_platform.analysis.scorecard`.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from hps_platform import detection
from hps_platform.analysis import scorecard
from hps_platform.analysis.budget import MERGE_GAP_S
from hps_platform.analysis.minutes import FAMILIES as SOURCES
from hps_platform.analysis.minutes import minutes
from hps_platform.analysis.scorecard import Alarm, Incident, Scorecard
from hps_platform.errors import NotFound
from hps_platform.metrics import FAMILIES
from hps_platform.settings import Settings
from hps_platform.stack import demo, seeding
from hps_platform.stack.simulator.timetable import timetable
from hps_platform.stack.simulator.world import World
from hps_platform.store.database import Database

HISTORY_WEEKS = 2
_EPISODE_GAP = timedelta(seconds=MERGE_GAP_S)
_PAGE = 1000
_DAY_S = 86_400.0


def _incidents(world: World, start: datetime, end: datetime, weeks: Iterable[int]) -> list[Incident]:
    """The timetable's incidents that could be seen within the span."""
    return [
        Incident(
            host=truth.host,
            start=truth.start,
            detectable_at=truth.detectable_at,
            end=truth.end,
            family=truth.family,
            metric=truth.metric,
            seen_in=frozenset(truth.seen_in),
        )
        for truth in timetable(world, tuple(weeks))
        if truth.detectable_at >= start and truth.end <= end
    ]


def _episodes(host: str, flagged: Iterable[tuple[datetime, float, str]]) -> Iterator[Alarm]:
    """Alarm episodes from anomalous minutes in order: time, score (lower is stranger), metric on top."""
    episode: list[tuple[datetime, float, str]] = []
    for minute in flagged:
        if episode and minute[0] - episode[-1][0] > _EPISODE_GAP:
            yield _alarm(host, episode)
            episode = []
        episode.append(minute)
    if episode:
        yield _alarm(host, episode)


def _alarm(host: str, episode: list[tuple[datetime, float, str]]) -> Alarm:
    worst = min(episode, key=lambda minute: minute[1])
    return Alarm(host, episode[0][0], episode[-1][0], worst[2])


def of_stack(settings: Settings) -> Scorecard:
    """Rates the anomalies of the demo that runs in this data directory; `NotFound` when there is none."""
    state = demo.load(settings.data_dir)
    if state is None or not state.complete:
        raise NotFound(f"{settings.data_dir} holds no complete demo: run hps demo first")
    world = World(state.seed, state.started_at)
    hosts = {name: state.server_ids[name] for name in (host.hostname for host in world.hosts)}
    alarms: list[Alarm] = []
    days: dict[str, float] = {}
    first = state.started_at - timedelta(days=state.days)
    until = datetime.now(UTC)
    with Database(settings.dsn()) as database:
        for name, server_id in hosts.items():
            flagged, scored = _found(database, server_id, first, until)
            alarms.extend(_episodes(name, flagged))
            days[name] = scored / 1440
    weeks = range(-HISTORY_WEEKS, int((until - state.started_at).days // 7) + 1)
    return scorecard.score(_incidents(world, first + timedelta(days=1), until, weeks), alarms, days)


def _found(
    database: Database, server_id: int, start: datetime, end: datetime
) -> tuple[list[tuple[datetime, float, str]], int]:
    """Anomalous minutes of one server in order, and how many were scored."""
    scored = detection.scored_minutes(database, server_id, start, end).height
    flagged: list[tuple[datetime, float, str]] = []
    page, count = 1, 1
    while len(flagged) < count:
        rows, count = detection.anomalies(
            database, server_id=server_id, start=start, end=end, page=page, page_size=_PAGE
        )
        flagged += [(row["timestamp"], row["anomaly_score"], row["contributions"][0]["column"]) for row in rows]
        page += 1
    return flagged[::-1], scored


def offline(seed: int, *, days: float, budget: float, tell: Callable[[str], None]) -> Scorecard:
    """Rates the detector on the history of another seed; trained on it and judging it, as the demo does."""
    epoch = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    world = World(seed, epoch)
    first = epoch - timedelta(days=days)
    alarms: list[Alarm] = []
    watched: dict[str, float] = {}
    for host in world.hosts:
        tell(f"seed {seed}: {host.hostname}")
        task = seeding.HostDay(host.hostname, 1, first, epoch, seed, epoch)
        judged = _judged(minutes(_frames(task)), budget)
        alarms.extend(_episodes(host.hostname, judged.filter("is_anomaly").select("timestamp", "score", "top").rows()))
        watched[host.hostname] = judged.height * 60 / _DAY_S
    weeks = range(-HISTORY_WEEKS, 0)
    return scorecard.score(_incidents(world, first + timedelta(days=1), epoch, weeks), alarms, watched)


def _frames(task: seeding.HostDay) -> dict[str, pl.DataFrame]:
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in SOURCES}
    for sample in seeding.samples(task, SOURCES):
        moment = datetime.fromtimestamp(sample.timestamp_ms / 1000, UTC)
        rows[sample.family] += [{"server_id": 1, "timestamp": moment, **row} for row in sample.rows]
    return {name: pl.DataFrame(found, schema=FAMILIES[name].frame_schema) for name, found in rows.items()}


def _judged(frame: pl.DataFrame, budget: float) -> pl.DataFrame:
    """Every scored minute: `timestamp, score` (the spec's `anomaly_score`), `is_anomaly, top`."""
    from hps_platform.analysis import detector

    columns = [name for name in frame.columns if name not in ("timestamp", "us", "sy", "idle")]
    learnt = detector.fit(frame.select("timestamp", *columns))
    scores = learnt.score(frame)
    flags = learnt.flag(scores, budget)
    top = [scores.columns[index] for index in scores.weights.argmax(axis=1)]
    return pl.DataFrame(
        {"timestamp": frame["timestamp"], "score": scores.anomaly_score, "is_anomaly": flags, "top": top}
    ).filter(pl.col("score").is_not_nan())
