"""supervisord: rendering its configuration, starting it, and talking to it over XML-RPC.

Which programs there are is told by `services`; in which order they start by `sequence`.
"""

import os
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport

from hps_platform.errors import StackError
from hps_platform.stack.record import Record
from hps_platform.stack.services import Service

MARK = "SUPERVISED_BY_HPS_PLATFORM"
"""In the environment of every process of a stack: which one it belongs to, also when its parent is gone."""

_LONGEST_SOCKET_PATH = 100
_STATES = {
    "RUNNING": "running",
    "STARTING": "starting",
    "BACKOFF": "backoff",
    "FATAL": "fatal",
    "STOPPED": "stopped",
    "STOPPING": "stopped",
    "EXITED": "stopped",
    "UNKNOWN": "stopped",
}

_CONFIGURATION = """\
; Written at every start of the stack.
[supervisord]
logfile={logs}/supervisord.log
logfile_maxbytes=5MB
logfile_backups=2
pidfile={run}/supervisord.pid
directory={run}
identifier=hps
umask=077
{user}
[{server}]
{address}
username=hps
password={password}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[rpcinterface:hps]
supervisor.rpcinterface_factory=hps_platform.stack.restarts:watch
spared={spared}
"""

_PROGRAM = """
[program:{name}]
command={command}
environment={environment}
directory={run}
autostart=false
autorestart=true
startsecs=2
startretries=1000000000
stopsignal={stop_signal}
stopwaitsecs={stop_wait_s}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={logs}/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


@dataclass(frozen=True, slots=True)
class Program:
    """What supervisord says of one program; `state` in the words of `hps status`."""

    name: str
    state: str
    pid: int | None
    restarts: int
    started_at: float
    description: str


class Supervisor:
    """The supervisord of one data directory; every method talks to it anew."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self.run, self.logs = record.data_dir / "run", record.data_dir / "logs"

    @property
    def configuration(self) -> Path:
        return self.run / "supervisord.conf"

    @property
    def _socket(self) -> Path | None:
        path = self.run / "supervisor.sock"
        return path if len(str(path).encode()) <= _LONGEST_SOCKET_PATH else None

    def _rpc(self) -> Any:
        port = self._record.ports.get("supervisor", 0)
        url = f"unix://{self._socket}" if self._socket else f"http://127.0.0.1:{port}"
        transport = SupervisorTransport("hps", self._record.supervisor_password, url)
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            with self._rpc() as rpc:
                function = rpc
                for part in method.split("."):
                    function = getattr(function, part)
                return function(*arguments)
        except (OSError, HTTPException, xmlrpc.client.ProtocolError) as error:
            raise StackError(f"supervisord of {self._record.data_dir} does not answer ({error})") from error
        except xmlrpc.client.Fault as fault:
            raise StackError(
                f"supervisord refuses {method} {' '.join(map(str, arguments))}: {fault.faultString}"
            ) from fault

    def pid(self) -> int | None:
        """The process id of the supervisord that runs this stack, None when there is none."""
        try:
            pid = int((self.run / "supervisord.pid").read_text())
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE or process.environ().get(MARK) != self._record.mark:
                return None
        except (FileNotFoundError, ValueError, psutil.Error):
            return None
        return pid

    def write(self, services: Sequence[Service]) -> None:
        """Write the configuration file (0600: it holds database URLs)."""
        for folder in (self.run, self.logs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = render(self._record, services, self.run, self.logs, self._socket)
        beside = self.configuration.with_suffix(".new")
        beside.unlink(missing_ok=True)
        beside.touch(mode=0o600)
        beside.write_text(text)
        beside.replace(self.configuration)

    def launch(self, environment: Mapping[str, str], timeout_s: float = 30.0) -> None:
        """Start supervisord in the background and return when it answers. Its programs inherit `environment`."""
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.configuration)]
        done = subprocess.run(
            command,
            env={**environment, MARK: self._record.mark},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.run,
        )
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise StackError(f"supervisord did not start: {said[-1] if said else done.returncode}")
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._call("supervisor.getState")
            except StackError as error:
                if time.monotonic() > deadline:
                    raise StackError(f"supervisord did not start: see {self.logs}/supervisord.log") from error
                time.sleep(0.05)
            else:
                return

    def reload(self) -> list[str]:
        """Take over a changed configuration file: programs that changed or went are ended; returns their names."""
        added, changed, removed = self._call("supervisor.reloadConfig")[0]
        for name in (*changed, *removed):
            self._call("supervisor.stopProcessGroup", name)
            self._call("supervisor.removeProcessGroup", name)
        for name in (*added, *changed):
            self._call("supervisor.addProcessGroup", name)
        return [*changed, *removed]

    def programs(self) -> dict[str, Program]:
        """Every program by name; empty when supervisord is not running."""
        if self.pid() is None:
            return {}
        starts = self._call("hps.starts")
        return {
            entry["name"]: Program(
                name=entry["name"],
                state=_STATES[entry["statename"]],
                pid=entry["pid"] or None,
                restarts=max(0, starts.get(entry["name"], 0) - 1),
                started_at=float(entry["start"]),
                description=entry["spawnerr"] or entry["description"],
            )
            for entry in self._call("supervisor.getAllProcessInfo")
        }

    def start(self, name: str) -> None:
        """Start a program; one that runs already is left alone, one that ended before the answer is tried again."""
        try:
            self._call("supervisor.startProcess", name, False)
        except StackError as error:
            if "ALREADY_STARTED" not in str(error) and "SPAWN_ERROR" not in str(error):
                raise

    def stop(self, name: str) -> None:
        """Ask a program to end, without waiting for it."""
        try:
            self._call("supervisor.stopProcess", name, False)
        except StackError as error:
            if "NOT_RUNNING" not in str(error):
                raise

    def shutdown(self) -> None:
        """Ask supervisord to end itself and what still runs."""
        self._call("supervisor.shutdown")


def render(record: Record, services: Sequence[Service], run: Path, logs: Path, socket: Path | None) -> str:
    """supervisord's configuration for the services that are run here."""
    port = record.port("supervisor", keep=True)
    text = _CONFIGURATION.format(
        logs=_escaped(str(logs)),
        run=_escaped(str(run)),
        user="user=root\n" if os.geteuid() == 0 else "",
        server="unix_http_server" if socket else "inet_http_server",
        address=f"file={_escaped(str(socket))}\nchmod=0600" if socket else f"port=127.0.0.1:{port}",
        password=record.supervisor_password,
        spared=",".join(service.name for service in services if service.children_outlive_it),
    )
    for service in services:
        if service.external:
            continue
        variables = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(service.environment.items()))
        text += _PROGRAM.format(
            name=service.name,
            command=_escaped(shlex.join(service.command)),
            environment=variables,
            run=_escaped(str(run)),
            logs=_escaped(str(logs)),
            stop_signal=service.stop_signal,
            stop_wait_s=service.stop_wait_s,
        )
    return text


def _escaped(text: str) -> str:
    """`%` begins an expansion in supervisord's configuration; what begins a comment there can't be written at all."""
    if any(part in text for part in (" ;", " #", "\n")):
        raise StackError(f"{text!r} can't be used: supervisord reads ' ;' and ' #' as the beginning of a comment")
    return text.replace("%", "%%")


def leftovers(record: Record) -> list[psutil.Process]:
    """Processes that carry a stack's mark, with all below them; never this process or its parents."""
    spared = {psutil.Process().pid} | {parent.pid for parent in psutil.Process().parents()}
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.pid in spared or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get(MARK) == record.mark:
                found += [process, *process.children(recursive=True)]
        except (psutil.Error, OSError):
            continue
    return list(dict.fromkeys(found))


def end(processes: Sequence[psutil.Process], *, grace_s: float) -> None:
    """End processes: asked first, killed after `grace_s`."""
    for process in processes:
        _signal(process, psutil.Process.terminate)
    _, alive = psutil.wait_procs(processes, timeout=grace_s)
    for process in alive:
        _signal(process, psutil.Process.kill)
    psutil.wait_procs(alive, timeout=3)


def _signal(process: psutil.Process, action: Any) -> None:
    try:
        action(process)
    except psutil.NoSuchProcess:
        return
