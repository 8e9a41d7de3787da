"""`hps bench collect`: what a collector costs that holds many hosts at 2 s.

Real SSH sessions against a simulated fleet in another process, whose texts come from a stock; the real collector with
its own PostgreSQL and Kafka. What the fleet has printed is compared with what arrived in Kafka, report by report.
"""

import json
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import psutil

from hps_platform import dialects, stream
from hps_platform.metrics import FAMILIES, wire
from hps_platform.stack.bench import Report, Tell, floor, report
from hps_platform.stack.bench.ground import Cpu, Ground, Part, ground, pause, start_collector
from hps_platform.store import servers
from hps_platform.store.database import Database
from hps_platform.store.secrets import SecretBox

_SETTLE_S = 15.0
_FLOOR_S = 30.0
_STREAMED = ("vmstat", "iostat")
_SLOW_INTERVAL_S = 60.0
_INTERVALS = {name: floor.INTERVAL_S if name in _STREAMED else _SLOW_INTERVAL_S for name in FAMILIES}
_CONNECT_WITHIN_S = 240.0
_STOPPING_MS = 1_500
"""Streams are silent by then. A command that is answered while the collector stops is nobody's loss."""
_ANSWER_MS = 500

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fleet:
    """The simulated fleet's process and its list of hosts."""

    part: Part
    directory: Path
    listed: dict[str, Any]


def run(*, hosts: int, seconds: float, measure_floor: bool, tell: Tell) -> Report:
    """Measures `hosts` hosts for `seconds`."""
    started = time.monotonic()
    parameters = {"hosts": hosts, "seconds": seconds, "interval_s": floor.INTERVAL_S}
    with ground() as base:
        least = _floor(base, hosts, min(seconds, _FLOOR_S), tell) if measure_floor else None
        tell("PostgreSQL and Kafka are started")
        base.postgres()
        broker = base.kafka()
        measured = _collect(base, broker, hosts, seconds, tell)
        return report("collect", parameters, started, {"hosts": hosts, "floor_cpu_share": least, **measured})


def _fleet(base: Ground, name: str, hosts: int) -> Fleet:
    folder = base.folder / name
    options = ("--data-dir", str(folder), "--hosts", str(hosts), "--rehearsed")
    part = base.run_module(name, "hps_platform.stack.simulator", *options)
    directory = folder / "simulator"
    part.wait_for("a listening fleet", (directory / "fleet.json").exists, 120.0)
    return Fleet(part, directory, json.loads((directory / "fleet.json").read_text()))


def _floor(base: Ground, hosts: int, seconds: float, tell: Tell) -> float:
    tell(f"the floor: {2 * hosts} channels on {hosts} connections, read and thrown away")
    fleet = _fleet(base, "fleet-of-the-floor", hosts)
    listing = str(fleet.directory / "fleet.json")
    part = base.run_module("floor", "hps_platform.stack.bench.floor", listing, str(seconds))
    found = json.loads(part.output(_CONNECT_WITHIN_S + seconds))
    fleet.part.stop()
    return float(found["cpu_share"])


def _collect(base: Ground, broker: psutil.Process, hosts: int, seconds: float, tell: Tell) -> dict[str, Any]:
    fleet = _fleet(base, "fleet", hosts)
    collector = start_collector(base)
    with Database(base.dsn, max_size=2, application_name="hps bench") as db:
        time.sleep(2.0)
        empty_kb = collector.watched.memory_info().rss // 1024
        asked = time.monotonic()
        ids = _register(db, SecretBox(base.key), fleet.listed)

        def all_in() -> bool:
            # Not "up": on a busy machine some host is always called slow.
            with db.connection() as conn:
                return (
                    sum(server.last_seen_at is not None for server in servers.list_servers(conn, limit=hosts)) == hosts
                )

        tell(f"{hosts} logins")
        collector.wait_for("samples of every host", all_in, _CONNECT_WITHIN_S, every_s=1.0)
        connected_s = time.monotonic() - asked
    time.sleep(min(seconds, _SETTLE_S))
    tell(f"measuring for {seconds:.0f} s")
    cpu = Cpu(collector=collector.watched, fleet=fleet.part.watched, kafka=broker)
    began_ms = time.time_ns() // 1_000_000
    pause(seconds, collector, fleet.part)
    shares = cpu.shares()
    ended_ms = time.time_ns() // 1_000_000
    full_kb = collector.watched.memory_info().rss // 1024
    fleet.part.process.send_signal(signal.SIGUSR1)
    _quiet(base.bootstrap)
    cut_ms = time.time_ns() // 1_000_000 - _STOPPING_MS
    collector.stop()
    fleet.part.stop()
    tell("comparing what was printed with what arrived")
    arrived, dead = _arrived(base.bootstrap, ended_ms)
    return {
        "cpu_share": shares["collector"],
        **_compared(fleet, ids, arrived, (began_ms, ended_ms), cut_ms),
        "dead_letters": dead.total(),
        "dead_letter_reasons": dict(dead.most_common(5)),
        "rss_kb_per_host": round((full_kb - empty_kb) / hosts, 1),
        "rss_mb": round(full_kb / 1024, 1),
        "connected_s": round(connected_s, 1),
        "other_cpu_shares": {name: share for name, share in shares.items() if name != "collector"},
    }


def _register(db: Database, box: SecretBox, fleet: Mapping[str, Any]) -> dict[int, int]:
    """Enters the fleet; server ids -> place of the host in the fleet."""
    key = Path(fleet["private_key_file"]).read_text()
    ids = {}
    with db.connection() as conn:
        for place, host in enumerate(fleet["hosts"]):
            fields = {
                "hostname": host["hostname"],
                "ip_address": host["address"],
                "ssh_port": host["port"],
                "ssh_username": fleet["username"],
                "ssh_private_key": key,
                "host_key": host["host_key"],
                "settings": {"intervals": _INTERVALS},
            }
            ids[servers.add_server(conn, box, fields).id] = place
    return ids


def _quiet(bootstrap: str) -> None:
    """Waits until no more reports arrive in Kafka; not as long as the collector is patient with silent streams."""
    deadline = time.monotonic() + 10.0
    topics = [FAMILIES[name].topic for name in _STREAMED]
    before: object = None
    while (ends := stream.watermarks(bootstrap, topics)) != before and time.monotonic() < deadline:
        before = ends
        time.sleep(2.0)


@dataclass(slots=True)
class Arrived:
    """The samples of one family of one host, as they stand in Kafka."""

    seqs: list[int]
    stamps: list[int]


def _arrived(bootstrap: str, ended_ms: int) -> tuple[dict[tuple[int, str], Arrived], Counter[str]]:
    """By server id and family; and the dead letters by family and reason, of the time before the fleet fell silent:
    then commands end without the reports that they were asked for."""
    ends = {place: high for place, (_, high) in stream.watermarks(bootstrap, stream.topics()).items()}
    found: dict[tuple[int, str], Arrived] = {}
    dead: Counter[str] = Counter()
    families = {family.topic: name for name, family in FAMILIES.items()}
    with stream.RangeReader(bootstrap, dict.fromkeys(ends, 0)) as reader:
        while any(position < ends[place] for place, position in reader.positions().items()):
            for record in reader.read(5_000, 1.0):
                if record.topic == wire.DEAD_LETTER_TOPIC:
                    letter = wire.decode_dead_letter(record.value)
                    if letter["timestamp_ms"] <= ended_ms:
                        dead[f"{letter['family']}: {letter['reason']}"] += 1
                name = families.get(record.topic)
                if name is None:
                    continue
                key = (int(record.key or b"0"), name)
                samples = found.setdefault(key, Arrived([], []))
                samples.seqs.append(int(record.headers["seq"]))
                samples.stamps.append(orjson.loads(record.value.partition(b"\n")[0])["timestamp"])
    return found, dead


def _compared(
    fleet: Fleet,
    ids: Mapping[int, int],
    arrived: Mapping[tuple[int, str], Arrived],
    window: tuple[int, int],
    cut_ms: int,
) -> dict[str, Any]:
    """What the fleet counted, beside what arrived; of what was printed after `cut_ms` nothing is missed."""
    tally = json.loads((fleet.directory / "printed.json").read_text())
    lines: Ints = np.fromfile(fleet.directory / "printed.reports", dtype=np.int64).reshape(-1, 4)
    printed: dict[tuple[int, int], Ints] = {}
    order = np.lexsort((lines[:, 3], lines[:, 1], lines[:, 0]))
    lines = lines[order]
    edges = np.flatnonzero(np.any(np.diff(lines[:, :2], axis=0), axis=1)) + 1
    for group in np.split(lines, edges):
        printed[int(group[0, 0]), int(group[0, 1])] = group[:, 3]
    places = {command: number for number, command in enumerate(tally["commands"])}
    lost, slips = 0, []
    for server_id, place in ids.items():
        for planned in dialects.plan(fleet.listed["hosts"][place]["os"], _INTERVALS):
            due = printed.get((place, places.get(planned.command, -1)), np.zeros(0, dtype=np.int64))
            samples = arrived.get((server_id, planned.family), Arrived([], []))
            there = {
                seq for seq, stamp in zip(samples.seqs, samples.stamps, strict=True) if stamp <= cut_ms + _ANSWER_MS
            }
            lost += max(0, int((due <= cut_ms).sum()) - len(there))
            if planned.stream:
                slips.append(_slip(due, samples, window))
    slip = np.concatenate(slips) if slips else np.zeros(1)
    p50, p99 = (round(float(value), 1) for value in np.percentile(slip, (50, 99)))
    return {
        "slip_p50_ms": p50,
        "slip_p99_ms": p99,
        "slip_max_ms": round(float(slip.max()), 1),
        "logins": tally["logins"],
        "printed": len(lines),
        "samples": sum(len(set(samples.seqs)) for samples in arrived.values()),
        "lost": lost,
    }


def _slip(due: Ints, samples: Arrived, window: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Milliseconds from when each report within the window was due to the timestamp its sample has."""
    order = np.argsort(samples.seqs, kind="stable")
    stamps: Ints = np.asarray(samples.stamps, dtype=np.int64)[order]
    if len(stamps) != len(due):
        # One is lost: each sample is held to be the latest report that was due before it.
        chosen = np.searchsorted(due, stamps + 50, side="right") - 1
        stamps, chosen = stamps[chosen >= 0], chosen[chosen >= 0]
        due = due[chosen]
    inside = (due >= window[0]) & (due <= window[1])
    return (stamps - due)[inside].astype(np.float64)
