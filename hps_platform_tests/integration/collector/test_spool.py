"""Samples that wait on disk: through a broker that is away, and through the collector's own end."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import polars as pl
import pytest

from hps_platform.errors import KafkaUnavailable
from hps_platform.metrics import FAMILIES, wire
from hps_platform.stack.kafka import Kafka
from hps_platform.store import events
from hps_platform.store.database import Database
from hps_platform.store.servers import Server
from hps_platform.stream import Record
from hps_platform_tests.integration.collector.linux import VMSTAT_HEADER, Script, linux
from hps_platform_tests.integration.collector.running import READ_EVERY_S, Platform, collector_process, eventually
from hps_platform_tests.integration.ssh.hosts import Terminal, scripted_host

_HOSTS = 12
_LINE = " {r}  0      0 411204  80412 901216    0    0    18    95  611 1204  7  2 90  1  0\n"
_LOST_AT_MOST_S = 0.2


class Printed:
    """A host's vmstat that numbers its lines in column `r`, and the moment of each."""

    def __init__(self) -> None:
        self.at: dict[int, float] = {}

    def script(self) -> Script:
        async def vmstat(terminal: Terminal) -> int:
            terminal.print(VMSTAT_HEADER + _LINE.format(r=0))
            while True:
                await terminal.pause(0.1)
                number = len(self.at) + 1
                self.at[number] = time.monotonic()
                terminal.print(_LINE.format(r=number))

        return vmstat


@contextmanager
def fleet(platform: Platform) -> Iterator[list[tuple[Server, Printed]]]:
    with ExitStack() as stack:
        found = []
        for number in range(_HOSTS):
            printed = Printed()
            host = stack.enter_context(scripted_host(linux(vmstat=printed.script())))
            found.append((platform.add(f"lin{number}", host), printed))
        yield found


def _landed(platform: Platform) -> dict[int, set[int]]:
    """The numbers of the lines that are in Kafka, by server."""
    family = FAMILIES["vmstat"]
    try:
        values = [record.value for record in platform.records(family.topic)]
    except KafkaUnavailable:  # it is just starting
        return {}
    rows = wire.decode(family, values) if values else pl.DataFrame(schema={"server_id": pl.Int64, "r": pl.Int64})
    return {int(one["server_id"]): set(one["r"]) for one in rows.group_by("server_id").agg("r").iter_rows(named=True)}


def _all_landed(platform: Platform, kept: list[tuple[Server, set[int]]]) -> bool:
    landed = _landed(platform)
    return all(lines <= landed.get(server.id, set()) for server, lines in kept)


def _told_of_left_over(db: Database) -> bool:
    with db.connection() as conn:
        return "left_over" in {event.kind for event in events.list_events(conn)}


def _in_order(records: list[Record]) -> bool:
    """Whether each session's numbers grow; what was sent twice comes again from where it began."""
    seen: dict[tuple[bytes, int], list[int]] = {}
    for record in records:
        seen.setdefault((record.headers["session"], record.partition), []).append(int(record.headers["seq"]))
    return all(list(dict.fromkeys(numbers)) == sorted(set(numbers)) for numbers in seen.values())


@pytest.mark.parametrize("away", [False, True], ids=["kafka there", "kafka away"])
def test_a_kill_loses_no_more_than_what_came_in_the_last_200_ms(
    migrated_dsn: str, broker: Kafka, tmp_path: Path, away: bool
) -> None:
    with Database(migrated_dsn) as db:
        platform = Platform(db, broker.bootstrap)
        with fleet(platform) as hosts:
            with collector_process(platform, tmp_path / "first.log") as process:
                for server, _ in hosts:
                    platform.wait_for_samples(server, "vmstat", 3)
                if away:
                    broker.stop()
                until = [len(printed.at) + 60 for _, printed in hosts]
                eventually(lambda: all(len(printed.at) > end for (_, printed), end in zip(hosts, until, strict=True)))
                process.send_signal(signal.SIGKILL)
                killed_at = time.monotonic()
                process.wait(10)
            received_until = killed_at - _LOST_AT_MOST_S
            kept = [
                (server, {number for number, at in printed.at.items() if at < received_until})
                for server, printed in hosts
            ]
            if away:
                broker.start()
            with collector_process(platform, tmp_path / "second.log"):
                eventually(lambda: _all_landed(platform, kept), within_s=40, every_s=READ_EVERY_S)
                if away:
                    eventually(lambda: _told_of_left_over(db), every_s=READ_EVERY_S)
        assert all(_in_order(platform.samples(server, "vmstat")) for server, _ in kept)
        platform.close()


def test_a_collector_that_is_stopped_while_kafka_is_away_leaves_its_samples_to_the_next(
    migrated_dsn: str, broker: Kafka, tmp_path: Path
) -> None:
    with Database(migrated_dsn) as db:
        platform = Platform(db, broker.bootstrap)
        printed = Printed()
        with scripted_host(linux(vmstat=printed.script())) as host:
            server = platform.add("lin1", host)
            with collector_process(platform, tmp_path / "first.log") as process:
                platform.wait_for_samples(server, "vmstat", 3)
                broker.stop()
                until = len(printed.at) + 30
                eventually(lambda: len(printed.at) > until)
                process.terminate()
                assert process.wait(10) == 0
        assert "wait on disk" in (tmp_path / "first.log").read_text()
        broker.start()
        with collector_process(platform, tmp_path / "second.log") as process:
            kept = [(server, set(range(1, until)))]
            eventually(lambda: _all_landed(platform, kept), within_s=40, every_s=READ_EVERY_S)
            process.terminate()
            assert process.wait(10) == 0
        records = platform.samples(server, "vmstat")
        assert [int(record.headers["seq"]) for record in records] == list(range(1, len(records) + 1))
        assert not list((tmp_path / "collector").rglob("*.spool"))
        platform.close()
