"""How the platform itself is: liveness, readiness of what it stands on, and its own metrics for Prometheus."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Literal
from uuid import UUID

import httpx
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from dash_app.api.shapes import DataDep
from dash_app.data import Data
from hps_platform import __version__, stream
from hps_platform.errors import HpsError
from hps_platform.store.collectors import Presence

router = APIRouter(tags=["Monitoring"])

State = Literal["ok", "unavailable"]
CHECK_TIMEOUT_S = 3.0
CACHED_S = 2.0


class Alive(BaseModel):
    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    status: State
    database: State
    kafka: State
    mlflow: State
    dagster: State


class Readiness:
    """Asks all four at once; an answer serves everybody for two seconds, since nobody has to sign in to ask."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._checks: dict[str, Callable[[], None]] = {
            "database": data.db.ping,
            "kafka": lambda: stream.ping(data.settings.bootstrap, CHECK_TIMEOUT_S),
            "mlflow": lambda: _fetch(f"{data.settings.tracking_uri}/health"),
            "dagster": lambda: _fetch(f"{data.settings.dagster_address}/server_info"),
        }
        # Twice as many threads as checks: one that hangs past its time must not make the next answer late.
        self._pool = ThreadPoolExecutor(max_workers=2 * len(self._checks), thread_name_prefix="readiness")
        self._asking = threading.Lock()
        self._asked: tuple[float, dict[str, State]] | None = None

    def states(self) -> dict[str, State]:
        with self._asking:
            if self._asked is None or time.monotonic() - self._asked[0] > CACHED_S:
                checks = {name: self._pool.submit(_state, check) for name, check in self._checks.items()}
                wait(checks.values(), timeout=CHECK_TIMEOUT_S + 1)
                states: dict[str, State] = {
                    name: check.result() if check.done() else "unavailable" for name, check in checks.items()
                }
                self._asked = time.monotonic(), states
            return self._asked[1]

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _readiness(request: Request) -> Readiness:
    readiness: Readiness = request.app.state.readiness
    return readiness


def _state(check: Callable[[], None]) -> State:
    try:
        check()
    except (HpsError, httpx.HTTPError):
        return "unavailable"
    return "ok"


def _fetch(address: str) -> None:
    httpx.get(address, timeout=CHECK_TIMEOUT_S).raise_for_status()


@router.get("/health/")
async def health() -> Alive:
    """The web application is running. Open without login."""
    return Alive()


@router.get("/ready/", responses={503: {"model": Ready, "description": "Something it stands on does not answer"}})
def ready(request: Request, response: Response) -> Ready:
    """States only of database, Kafka, MLflow and Dagster. 503 unless all of them answer. Open without login."""
    states = _readiness(request).states()
    everything: State = "ok" if all(state == "ok" for state in states.values()) else "unavailable"
    response.status_code = 200 if everything == "ok" else 503
    return Ready(status=everything, **states)


def _lines(name: str, kind: str, text: str, values: list[tuple[str, float]]) -> list[str]:
    return [
        f"# HELP {name} {text}",
        f"# TYPE {name} {kind}",
        *[f"{name}{labels} {value:.15g}" for labels, value in values],
    ]


_COUNTERS = {
    "logins": ("hps_collector_logins_total", "Logins to hosts."),
    "dead_letters": ("hps_collector_dead_letters_total", "Outputs without rows that were kept."),
    "suppressed": ("hps_collector_dead_letters_suppressed_total", "Outputs without rows that were counted only."),
    "sent": ("hps_collector_messages_sent_total", "Messages that Kafka has taken."),
    "dropped": ("hps_collector_messages_dropped_total", "Messages dropped past the bound of the spool."),
    "refused": ("hps_collector_messages_refused_total", "Messages too large for Kafka."),
    "fenced": ("hps_collector_samples_fenced_total", "Samples that came after the lease on their host had ended."),
    "cpu_s": ("hps_collector_cpu_seconds_total", "CPU time of the collector."),
}
_GAUGES = {
    "connections": ("hps_collector_connections", "Connections to hosts."),
    "waiting": ("hps_collector_messages_waiting", "Messages that Kafka has not taken yet."),
    "spool_bytes": ("hps_collector_spool_bytes", "Bytes on disk of messages that wait for Kafka."),
    "rss_bytes": ("hps_collector_resident_bytes", "Resident memory of the collector."),
}
_BY_LABEL = {
    "states": ("hps_collector_hosts", "gauge", "state", "Hosts of the collector by state."),
    "login_failures": (
        "hps_collector_login_failures_total",
        "counter",
        "state",
        "Failed logins by what they led to.",
    ),
    "outcomes": (
        "hps_collector_outputs_total",
        "counter",
        "outcome",
        "Outputs of commands by what came of them.",
    ),
}


def _of_collectors(presences: list[Presence]) -> list[str]:
    """What each collector of the last day said of itself."""
    labels = {presence.id: f'collector="{presence.name}"' for presence in presences}
    alive = [(f"{{{labels[presence.id]}}}", float(presence.alive)) for presence in presences]
    lines = _lines("hps_collector_up", "gauge", "Whether the collector says that it is alive.", alive)
    told = [presence for presence in presences if presence.alive and presence.figures]
    for kind, names in (("counter", _COUNTERS), ("gauge", _GAUGES)):
        for key, (name, text) in names.items():
            values = [(f"{{{labels[presence.id]}}}", float(presence.figures[key])) for presence in told]
            lines += _lines(name, kind, text, values)
    for key, (name, kind, label, text) in _BY_LABEL.items():
        split = [
            (f'{{{labels[presence.id]},{label}="{value}"}}', float(count))
            for presence in told
            for value, count in sorted(presence.figures[key].items())
        ]
        lines += _lines(name, kind, text, split)
    return lines + _slip(told, labels)


def _slip(told: list[Presence], labels: dict[UUID, str]) -> list[str]:
    """A histogram: how late reports of streams came."""
    name = "hps_collector_slip_seconds"
    lines = [f"# HELP {name} How much later than due the reports of streams came.", f"# TYPE {name} histogram"]
    for presence in told:
        label, total = labels[presence.id], 0
        for bound, count in presence.figures["slip"]:
            total += count
            lines.append(f'{name}_bucket{{{label},le="{bound}"}} {total}')
        lines += [f"{name}_sum{{{label}}} {presence.figures['slip_sum_s']}", f"{name}_count{{{label}}} {total}"]
    return lines


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def prometheus(data: DataDep, request: Request) -> Response:
    """The platform's own metrics in Prometheus' text format."""
    states = _readiness(request).states()
    lines = _lines("hps_build_info", "gauge", "Version of the platform.", [(f'{{version="{__version__}"}}', 1)])
    up = [(f'{{service="{name}"}}', float(state == "ok")) for name, state in states.items()]
    lines += _lines("hps_up", "gauge", "Whether a service that the platform stands on answers.", up)
    if states["database"] == "ok":
        counts: dict[str, int] = {}
        for server in data.servers():
            counts[server.status] = counts.get(server.status, 0) + 1
        by_status = [(f'{{status="{status}"}}', float(count)) for status, count in sorted(counts.items())]
        lines += _lines("hps_servers", "gauge", "Servers by the collector's word on them.", by_status)
        lines += _of_collectors(data.collectors())
    hub, now_ms = data.hub, time.time() * 1000
    ages = [
        (f'{{metric="{metric}",server_id="{server_id}"}}', round((now_ms - last_ms) / 1000, 3))
        for (metric, server_id), last_ms in sorted(hub.last_sample_ms().items())
    ]
    lines += _lines("hps_live_sample_age_seconds", "gauge", "Age of the newest sample on the live tail.", ages)
    lines += _lines("hps_live_samples_total", "counter", "Samples read off the live tail.", [("", hub.delivered)])
    lines += _lines(
        "hps_live_rejected_total", "counter", "Messages on the tail that were no samples.", [("", hub.rejected)]
    )
    lines += _lines("hps_live_subscribers", "gauge", "Live views that are open.", [("", hub.subscribers)])
    return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4; charset=utf-8")
