"""`hps demo`: the whole stack with a simulated fleet, two weeks of history, models and anomalies.

The steps are noted in `<data dir>/demo/demo.json`; an interrupted demo goes on where it was, and a complete one only
starts the stack. How the stack runs is `supervisor`'s business, what the hosts print `simulator`'s, how history gets
into Kafka `seeding`'s.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hps_platform import landing, stack, stream
from hps_platform.errors import Conflict, StackError
from hps_platform.settings import Settings
from hps_platform.stack import ports, progress, seeding, sshd
from hps_platform.stack.files import write_json
from hps_platform.stack.orchestrator import Orchestrator
from hps_platform.stack.services import Health, Service
from hps_platform.stack.simulator.fleet import fleet
from hps_platform.store import landing as ledger
from hps_platform.store import servers
from hps_platform.store.database import Database
from hps_platform.store.secrets import SecretBox

DEMO = "demo/demo.json"
TITLE = "Preparing two weeks of history"
# Share of the work behind each step, as measured on two cores.
_SEEDED, _LANDED, _ROLLED_UP, _TRAINED = 0.62, 0.72, 0.80, 0.93

Echo = Callable[[str, float], None]
"""Told what is being done and how far all of it is, from 0 to 1."""


@dataclass
class State:
    """What a demo of this data directory has done."""

    seed: int
    days: float
    epoch: str
    server_ids: dict[str, int] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    @property
    def started_at(self) -> datetime:
        return datetime.fromisoformat(self.epoch)

    @property
    def complete(self) -> bool:
        return "scored" in self.done

    def save(self, data_dir: Path) -> None:
        write_json(data_dir / DEMO, asdict(self))


def load(data_dir: Path) -> State | None:
    """The demo of that data directory, if there is one."""
    path = data_dir / DEMO
    return State(**json.loads(path.read_text())) if path.exists() else None


def _state(settings: Settings, seed: int, days: float) -> State:
    found = load(settings.data_dir)
    if found is None:
        # History ends at a full minute, where the live samples begin.
        epoch = datetime.now(UTC).replace(second=0, microsecond=0)
        found = State(seed, days, epoch.isoformat())
        found.save(settings.data_dir)
    elif (found.seed, found.days) != (seed, days):
        raise Conflict(
            f"{settings.data_dir} holds a demo with --seed {found.seed} --days {found.days:g}: "
            f"use these, or another HPS_DATA_DIR"
        )
    return found


@dataclass(frozen=True, slots=True)
class Ready:
    """Where to look, once the stack runs; `password` only when it was made just now."""

    settings: Settings
    password: str | None

    def rows(self) -> list[tuple[str, str]]:
        known = "as set" if self.settings.admin_password else "as printed at the first start"
        return [
            ("App", self.settings.app_address),
            ("Sign in", f"{self.settings.admin_user}, password {self.password or known}"),
            ("API", f"{self.settings.app_address}/api/docs"),
            ("Dagster", self.settings.dagster_address),
            ("MLflow", self.settings.tracking_uri),
        ]


def run(settings: Settings, *, seed: int, days: float, echo: Echo, ready: Callable[[Ready], None]) -> State:
    """Starts the stack and completes the demo; safe to call again after an interruption at any point.

    The first forecasts are begun in the end and not waited for: Dagster makes them while people look at the rest.
    `ready` is called once the app can be used, while history is still being prepared.
    """
    state = _state(settings, seed, days)
    title = TITLE if days == 14 else f"Preparing {days:g} days of history"

    def tell(message: str, done: float, *, finished: bool = False) -> None:
        progress.write(settings.data_dir, title, message, done, finished=finished)
        echo(message, done)

    if not state.complete:
        tell("starting the stack", 0.0)
    local = sshd.prepare(settings.data_dir / "sshd", _ssh_port(settings))
    extra = [_simulator(settings, state), *([local.service] if local else [])]
    running = stack.start(settings, extra=extra, progress=lambda text: echo(text, 0.0))
    with Database(running.settings.dsn()) as database:
        enrol(running.settings, database, state, local)
        ready(Ready(running.settings, running.password))
        if not state.complete:
            _prepare(running.settings, database, state, tell)
    tell("complete", 1.0, finished=True)
    _forecast(running.settings, state)
    return state


def _ssh_port(settings: Settings) -> int:
    """The port of this machine's private sshd: the one it had, so that a restart finds it registered."""
    path = settings.data_dir / "demo/sshd_port"
    if path.exists():
        return int(path.read_text())
    port = ports.free_port()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(port))
    return port


def _simulator(settings: Settings, state: State) -> Service:
    options = ("--data-dir", str(settings.data_dir), "--seed", str(state.seed), "--epoch", state.epoch)
    return Service(
        "simulator",
        (sys.executable, "-m", "hps_platform.stack.simulator", *options),
        Health("process", "", "answers as twelve hosts"),
    )


def _fleet_file(settings: Settings, timeout_s: float = 60.0) -> dict[str, Any]:
    """The simulator's list of its hosts, once the first of them can be reached."""
    path = settings.data_dir / "simulator" / "fleet.json"
    gives_up_at = time.monotonic() + timeout_s
    while time.monotonic() < gives_up_at:
        if path.exists():
            listed: dict[str, Any] = json.loads(path.read_text())
            if not ports.is_free(listed["hosts"][0]["port"]):
                return listed
        time.sleep(0.1)
    raise StackError(f"the simulated fleet did not come up within {timeout_s:.0f} s: see hps logs simulator")


def _entries(settings: Settings, local: sshd.LocalSsh | None) -> Iterator[dict[str, Any]]:
    listed = _fleet_file(settings)
    key = Path(listed["private_key_file"]).read_text()
    for host in listed["hosts"]:
        yield {
            "hostname": host["hostname"],
            "ip_address": host["address"],
            "ssh_port": host["port"],
            "ssh_username": host["username"],
            "ssh_private_key": key,
            "host_key": host["host_key"],
            "operating_system": host["os"],
            "tags": host["tags"],
        }
    if local is not None:
        yield {
            "hostname": socket.gethostname(),
            "ip_address": "127.0.0.1",
            "ssh_port": local.port,
            "ssh_username": local.username,
            "ssh_private_key": local.private_key,
            "host_key": local.host_key,
            "tags": ["this machine"],
        }


def enrol(settings: Settings, database: Database, state: State, local: sshd.LocalSsh | None) -> None:
    """Registers the simulated hosts, and this machine where it has an SSH server, as `hps server add` would."""
    box = SecretBox(settings.field_encryption_key)
    for fields in _entries(settings, local):
        with database.connection() as conn:
            known = {server.hostname: server for server in servers.list_servers(conn)}
            server = known.get(fields["hostname"])
            if server is None:
                server = servers.add_server(conn, box, fields)
            elif (server.ssh_port, server.host_key) != (fields["ssh_port"], fields["host_key"]):
                server = servers.update_server(conn, box, server.id, fields)
            state.server_ids[server.hostname] = server.id
    state.save(settings.data_dir)


def _prepare(settings: Settings, database: Database, state: State, tell: Echo) -> None:
    def step(name: str, work: Callable[[], Any]) -> None:
        _once(settings, state, name, work)

    with Orchestrator(settings.dagster_address) as dagster:
        step("seeded", lambda: _seed(settings, state, tell))
        step("landed", lambda: _await_landing(settings, database, tell))
        tell("rolling up minutes and hours", _LANDED)
        step("rolled up", lambda: dagster.run("refresh_rollups"))
        tell("training a model for each server", _ROLLED_UP)
        step("trained", lambda: dagster.run("train_models", {"models__champions": {"only_due": False}}))
        tell("scoring the whole history", _TRAINED)
        step("scored", lambda: dagster.run("score_minutes", {"detection__anomalies": {"whole_history": True}}))


def _forecast(settings: Settings, state: State) -> None:
    """Begins the first forecasts; the others are made each night."""
    with Orchestrator(settings.dagster_address) as dagster:
        _once(settings, state, "forecasts begun", lambda: dagster.launch("make_forecasts"))


def _once(settings: Settings, state: State, name: str, work: Callable[[], Any]) -> None:
    if name not in state.done:
        work()
        state.done.append(name)
        state.save(settings.data_dir)


def _seed(settings: Settings, state: State, tell: Echo) -> None:
    simulated = {host.hostname for host in fleet(state.seed)}
    ids = {name: server_id for name, server_id in state.server_ids.items() if name in simulated}
    todo = seeding.tasks(ids, seed=state.seed, epoch=state.started_at, days=state.days)

    def report(done: int, total: int, samples: int) -> None:
        tell(f"history: {done} of {total} host-days, {samples:,} samples sent", _SEEDED * done / total)

    seeding.seed_history(
        todo,
        bootstrap=settings.bootstrap,
        data_dir=settings.data_dir,
        workers=max(1, min(4, (os.cpu_count() or 2))),
        progress=report,
    )


def _await_landing(settings: Settings, database: Database, tell: Echo, timeout_s: float = 900.0) -> None:
    """Returns when everything that was in Kafka at the time of the call is in PostgreSQL."""
    ends = {place: high for place, (_, high) in stream.watermarks(settings.bootstrap, landing.TOPICS).items()}
    gives_up_at = time.monotonic() + timeout_s
    first_behind: int | None = None
    while time.monotonic() < gives_up_at:
        with database.connection() as conn:
            landed = {place: offset for place, (offset, _) in ledger.ledger(conn).items()}
        behind = sum(max(0, end - landed.get(place, 0)) for place, end in ends.items())
        if behind == 0:
            return
        first_behind = first_behind or behind
        share = 1 - behind / first_behind
        tell(f"landing: {behind:,} samples to go", _SEEDED + (_LANDED - _SEEDED) * share)
        time.sleep(0.5)
    raise StackError("landing did not catch up with the history: look at landing_window in the Dagster UI")
