"""`hps bench target`: what collecting costs the host that is collected from.

This machine is the host, through an OpenSSH server of the benchmark's own; the collector is the real one.
"""

import time
from pathlib import Path
from typing import Any

import psutil

from hps_platform.errors import StackError
from hps_platform.stack import sshd
from hps_platform.stack.bench import Report, Tell, report
from hps_platform.stack.bench.ground import Cpu, Ground, ground, pause, start_collector
from hps_platform.stack.ports import free_port
from hps_platform.store import servers
from hps_platform.store.database import Database
from hps_platform.store.secrets import SecretBox

INTERVAL_S = 2.0
_SETTLE_S = 20.0
_LOGIN = "Accepted publickey"


def run(*, seconds: float, tell: Tell) -> Report:
    """Collects from this machine and measures for `seconds`."""
    started = time.monotonic()
    with ground() as base:
        tell("PostgreSQL and Kafka are started")
        base.postgres()
        base.kafka()
        measured = _measured(base, seconds, tell)
    return report("target", {"seconds": seconds, "interval_s": INTERVAL_S}, started, measured)


def _measured(base: Ground, seconds: float, tell: Tell) -> dict[str, Any]:
    folder = base.folder / "sshd"
    home = base.folder / "home"
    home.mkdir()
    # A monitoring account has no start-up files that cost more than what is measured here, as this account may have.
    local = sshd.prepare(folder, free_port(), home=home)
    if local is None:
        raise StackError("there is no OpenSSH server on this machine: install openssh-server")
    host = base.run("sshd", local.service.command)
    collector = start_collector(base)
    with Database(base.dsn, max_size=2, application_name="hps bench") as db:
        fields = {
            "hostname": "this-machine",
            "ip_address": "127.0.0.1",
            "ssh_port": local.port,
            "ssh_username": local.username,
            "ssh_private_key": local.private_key,
            "host_key": local.host_key,
            "settings": {"intervals": {"vmstat": INTERVAL_S, "iostat": INTERVAL_S}},
        }
        with db.connection() as conn:
            server_id = servers.add_server(conn, SecretBox(base.key), fields).id

        def judged() -> servers.Server | None:
            with db.connection() as conn:
                server = servers.get_server(conn, server_id)
            return server if server.state in ("up", "degraded") else None

        tell("one login")
        collector.wait_for("this machine up", judged, 60.0)
        time.sleep(min(seconds, _SETTLE_S))
        tell(f"measuring for {seconds:.0f} s")
        logins, used, began = _logins(host.logged), _tree_s(host.watched), time.monotonic()
        cpu = Cpu(collector=collector.watched)
        pause(seconds, collector, host)
        wall = time.monotonic() - began
        used = _tree_s(host.watched) - used
        more = _logins(host.logged) - logins
        server = judged()
    return {
        "logins_per_hour": round(more * 3600 / wall, 2),
        "cpu_share": round(used / wall, 5),
        "logins": logins + more,
        "state": server.state if server else "",
        "problem": server.state_message if server else "",
        "collector_cpu_share": cpu.shares()["collector"],
    }


def _logins(logged: Path) -> int:
    return logged.read_text(errors="replace").count(_LOGIN)


def _tree_s(process: psutil.Process) -> float:
    """CPU seconds of a process and all below it: those that have ended are counted by whoever waited for them."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
