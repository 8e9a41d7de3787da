"""The machines of the simulated fleet: who they are, how big, and what they are for.

What they do at a given time is `model`'s business. Names, sizes and devices depend on the seed as little as possible,
so that screenshots and documents of the demo stay true.
"""

from dataclasses import dataclass
from datetime import timedelta

from hps_platform.stack.simulator.noise import between, key_of, number

HISTORY = timedelta(days=14)
USERNAME = "hpsmon"


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface; `packets_s` is its usual traffic at full activity."""

    name: str
    mtu: int
    mac: tuple[int, ...]
    network: str
    address: str
    packets_s: float


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk; `share` of the machine's transfers go to it."""

    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: how full it is on average and how it grows."""

    device: str
    path: str
    size_kb: int
    used: float
    growth: float
    cleaned_every_h: int
    inodes_used: int
    key: int


@dataclass(frozen=True, slots=True)
class Host:
    """One simulated machine. `key` starts every stream of its noise."""

    hostname: str
    os: str
    role: str
    cpus: int
    memory_mb: int
    paging_mb: int
    entitlement: float | None
    virtual_cpus: int
    disks: tuple[Disk, ...]
    interfaces: tuple[Interface, ...]
    mounts: tuple[Mount, ...]
    process_count: int
    uptime_days: float
    backup_minute: int
    tags: tuple[str, ...]
    seed: int
    key: int

    @property
    def memory_kb(self) -> int:
        """Physical memory."""
        return self.memory_mb * 1024

    @property
    def paging_kb(self) -> int:
        """All paging or swap space."""
        return self.paging_mb * 1024


# hostname, os, role, cpus (logical), memory in MiB, paging space in MiB, entitlement, processes
_MACHINES = (
    ("aixdb01", "aix", "database", 16, 65536, 16384, None, 118),
    ("aixapp01", "aix", "application", 8, 32768, 8192, None, 96),
    ("aixlpar01", "aix", "web", 8, 16384, 4096, 0.80, 72),
    ("aixlpar02", "aix", "batch", 16, 24576, 8192, 1.50, 84),
    ("lindb01", "linux", "database", 8, 64000, 8192, None, 142),
    ("linweb01", "linux", "web", 4, 16000, 4096, None, 104),
    ("linweb02", "linux", "web", 4, 16000, 4096, None, 101),
    ("linbuild01", "linux", "batch", 16, 32000, 8192, None, 128),
    ("soldb01", "solaris", "database", 16, 65536, 16384, None, 88),
    ("solapp01", "solaris", "application", 8, 16384, 8192, None, 66),
    ("hpuxerp01", "hpux", "application", 8, 32768, 16384, None, 110),
    ("hpuxdb01", "hpux", "database", 4, 16384, 8192, None, 77),
)

_DISKS = {
    "aix": ("hdisk0", "hdisk1", "hdisk2", "hdisk3"),
    "linux": ("sda", "sdb", "sdc", "sdd"),
    "solaris": ("c1t0d0", "c1t1d0", "c2t0d0", "c2t1d0"),
    "hpux": ("c2t0d0", "c2t1d0", "c4t0d0", "c4t1d0"),
}
_SHARES = (0.12, 0.46, 0.27, 0.15)
_INTERFACES = {
    "aix": ("en0", "en1", "en2"),
    "linux": ("eth0", "eth1", "eth2"),
    "solaris": ("net0", "net1", "net2"),
    "hpux": ("lan0", "lan1", "lan2"),
}
_TRAFFIC = {"web": 5200.0, "application": 2600.0, "database": 3300.0, "batch": 1500.0}

_TMP, _SHM = "/tmp", "/dev/shm"  # noqa: S108 (names that simulated machines print)
# device, mount point, size in GiB, share used, growth until the next cleaning, hours between cleanings
_MOUNTS = {
    "aix": (
        ("/dev/hd4", "/", 2, 0.42, 0.01, 168),
        ("/dev/hd2", "/usr", 6, 0.61, 0.0, 720),
        ("/dev/hd9var", "/var", 10, 0.38, 0.12, 168),
        ("/dev/hd3", _TMP, 8, 0.12, 0.10, 24),
        ("/dev/hd1", "/home", 20, 0.47, 0.05, 336),
        ("/dev/hd11admin", "/admin", 1, 0.01, 0.0, 720),
        ("/dev/hd10opt", "/opt", 8, 0.35, 0.0, 720),
        ("/dev/fslv00", "/var/adm/ras", 4, 0.08, 0.02, 168),
        ("/dev/lvdata", "/data", 600, 0.58, 0.06, 336),
        ("/dev/lvlogs", "/logs", 240, 0.31, 0.14, 24),
    ),
    "linux": (
        ("/dev/mapper/vg0-root", "/", 40, 0.36, 0.01, 168),
        ("/dev/sda1", "/boot", 1, 0.28, 0.0, 720),
        ("/dev/mapper/vg0-var", "/var", 60, 0.33, 0.10, 168),
        ("/dev/mapper/vg0-log", "/var/log", 30, 0.25, 0.16, 24),
        ("/dev/mapper/vg0-tmp", _TMP, 20, 0.05, 0.08, 24),
        ("/dev/mapper/vg0-home", "/home", 80, 0.44, 0.05, 336),
        ("/dev/mapper/vg0-opt", "/opt", 20, 0.52, 0.0, 720),
        ("tmpfs", _SHM, 8, 0.01, 0.0, 24),
        ("/dev/mapper/vg1-data", "/srv/data", 600, 0.55, 0.06, 336),
        ("/dev/mapper/vg1-logs", "/srv/logs", 240, 0.29, 0.14, 24),
    ),
    "solaris": (
        ("rpool/ROOT/solaris", "/", 120, 0.18, 0.01, 168),
        ("rpool/ROOT/solaris/var", "/var", 40, 0.31, 0.09, 168),
        ("swap", "/system/volatile", 16, 0.01, 0.0, 168),
        ("swap", _TMP, 16, 0.06, 0.05, 24),
        ("rpool/export", "/export", 120, 0.09, 0.0, 720),
        ("rpool/export/home", "/export/home", 120, 0.22, 0.04, 336),
        ("rpool/VARSHARE", "/var/share", 40, 0.11, 0.02, 168),
        ("apps/opt", "/opt/apps", 60, 0.48, 0.0, 720),
        ("data/u01", "/u01", 600, 0.57, 0.06, 336),
        ("data/logs", "/u02/logs", 240, 0.30, 0.14, 24),
    ),
    "hpux": (
        ("/dev/vg00/lvol3", "/", 2, 0.21, 0.01, 168),
        ("/dev/vg00/lvol1", "/stand", 2, 0.17, 0.0, 720),
        ("/dev/vg00/lvol8", "/var", 20, 0.52, 0.10, 168),
        ("/dev/vg00/lvol7", "/usr", 10, 0.41, 0.0, 720),
        ("/dev/vg00/lvol6", _TMP, 4, 0.19, 0.12, 24),
        ("/dev/vg00/lvol5", "/opt", 12, 0.46, 0.0, 720),
        ("nfs01:/export/depot/hpux", "/opt/depot", 80, 0.63, 0.0, 720),
        ("/dev/vg01/lvol1", "/u01", 400, 0.56, 0.05, 336),
        ("/dev/vg01/lvol2", "/u02", 300, 0.49, 0.06, 336),
        ("/dev/vg01/lvol3", "/u03/logs", 240, 0.32, 0.14, 24),
    ),
}


def _interfaces(name: str, os: str, role: str, number_in_fleet: int) -> tuple[Interface, ...]:
    found = []
    for position, interface in enumerate(_INTERFACES[os]):
        mac = tuple(key_of(name, "mac", position, octet) % 251 + 2 for octet in range(5))
        network = f"10.{20 + position}.{4 + number_in_fleet // 200}"
        traffic = _TRAFFIC[role] * (1.0, 0.38, 0.09)[position]
        address = f"{network}.{11 + number_in_fleet % 200}"
        found.append(Interface(interface, 1500, (0x0A if os == "aix" else 0, *mac), network, address, traffic))
    return tuple(found)


def _mounts(name: str, os: str, seed: int) -> tuple[Mount, ...]:
    return tuple(
        Mount(
            device=device,
            path=path,
            size_kb=gib * 1024 * 1024,
            used=used * between(0.92, 1.08, seed, name, path, "used"),
            growth=growth * between(0.7, 1.3, seed, name, path, "growth"),
            cleaned_every_h=hours,
            inodes_used=int(between(400, 60000, name, path, "inodes") * (1 + gib / 400)),
            key=key_of(seed, name, path),
        )
        for device, path, gib, used, growth, hours in _MOUNTS[os]
    )


KINDS = len(_MACHINES)


def fleet(seed: int, count: int = KINDS, processes: int | None = None) -> tuple[Host, ...]:
    """The twelve machines of the demo; more of the same kinds when `count` is larger, for tests of scale.

    `processes`: how many each machine runs, when not as many as machines of its kind usually do.
    """
    hosts = []
    for position in range(count):
        name, os, role, cpus, memory, paging, entitlement, usual = _MACHINES[position % len(_MACHINES)]
        if position >= len(_MACHINES):
            name = f"{name}x{position // len(_MACHINES)}"
        # Backups run in the small hours and not all at once, as a backup server wants it.
        backup = int(60 + 15 * (position % 12) + 10 * number(seed, name, "backup"))
        hosts.append(
            Host(
                hostname=name,
                os=os,
                role=role,
                cpus=cpus,
                memory_mb=memory,
                paging_mb=paging,
                entitlement=entitlement,
                virtual_cpus=cpus // 4,
                disks=tuple(Disk(disk, share) for disk, share in zip(_DISKS[os], _SHARES, strict=True)),
                interfaces=_interfaces(name, os, role, position),
                mounts=_mounts(name, os, seed),
                process_count=processes or usual,
                uptime_days=between(40, 320, seed, name, "uptime"),
                backup_minute=backup,
                tags=(role, "production" if position % 4 else "test"),
                seed=seed,
                key=key_of(seed, name),
            )
        )
    return tuple(hosts)
