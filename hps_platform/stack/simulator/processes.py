"""The processes of a machine: who runs, since when, and how much processor and memory each takes.

Daemons live as long as the machine, sessions come and go with new process ids, and an incident brings a process of its
own. What `ps` makes of them is `render`'s business.
"""

from dataclasses import dataclass

import numpy as np

from hps_platform.stack.simulator import incidents as planned
from hps_platform.stack.simulator.fleet import Host
from hps_platform.stack.simulator.incidents import Incident
from hps_platform.stack.simulator.model import ROW, Machine
from hps_platform.stack.simulator.noise import Floats, between, hashes, key_of, number, waves


@dataclass(frozen=True, slots=True)
class Process:
    """A place in the process table. `cpu` and `memory` are shares of all that is used; a session is born anew."""

    pid: int
    ppid: int
    user: str
    args: str
    cpu: float
    memory: float
    started_after_boot_s: float
    session_s: int
    key: int


@dataclass(frozen=True, slots=True)
class Running:
    """One line of a process table at one time. Sizes are KiB, times seconds."""

    pid: int
    ppid: int
    user: str
    args: str
    cpu_pct: float
    memory_pct: float
    vsz_kb: int
    rss_kb: int
    elapsed_s: int
    cpu_time_s: int
    state: str


_KERNEL = {
    "aix": ("wait", "sched", "lrud", "vmptacrt", "pilegc", "xmgc", "netm", "gil", "wlmsched"),
    "linux": ("[kthreadd]", "[rcu_preempt]", "[kworker/0:1-events]", "[ksoftirqd/0]", "[kswapd0]", "[jbd2/dm-2-8]"),
    "solaris": ("sched", "pageout", "fsflush", "zpool-rpool", "zpool-data", "kmem_task"),
    "hpux": ("swapper", "vhand", "statdaemon", "unhashdaemon", "vxfsd", "net_str_cached", "ttisr", "supsched"),
}
_DAEMONS = {
    "aix": (
        "/etc/init", "/usr/sbin/syncd 60", "/usr/sbin/srcmstr", "/usr/sbin/syslogd", "/usr/sbin/cron",
        "/usr/sbin/sshd", "/usr/sbin/rsct/bin/IBM.MgmtDomainRMd", "/usr/sbin/snmpd", "/usr/lib/errdemon",
        "/usr/sbin/xntpd", "/usr/sbin/qdaemon", "/usr/sbin/biod 6", "/usr/sbin/aixmibd", "/usr/sbin/portmap",
    ),
    "linux": (
        "/sbin/init", "/lib/systemd/systemd-journald", "/lib/systemd/systemd-udevd", "/usr/sbin/cron -f",
        "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", "/usr/sbin/rsyslogd -n -iNONE",
        "/lib/systemd/systemd-logind", "/usr/bin/dbus-daemon --system --nofork", "/usr/sbin/chronyd -F 1",
        "/usr/sbin/multipathd -d -s", "/usr/lib/polkit-1/polkitd --no-debug",
    ),
    "solaris": (
        "/usr/sbin/init", "/lib/svc/bin/svc.startd", "/lib/svc/bin/svc.configd", "/usr/lib/ssh/sshd",
        "/usr/sbin/syslogd", "/usr/sbin/cron", "/usr/sbin/nscd", "/usr/lib/fm/fmd/fmd",
        "/usr/lib/inet/ntpd -p /var/run/ntp.pid", "/usr/lib/power/powerd", "/usr/lib/utmpd", "/usr/lib/picl/picld",
    ),
    "hpux": (
        "init", "/usr/sbin/syncer", "/usr/sbin/syslogd -D", "/usr/sbin/cron", "/opt/ssh/sbin/sshd", "/usr/sbin/inetd",
        "/usr/sbin/utmpd", "/usr/sbin/evmchmgr -l /var/evm/adm/logfiles/evmchmgr.log", "/usr/sbin/xntpd",
        "/opt/perf/bin/scopeux", "/opt/perf/bin/midaemon", "/usr/sbin/pwgrd",
    ),
}  # fmt: skip
_WORK = {
    "database": (
        ("oracle", "ora_dbw{n}_PROD"), ("oracle", "ora_lgwr_PROD"), ("oracle", "ora_pmon_PROD"),
        ("oracle", "oraclePROD (LOCAL=NO)"), ("oracle", "ora_p00{n}_PROD"), ("oracle", "ora_ckpt_PROD"),
        ("oracle", "/u01/app/grid/bin/tnslsnr LISTENER -inherit"),
    ),
    "application": (
        ("appadm", "/opt/java/bin/java -Xmx4096m -Dnode=app{n} -jar /opt/app/server.jar"),
        ("appadm", "/opt/app/bin/worker --queue orders --slot {n}"), ("mqm", "amqzlaa0 -mQM1 -fip{n}"),
        ("appadm", "/opt/app/bin/scheduler"), ("mqm", "amqzxma0 -m QM1"),
    ),
    "web": (
        ("www", "/usr/sbin/httpd -k start -D slot{n}"), ("www", "php-fpm: pool www"),
        ("varnish", "/usr/sbin/varnishd -j unix -a :80"),
        ("www", "/opt/java/bin/java -Xmx2048m -Dcatalina.home=/opt/tomcat{n}"),
    ),
    "batch": (
        ("batch", "/opt/batch/bin/runner --lane {n}"), ("batch", "/usr/bin/perl /opt/batch/jobs/settle.pl --part {n}"),
        ("ci", "/opt/java/bin/java -jar /opt/agent/agent.jar -slot {n}"),
        ("batch", "/opt/batch/bin/transfer --peer bank{n}"),
    ),
}  # fmt: skip
_OWN = {
    planned.CPU_HOG: ("report", "/opt/report/bin/recalc --full --no-limit"),
    planned.MEMORY_LEAK: ("appadm", "/opt/java/bin/java -Xmx65536m -jar /opt/app/importer.jar"),
    planned.DISK_SATURATION: ("backup", "/usr/bin/find /data -type f -exec cksum {} +"),
    planned.RUNAWAY_PROCESS: ("batch", "/usr/bin/perl /opt/batch/bin/poller.pl --forever"),
    planned.FILESYSTEM_FILLING: ("appadm", "/opt/app/bin/worker --debug --trace-file trace.log"),
}
_SLOW = ((120, 0.7), (20, 0.5))
_SESSION_HOURS = (2, 3, 5, 8)


def processes(host: Host) -> tuple[Process, ...]:
    """The process table of a machine without its incidents, by process id."""
    kernel, daemons, work = _KERNEL[host.os], _DAEMONS[host.os], _WORK[host.role]
    step = 65538 if host.os == "aix" else 37
    pid = 0
    rows: list[tuple[int, str, str, float, float, bool]] = []
    for place in range(host.process_count):
        pid += 1 if place < len(kernel) else 1 + int(step * number(host.key, "pid", place))
        if place < len(kernel):
            rows.append((pid, "root", kernel[place], 0.02, 0.05, False))
        elif place < len(kernel) + len(daemons):
            rows.append((pid, "root", daemons[place - len(kernel)], 0.08, 0.35, False))
        else:
            user, args = work[place % len(work)]
            weight = between(0.15, 1.0, host.key, "weight", place) ** 3
            rows.append((pid, user, args.format(n=place % 9), 4.0 * weight, 6.0 * weight + 0.4, place % 6 == 0))
    all_cpu, all_memory = sum(row[3] for row in rows), sum(row[4] for row in rows)
    return tuple(
        Process(
            pid=pid,
            ppid=0 if place < len(kernel) else 1,
            user=user,
            args=args,
            cpu=cpu / all_cpu,
            memory=memory / all_memory,
            started_after_boot_s=between(0, 90, host.key, "started", place) * (1 if user == "root" else 40),
            session_s=_SESSION_HOURS[place % 4] * 3600 if session else 0,
            key=key_of(host.key, "process", place),
        )
        for place, (pid, user, args, cpu, memory, session) in enumerate(rows)
    )


class ProcessTable:
    """The processes of one machine at any time."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.places = processes(machine.host)
        self._keys = np.array([place.key for place in self.places], dtype=np.uint64)
        self._cpu = np.array([place.cpu for place in self.places])
        self._memory = np.array([place.memory for place in self.places])

    def at(self, second: int, state: Floats) -> list[Running]:
        """The table at a time (seconds since 1970), for the machine's state (one column of `ROWS`) then."""
        host, booted = self.machine.host, self.machine.booted
        noise = waves(self._keys, second // 60, 1, _SLOW)[:, 0]
        busy = float(state[ROW["us"]] + state[ROW["sy"]])
        own = self.machine.incidents(second // 60, second // 60)
        taken = sum(_cpu_of(host, incident, second) for incident in own)
        left = max(busy * host.cpus - taken, busy * host.cpus * 0.15)
        cpu = np.maximum(left * self._cpu * (1.0 + 0.3 * noise), 0.0).tolist()
        leaked = sum(_leak_of(host, incident, second) for incident in own)
        resident = max(float(state[ROW["comp"]]) - leaked, host.memory_kb * 0.2)
        rss = (resident * 0.9 * self._memory * (1.0 + 0.02 * noise)).astype(np.int64).tolist()
        table = []
        for place, cpu_pct, rss_kb in zip(self.places, cpu, rss, strict=True):
            pid, elapsed = place.pid, int(second - booted - place.started_after_boot_s)
            if place.session_s:
                pid, elapsed = _session(place, second)
            mean = place.cpu * host.cpus * 0.27
            state_letter = "R" if cpu_pct > 40.0 and place.key % 3 == 0 else "S"
            table.append(
                Running(
                    pid, place.ppid, place.user, place.args, cpu_pct, 100.0 * rss_kb / host.memory_kb,
                    int(rss_kb * 1.6) + 2048 * (rss_kb > 0), rss_kb, elapsed, int(elapsed * mean), state_letter,
                )
            )  # fmt: skip
        table.extend(_own(host, incident, second) for incident in own if incident.kind in _OWN)
        table.sort(key=lambda running: running.pid)
        return table


def _session(place: Process, second: int) -> tuple[int, int]:
    """Process id and age of the session that runs now in this place."""
    offset = place.key % place.session_s
    generation, age = divmod(second - offset, place.session_s)
    digest = hashes(np.array([place.key], dtype=np.uint64), np.array([generation], dtype=np.int64))
    return place.pid + 100_000 + int(digest[0] % 9000) * 3, age


def _cpu_of(host: Host, incident: Incident, second: int) -> float:
    """Percent of one processor that an incident's own process takes."""
    level = float(incident.level(np.array([second / 60.0]))[0])
    shares = {planned.CPU_HOG: 62.0 * host.cpus, planned.RUNAWAY_PROCESS: 38.0 * host.cpus, planned.MEMORY_LEAK: 35.0}
    return level * shares.get(incident.kind, 18.0)


def _leak_of(host: Host, incident: Incident, second: int) -> float:
    """KiB that an incident's own process has taken."""
    if incident.kind != planned.MEMORY_LEAK:
        return host.memory_kb * 0.004
    level = float(incident.level(np.array([second / 60.0]))[0])
    return host.memory_kb * (0.01 + 0.50 * level * (0.5 + 0.5 * incident.strength))


def _own(host: Host, incident: Incident, second: int) -> Running:
    user, args = _OWN[incident.kind]
    cpu = _cpu_of(host, incident, second)
    rss = int(min(_leak_of(host, incident, second), host.memory_kb * 0.6))
    age = second - incident.start * 60
    pid = 30000 + incident.key % 30000
    share = 100.0 * rss / host.memory_kb
    return Running(pid, 1, user, args, cpu, share, int(rss * 1.3), rss, age, int(age * cpu / 100.0), "R")
