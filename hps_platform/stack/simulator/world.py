"""The simulated world of a demo: its seed, the moment its live time began, and its machines.

Everything that tells past or present of a machine starts from here, so that history, live answers and ground truth
of one seed and epoch belong together.
"""

from datetime import UTC, datetime

from hps_platform.errors import NotFound
from hps_platform.stack.simulator.fleet import Host, fleet
from hps_platform.stack.simulator.incidents import Plans
from hps_platform.stack.simulator.model import Machine


def minute_of(moment: datetime) -> int:
    """Minutes since 1970, rounded down."""
    return int(moment.timestamp()) // 60


def moment_of(minute: int) -> datetime:
    """The beginning of a minute counted since 1970."""
    return datetime.fromtimestamp(minute * 60, UTC)


class World:
    """A fleet with its past and future. `epoch` is when the history ends and live time begins (to the minute)."""

    def __init__(self, seed: int, epoch: datetime, hosts: int = 12, processes: int | None = None) -> None:
        self.seed = seed
        self.epoch_minute = minute_of(epoch)
        self.hosts = fleet(seed, hosts, processes)
        self.plans = Plans(self.hosts, self.epoch_minute)
        self._machines: dict[str, Machine] = {}

    @property
    def epoch(self) -> datetime:
        """When live time begins."""
        return moment_of(self.epoch_minute)

    def host(self, hostname: str) -> Host:
        """The host of that name. Raises NotFound."""
        for host in self.hosts:
            if host.hostname == hostname:
                return host
        raise NotFound(f"the simulated fleet has no host {hostname}")

    def machine(self, hostname: str) -> Machine:
        """The machine of that name, one and the same each time. Raises NotFound."""
        if hostname not in self._machines:
            self.plans = Plans(self.hosts, self.epoch_minute)
        self._machines[hostname] = Machine(self.host(hostname), self.epoch_minute, self.plans)
        return self._machines[hostname]

    def undisturbed(self, hostname: str) -> Machine:
        """The same machine in a world in which nothing goes wrong."""
        return Machine(self.host(hostname), self.epoch_minute, None)
