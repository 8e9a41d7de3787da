"""Whether a service is well, asked of the service itself, and how much memory its processes hold."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache

import httpx
import psutil

from hps_platform.errors import DatabaseUnavailable
from hps_platform.settings import Settings
from hps_platform.stack import kafka, postgres
from hps_platform.stack.services import Health
from hps_platform.store import collectors
from hps_platform.store.database import session

_TIMEOUT_S = 3.0
_HEARTBEAT_S = 120.0
"""The daemon notes a heartbeat every 30 s."""

_DAEMONS = """
{ instance { daemonHealth { allDaemonStatuses {
    daemonType required healthy lastHeartbeatTime lastHeartbeatErrors { message } } } } }
"""


def ask(health: Health, settings: Settings) -> tuple[bool, str]:
    """Whether it is well, and a sentence about it. Never raises, takes a few seconds at most."""
    if health.kind == "collector":
        return _collector(settings)
    checks: dict[str, Callable[[Health, Settings], str]] = {
        "postgres": _postgres,
        "kafka": _kafka,
        "http": _http,
        "grpc": _grpc,
        "daemon": _daemon,
        "ssh": _ssh,
        "process": lambda *_: "",
    }
    problem = checks[health.kind](health, settings)
    return not problem, problem or health.words


def _address(target: str) -> tuple[str, int]:
    host, _, port = target.rpartition(":")
    return host, int(port)


def _postgres(health: Health, settings: Settings) -> str:
    accepting = postgres.accepts(*_address(health.target), settings.postgres_bin_dir)
    return "" if accepting else f"no connections accepted on {health.target}"


def _kafka(health: Health, _: Settings) -> str:
    return "" if kafka.answers(*_address(health.target)) else f"no answer on {health.target}"


@cache
def _client() -> httpx.Client:
    """One for all questions: making one reads the certificates of the machine, which takes longer than asking."""
    return httpx.Client(timeout=_TIMEOUT_S, trust_env=False)


def _http(health: Health, _: Settings) -> str:
    try:
        status = _client().get(health.target).status_code
    except httpx.HTTPError as error:
        return f"no answer from {health.target} ({type(error).__name__})"
    return "" if status < 400 else f"{health.target} answers {status}"


def _grpc(health: Health, _: Settings) -> str:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(health.target) as channel:
        request = health_pb2.HealthCheckRequest(service="DagsterApi")
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            return f"no answer on {health.target} ({error.code().name.lower()})"
    serving: bool = answer.status == health_pb2.HealthCheckResponse.SERVING
    return "" if serving else f"{health.target} is not serving yet"


def _daemon(health: Health, _: Settings) -> str:
    """Heartbeats as the webserver reports them: the daemon itself listens nowhere."""
    try:
        answer = _client().post(f"{health.target}/graphql", json={"query": _DAEMONS})
        daemons = answer.json()["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return f"its heartbeats are unknown: the webserver does not tell ({type(error).__name__})"
    now = datetime.now(UTC).timestamp()
    for daemon in daemons:
        if not daemon["required"]:
            continue
        name = daemon["daemonType"].replace("_", " ").lower()
        if daemon["lastHeartbeatTime"] is None or now - daemon["lastHeartbeatTime"] > _HEARTBEAT_S:
            return f"the {name} daemon has no heartbeat"
        if not daemon["healthy"] and daemon["lastHeartbeatErrors"]:
            return f"the {name} daemon reports: {daemon['lastHeartbeatErrors'][0]['message'].splitlines()[0]}"
    return ""


def _ssh(health: Health, _: Settings) -> str:
    import socket

    try:
        with socket.create_connection(_address(health.target), _TIMEOUT_S) as connection:
            greeting = connection.recv(4)
    except OSError as error:
        return f"no answer on {health.target} ({error.strerror or type(error).__name__})"
    return "" if greeting == b"SSH-" else f"{health.target} does not speak SSH"


def _collector(settings: Settings) -> tuple[bool, str]:
    """What collectors said of their hosts; the processes themselves are the supervisor's business."""
    try:
        with session(settings.dsn(), application_name="hps status", statement_timeout_s=_TIMEOUT_S) as conn:
            alive = [presence for presence in collectors.presences(conn) if presence.alive]
    except DatabaseUnavailable as error:
        return False, f"its hosts are unknown: {error}"
    if not alive:
        return False, "has not said that it is alive"
    states: Counter[str] = Counter()
    for presence in alive:
        states.update(presence.figures.get("states", {}))
    others = ", ".join(f"{count} {state}" for state, count in sorted(states.items()) if state not in ("up", ""))
    words = f"{states['up']} of {states.total()} hosts up" + (f", {others}" if others else "")
    return True, words + (f"; {len(alive)} collectors" if len(alive) > 1 else "")


def memory_mb(pid: int) -> float:
    """Memory of a process and all below it: proportional, so that what they share counts once; 0 when it is gone."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0
    for member in family:
        try:
            total += getattr(member.memory_full_info(), "pss", 0) or member.memory_info().rss
        except psutil.AccessDenied:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6
