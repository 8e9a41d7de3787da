"""A small fleet as `Data` would give it, without database, Kafka or SSH."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import polars as pl
from dash._utils import to_json

from dash_app.data import Data, Links, Page
from dash_app.live import Batch
from hps_platform.errors import HpsError, NotFound
from hps_platform.history import OVERVIEW_COLUMNS, Answer
from hps_platform.history.intervals import seconds
from hps_platform.metrics import FAMILIES
from hps_platform.store.fleet import LATEST_SCHEMA, SPARKS
from hps_platform.store.servers import Server

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
AIX, LINUX = 1, 5

SERVER = Server(
    id=AIX,
    hostname="aix01",
    ip_address="192.0.2.1",
    ssh_port=22,
    ssh_username="hps",
    operating_system="aix",
    os_version="7.3",
    architecture="ppc64",
    host_key="SHA256:" + "a" * 43,
    is_active=True,
    owner=None,
    organisation=None,
    tags=["prod"],
    settings={},
    state="up",
    state_message="",
    state_since=NOW,
    facts={},
    recognised_at=NOW,
    clock_offset_s=None,
    plan=[],
    last_seen_at=NOW,
    revision=1,
    created_at=NOW,
    updated_at=NOW,
    has_password=True,
    has_private_key=False,
    has_certificate=False,
    has_jump_credentials=False,
)


def server(**changes: Any) -> Server:
    return replace(SERVER, **changes)


def samples(
    family: str,
    values: dict[str, Sequence[float | None]],
    *,
    server_id: int = AIX,
    keys: Sequence[str | None] = (None,),
    step_s: float = 2.0,
    end: datetime = NOW,
) -> pl.DataFrame:
    """Rows of one server, the last at `end`: each column's values in the order of time, the same for each key."""
    shown = FAMILIES[family]
    length = len(next(iter(values.values())))
    times = [end - timedelta(seconds=step_s * (length - 1 - index)) for index in range(length)]
    rows = [
        {
            "server_id": server_id,
            "timestamp": moment,
            **({shown.summary_key: key} if shown.summary_key and key is not None else {}),
            **{name: column[index] for name, column in values.items()},
        }
        for index, moment in enumerate(times)
        for key in keys
    ]
    return pl.DataFrame(rows, schema_overrides={"timestamp": pl.Datetime("ms", "UTC")}, infer_schema_length=None)


def anomaly(minute: int, *, server_id: int = AIX, score: float = -0.4) -> dict[str, Any]:
    """One anomalous minute, so many minutes before `NOW`."""
    return {
        "server_id": server_id,
        "hostname": "aix01" if server_id == AIX else "lnx01",
        "timestamp": NOW - timedelta(minutes=minute),
        "is_anomaly": True,
        "anomaly_score": score,
        "metric_values": {"disk_kb_s": 180_000.0, "run_queue": 41.0},
        "contributions": [
            {"column": "disk_kb_s", "weight": 0.7, "observed": 180e3, "usual_low": 800.0, "usual_high": 24e3},
            {"column": "run_queue", "weight": 0.2, "observed": 41.0, "usual_low": 1.0, "usual_high": 6.0},
        ],
        "forest_score": -0.21,
        "run_id": "0b0e7a3c",
        "model_version": "3",
    }


def incident(number: int = 7, *, state: str = "open", servers: Sequence[int] = (AIX,)) -> dict[str, Any]:
    """An incident of ten minutes until `NOW`, its peak the minute of `anomaly(0)`."""
    start = NOW - timedelta(minutes=10)
    return {
        "id": number,
        "state": state,
        "severity": "medium",
        "sentence": "Disk throughput 175.8 MiB/s (mostly hdisk3), usually 0.8 to 23.4 MiB/s at this hour.",
        "started_at": start,
        "ended_at": NOW,
        "minutes": 8,
        "peak_at": NOW,
        "peak_server_id": servers[0],
        "peak_score": -0.4,
        "servers": [
            {
                "server_id": server_id,
                "hostname": "aix01" if server_id == AIX else "lnx01",
                "started_at": start,
                "ended_at": NOW,
                "minutes": 8,
                "peak_at": NOW,
                "peak_score": -0.4,
                "heads": ["disk_kb_s"],
            }
            for server_id in servers
        ],
        "events": [
            {"at": start, "kind": "opened", "actor": None, "reason": ""},
            {"at": NOW, "kind": "false_alarm", "actor": "ada", "reason": "the backup"},
        ],
        "learnt": [
            {
                "id": 3,
                "server_id": servers[0],
                "incident_id": number,
                "metrics": ["disk_kb_s"],
                "from_minute": 1410,
                "minutes": 70,
                "demanded_score": -0.45,
                "created_by": "ada",
            }
        ],
        "explanation": {
            "processes": [{"command": "/usr/bin/tar -cf", "cpu_pct": 88.0, "rss_kb": None}],
            "absent": ["backup.sh"],
            "filesystems": [{"mount": "/backup", "used_pct": 97.5}],
            "similar": [
                {
                    "id": 2,
                    "state": "resolved",
                    "started_at": NOW - timedelta(days=1),
                    "sentence": "Disk throughput 90.0 MiB/s.",
                    "hostname": "aix01",
                }
            ],
            "nearby": [{"at": NOW, "server_id": servers[0], "kind": "state", "message": "no answer within 10 s"}],
            "maintenance": [{"server_id": servers[0], "start": NOW, "end": NOW + timedelta(hours=1)}],
        },
    }


def shown(component: Any) -> str:
    """The component as the browser gets it: what can't be sent fails here."""
    sent = to_json(component)  # type: ignore[no-untyped-call]
    return json.dumps(json.loads(sent), ensure_ascii=False)


@dataclass
class Fleet:
    """Stands in for `Data`; `broken` is what every question raises."""

    known: list[Server] = field(default_factory=lambda: [SERVER, server(id=LINUX, hostname="lnx01")])
    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    interval: str | None = None
    found: list[dict[str, Any]] = field(default_factory=list)
    incidents_known: list[dict[str, Any]] = field(default_factory=list)
    preparing: dict[str, Any] | None = None
    broken: HpsError | None = None
    tail: list[dict[str, Any]] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def as_data(self) -> Data:
        return cast(Data, self)

    def servers(self, *, active_only: bool = False) -> list[Server]:
        if self.broken:
            raise self.broken
        return [one for one in self.known if one.is_active or not active_only]

    def server(self, server_id: int) -> Server:
        for one in self.known:
            if one.id == server_id:
                return one
        raise NotFound(f"there is no server {server_id}")

    def overview(self) -> pl.DataFrame:
        empty: list[float | None] = [None] * 60
        rows = [
            {
                **dict.fromkeys(OVERVIEW_COLUMNS),
                "server_id": one.id,
                "timestamp": one.last_seen_at,
                "cpu_busy_pct": 93.0,
            }
            | dict.fromkeys(SPARKS, empty)
            for one in self.known
        ]
        return pl.DataFrame(rows, schema={**LATEST_SCHEMA, **dict.fromkeys(SPARKS, pl.List(pl.Float64()))})

    def history(self, metric: str, server_ids: Sequence[int], start: datetime, end: datetime, **how: Any) -> Answer:
        if self.broken:
            raise self.broken
        self.asked.append({"metric": metric, "start": start, "end": end, **how})
        columns = dict.fromkeys(how["columns"], pl.Float64())
        empty = pl.DataFrame(schema={"server_id": pl.Int64(), "timestamp": pl.Datetime("ms", "UTC"), **columns})
        frame = self.frames.get(metric, empty)
        step_s = seconds(self.interval) if self.interval else None
        return Answer(metric, self.interval, FAMILIES[metric].units, frame, step_s)

    def recent(
        self, metric: str, server_ids: Collection[int] | None = None, seconds: float = 60.0
    ) -> list[dict[str, Any]]:
        return self.tail

    async def live(self, metrics: Collection[str], server_ids: Collection[int] | None = None) -> AsyncIterator[Batch]:
        for batch in self.batches:
            yield batch
        await asyncio.Event().wait()

    def anomalies(self, *, server_id: int | None = None, page: int = 1, page_size: int = 50, **_: Any) -> Page:
        found = [one for one in self.found if server_id in (None, one["server_id"])]
        return Page(found, len(found), page, page_size)

    def anomaly(self, server_id: int, timestamp: datetime) -> dict[str, Any]:
        for one in self.found:
            if (one["server_id"], one["timestamp"]) == (server_id, timestamp):
                return one
        raise NotFound("that minute was never scored")

    def scored_minutes(self, server_id: int, start: datetime, end: datetime) -> pl.DataFrame:
        rows = [
            {
                "timestamp": one["timestamp"],
                "anomaly_score": one["anomaly_score"],
                "is_anomaly": True,
                "disk_kb_s": 180e3,
            }
            for one in reversed(self.found)
        ]
        return pl.DataFrame(rows, schema_overrides={"timestamp": pl.Datetime("ms", "UTC")})

    def incidents(self, *, server_id: int | None = None, page: int = 1, page_size: int = 50, **_: Any) -> Page:
        found = [
            one for one in self.incidents_known if server_id in (None, *(part["server_id"] for part in one["servers"]))
        ]
        return Page(found, len(found), page, page_size)

    def attribution(self, server_id: int, timestamp: datetime) -> dict[str, Any]:
        self.anomaly(server_id, timestamp)
        return {
            "forest_score": -0.21,
            "expected": 0.04,
            "values": {"disk_kb_s": -0.2, "run_queue": -0.06, "mem_used_pct": 0.01},
            "background": 48,
            "model_version": "3",
        }

    def incident(self, incident_id: int) -> dict[str, Any]:
        for one in self.incidents_known:
            if one["id"] == incident_id:
                return one
        raise NotFound(f"no incident {incident_id}")

    def links(self) -> Links:
        return Links("http://127.0.0.1:3000", "http://127.0.0.1:5000")

    def progress(self) -> dict[str, Any] | None:
        return self.preparing
