"""The processes of a machine: who runs, since when, and how much processor and memory each takes.

Daemons live as long as the machine, sessions come and go with new process ids, and an incident brings a process of its
own. What `ps` makes of them is `render`'s business.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hps_platform.stack.simulator import incidents as planned
from hps_platform.stack.simulator.fleet import Host
from hps_platform.stack.simulator.incidents import Incident
from hps_platform.stack.simulator.model import ROW, Machine
from hps_platform.stack.simulator.noise import Floats, between, key_of, number, waves


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


Columns = dict[str, list[Any]]
"""A process table as columns of equal length: pid, ppid, user, args, cpu_pct, memory_pct, vsz_kb, rss_kb, elapsed_s,
cpu_time_s, state. Columns, because a history has millions of rows."""

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
            rows.append((pid, "root", kernel[place], 0.02, 0.0 if host.os == "linux" else 0.05, False))
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

    def __init__(self, machine: Machine, busiest: int | None = None) -> None:
        """Only the `busiest` processes when a number is given, by their usual processor time and memory."""
        self.machine = machine
        places = processes(machine.host)
        order = sorted(range(len(places)), key=lambda place: -max(places[place].cpu, places[place].memory))
        self.places = tuple(places[place] for place in sorted(order[:busiest]))
        self._keys = np.array([place.key for place in self.places], dtype=np.uint64)
        self._cpu = np.array([place.cpu for place in self.places])
        self._memory = np.array([place.memory for place in self.places])
        self._born = np.array([machine.booted + place.started_after_boot_s for place in self.places])
        self._pids = [place.pid for place in self.places]
        self._sessions = [number for number, place in enumerate(self.places) if place.session_s]
        self._can_run = np.array([place.key % 3 == 0 for place in self.places])
        self._fixed = {name: [getattr(place, name) for place in self.places] for name in ("ppid", "user", "args")}

    def at(self, second: int, state: Floats) -> Columns:
        """The table at a time (seconds since 1970), by process id; `state` is the column of `ROWS` for that time."""
        host = self.machine.host
        noise = waves(self._keys, second // 60, 1, _SLOW)[:, 0]
        own = self.machine.incidents(second // 60, second // 60)
        busy = float(state[ROW["us"]] + state[ROW["sy"]]) * host.cpus
        left = max(busy - sum(_cpu_of(host, incident, second) for incident in own), busy * 0.15)
        resident = float(state[ROW["comp"]]) - sum(_leak_of(host, incident, second) for incident in own)
        cpu = np.maximum(left * self._cpu * (1.0 + 0.3 * noise), 0.0)
        rss = np.floor(max(resident, host.memory_kb * 0.2) * 0.9 * self._memory * (1.0 + 0.02 * noise))
        elapsed = second - self._born
        pids = list(self._pids)
        for place in self._sessions:
            pids[place], elapsed[place] = _session(self.places[place], second)
        columns: Columns = {
            "pid": pids,
            **{name: list(values) for name, values in self._fixed.items()},
            "cpu_pct": cpu.tolist(),
            "memory_pct": (100.0 * rss / host.memory_kb).tolist(),
            "vsz_kb": np.floor(rss * 1.6 + 2048.0 * (rss > 0.0)).astype(np.int64).tolist(),
            "rss_kb": rss.astype(np.int64).tolist(),
            "elapsed_s": elapsed.astype(np.int64).tolist(),
            "cpu_time_s": (elapsed * self._cpu * host.cpus * 0.27).astype(np.int64).tolist(),
            "state": np.where((cpu > 40.0) & self._can_run, "R", "S").tolist(),
        }
        for incident in own:
            for name, value in _own(host, incident, second).items():
                columns[name].append(value)
        order = sorted(range(len(pids)), key=pids.__getitem__)
        return {name: [values[place] for place in order] for name, values in columns.items()}


def _session(place: Process, second: int) -> tuple[int, int]:
    """Process id and age of the session that runs now in this place."""
    generation, age = divmod(second - place.key % place.session_s, place.session_s)
    return place.pid + 100_000 + (place.key + generation * 2654435761) % 9000 * 3, age


def _level(incident: Incident, second: int) -> float:
    return float(incident.level(np.array([second / 60.0]))[0])


def _cpu_of(host: Host, incident: Incident, second: int) -> float:
    """Percent of one processor that an incident's own process takes."""
    shares = {planned.CPU_HOG: 62.0 * host.cpus, planned.RUNAWAY_PROCESS: 38.0 * host.cpus, planned.MEMORY_LEAK: 35.0}
    return _level(incident, second) * shares.get(incident.kind, 18.0)


def _leak_of(host: Host, incident: Incident, second: int) -> float:
    """KiB that an incident's own process has taken."""
    if incident.kind != planned.MEMORY_LEAK:
        return host.memory_kb * 0.004
    return host.memory_kb * min(0.01 + 0.50 * _level(incident, second) * (0.5 + 0.5 * incident.strength), 0.6)


def _own(host: Host, incident: Incident, second: int) -> dict[str, Any]:
    """The process that an incident brings, as one value for each column; none for a line that drops packets."""
    if incident.kind not in _OWN:
        return {}
    user, args = _OWN[incident.kind]
    cpu, rss, age = _cpu_of(host, incident, second), int(_leak_of(host, incident, second)), second - incident.start * 60
    return {
        "pid": 30000 + incident.key % 30000, "ppid": 1, "user": user, "args": args, "cpu_pct": cpu,
        "memory_pct": 100.0 * rss / host.memory_kb, "vsz_kb": int(rss * 1.3), "rss_kb": rss, "elapsed_s": age,
        "cpu_time_s": int(age * cpu / 100.0), "state": "R",
    }  # fmt: skip
