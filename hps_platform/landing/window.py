"""One landing run: takes the group's lease, drains every topic until its window is over or a successor takes over."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from hps_platform.errors import DatabaseUnavailable, FencedOut, KafkaUnavailable
from hps_platform.landing import sequence
from hps_platform.landing.decoding import Batch, decode_columns
from hps_platform.landing.pipeline import Pipeline
from hps_platform.landing.reports import CommitReport, Outcome, WindowReport
from hps_platform.metrics import FAMILIES
from hps_platform.metrics.wire import DEAD_LETTER_TOPIC
from hps_platform.process import in_long_turns, keep_freed, seldom_searched
from hps_platform.store import completeness, landing, leases, partitions, provenance
from hps_platform.store.database import Connection, session
from hps_platform.store.landing import Position, Rejected
from hps_platform.stream import read_again, watermarks

logger = logging.getLogger(__name__)

TOPICS = (*(family.topic for family in FAMILIES.values()), DEAD_LETTER_TOPIC)
_HEARTBEAT_S = 2.0
_STUCK_S = 60.0
"""A run that has made no step for so long does not renew its lease any more: another one may do better."""
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 2.0
_SETTLE_S = 10.0
_KEPT_BYTES = 256 * 1024 * 1024
"""Memory that a run frees and does not give back: about what batches take."""


@dataclass(frozen=True, slots=True)
class Group:
    """A fixed set of partitions with a lease of its own: every `of`-th of each topic, from `number` on."""

    number: int = 0
    of: int = 1

    @property
    def name(self) -> str:
        return "all" if self.of == 1 else f"{self.number + 1}of{self.of}"

    def owns(self, partition: int) -> bool:
        return partition % self.of == self.number


EVERYTHING = Group()


def groups(count: int) -> list[Group]:
    """All partitions in `count` groups."""
    return [Group(number, count) for number in range(count)]


class _Heartbeat:
    """Renews the lease between commits, on a session of its own whose end shows that the run is gone."""

    def __init__(self, dsn: str, group: str, run_id: str, fence: int) -> None:
        self._dsn = dsn
        self._group = group
        self._run_id = run_id
        self._fence = fence
        self._ending = threading.Event()
        self._stepped_at = time.monotonic()
        self.fenced = threading.Event()
        self._thread = threading.Thread(target=self._run, name="landing heartbeat", daemon=True)

    def __enter__(self) -> "_Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def step(self) -> None:
        self._stepped_at = time.monotonic()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                with session(self._dsn, application_name=leases.session_name(self._group, self._run_id)) as conn:
                    self._renew(conn)
            except FencedOut:
                self.fenced.set()
                return
            except DatabaseUnavailable as error:
                logger.debug("heartbeat: %s", error)
                self._ending.wait(_FIRST_PAUSE_S)

    def _renew(self, conn: Connection) -> None:
        while not self._ending.is_set():
            if time.monotonic() - self._stepped_at < _STUCK_S:
                leases.hold(conn, self._group, self._run_id, self._fence, register=True)
            self._ending.wait(_HEARTBEAT_S)


@dataclass
class _Run:
    dsn: str
    bootstrap: str
    chosen: Group
    window_s: float
    batch_interval_s: float
    max_messages: int
    run_id: str
    stop: Callable[[], bool]
    on_commit: Callable[[CommitReport], None]
    overtime_s: float
    report: WindowReport = field(default_factory=lambda: WindowReport(Outcome.NOT_NEEDED))
    fence: int = 0
    ends_at: float = 0.0
    _days: set[tuple[str, date]] = field(default_factory=set)
    _uncertain: tuple[Batch, CommitReport] | None = None  # its commit was sent, but not acknowledged

    @property
    def group(self) -> str:
        return self.chosen.name

    @property
    def session_name(self) -> str:
        return leases.session_name(self.group, self.run_id)

    def execute(self) -> WindowReport:
        began = time.monotonic()
        outcome = self._retrying(self._acquire, lambda: time.monotonic() - began > self.window_s)
        if outcome is None:
            self.ends_at = time.monotonic() + self.window_s
            self.report.fence = self.fence
            logger.info("landing %s: run %s holds fence %d", self.group, self.run_id, self.fence)
            keep_freed(_KEPT_BYTES)
            try:
                with (
                    in_long_turns(),
                    seldom_searched(1_000_000, whole=50_000),
                    _Heartbeat(self.dsn, self.group, self.run_id, self.fence) as heartbeat,
                ):
                    outcome = self._retrying(lambda: self._drain(heartbeat), self._is_over)
            finally:  # also when it is interrupted: nobody should have to wait until the lease is stale
                if outcome is not Outcome.HANDED_OVER:
                    self._release()
        self.report.outcome = outcome or Outcome.ENDED
        logger.info("landing %s: run %s %s: %s", self.group, self.run_id, self.report.outcome, self.report)
        return self.report

    def _is_over(self) -> bool:
        return time.monotonic() > self.ends_at + self.overtime_s

    def _retrying(self, work: Callable[[], Outcome | None], is_over: Callable[[], bool]) -> Outcome | None:
        """Does it again, with growing pauses, while PostgreSQL or Kafka is away."""
        pause_s = _FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            try:
                return work()
            except FencedOut as error:
                logger.info("landing %s: %s", self.group, error)
                return Outcome.HANDED_OVER
            except (DatabaseUnavailable, KafkaUnavailable) as error:
                self.report.restarts += 1
                logger.warning("landing %s waits: %s", self.group, error)
            if self.stop():
                return Outcome.STOPPED
            if is_over():
                return Outcome.ENDED
            if time.monotonic() - began > _LONGEST_PAUSE_S:  # it had worked for a while
                pause_s = _FIRST_PAUSE_S
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _acquire(self) -> Outcome | None:
        """Warms up, then takes the lease; `None` when it is ours."""
        with session(self.dsn, application_name=self.session_name) as conn:
            while True:
                lease = leases.state(conn, self.group)
                if lease is not None and not (lease.stale or lease.ending):
                    return Outcome.NOT_NEEDED
                leases.announce(conn, self.group, self.run_id)
                watermarks(self.bootstrap, TOPICS)
                if lease is not None and lease.stale and lease.fence:
                    leases.end_sessions(conn, lease)
                fence = leases.take(conn, self.group, self.run_id, self.window_s)
                if fence is not None:
                    self.fence = fence
                    return None

    def _release(self) -> None:
        try:
            with session(self.dsn, application_name=self.session_name) as conn:
                leases.release(conn, self.group, self.run_id, self.fence)
        except DatabaseUnavailable as error:
            logger.warning("landing %s: the lease will run out by itself: %s", self.group, error)

    def _drain(self, heartbeat: _Heartbeat) -> Outcome:
        """Commits batch after batch; returns at the end of the window, raises `FencedOut` when it is taken over."""
        with session(self.dsn, application_name=self.session_name) as conn:
            self._days.clear()
            starts = self._starts(conn)
            with conn.transaction():
                leases.hold(conn, self.group, self.run_id, self.fence)
                provenance.begin_run(conn, self.run_id, self.fence, starts)
            with Pipeline(
                self.bootstrap, starts, batch_interval_s=self.batch_interval_s, max_messages=self.max_messages
            ) as pipeline:
                while True:
                    heartbeat.step()
                    if self.stop():
                        return Outcome.STOPPED
                    if self._is_over():
                        return Outcome.ENDED
                    if heartbeat.fenced.is_set():
                        raise FencedOut(f"another run lands {self.group} now: fence {self.fence} is over")
                    batch = pipeline.next(0.5)
                    if batch is not None:
                        self._commit(conn, batch)

    def _watermarks(self) -> dict[Position, tuple[int, int]]:
        marks = watermarks(self.bootstrap, TOPICS)
        return {place: span for place, span in marks.items() if self.chosen.owns(place[1])}

    def _starts(self, conn: Connection) -> dict[Position, int]:
        """Where to read on, from the ledger. Offsets that Kafka doesn't hold any more become recorded gaps."""
        marks = self._watermarks()
        with conn.transaction():
            starts = landing.positions(conn, marks)
        self._report_uncertain(starts)
        deadline = time.monotonic() + _SETTLE_S
        # A broker that has just restarted may for a moment show an end below what it has handed out.
        while any(starts[place] > high for place, (_, high) in marks.items()) and time.monotonic() < deadline:
            time.sleep(_FIRST_PAUSE_S)
            marks = self._watermarks()
        expired = {place: (starts[place], low) for place, (low, _) in marks.items() if starts[place] < low}
        anew = {place: (starts[place], low) for place, (low, high) in marks.items() if starts[place] > high}
        reasons = (
            (expired, "expired from Kafka before it was landed"),
            (anew, "the topic ends before this offset: it was created anew"),
        )
        for gaps, reason in reasons:
            if gaps:
                logger.error("landing %s: %s: %s", self.group, reason, gaps)
                with conn.transaction():
                    landing.save_gaps(conn, gaps, reason)
                    leases.hold(conn, self.group, self.run_id, self.fence)
                self.report.gaps |= gaps
        return starts | {place: low for gaps, _ in reasons for place, (_, low) in gaps.items()}

    def _ensure_partitions(self, conn: Connection, batch: Batch) -> None:
        missing = batch.by_day.keys() - self._days
        if missing:
            with conn.transaction():
                for name in sorted({name for name, _ in missing}):
                    partitions.ensure(conn, [FAMILIES[name]], [day for own, day in missing if own == name])
            self._days |= missing

    def _commit(self, conn: Connection, batch: Batch) -> None:
        """Rows, dead letters, marks and the ledger in one transaction; `FencedOut` when it is not ours any more."""
        self._ensure_partitions(conn, batch)
        duplicates: Counter[str] = Counter()
        refused: list[Rejected] = []
        exact: Batch | None = None
        with conn.transaction():
            for rows in batch.rows:
                landed = landing.copy_rows(conn, rows)
                duplicates[rows.family.name] += landed.duplicates
                for not_taken, reason in landed.refused:
                    exact = exact or self._exact(batch)
                    refused += exact.refuse(rows.family, not_taken, reason)
            landing.save_rejected(conn, batch.rejected + refused)
            landing.mark_dirty(conn, batch.hours)
            runs = batch.runs
            if refused or duplicates.total():
                exact = exact or self._exact(batch)
                runs = sequence.runs(sequence.refused(exact.messages, refused), recount=True)
            completeness.append(conn, runs)
            landing.advance(conn, batch.moves)
            leases.hold(conn, self.group, self.run_id, self.fence)
            report = CommitReport(
                at=datetime.now(UTC),
                messages=sum(map(len, batch.records)),
                rows=batch.by_day,
                duplicates=+duplicates,
                rejected=len(batch.rejected) + len(refused),
                offsets=batch.offsets,
                lag_ms=max(0, round(time.time() * 1000) - batch.oldest_ms),
            )
            self._uncertain = (batch, report)
        self._uncertain = None
        self._reported(report)

    def _exact(self, batch: Batch) -> Batch:
        """The batch with all messages, and numbers from every header."""
        whole = all(own.whole for own in batch.records)
        read = batch.records if whole else read_again(self.bootstrap, batch.moves)
        return decode_columns(read, batch.moves, batch.decoded_at, exact=True)

    def _reported(self, report: CommitReport) -> None:
        self.report.add(report)
        self.on_commit(report)

    def _report_uncertain(self, starts: Mapping[Position, int]) -> None:
        """The connection broke while a commit was under way: the ledger says whether it went through."""
        if self._uncertain is None:
            return
        batch, report = self._uncertain
        self._uncertain = None
        if all(starts[place] == following for place, (_, following) in batch.moves.items()):
            self._reported(report)


def run_window(
    *,
    dsn: str,
    bootstrap: str,
    run_id: str,
    window_s: float,
    batch_interval_s: float = 2.0,
    max_messages: int = 50_000,
    group: Group = EVERYTHING,
    stop: Callable[[], bool] = lambda: False,
    on_commit: Callable[[CommitReport], None] = lambda _: None,
    overtime_s: float = 60.0,
) -> WindowReport:
    """Lands a group's partitions of every topic for `window_s`, and returns how it ended.

    Returns at once when another run holds the group and is not about to end. Rows, dead letters and offsets go into
    one transaction, about every `batch_interval_s`; wherever the process dies, the next run goes on exactly there.
    PostgreSQL and Kafka may restart meanwhile. After the window it goes on for up to `overtime_s`, so that nothing
    waits while its successor starts; the successor's fence ends it.
    """
    run = _Run(
        dsn, bootstrap, group, window_s, batch_interval_s, max_messages, run_id, stop, on_commit, overtime_s=overtime_s
    )
    return run.execute()


def should_start(conn: Connection, group: Group = EVERYTHING) -> bool:
    """Whether a run is to be started now: nobody lands, or whoever does is about to end, and no successor is there."""
    lease = leases.state(conn, group.name)
    return lease is None or ((lease.stale or lease.ending) and not lease.awaited)
