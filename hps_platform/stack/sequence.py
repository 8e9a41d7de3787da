"""Starting services in the order of what they need: each as soon as the health of those before it allows."""

import logging
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from hps_platform.errors import PortInUse, StackError
from hps_platform.settings import Settings
from hps_platform.stack import health, ports
from hps_platform.stack.services import Service
from hps_platform.stack.supervisor import Program, Supervisor

log = logging.getLogger(__name__)

_POLL_S = 0.2
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ERROR = re.compile(r"(^|\W)(\w*(Error|Exception)\b|ERROR|FATAL|error:)")
_ATTEMPTS = 3
"""A service that ended so often before it was well once does not come up by itself."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something to be done once in between: the schema, topics."""

    name: str
    after: tuple[str, ...]
    run: Callable[[], None]
    words: str


@dataclass
class _Progress:
    """Where one service or step is."""

    begun: float | None = None
    answer: Future[tuple[bool, str]] | None = None
    last: str = "not asked yet"
    starts_before: int = 0
    done: bool = False


@dataclass
class Start:
    """One start of a stack; `run()` returns when everything is well, or raises `StackError`."""

    supervisor: Supervisor
    settings: Settings
    services: Sequence[Service]
    steps: Sequence[Step]
    tell: Callable[[str], None]
    _at: dict[str, _Progress] = field(default_factory=dict)

    def run(self) -> None:
        nodes: list[Service | Step] = [*self.services, *self.steps]
        self._at = {node.name: _Progress() for node in nodes}
        with ThreadPoolExecutor(len(nodes), thread_name_prefix="start") as pool:
            while not all(progress.done for progress in self._at.values()):
                programs = self.supervisor.programs()
                for node in nodes:
                    if isinstance(node, Step):
                        self._advance_step(node, pool)
                    else:
                        self._advance_service(node, programs.get(node.name), pool)
                time.sleep(_POLL_S)

    def _may_begin(self, node: Service | Step) -> bool:
        return all(self._at[name].done for name in node.after if name in self._at)

    def _advance_step(self, step: Step, pool: ThreadPoolExecutor) -> None:
        progress = self._at[step.name]
        if progress.begun is None:
            if self._may_begin(step):
                progress.begun = time.monotonic()
                progress.answer = pool.submit(_carry_out, step)
        elif not progress.done and progress.answer is not None and progress.answer.done():
            progress.answer.result()
            self._finish(step.name, step.words)

    def _advance_service(self, service: Service, program: Program | None, pool: ThreadPoolExecutor) -> None:
        progress = self._at[service.name]
        if progress.done:
            return
        if progress.begun is None:
            if self._may_begin(service):
                progress.begun = time.monotonic()
                progress.starts_before = program.restarts if program else 0
                if not service.external:
                    self.supervisor.start(service.name)
            return
        if progress.answer is not None and progress.answer.done():
            well, progress.last = progress.answer.result()
            progress.answer = None
            up = service.external or (program is not None and program.state in ("running", "starting"))
            if service.health.kind == "process":
                up = program is not None and program.state == "running"
            if well and up:
                self._finish(service.name, progress.last)
                return
        if progress.answer is None:
            progress.answer = pool.submit(health.ask, service.health, self.settings)
        self._give_up_on(service, program, time.monotonic() - progress.begun)

    def _finish(self, name: str, words: str) -> None:
        progress = self._at[name]
        progress.done = True
        took = time.monotonic() - (progress.begun or time.monotonic())
        self.tell(f"{name}: {words} ({took:.1f} s)")

    def _give_up_on(self, service: Service, program: Program | None, waited_s: float) -> None:
        """Raise when waiting longer is of no use."""
        progress = self._at[service.name]
        if service.external:
            if waited_s > 15:
                where = service.health.target.split("://")[-1]
                raise StackError(f"{service.name} at {where}, which is not run here, does not answer")
            return
        if program is not None and program.state in ("backoff", "fatal", "stopped"):
            taken = port_taken(service, program)
            if taken:
                raise PortInUse(taken)
            if program.restarts - progress.starts_before >= _ATTEMPTS:
                raise StackError(
                    f"{service.name} ends again and again: {reason(self.supervisor.logs / f'{service.name}.log')} "
                    f"(hps logs {service.name})"
                )
        if waited_s > service.start_timeout_s:
            raise StackError(
                f"{service.name} is not well after {waited_s:.0f} s: {progress.last} (hps logs {service.name})"
            )


def _carry_out(step: Step) -> tuple[bool, str]:
    step.run()
    return True, step.words


def port_taken(service: Service, program: Program) -> str:
    """A sentence naming the process that holds a service's port when that is not the service itself, else empty."""
    if service.port is None or ports.is_free(service.port):
        return ""
    holder = ports.holder(service.port)
    if holder is not None and program.pid is not None:
        try:
            if program.pid in (holder.pid, *(parent.pid for parent in holder.parents())):
                return ""
        except psutil.Error:
            return ""
    choose = f", or set {service.port_variable}" if service.port_variable else ""
    return f"port {service.port} for {service.name} is taken by {ports.describe_holder(service.port)}: end that{choose}"


def reason(path: Path) -> str:
    """The last line of a log that names an error, else its last line."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            text = _COLOUR.sub("", file.read().decode(errors="replace"))
    except OSError:
        return "it wrote no log"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "its log is empty"
    return next((line for line in reversed(lines) if _ERROR.search(line)), lines[-1])[:300]
