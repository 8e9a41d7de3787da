"""The ground truth about incidents: what went wrong where, in which metric it shows, and from when it can be seen.

`detectable_at` is the first minute in which the incident's metric differs by more than four robust standard deviations
from what the same machine, of the same seed, would have shown without the incident. The deviation is that of the
undisturbed metric about its own daily course (the median of each half hour of the day) over the two weeks before, by
its median absolute deviation, and at least the step in which the metric is printed.

Kept apart from all that the platform reads, for scoring its detection afterwards.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from hps_platform.stack.simulator import incidents as planned
from hps_platform.stack.simulator.filesystems import FILLS, used_kb
from hps_platform.stack.simulator.fleet import HISTORY, Host
from hps_platform.stack.simulator.incidents import DAY, Incident
from hps_platform.stack.simulator.model import DISKS, NETS, ROW, Machine
from hps_platform.stack.simulator.noise import Floats
from hps_platform.stack.simulator.world import World, moment_of

DEVIATIONS = 4.0
_TO_SD = 1.4826
_HALF_HOUR = 30
_HISTORY_MINUTES = int(HISTORY.total_seconds()) // 60
HISTORY_WEEKS = (-2, -1)


@dataclass(frozen=True, slots=True)
class Truth:
    """One incident as it is scored. `seen_in` has for each metric the first minute in which it shows there."""

    host: str
    kind: str
    start: datetime
    detectable_at: datetime
    end: datetime
    family: str
    metric: str
    seen_in: dict[str, datetime]


def metric_of(host: Host, kind: str) -> tuple[str, str]:
    """Family and metric in which an incident of this kind shows on this machine; HP-UX prints no share of busy time."""
    return {
        planned.CPU_HOG: ("vmstat", "cpu_busy_pct"),
        planned.MEMORY_LEAK: ("memory", "mem_used_pct"),
        planned.DISK_SATURATION: ("iostat", "disk_kb_s" if host.os == "hpux" else "disk_busy_pct"),
        planned.NETWORK_ERRORS: ("netstat", "net_errs_s"),
        planned.RUNAWAY_PROCESS: ("vmstat", "run_queue"),
        planned.FILESYSTEM_FILLING: ("filesystem", "used_pct"),
    }[kind]


def _total(states: Floats, fields: Iterable[str], count: int) -> Floats:
    rows = [ROW[f"{field}{number}"] for field in fields for number in range(count)]
    total: Floats = states[rows].sum(axis=0)
    return total


def _cpu_busy(machine: Machine, states: Floats) -> Floats:
    entitled = machine.host.entitlement
    if entitled:
        share: Floats = 100.0 * states[ROW["pc"]] / entitled
        return share
    busy: Floats = np.rint(states[ROW["us"]]) + np.rint(states[ROW["sy"]])
    return busy


_METRICS: dict[str, tuple[float, Callable[[Machine, Floats], Floats]]] = {
    "cpu_busy_pct": (1.0, _cpu_busy),
    "run_queue": (1.0, lambda _, states: np.rint(states[ROW["r"]])),
    "mem_used_pct": (0.1, lambda machine, states: 100.0 * machine.memory_used_kb(states) / machine.host.memory_kb),
    "paging_kb_s": (4.0, lambda _, states: 4.0 * (np.rint(states[ROW["pi"]]) + np.rint(states[ROW["po"]]))),
    "disk_busy_pct": (1.0, lambda _, states: states[[ROW[f"busy{disk}"] for disk in range(DISKS)]].max(axis=0)),
    "disk_kb_s": (1.0, lambda _, states: _total(states, ("krs", "kws"), DISKS)),
    "net_pkts_s": (1.0, lambda _, states: _total(states, ("ipkts", "opkts"), NETS - 1)),
    "net_errs_s": (1.0 / 60.0, lambda _, states: _total(states, ("ierrs", "oerrs"), NETS - 1)),
}
"""The step in which each metric is printed, and how it is made of states: the features that detection works with."""
_FILLING = {"fs_growth_kb_s": 1.0, "used_pct": 0.5}
METRICS = (*_METRICS, *_FILLING)


def metrics(machine: Machine, first: int, count: int) -> dict[str, Floats]:
    """Every metric in each minute from `first`; `used_pct` is that of the file system that can fill up."""
    states = machine.minutes(first, count)
    made = {name: make(machine, states) for name, (_, make) in _METRICS.items()}
    host = machine.host
    number = next(place for place, mount in enumerate(host.mounts) if mount.path == FILLS[host.os])
    minutes: Floats = np.arange(first, first + count, dtype=np.float64)
    used = used_kb(machine, np.concatenate([minutes[:1] - 1, minutes]))
    made["fs_growth_kb_s"] = np.clip(np.diff(used, axis=1), 0, None).sum(axis=0) / 60.0
    made["used_pct"] = 100.0 * used[number, 1:] / host.mounts[number].size_kb
    return made


def robust_sd(values: Floats, first: int, step: float) -> float:
    """Robust standard deviation of whole days of minutes about their daily course; at least `step`."""
    from_midnight = np.roll(values, first % DAY).reshape(-1, DAY // _HALF_HOUR, _HALF_HOUR)
    rest = from_midnight - np.median(from_midnight, axis=(0, 2), keepdims=True)
    return max(float(_TO_SD * np.median(np.abs(rest - np.median(rest)))), step)


def truth_of(world: World, incident: Incident) -> Truth | None:
    """The incident as it is scored; None when it does not show in its metric at all."""
    machine, undisturbed = world.machine(incident.host), world.undisturbed(incident.host)
    before = incident.start - _HISTORY_MINUTES
    length = incident.end - incident.start
    usual = metrics(undisturbed, before, _HISTORY_MINUTES + length)
    disturbed = metrics(machine, incident.start, length)
    seen = {}
    for name in METRICS:
        step = _METRICS[name][0] if name in _METRICS else _FILLING[name]
        sd = robust_sd(usual[name][:_HISTORY_MINUTES], before, step)
        far = np.abs(disturbed[name] - usual[name][_HISTORY_MINUTES:]) > DEVIATIONS * sd
        if far.any():
            seen[name] = moment_of(incident.start + int(np.argmax(far)))
    family, metric = metric_of(machine.host, incident.kind)
    if metric not in seen:
        return None
    return Truth(
        host=incident.host,
        kind=incident.kind,
        start=moment_of(incident.start),
        detectable_at=seen[metric],
        end=moment_of(incident.end),
        family=family,
        metric=metric,
        seen_in=seen,
    )


def timetable(world: World, weeks: Iterable[int] = HISTORY_WEEKS) -> list[Truth]:
    """The incidents of these weeks (0 begins when live time does) that show, by start."""
    found = [truth_of(world, incident) for week in weeks for incident in world.plans.week(week).values()]
    return sorted((truth for truth in found if truth), key=lambda truth: (truth.start, truth.host))


def as_json(world: World, truths: list[Truth]) -> str:
    """The ground truth as a JSON object: seed, epoch and the list of incidents, times in ISO 8601."""
    content = {"seed": world.seed, "epoch": world.epoch, "incidents": [asdict(truth) for truth in truths]}
    return json.dumps(content, indent=1, default=datetime.isoformat) + "\n"


def write(world: World, path: Path, weeks: Iterable[int]) -> list[Truth]:
    """Writes the ground truth of these weeks into the file, in one step."""
    truths = timetable(world, weeks)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(as_json(world, truths), encoding="utf-8")
    unfinished.replace(path)
    return truths
