"""How busy a machine is: rates and levels of everything its commands print, minute by minute.

A machine has one activity, which follows the day, the week and its own noise; processor, run queue, system calls,
network and disks follow the activity, each with noise of its own. A nightly backup and hourly jobs come on top, and
incidents. Nothing is kept between calls: any range of minutes can be asked for. What an operating system makes of the
numbers is `render`'s business, times between minutes are `live`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hps_platform.stack.simulator import incidents as planned
from hps_platform.stack.simulator.fleet import HISTORY, Host
from hps_platform.stack.simulator.incidents import Incident, Plans
from hps_platform.stack.simulator.noise import Floats, Keys, between, key_of, normal, uniform, waves

DISK_FIELDS = ("rs", "ws", "krs", "kws", "svc", "busy")
NET_FIELDS = ("ipkts", "opkts", "ierrs", "oerrs", "ibytes", "obytes")
MACHINE_ROWS = (
    "r", "b", "us", "sy", "wa", "st", "pc", "in", "sysc", "cs",
    "pi", "po", "fr", "sr", "re", "mf", "comp", "cache", "swap",
)  # fmt: skip
DISKS = 4
NETS = 4  # three interfaces and the loopback, which is the last
DISK_ROWS = tuple(f"{field}{disk}" for disk in range(DISKS) for field in DISK_FIELDS)
NET_ROWS = tuple(f"{field}{net}" for net in range(NETS) for field in NET_FIELDS)
ROWS = MACHINE_ROWS + DISK_ROWS + NET_ROWS
ROW = {name: row for row, name in enumerate(ROWS)}
"""Where each quantity is in a matrix of states. Rates are per second, memory in KiB, shares in percent, svc in ms."""

_LOADS = ("activity", "cpu", "system", "run", "calls", "switches", "interrupts", "disk", "d0", "d1", "d2", "d3")
_IOPS = {"web": 150.0, "application": 320.0, "database": 620.0, "batch": 430.0}
_CPU_GAIN = {"web": 48.0, "application": 58.0, "database": 54.0, "batch": 56.0}
_SMOOTH = ((360, 0.8), (60, 0.55), (15, 0.25))
_MEAN_ACTIVITY = 0.42


@dataclass(frozen=True, slots=True)
class Span:
    """A range of minutes, each standing for its middle, with the activity and the jobs of the machine in them."""

    first: int
    middles: Floats
    activity: Floats
    backup: Floats
    hourly: Floats
    incidents: Sequence[Incident]

    def level(self, kind: str) -> Floats:
        """How far an incident of the kind has come, times its strength; 0 without one."""
        total = np.zeros(len(self.middles))
        for incident in self.incidents:
            if incident.kind == kind:
                total += incident.level(self.middles) * (0.5 + 0.5 * incident.strength)
        return total


def _bump(hours: Floats, centre: float, width: float) -> Floats:
    away = (hours - centre + 12.0) % 24.0 - 12.0
    curve: Floats = np.exp(-((away / width) ** 2))
    return curve


def _rhythm(role: str, minutes: Floats) -> Floats:
    """Activity between 0 and about 1 by the time of day and week; 1970 began on a Thursday."""
    hours = minutes / 60.0 % 24.0
    weekday = (minutes // 1440 + 3) % 7
    day: Floats
    week: tuple[float, ...]
    if role == "web":
        day = 0.18 + 0.42 * _bump(hours, 12.5, 4.5) + 0.48 * _bump(hours, 20.0, 2.8)
        week = (1.0, 1.0, 1.0, 1.0, 1.05, 1.1, 1.12)
    elif role == "batch":
        day = 0.25 + 0.35 * _bump(hours, 23.0, 2.5) + 0.35 * _bump(hours, 5.5, 2.0) + 0.2 * _bump(hours, 14.0, 4.0)
        week = (1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.7)
    else:
        morning, afternoon = (9.8, 14.8) if role == "application" else (10.5, 15.3)
        day = 0.12 + 0.62 * _bump(hours, morning, 2.3) + 0.62 * _bump(hours, afternoon, 2.6)
        week = (1.05, 1.0, 1.0, 1.0, 0.95, 0.5, 0.42)
    busy: Floats = day * np.array(week)[weekday.astype(np.int64)]
    return busy


def _backup(host: Host, minutes: Floats) -> Floats:
    """The nightly backup, between 0 and 1: begins within some minutes of its hour, is longer on Sundays."""
    days = (minutes // 1440).astype(np.int64)
    late = uniform(np.array([key_of(host.key, "backup")], dtype=np.uint64), days) * 9.0
    length = np.where((days + 3) % 7 == 6, 105.0, 52.0)
    since = minutes % 1440 - host.backup_minute - late
    running: Floats = np.clip(since / 4.0, 0.0, 1.0) * np.clip((length - since) / 4.0, 0.0, 1.0)
    return running


class Machine:
    """One host of a fleet at any time; `epoch` is the minute since 1970 at which live time begins."""

    def __init__(self, host: Host, epoch: int, plans: Plans | None) -> None:
        """Without plans it is the same machine on which nothing goes wrong."""
        self.host = host
        self.epoch = epoch
        self.origin = epoch - int(HISTORY.total_seconds()) // 60
        self._plans = plans
        self._load_keys = self._keys(*_LOADS)
        self._memory_keys = self._keys("comp", "cache", "swap")
        self._net_keys = self._keys("n0", "n1", "n2", "n3")
        self._event_keys = self._keys("burst", "paging", "ierrs", "oerrs").reshape(-1, 1)
        self._counted_to = self.origin
        self._counted = self._counters_at_origin()

    def _keys(self, *names: str) -> Keys:
        return np.array([key_of(self.host.key, name) for name in names], dtype=np.uint64)

    def incidents(self, first: int, last: int) -> list[Incident]:
        """What goes wrong on this machine in these minutes."""
        return self._plans.of_host(self.host.hostname, first, last) if self._plans else []

    def _span(self, first: int, count: int) -> Span:
        middles: Floats = np.arange(first, first + count, dtype=np.float64) + 0.5
        noise = waves(self._load_keys[:1], first, count)[0]
        activity = np.clip(_rhythm(self.host.role, middles) * (1.0 + 0.075 * noise), 0.02, 1.6)
        hourly: Floats = ((middles % 60.0) < 4.0).astype(np.float64)
        return Span(first, middles, activity, _backup(self.host, middles), hourly, self.incidents(first, first + count))

    def minutes(self, first: int, count: int) -> Floats:
        """The state in each minute from `first` (since 1970): a row per name in `ROWS`, a column per minute."""
        span = self._span(first, count)
        loads = dict(zip(_LOADS, waves(self._load_keys, first, count), strict=True))
        state = np.zeros((len(ROWS), count))
        self._disks(state, span, loads)
        state[ROW["ipkts0"] : ROW["ipkts0"] + len(NET_ROWS)] = self._traffic(span)
        self._memory(state, span)
        self._processor(state, span, loads)
        return state

    def _disks(self, state: Floats, span: Span, loads: dict[str, Floats]) -> None:
        host = self.host
        common = 1.0 + 0.08 * loads["disk"]
        iops = _IOPS[host.role] * (0.10 + span.activity + 0.25 * span.hourly) * common
        saturated, filling = span.level(planned.DISK_SATURATION), span.level(planned.FILESYSTEM_FILLING)
        # A file that fills a file system is written as fast as its writer can.
        filling_kb_s = self.filling_kb_s() * (filling > 0.0)
        for number, disk in enumerate(host.disks):
            own = 1.0 + 0.10 * loads[f"d{number}"]
            hit = saturated * (1.0 if number == 1 else 0.15)
            reads = iops * disk.share * 0.6 * own + 560.0 * span.backup * (number > 0)
            writes = iops * disk.share * 0.4 * own * (1.0 + 0.3 * (number == 2))
            reads, writes = reads * (1.0 + 1.6 * hit), writes * (1.0 + 3.5 * hit)
            krs = reads * (18.0 + 40.0 * span.backup + 14.0 * hit)
            kws = writes * (11.0 + 30.0 * hit)
            if number == 2:
                kws = kws + filling_kb_s
                writes = writes + filling_kb_s / 128.0
            service = (1.6 + 0.5 * number) * (1.0 + 0.06 * loads["disk"]) * (1.0 + 7.0 * hit)
            busy = 100.0 * (1.0 - np.exp(-(reads + writes) * service / 1000.0 / 2.2))
            row = ROW[f"rs{number}"]
            state[row : row + len(DISK_FIELDS)] = (reads, writes, krs, kws, np.maximum(service, 0.05), busy)

    def filling_kb_s(self) -> float:
        """How fast a file system fills when something goes wrong."""
        return between(21000.0, 34000.0, self.host.key, "filling")

    def _traffic(self, span: Span) -> Floats:
        """Rates of the interfaces alone, in the order of `NET_ROWS`: cheap enough to be summed over weeks."""
        count = len(span.middles)
        noise = waves(self._net_keys, span.first, count)
        events = uniform(self._event_keys[2:], np.arange(span.first, span.first + count, dtype=np.int64))
        failing = span.level(planned.NETWORK_ERRORS)
        rates = np.zeros((NETS, len(NET_FIELDS), count))
        for number in range(NETS):
            usual = self.host.interfaces[number].packets_s if number < NETS - 1 else 140.0
            received = usual * (0.07 + span.activity) * (1.0 + 0.07 * noise[number])
            sent = received * (0.86 + 0.02 * noise[number])
            if number == 1:
                # The backup leaves through the second interface.
                sent = sent + 5200.0 * span.backup
                received = received + 2100.0 * span.backup
            rates[number, 0], rates[number, 1] = received, sent
            rates[number, 4], rates[number, 5] = received * 410.0, sent * (640.0 + 500.0 * span.backup)
        # A healthy line drops a packet now and then.
        rates[0, 2] = (events[0] < 0.004) * 2.0 / 60.0
        rates[0, 3] = (events[1] < 0.002) * 1.0 / 60.0
        if failing.any():
            rates[0, 2] += failing * (55.0 + 22.0 * np.abs(noise[0]))
            rates[0, 3] += failing * (6.0 + 3.0 * np.abs(noise[1]))
            rates[0, (0, 1, 4, 5)] *= 1.0 - 0.2 * failing
        return np.maximum(rates, 0.0).reshape(NETS * len(NET_FIELDS), count)

    def _memory(self, state: Floats, span: Span) -> None:
        host = self.host
        count = len(span.middles)
        noise = waves(self._memory_keys, span.first, count, _SMOOTH)
        total = float(host.memory_kb)
        leak = span.level(planned.MEMORY_LEAK)
        wanted = total * (0.40 + 0.07 * np.minimum(span.activity, 1.2) + 0.009 * noise[0] + 0.50 * leak)
        wanted += total * 0.02 * span.level(planned.CPU_HOG)
        over = np.maximum(wanted - total * 0.90, 0.0)
        comp = wanted - over
        cache = np.minimum(total * (0.22 + 0.008 * noise[1] + 0.03 * span.backup), total * 0.972 - comp)
        swap = host.paging_kb * (0.030 + 0.002 * noise[2]) + over
        pressure = np.clip((wanted / total - 0.84) / 0.12, 0.0, 1.0)
        events = uniform(self._event_keys[1], np.arange(span.first, span.first + count, dtype=np.int64))
        now_and_then = (events < 0.03) * (2.0 + 160.0 * events)
        state[ROW["comp"]], state[ROW["cache"]] = comp, np.maximum(cache, total * 0.02)
        state[ROW["swap"]] = np.clip(swap, 0.0, host.paging_kb * 0.97)
        # In pages of 4 KiB per second.
        state[ROW["pi"]] = 420.0 * pressure + now_and_then
        state[ROW["po"]] = 760.0 * pressure
        state[ROW["fr"]] = 900.0 * pressure + 30.0 * span.backup
        state[ROW["sr"]] = 2600.0 * pressure**2 + 45.0 * span.backup
        state[ROW["re"]] = 6.0 * span.activity + 80.0 * pressure
        state[ROW["mf"]] = 90.0 * span.activity + 30.0 * span.hourly

    def _processor(self, state: Floats, span: Span, loads: dict[str, Floats]) -> None:
        host = self.host
        hog, runaway = span.level(planned.CPU_HOG), span.level(planned.RUNAWAY_PROCESS)
        saturated = span.level(planned.DISK_SATURATION)
        pressure = state[ROW["po"]] / 760.0
        minutes = np.arange(span.first, span.first + len(span.middles), dtype=np.int64)
        burst = (uniform(self._event_keys[0], minutes) < 0.003) * 16.0
        busy = 8.0 + _CPU_GAIN[host.role] * span.activity + 2.1 * loads["cpu"] + 9.0 * span.backup + burst
        busy = np.clip(busy + 4.0 * span.hourly + 6.0 * pressure, 1.0, 96.0)
        busy = busy + (98.5 - busy) * np.clip(hog * 1.05, 0.0, 1.0)
        busy = busy + (96.0 - busy) * 0.45 * np.minimum(runaway, 1.0)
        system = 0.27 + 0.012 * loads["system"] + 0.10 * span.backup + 0.20 * runaway - 0.15 * hog + 0.1 * saturated
        disk = sum(state[ROW[f"busy{number}"]] for number in range(DISKS)) / DISKS / 100.0
        state[ROW["sy"]] = busy * np.clip(system, 0.06, 0.75)
        state[ROW["us"]] = busy - state[ROW["sy"]]
        state[ROW["wa"]] = (100.0 - busy) * np.clip(0.10 * disk + 0.40 * saturated + 0.25 * pressure, 0.0, 0.8)
        state[ROW["st"]] = 0.15 * span.activity
        state[ROW["pc"]] = host.virtual_cpus * busy / 100.0 * (1.0 + 0.01 * loads["system"])
        share = busy / 100.0
        state[ROW["r"]] = np.maximum(
            host.cpus * share**1.4 * (1.7 + 0.14 * loads["run"]) + hog * host.cpus * 0.4
            + runaway * (10.0 + 1.6 * host.cpus), 0.0,
        )  # fmt: skip
        state[ROW["b"]] = 0.2 + 2.2 * disk**2 + 9.0 * saturated + 5.0 * pressure
        calls = host.cpus * 1100.0 * (0.10 + span.activity) * (1.0 + 0.06 * loads["calls"])
        state[ROW["sysc"]] = calls * (1.0 + 2.5 * runaway)
        switches = host.cpus * 420.0 * (0.12 + span.activity) * (1.0 + 0.06 * loads["switches"])
        state[ROW["cs"]] = switches * (1.0 + 1.8 * runaway + 0.6 * saturated)
        packets = sum(state[ROW[f"ipkts{net}"]] + state[ROW[f"opkts{net}"]] for net in range(NETS - 1))
        transfers = sum(state[ROW[f"rs{number}"]] + state[ROW[f"ws{number}"]] for number in range(DISKS))
        state[ROW["in"]] = (0.22 * packets + 1.1 * transfers + 60.0 * host.cpus) * (1.0 + 0.04 * loads["interrupts"])

    def _counters_at_origin(self) -> Floats:
        """What the interfaces had counted since boot when the history begins."""
        span = Span(0, np.zeros(1), np.full(1, _MEAN_ACTIVITY), np.full(1, 0.04), np.zeros(1), ())
        rates = self._traffic(span)[:, 0]
        rates[[ROW[f"{field}0"] - ROW["ipkts0"] for field in ("ierrs", "oerrs")]] = 2e-4
        days = self.host.uptime_days - HISTORY.days
        return np.floor(rates * days * 86400.0)

    def counters(self, minute: int) -> Floats:
        """What each interface had counted at the beginning of the minute, in the order of `NET_ROWS`: whole numbers.

        Each minute adds a whole number, so that sums are exact in whatever pieces they are made.
        """
        if minute < self._counted_to:
            self._counted_to, self._counted = self.origin, self._counters_at_origin()
        while self._counted_to < minute:
            count = min(minute - self._counted_to, 1440)
            rates = self._traffic(self._span(self._counted_to, count))
            self._counted = self._counted + np.rint(60.0 * rates).sum(axis=1)
            self._counted_to += count
        return self._counted

    def memory_used_kb(self, states: Floats) -> Floats:
        """What the system's own commands call used: AIX counts cached files, Linux what it could not give away."""
        total = float(self.host.memory_kb)
        comp, cache = states[ROW["comp"]], states[ROW["cache"]]
        used: Floats = np.minimum(comp + cache, total - 4096.0) if self.host.os == "aix" else comp + 0.14 * cache
        return used

    @property
    def booted(self) -> float:
        """When the machine was started, in seconds since 1970."""
        return self.epoch * 60.0 - self.host.uptime_days * 86400.0

    def jitter(self, keys: Keys, index: int) -> Floats:
        """Standard normal noise for the quantities of one report; `index` counts reports."""
        return normal(keys, np.full(1, index, dtype=np.int64))
