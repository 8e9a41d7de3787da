"""Training: a server's minutes become a challenger in MLflow, and the champion where it passes the gate.

What the gate asks for is in `promotion`, which champion is set by hand in `champions`. Fitting and comparing run in
worker threads, worker processes or on a Dask cluster; reading and registering stay here.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from hps_platform.analysis import incidents as together
from hps_platform.analysis import maintenance
from hps_platform.analysis.budget import DEFAULT as DEFAULT_BUDGET
from hps_platform.detection import drift, peers
from hps_platform.detection.cards import card
from hps_platform.detection.promotion import Learnt, Lesson, learn
from hps_platform.errors import HpsError, ModelNotFound, ModelUntrusted, NotEnoughData, SettingsError, one_of_many
from hps_platform.model_registry import ModelRegistry, maker
from hps_platform.store import incidents, minutes, model_files, servers
from hps_platform.store.database import Database
from hps_platform.store.model_files import ModelFile
from hps_platform.store.servers import Server

if TYPE_CHECKING:
    import polars as pl

    from hps_platform.analysis.detector import Detector

logger = logging.getLogger(__name__)

DAYS = 14
RENEWED_AFTER = timedelta(days=7)
YOUNG = timedelta(days=7)
"""A model of less history than this knows no weekly habits; it is renewed daily until it has seen a week."""
DAILY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Trained:
    """A new version; `start` and `end` bound the minutes it learnt from. `promoted` says whether it is champion now,
    `reason` why or why not, `borrowed_from` of which host's model it is a copy."""

    server_id: int
    hostname: str
    name: str
    version: int
    rows: int
    start: datetime
    end: datetime
    seconds: float
    promoted: bool
    reason: str
    borrowed_from: str | None = None


@dataclass
class TrainingReport:
    """`trained`: new versions, promoted or not; `kept`: servers whose model is still young enough; `drifted`: those
    that no longer look like what their champion learnt; `refused`: why a champion can't be opened, by hostname;
    `failed`: reasons by hostname."""

    trained: list[Trained] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    drifted: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Workers:
    """Where models are fitted: `jobs` at once (0: one a core) in threads or processes (`loky`), or on the Dask cluster
    whose scheduler is at `scheduler`."""

    jobs: int = 1
    backend: str = "threading"
    scheduler: str = ""


def model_name(server_id: int) -> str:
    return f"hps.{server_id}"


def train(
    db: Database,
    registry: ModelRegistry,
    server_id: int,
    *,
    now: datetime | None = None,
    days: float = DAYS,
    budget: float = DEFAULT_BUDGET,
) -> Trained:
    """Trains one server's model on its last `days` and makes it the champion if it passes the gate.

    `NotEnoughData` below 24 hours of normal minutes, `NotFound`, `RegistryUnavailable`; the champion then stays.
    """
    now = now or datetime.now(UTC)
    champions = registry.champions()
    with db.connection() as conn:
        server = servers.get_server(conn, server_id)
    lesson = _lesson(db, registry, server, champions.get(model_name(server_id)), now, days, budget)
    started = time.perf_counter()
    learnt = learn(lesson)
    return _register(db, registry, server, learnt, time.perf_counter() - started)


def train_all(
    db: Database,
    registry: ModelRegistry,
    *,
    now: datetime | None = None,
    days: float = DAYS,
    only_due: bool = False,
    budget: float = DEFAULT_BUDGET,
    workers: Workers | None = None,
) -> TrainingReport:
    """Trains every active server, or with `only_due` those without a model that can be opened, with one that is due for
    renewal, or that have drifted.

    A server with less than a day of history gets a copy of the model of a peer: same operating system, most tags in
    common. A server that fails is reported and does not stop the others; only an MLflow or PostgreSQL that is away
    does.
    """
    now = now or datetime.now(UTC)
    report = TrainingReport()
    with db.connection() as conn:
        active = servers.list_servers(conn, active_only=True)
    champions = _opened(db, registry, active, report)
    chosen = _due_servers(db, active, champions, now, report) if only_due else active
    stopped: list[HpsError] = []

    def lessons() -> Iterator[tuple[Server, Lesson]]:
        for server in chosen:
            lesson: Lesson | None = None
            try:
                with one_of_many(report.failed, server.hostname, logger, "training"):
                    lesson = _lesson(db, registry, server, champions.get(model_name(server.id)), now, days, budget)
            except HpsError as error:  # raised in the end, not in the thread that asks for the next lesson
                stopped.append(error)
                return
            if lesson is not None:
                yield server, lesson

    young: list[tuple[Server, NotEnoughData]] = []
    with _attempts(workers or Workers(), lessons()) as attempts:
        for server, outcome, seconds in attempts:
            if isinstance(outcome, NotEnoughData) and model_name(server.id) not in champions:
                young.append((server, outcome))
                continue
            with one_of_many(report.failed, server.hostname, logger, "training"):
                if isinstance(outcome, Exception):
                    raise outcome
                report.trained.append(_register(db, registry, server, outcome, seconds))
    if stopped:
        raise stopped[0]
    lent = {**champions, **{one.name: one.version for one in report.trained if one.promoted}}
    for server, reason in young:
        with one_of_many(report.failed, server.hostname, logger, "training"):
            borrowed = _borrow(db, registry, server, active, lent)
            if borrowed is None:
                raise reason
            report.trained.append(borrowed)
    return report


@contextmanager
def _attempts(
    workers: Workers, lessons: Iterable[tuple[Server, Lesson]]
) -> Iterator[Iterator[tuple[Server, Learnt | Exception, float]]]:
    """The outcomes of lessons as they come; the next lessons are read meanwhile, a few ahead."""
    import joblib
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it publishes no types

    tasks = (joblib.delayed(_attempt)(server, lesson) for server, lesson in lessons)
    # One thread a fit: each takes one core as it is, and sums in another order would give another model.
    with _backend(workers), threadpool_limits(limits=1):
        outcomes = joblib.Parallel(return_as="generator_unordered", pre_dispatch="n_jobs + 1", batch_size=1)(tasks)
        try:
            yield outcomes
        finally:
            outcomes.close()


@contextmanager
def _backend(workers: Workers) -> Iterator[None]:
    import joblib

    if workers.backend != "dask":
        with joblib.parallel_config(backend=workers.backend, n_jobs=workers.jobs or -1):
            yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise SettingsError(
            "HPS_TRAINING_BACKEND=dask needs the package distributed: pip install distributed"
        ) from error
    if not workers.scheduler:
        raise SettingsError("HPS_TRAINING_BACKEND=dask needs the scheduler's address in HPS_DASK_SCHEDULER")
    client = Client(workers.scheduler)  # type: ignore[no-untyped-call]  # distributed has no types here
    with client, joblib.parallel_config(backend="dask", n_jobs=workers.jobs or -1):
        yield


def _attempt(server: Server, lesson: Lesson) -> tuple[Server, Learnt | Exception, float]:
    """Runs in a worker: an error is an outcome, because an exception would end the work on all servers."""
    started = time.perf_counter()
    try:
        outcome: Learnt | Exception = learn(lesson)
    except Exception as error:  # noqa: BLE001  # raised again where it is reported
        outcome = error
    return server, outcome, time.perf_counter() - started


def _opened(db: Database, registry: ModelRegistry, active: list[Server], report: TrainingReport) -> dict[str, int]:
    """The champions that this program can open; why others can't be goes into `report.refused`.

    One that was made by another release, or is not the file that was registered, is none: scoring refuses it too. What
    a program like this one has written need not be opened to know.
    """
    champions = registry.champions()
    for server in active:
        name = model_name(server.id)
        if name not in champions:
            continue
        try:
            with db.connection() as conn:
                file = model_files.model_file(conn, name, champions[name])
            look = registry.verify if file.made_by == maker() else registry.load
            look(name, champions[name], file.sha256)
        except (ModelNotFound, ModelUntrusted) as error:
            logger.warning("the champion of %s can't be opened: %s", server.hostname, error)
            report.refused[server.hostname] = str(error)
            del champions[name]
    return champions


def _due_servers(
    db: Database, active: list[Server], champions: Mapping[str, int], now: datetime, report: TrainingReport
) -> list[Server]:
    """Those of the servers that are due; the others go into `report.kept`, all that have drifted into `drifted`.

    One without a champion is due whatever became of its newest model.
    """
    with db.connection() as conn:
        newest, measured = model_files.newest(conn), model_files.drifts(conn)
    chosen = []
    for server in active:
        name = model_name(server.id)
        model, champion, last = newest.get(name), champions.get(name), measured.get(name)
        with db.connection() as conn:
            oldest = minutes.oldest(conn, server.id)
            if champion is not None and drift.stale(measured, name, champion, now):
                last = drift.measure(conn, server.id, name, champion, now)
        drifted = last is not None and last.version == champion and last.drifted
        if drifted:
            report.drifted.append(server.hostname)
        if champion is None or _due(model, oldest, now, drifted=drifted):
            chosen.append(server)
        else:
            report.kept.append(server.id)
    return chosen


def _due(model: ModelFile | None, oldest: datetime | None, now: datetime, *, drifted: bool = False) -> bool:
    """Whether a server whose newest model is this one, promoted or not, is to be trained."""
    if model is None:
        return True
    age = now - model.created_at
    if model.borrowed_from is not None:
        return oldest is not None and now - oldest >= DAILY
    young = oldest is not None and model.created_at - oldest < YOUNG
    return age >= RENEWED_AFTER or ((young or drifted) and age >= DAILY)


def _lesson(
    db: Database,
    registry: ModelRegistry,
    server: Server,
    champion: int | None,
    now: datetime,
    days: float,
    budget: float,
) -> Lesson:
    start = now - timedelta(days=days)
    with db.connection() as conn:
        frame = minutes.read(conn, server.id, start, now).select("timestamp", *minutes.FEATURES)
        known = incidents.spans(conn, server.id, start, now)
    rival, reference = None, None
    if champion is not None:
        rival, reference = _rival(db, registry, model_name(server.id), champion)
    return Lesson(
        frame=frame,
        columns=minutes.FEATURES,
        planned=maintenance.windows(server.settings, start, now),
        incidents=together.unlearnt(known, max(start, _first(frame, now)), now),
        champion=rival,
        reference=reference,
        alarms_per_day=budget,
    )


def _first(frame: "pl.DataFrame", now: datetime) -> datetime:
    """When the minutes begin: a young server has no fourteen days of which a quarter may be left out."""
    return now if frame.is_empty() else frame["timestamp"][0]


def _rival(
    db: Database, registry: ModelRegistry, name: str, version: int
) -> "tuple[Detector | None, dict[str, Any] | None]":
    """The champion to beat, and what its training minutes looked like. None where there is none to compare with: one
    that was borrowed from a peer, and one that can't be opened any more."""
    try:
        with db.connection() as conn:
            file = model_files.model_file(conn, name, version)
        if file.borrowed_from is not None:
            return None, None
        return registry.load(name, version, file.sha256), file.reference
    except (ModelNotFound, ModelUntrusted) as error:
        logger.warning("the champion of %s can't be compared with: %s", name, error)
        return None, None


def _register(db: Database, registry: ModelRegistry, server: Server, learnt: Learnt, seconds: float) -> Trained:
    began = time.perf_counter()
    name, rows = model_name(server.id), learnt.rows
    version, sha256 = registry.register(name, learnt.detector, card(server, learnt, seconds))
    with db.connection() as conn:
        model_files.register_model_file(conn, name, version, sha256, made_by=maker(), reference=learnt.reference)
    # Only now: a champion whose hash is not in the database could not be loaded.
    if learnt.passed:
        registry.promote(name, version)
    else:
        registry.challenge(name, version)
    event = model_files.PROMOTED if learnt.passed else model_files.REJECTED
    with db.connection() as conn:
        model_files.note_event(conn, name, version, event, learnt.reason, learnt.metrics)
    took = seconds + time.perf_counter() - began
    logger.info("%s: version %d %s after %.1f s: %s", server.hostname, version, event, took, learnt.reason)
    return Trained(
        server.id,
        server.hostname,
        name,
        version,
        len(rows),
        rows["timestamp"][0],
        rows["timestamp"][-1],
        took,
        learnt.passed,
        learnt.reason,
    )


def _borrow(
    db: Database, registry: ModelRegistry, server: Server, active: list[Server], champions: Mapping[str, int]
) -> Trained | None:
    """Gives a server the model of its closest peer until it has a day of its own; None where it has no peer."""
    began = time.perf_counter()
    for peer in peers.closest(server, active):
        lent = champions.get(model_name(peer.id))
        model = _rival(db, registry, model_name(peer.id), lent)[0] if lent is not None else None
        if lent is None or model is None:
            continue
        name, found = model_name(server.id), registry.version(model_name(peer.id), lent)
        version, sha256 = registry.register(name, model, peers.card(server, peer, model, found))
        with db.connection() as conn:
            model_files.register_model_file(conn, name, version, sha256, made_by=maker(), borrowed_from=peer.id)
        registry.promote(name, version)
        reason = f"less than a day of history: the model of {peer.hostname} stands in"
        with db.connection() as conn:
            model_files.note_event(conn, name, version, model_files.BORROWED, reason)
        return Trained(
            server.id,
            server.hostname,
            name,
            version,
            len(model.held_times),
            datetime.fromtimestamp(float(model.held_times[0]), UTC),
            datetime.fromtimestamp(float(model.held_times[-1]), UTC),
            time.perf_counter() - began,
            True,
            reason,
            peer.hostname,
        )
    return None
