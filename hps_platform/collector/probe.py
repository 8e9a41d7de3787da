"""Trying a host once on behalf of a person: what works, what doesn't, and what to do, step by step.

Nothing is stored and nothing is trusted: without a pinned key the report ends at the fingerprints.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hps_platform import dialects
from hps_platform.dialects import Outcome, PlannedCommand
from hps_platform.errors import (
    AuthenticationFailed,
    CommandTimeout,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    HpsError,
    InvalidInput,
    SshError,
)
from hps_platform.host_keys import HostKey
from hps_platform.ssh import Session, Target, fingerprints

_CLOCK = "date -u '+%Y-%m-%d %H:%M:%S'"
_FIRST_REPORT_S = 10.0


@dataclass(frozen=True, slots=True)
class FamilyReport:
    """Whether a family can be read on the host, by which command, and what the host said if not."""

    command: str
    ok: bool
    message: str = ""


@dataclass(slots=True)
class ConnectionReport:
    """How far it went; `message` says in a sentence what stands in the way, or that nothing does."""

    reachable: bool = False
    host_keys: list[HostKey] = field(default_factory=list)
    host_key_state: str = "unknown"
    """`unknown` (host not reached), `not_pinned`, `pinned` (the right one), `changed`."""
    login_ok: bool = False
    operating_system: str | None = None
    version: str = ""
    architecture: str = ""
    hostname: str = ""
    cpus: int | None = None
    families: dict[str, FamilyReport] = field(default_factory=dict)
    clock_offset_s: float | None = None
    """The host's clock minus ours, to the second."""
    duration_s: float = 0.0
    message: str = ""

    @property
    def ok(self) -> bool:
        return self.login_ok and bool(self.families) and all(report.ok for report in self.families.values())


def test_connection(
    target: Target,
    *,
    operating_system: str | None = None,  # noqa: PT028  no test
    settings: Mapping[str, Any] | None = None,  # noqa: PT028  no test
    timeout_s: float = 10.0,  # noqa: PT028  no test
) -> ConnectionReport:
    """Takes some seconds and never raises for what the host does."""
    started = time.monotonic()
    report = ConnectionReport()
    try:
        _try(target, operating_system, settings or {}, timeout_s, report)
    except HpsError as error:
        report.message = str(error)
    report.duration_s = round(time.monotonic() - started, 3)
    return report


test_connection.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test by its name


def _try(
    target: Target,
    operating_system: str | None,
    settings: Mapping[str, Any],
    timeout_s: float,
    report: ConnectionReport,
) -> None:
    report.host_keys = fingerprints(target, timeout_s)
    report.reachable = True
    report.host_key_state = "not_pinned" if target.host_key is None else "changed"
    session = _connected(target, timeout_s, report)
    try:
        report.login_ok = True
        system, tools = _recognise(session, operating_system, timeout_s, report)
        report.clock_offset_s = _clock_offset(session, timeout_s)
        for planned in _plan(system, tools, settings, report):
            report.families[planned.family] = _try_family(session, system, planned, timeout_s)
    finally:
        session.close()
    failing = [name for name, family in report.families.items() if not family.ok]
    report.message = f"no {', '.join(failing)} from this host" if failing else "everything works"


def _connected(target: Target, timeout_s: float, report: ConnectionReport) -> Session:
    try:
        session = Session.connect(target, timeout_s)
    except HostKeyUnknown:
        report.host_key_state = "not_pinned"
        raise
    except HostKeyChanged:
        report.host_key_state = "changed"
        raise
    except (AuthenticationFailed, InvalidInput):
        report.host_key_state = "pinned"
        raise
    except HostUnreachable:
        report.host_key_state = "unknown"
        raise
    report.host_key_state = "pinned"
    return session


def _recognise(
    session: Session, operating_system: str | None, timeout_s: float, report: ConnectionReport
) -> tuple[str, frozenset[str]]:
    """Which dialect to use, and the tools that the host has for it, where they are known."""
    result = session.run(dialects.IDENTIFY, timeout_s)
    try:
        host = dialects.identify(result.stdout)
    except InvalidInput:
        if operating_system is None:
            raise
        report.operating_system = operating_system
        return operating_system, frozenset()
    report.operating_system, report.version = host.operating_system, host.version
    report.architecture, report.hostname, report.cpus = host.architecture, host.hostname, host.cpus
    system = operating_system or host.operating_system
    return system, host.tools_for(system)


def _clock_offset(session: Session, timeout_s: float) -> float | None:
    before = time.time()
    result = session.run(_CLOCK, timeout_s)
    middle = (before + time.time()) / 2
    try:
        told = datetime.strptime(result.stdout.strip()[-19:], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    # The host tells whole seconds: on average half a second has passed since.
    return round(told.timestamp() + 0.5 - middle, 1)


def _plan(
    system: str, tools: frozenset[str], settings: Mapping[str, Any], report: ConnectionReport
) -> list[PlannedCommand]:
    commands = dict(settings.get("commands", {}))
    for family in list(commands):
        try:
            dialects.plan(system, {}, {family: commands[family]})
        except InvalidInput as error:
            report.families[family] = FamilyReport(commands.pop(family), False, str(error))
    plan = dialects.plan(system, settings.get("intervals", {}), commands, tools)
    skipped = {*settings.get("disabled", ()), *report.families}
    return [planned for planned in plan if planned.family not in skipped]


def _try_family(session: Session, system: str, planned: PlannedCommand, timeout_s: float) -> FamilyReport:
    try:
        text, exit_code = _first_output(session, planned, timeout_s)
    except HostUnreachable:
        raise
    except (CommandTimeout, SshError) as error:
        return FamilyReport(planned.command, False, str(error))
    # What a stream prints first describes the time since boot; that it can be read is what matters here.
    parsed = dialects.parse(system, planned.command, text, streamed=planned.stream)
    if parsed.outcome is Outcome.ROWS:
        return FamilyReport(planned.command, True, f"{len(parsed.rows)} rows")
    missing = exit_code in (126, 127)
    return FamilyReport(planned.command, False, "the command is missing" if missing else parsed.message)


def _first_output(session: Session, planned: PlannedCommand, timeout_s: float) -> tuple[str, int | None]:
    """All output of a command that ends; of a stream what it prints until it falls quiet for the first time."""
    channel = session.stream(planned.command, timeout_s)
    woken = threading.Event()
    channel.on_readable(woken.set)
    deadline = time.monotonic() + (_FIRST_REPORT_S if planned.stream else max(timeout_s, 30.0))
    text = ""
    try:
        while not channel.ended:
            quiet = 0.3 if planned.stream and text.count("\n") > 1 else deadline - time.monotonic()
            if not woken.wait(max(0.0, quiet)):
                if planned.stream and text:
                    break
                raise CommandTimeout(f"no output of `{planned.command}`")
            woken.clear()
            text += channel.read_available()
        return text, channel.exit_code
    finally:
        channel.close()
