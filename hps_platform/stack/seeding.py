"""Two weeks of history for the simulated fleet, through everything but SSH.

The simulator prints what its hosts would have printed; the dialects parse it, and it goes to Kafka as a collector would
send it, from where the landing run takes it. Work is cut into host-days; a finished one is noted in
`<data dir>/demo/seeded.json`, so that an interrupted demo resumes. A host-day that was cut off is sent again whole:
landing absorbs what it has.
"""

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from hps_platform import dialects
from hps_platform.collector.samples import Arrival, Origin, Output, Series
from hps_platform.errors import KafkaUnavailable, StackError
from hps_platform.metrics import FAMILIES, wire
from hps_platform.metrics.sample import DeadLetter, Sample
from hps_platform.stack.files import write_json
from hps_platform.stack.simulator.history import history
from hps_platform.stack.simulator.world import World
from hps_platform.stream import Producer

MINUTELY = ("vmstat", "iostat", "netstat", "memory")
TEN_MINUTELY = ("process", "filesystem")
INTERVALS_S = dict.fromkeys(MINUTELY, 60.0) | dict.fromkeys(TEN_MINUTELY, 600.0)
SEEDED = "demo/seeded.json"
_FLUSH_TIMEOUT_S = 120.0
_LINGER_MS = 250
"""History is in no hurry: few large requests cost the broker a fraction of many small ones."""


@dataclass(frozen=True, slots=True)
class HostDay:
    """One task: everything one host printed from `start` up to, not including, `end`."""

    host: str
    server_id: int
    start: datetime
    end: datetime
    seed: int
    epoch: datetime

    @property
    def label(self) -> str:
        return f"{self.host} {self.start.isoformat()}"


@lru_cache(maxsize=1)
def _world(seed: int, epoch: datetime) -> World:
    return World(seed, epoch)


def samples(task: HostDay, families: tuple[str, ...] = (*MINUTELY, *TEN_MINUTELY)) -> Iterator[Sample]:
    """What a collector would have made of that host-day, family by family; `StackError` for output it would refuse."""
    machine = _world(task.seed, task.epoch).machine(task.host)
    system = machine.host.os
    origin = Origin("history", f"history-{task.seed}-{task.start:%Y%m%dT%H%M}")
    made: list[Sample | DeadLetter] = []
    for planned in dialects.plan(system, INTERVALS_S):
        if planned.family not in families:
            continue
        series = Series(FAMILIES[planned.family], task.server_id, origin, made.append)
        # Rates need the sample before the first one.
        counted = planned.family == "netstat"
        start = task.start - timedelta(seconds=planned.interval_s) if counted else task.start
        # Each text of these two is one report of a stream, which the collector would have cut out.
        streamed = planned.family in ("vmstat", "iostat")
        for timestamp, _, text in history(machine, start, task.end, planned.command):
            arrival = Arrival(round(timestamp.timestamp() * 1000), timestamp.timestamp())
            series.answered(Output(system, planned, text, arrival, None if streamed else 0, streamed))
            entry = made.pop()
            if isinstance(entry, DeadLetter):
                raise StackError(f"{task.host} at {timestamp}: {planned.command} was refused: {entry.reason}")
            if timestamp >= task.start:
                yield entry


def seed_host_day(task: HostDay, bootstrap: str) -> int:
    """Sends one host-day to Kafka; returns the number of samples when all of them are acknowledged."""
    sent = 0
    refused: list[Exception] = []
    with closing(Producer(bootstrap, f"history-{os.getpid()}", linger_ms=_LINGER_MS)) as producer:
        for sample in samples(task):
            value, headers = wire.encode(FAMILIES[sample.family], sample)
            producer.send(
                FAMILIES[sample.family].topic,
                wire.key(sample.server_id),
                value,
                headers,
                on_delivery=lambda error: refused.append(error) if error else None,
            )
            sent += 1
        left = producer.flush(_FLUSH_TIMEOUT_S)
    if left or refused:
        raise KafkaUnavailable(f"history of {task.label}: {left + len(refused)} of {sent} samples were not taken")
    return sent


def _end_with(parent: int) -> None:
    """Ends this worker soon after its parent, also when that was killed: nothing goes on working unseen."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


class Ledger:
    """Which host-days are done; written after each one."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / SEEDED
        self._done: dict[str, int] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def __contains__(self, task: HostDay) -> bool:
        return task.label in self._done

    @property
    def samples(self) -> int:
        return sum(self._done.values())

    def add(self, task: HostDay, sent: int) -> None:
        self._done[task.label] = sent
        write_json(self._path, self._done)


def tasks(server_ids: Mapping[str, int], *, seed: int, epoch: datetime, days: float) -> list[HostDay]:
    """Host-days from the newest to the oldest, so that the app has something to show early."""
    first = epoch - timedelta(days=days)
    edges = [epoch]
    while edges[-1] > first:
        midnight = edges[-1].replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
        edges.append(max(midnight if midnight < edges[-1] else midnight - timedelta(days=1), first))
    spans = list(zip(edges[1:], edges[:-1], strict=True))
    return [HostDay(host, server_ids[host], start, end, seed, epoch) for start, end in spans for host in server_ids]


def seed_history(
    todo: list[HostDay],
    *,
    bootstrap: str,
    data_dir: Path,
    workers: int,
    progress: Callable[[int, int, int], None],
) -> int:
    """Sends all host-days, several at a time; calls `progress(done, all, samples)`; returns the samples sent in all."""
    ledger = Ledger(data_dir)
    left = [task for task in todo if task not in ledger]
    progress(len(todo) - len(left), len(todo), ledger.samples)
    if not left:
        return ledger.samples
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_end_with, initargs=(os.getpid(),)) as pool:
        running: dict[Future[int], HostDay] = {pool.submit(seed_host_day, task, bootstrap): task for task in left}
        try:
            while running:
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    ledger.add(running.pop(future), future.result())
                progress(len(todo) - len(running), len(todo), ledger.samples)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return ledger.samples
