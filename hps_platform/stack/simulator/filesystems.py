"""The file systems of a machine: how full each is at any time. What `df` makes of it is `render`'s business."""

from dataclasses import dataclass

import numpy as np

from hps_platform.stack.simulator import incidents as planned
from hps_platform.stack.simulator.fleet import Host, Mount
from hps_platform.stack.simulator.incidents import Incident
from hps_platform.stack.simulator.model import Machine
from hps_platform.stack.simulator.noise import Floats, waves

_SLOW = ((720, 0.7), (60, 0.3))
FILLS = {"aix": "/logs", "linux": "/srv/logs", "solaris": "/u02/logs", "hpux": "/u03/logs"}
"""The file system that fills up when one does."""


@dataclass(frozen=True, slots=True)
class Usage:
    """One file system at one time."""

    mount: Mount
    used_kb: int
    inodes_used: int

    @property
    def free_kb(self) -> int:
        """What is not used."""
        return self.mount.size_kb - self.used_kb

    @property
    def inodes(self) -> int:
        """All inodes there can be, on a file system that has them made beforehand."""
        return max(self.mount.size_kb // 48, self.mount.inodes_used * 4)


def _filled_kb(machine: Machine, incident: Incident, mount: Mount, minutes: Floats) -> Floats:
    """What a runaway log has written so far, as fast as the disks show it; what is full stays full until cleaned."""
    since = np.clip(minutes - incident.start, 0.0, incident.end - incident.start) * 60.0
    written = since * machine.filling_kb_s()
    # Cleaned up within some minutes after its end.
    left = np.clip(1.0 - (minutes - incident.end) / 12.0, 0.0, 1.0)
    return np.minimum(written, mount.size_kb * 0.98) * left


def used_kb(machine: Machine, minutes: Floats) -> Floats:
    """KiB used: a row per mount, a column per time (in minutes since 1970)."""
    host = machine.host
    first, last = int(minutes[0]), int(minutes[-1])
    noise = waves(np.array([mount.key for mount in host.mounts], dtype=np.uint64), first, last - first + 1, _SLOW)
    rows = np.zeros((len(host.mounts), len(minutes)))
    places = (minutes.astype(np.int64) - first).clip(0, last - first)
    filling = [i for i in machine.incidents(first - 60, last + 1) if i.kind == planned.FILESYSTEM_FILLING]
    for row, mount in enumerate(host.mounts):
        period = mount.cleaned_every_h * 60
        grown = (minutes + mount.key % period) % period / period
        share = mount.used + mount.growth * (grown - 0.5) + (0.002 if mount.growth else 0.0) * noise[row, places]
        rows[row] = np.clip(share, 0.003, 0.97) * mount.size_kb
        if mount.path == FILLS[host.os]:
            for incident in filling:
                rows[row] += _filled_kb(machine, incident, mount, minutes)
        rows[row] = np.minimum(rows[row], mount.size_kb * 0.9995)
    # Blocks of 4 KiB, as a file system hands them out.
    return np.floor(rows / 4.0) * 4.0


def usages(host: Host, column: Floats) -> list[Usage]:
    """The file systems at one time, for one column of `used_kb`."""
    return [
        Usage(mount, int(used), int(mount.inodes_used * (0.7 + 0.6 * used / mount.size_kb)))
        for mount, used in zip(host.mounts, column.tolist(), strict=True)
    ]
