"""Two weeks of history for the simulated fleet, through everything but SSH.

The simulator prints what its hosts would have printed; the dialects parse it, and it goes to Kafka as a collector would
send it, from where the landing run takes it. Work is cut into host-days; a finished one is noted in
`<data dir>/demo/seeded.json`, so that an interrupted demo resumes. A host-day that was cut off is sent again whole:
landing absorbs what it has.
"""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hps_platform import dialects
from hps_platform.collector.selection import busiest
from hps_platform.errors import KafkaUnavailable, StackError
from hps_platform.metrics import FAMILIES, rates, wire
from hps_platform.metrics.sample import STREAMED, Row, Sample
from hps_platform.stack.files import write_json
from hps_platform.stack.simulator import history
from hps_platform.stack.simulator.fleet import Host
from hps_platform.stream import Producer

MINUTELY = ("vmstat", "iostat", "netstat", "memory")
TEN_MINUTELY = ("process", "filesystem")
INTERVALS_S = dict.fromkeys(MINUTELY, 60.0) | dict.fromkeys(TEN_MINUTELY, 600.0)
SEEDED = "demo/seeded.json"


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


def samples(task: HostDay, host: Host, family: str) -> Iterator[Sample]:
    """The samples of one family on one host-day, sequenced from 1 within a session of their own."""
    planned = next(entry for entry in dialects.plan(host.operating_system) if entry.family == family)
    interval_s = INTERVALS_S[family]
    # Rates need the sample before the first one.
    start = task.start - timedelta(seconds=interval_s) if family == "netstat" else task.start
    before: Mapping[str, Row] | None = None
    parser = dialects.parser_id(host.operating_system) + (STREAMED if planned.stream else "")
    seq = 0
    for timestamp, command, text in history.history(
        host, start, task.end, planned.command, seed=task.seed, epoch=task.epoch, interval_s=interval_s
    ):
        parsed = dialects.parse(host.operating_system, command, text, streamed=planned.stream)
        if parsed.outcome is not dialects.Outcome.ROWS:
            raise StackError(f"{task.host} at {timestamp}: {command} gave {parsed.outcome}: {parsed.message}")
        rows = parsed.rows
        if family == "netstat":
            rows = rates.counter_rates(rows, before, interval_s)
            before = {row["interface"]: row for row in rows}
            if timestamp < task.start:
                continue
        elif family == "iostat":
            rows = rates.interval_rates(rows, interval_s)
        elif family == "process":
            rows = busiest(rows)
        seq += 1
        yield Sample(
            family=family,
            server_id=task.server_id,
            timestamp_ms=round(timestamp.timestamp() * 1000),
            rows=rows,
            command=command,
            raw=text,
            parser=parser,
            collector="history",
            session=f"history-{task.seed}-{task.start:%Y%m%dT%H%M}",
            seq=seq,
            exit_code=None if planned.stream else 0,
        )


def seed_host_day(task: HostDay, host: Host, bootstrap: str) -> int:
    """Sends one host-day to Kafka; returns the number of samples when all of them are acknowledged."""
    sent = 0
    refused: list[Exception] = []
    with closing(Producer(bootstrap, f"history-{os.getpid()}")) as producer:
        for family in (*MINUTELY, *TEN_MINUTELY):
            for sample in samples(task, host, family):
                value, headers = wire.encode(FAMILIES[family], sample)
                producer.send(
                    FAMILIES[family].topic,
                    wire.key(sample.server_id),
                    value,
                    headers,
                    on_delivery=lambda error: refused.append(error) if error else None,
                )
                sent += 1
        left = producer.flush(120)
    if left or refused:
        raise KafkaUnavailable(f"history of {task.label}: {left + len(refused)} of {sent} samples were not taken")
    return sent


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
    hosts: Mapping[str, Host],
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
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        running: dict[Future[int], HostDay] = {
            pool.submit(seed_host_day, task, hosts[task.host], bootstrap): task for task in left
        }
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
