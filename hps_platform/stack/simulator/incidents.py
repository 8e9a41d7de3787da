"""What goes wrong, on which machine and when: the plan of incidents, by seed.

`plan` covers one week of one fleet and can be asked for any week, past or future. What an incident does to a machine
is `model`'s business, when it becomes visible `timetable`'s.
"""

from dataclasses import dataclass

import numpy as np

from hps_platform.stack.simulator.fleet import Host
from hps_platform.stack.simulator.noise import Floats, between, key_of, number

WEEK = 7 * 24 * 60
DAY = 24 * 60

CPU_HOG = "cpu_hog"
MEMORY_LEAK = "memory_leak"
DISK_SATURATION = "disk_saturation"
NETWORK_ERRORS = "network_errors"
RUNAWAY_PROCESS = "runaway_process"
FILESYSTEM_FILLING = "filesystem_filling"
KINDS = (CPU_HOG, MEMORY_LEAK, DISK_SATURATION, NETWORK_ERRORS, RUNAWAY_PROCESS, FILESYSTEM_FILLING)

# Minutes of full effect at least and at most, and minutes until the full effect.
_LENGTH = {
    CPU_HOG: (35, 95, 2),
    MEMORY_LEAK: (90, 170, 75),
    DISK_SATURATION: (30, 90, 3),
    NETWORK_ERRORS: (35, 120, 2),
    RUNAWAY_PROCESS: (30, 80, 8),
    FILESYSTEM_FILLING: (80, 150, 60),
}
_SHARE_OF_HOSTS = 0.6


@dataclass(frozen=True, slots=True)
class Incident:
    """One thing going wrong. `start` and `end` are minutes since 1970; `strength` is between 0 and 1."""

    host: str
    kind: str
    start: int
    end: int
    ramp: int
    strength: float
    key: int

    def level(self, minutes: Floats) -> Floats:
        """How much of the full effect there is at each time (in minutes since 1970): 0 outside, up to 1 within."""
        up = np.clip((minutes - self.start) / self.ramp, 0.0, 1.0)
        return np.where(minutes < self.end, up, 0.0)


def kinds_of(host: Host) -> tuple[str, ...]:
    """What can go wrong on this machine so that its commands show it: Solaris and HP-UX print no memory in use."""
    return tuple(kind for kind in KINDS if kind != MEMORY_LEAK or host.os in ("aix", "linux"))


def _clear_of_backup(host: Host, start: int, length: int) -> int:
    """The start, moved past the nightly backup, in whose noise nobody could say what is the incident's."""
    busy_from, busy_to = host.backup_minute - 30 - length, host.backup_minute + 150
    minute = start % DAY
    if minute > busy_from % DAY and busy_from < 0:
        return start + DAY - minute + busy_to
    return start + busy_to - minute if busy_from <= minute < busy_to else start


def _incident(host: Host, kind: str, start: int) -> Incident:
    shortest, longest, ramp = _LENGTH[kind]
    length = int(between(shortest, longest, host.key, "length", start))
    return Incident(
        host=host.hostname,
        kind=kind,
        start=start,
        end=start + max(length, ramp + 15),
        ramp=ramp,
        strength=between(0.45, 1.0, host.key, "strength", start),
        key=key_of(host.key, "incident", start),
    )


def _pick(host: Host, week: int, kinds: tuple[str, ...]) -> str:
    return kinds[int(number(host.key, "kind", week) * len(kinds))]


def _shown(hosts: tuple[Host, ...], epoch: int, week: int) -> dict[str, Incident]:
    """Those that a demo is to show: one that has just passed when live time begins, and three in its first hours."""
    order = sorted(hosts, key=lambda host: number(host.key, "order", week))
    sudden = (CPU_HOG, NETWORK_ERRORS, RUNAWAY_PROCESS, DISK_SATURATION)
    starts = {-1: (epoch - int(between(240, 720, order[0].key, "recent")),), 0: (epoch + 12, epoch + 105, epoch + 290)}
    shown: dict[str, Incident] = {}
    for start in starts.get(week, ()):
        free = [host for host in order if host.hostname not in shown]
        # A machine in the middle of its backup shows nothing else well.
        host = next((host for host in free if _clear_of_backup(host, start, 90) == start), free[0])
        shown[host.hostname] = _incident(host, _pick(host, week, sudden), start)
    return shown


def plan(hosts: tuple[Host, ...], epoch: int, week: int) -> dict[str, Incident]:
    """The incidents of a week, at most one per host, by hostname.

    `epoch` is the minute at which live time begins; week 0 begins there, week -1 ends there.
    """
    shown = _shown(hosts, epoch, week)
    planned = dict(shown)
    for host in hosts:
        if host.hostname in shown or number(host.key, "has incident", week) >= _SHARE_OF_HOSTS:
            continue
        kind = _pick(host, week, kinds_of(host))
        start = epoch + week * WEEK + int(between(DAY / 3, WEEK - DAY / 2, host.key, "start", week))
        planned[host.hostname] = _incident(host, kind, _clear_of_backup(host, start, 120))
    return planned


class Plans:
    """The incidents of a fleet in all weeks, each week planned when it is first asked for."""

    def __init__(self, hosts: tuple[Host, ...], epoch: int) -> None:
        self._hosts = hosts
        self._epoch = epoch
        self._weeks: dict[int, dict[str, Incident]] = {}

    def week(self, number: int) -> dict[str, Incident]:
        """See `plan`."""
        if number not in self._weeks:
            self._weeks[number] = plan(self._hosts, self._epoch, number)
        return self._weeks[number]

    def of_host(self, hostname: str, first: int, last: int) -> list[Incident]:
        """The host's incidents that touch the minutes from `first` to `last`."""
        # None is longer than a week, so one that began earlier is in the week before at most.
        weeks = range((first - self._epoch) // WEEK - 1, (last - self._epoch) // WEEK + 1)
        found = (self.week(number).get(hostname) for number in weeks)
        return [incident for incident in found if incident and incident.start <= last and incident.end > first]
