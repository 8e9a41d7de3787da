"""The one door to data for pages and API: a thin face of the services. No SQL, no Kafka, no figures.

Every method blocks (database, MLflow, SSH) except `recent`, `live`, `links` and `families`. Dash runs callbacks on the
event loop, also those written as plain `def`: a page's callback is `async def` and calls
`await asyncio.to_thread(data.history, …)`. Errors are those of `hps_platform.errors`; `str(error)` may be shown.
"""

import json
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from dash_app.session import current_user
from hps_platform import detection, forecasting, history
from hps_platform.detection import Detection
from hps_platform.errors import Forbidden
from hps_platform.history import Answer, How
from hps_platform.metrics import FAMILIES, Family
from hps_platform.model_registry import ModelRegistry
from hps_platform.settings import Settings
from hps_platform.stack.progress import PROGRESS
from hps_platform.store import collectors, letters, logins, servers
from hps_platform.store.collectors import Presence
from hps_platform.store.database import Database
from hps_platform.store.secrets import SecretBox
from hps_platform.store.servers import Server

if TYPE_CHECKING:
    import polars as pl

    from dash_app.live import Batch, Hub
    from hps_platform.collector import ConnectionReport
    from hps_platform.inventory import Found

logger = logging.getLogger(__name__)


CONNECTION_TIMEOUT_S = 8.0
"""How long a person waits for one step of trying a host."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: `count` is the length of the whole list."""

    results: list[dict[str, Any]]
    count: int
    page: int
    page_size: int


@dataclass(frozen=True, slots=True)
class Links:
    """Where the other user interfaces are; addresses without a trailing slash."""

    dagster: str
    mlflow: str
    api_docs: str = "/api/docs"


class Data:
    """One instance per process, made by `create_app`, handed to the API and to `dash_app.shell.mount`."""

    def __init__(self, db: Database, hub: "Hub", settings: Settings, queries: Database | None = None) -> None:
        """`queries` is where history is asked for: maybe a replica, with a time limit of its own."""
        self.db = db
        self.hub = hub
        self.settings = settings
        self.queries = queries or db

    @cached_property
    def registry(self) -> ModelRegistry:
        return ModelRegistry(self.settings.tracking_uri, cache_dir=self.settings.data_dir / "models")

    @cached_property
    def _box(self) -> SecretBox:
        return SecretBox(self.settings.field_encryption_key)

    # Families -----------------------------------------------------------------------------------------------------

    @staticmethod
    def families() -> Mapping[str, Family]:
        return FAMILIES

    # Servers ------------------------------------------------------------------------------------------------------

    def servers(self, *, active_only: bool = False) -> list[Server]:
        """All servers by hostname."""
        with self.db.connection() as conn:
            return servers.list_servers(conn, active_only=active_only)

    def servers_page(self, page: int, page_size: int) -> tuple[list[Server], int]:
        """One page of the servers by hostname, and how many there are in all."""
        with self.db.connection() as conn:
            found = servers.list_servers(conn, limit=page_size, offset=(page - 1) * page_size)
            return found, servers.count_servers(conn)

    def server(self, server_id: int) -> Server:
        """`NotFound` when there is none of that id."""
        with self.db.connection() as conn:
            return servers.get_server(conn, server_id)

    def add_server(self, fields: Mapping[str, Any]) -> Server:
        """`fields` as named in the API (`hostname ip_address ssh_port ssh_username ssh_password ssh_private_key
        ssh_key_passphrase host_key operating_system architecture is_active tags settings owner organisation`).
        `Conflict` on a hostname that exists, `InvalidInput` on a bad value."""
        _only_administrators("add a server")
        with self.db.connection() as conn:
            return servers.add_server(conn, self._box, fields)

    def update_server(self, server_id: int, fields: Mapping[str, Any]) -> Server:
        """Changes only the fields given; a secret set to `None` or `""` is removed, one left out stays."""
        _only_administrators("change a server")
        with self.db.connection() as conn:
            return servers.update_server(conn, self._box, server_id, fields)

    def dead_letters(
        self, page: int, page_size: int, family: str | None, server_id: int | None, replayed: bool | None
    ) -> tuple[list[dict[str, Any]], int]:
        """One page, the newest first, and how many there are."""
        with self.db.connection() as conn:
            found, count = letters.listing(
                conn,
                family=family,
                server_id=server_id,
                replayed=replayed,
                limit=page_size,
                offset=(page - 1) * page_size,
            )
        return [_letter(one) for one in found], count

    def dead_letter(self, letter_id: int) -> dict[str, Any]:
        with self.db.connection() as conn:
            return _letter(letters.get(conn, letter_id))

    def replay_dead_letter(self, letter_id: int) -> int:
        """Sends it again as a sample; how many rows. `InvalidInput` while today's dialects make nothing of it."""
        _only_administrators("replay a dead letter")
        from hps_platform import landing

        with self.db.connection() as conn:
            return landing.replay_letter(conn, self.settings.bootstrap, letter_id)

    def remove_server(self, server_id: int) -> None:
        """Takes it off the registry; its samples stay until they are too old."""
        _only_administrators("remove a server")
        with self.db.connection() as conn:
            servers.remove_server(conn, server_id)

    def discover(self, network: str, *, port: int = 22, with_host_keys: bool = False) -> "list[Found]":
        """Hosts of a network that greet as SSH servers, as proposals; takes up to a minute. `InvalidInput` for no
        network or too large a one."""
        from hps_platform import inventory

        _only_administrators("look for hosts")
        return inventory.discover(self.db, network, port=port, with_host_keys=with_host_keys)

    def test_connection(self, server_id: int) -> "ConnectionReport":
        """Tries the host now, without touching the collector; takes some seconds and never raises for what the host
        does: `reachable, host_keys, host_key_state, login_ok, operating_system, families, message, ok, …`."""
        from hps_platform import collector

        _only_administrators("test a connection")
        with self.db.connection() as conn:
            server = servers.get_server(conn, server_id)
            login = logins.login_to(conn, self._box, server)
        return collector.test_connection(
            collector.target_of(server, login),
            operating_system=server.operating_system,
            settings=server.settings,
            timeout_s=CONNECTION_TIMEOUT_S,
        )

    def collectors(self) -> list[Presence]:
        """Collectors of the last day, with what they told of themselves."""
        with self.db.connection() as conn:
            return collectors.presences(conn)

    def server_health(self, server_id: int) -> dict[str, Any]:
        """`{"server_id", "hostname", "status", "message", "last_seen_at": datetime|None, "age_s": float|None,
        "clock_offset_s": float|None, "recognised_at": datetime|None, "facts", "plan", "availability": Availability,
        "families": [{"metric", "last_at": datetime|None, "age_s": float|None, "interval_s": float, "fresh": bool}]}`;
        families by the live tail, so `last_at` is None for what is older than some minutes; `fresh` = younger than
        three of its intervals."""
        server, now = self.server(server_id), datetime.now(UTC)
        last_ms = self.hub.last_sample_ms()
        chosen = server.settings.get("intervals", {})
        families = []
        for family in FAMILIES.values():
            found_ms = last_ms.get((family.name, server_id))
            last_at = datetime.fromtimestamp(found_ms / 1000, UTC) if found_ms is not None else None
            age_s = _age_s(last_at, now)
            interval_s = float(chosen.get(family.name, family.interval_s))
            families.append(
                {
                    "metric": family.name,
                    "last_at": last_at,
                    "age_s": age_s,
                    "interval_s": interval_s,
                    "fresh": age_s is not None and age_s < 3 * interval_s,
                }
            )
        return {
            "server_id": server.id,
            "hostname": server.hostname,
            "status": server.status,
            "message": server.status_message,
            "last_seen_at": server.last_seen_at,
            "age_s": _age_s(server.last_seen_at, now),
            "clock_offset_s": server.clock_offset_s,
            "recognised_at": server.recognised_at,
            "facts": server.facts,
            "plan": server.plan,
            "availability": history.availability(self.db, server, now),
            "families": families,
        }

    # Samples ------------------------------------------------------------------------------------------------------

    def overview(self) -> "pl.DataFrame":
        """One row a registered server: `history.OVERVIEW_COLUMNS`, newest values and lists of the last hour."""
        return history.overview(self.queries)

    def history(
        self,
        metric: str,
        server_ids: Sequence[int],
        start: datetime,
        end: datetime,
        *,
        by_tag: bool = False,
        **how: Unpack[How],
    ) -> Answer:
        """`Answer(metric, interval, units, frame, step_s, settled)`; frame: `server_id, timestamp, <key>, <columns>`,
        ascending.

        `interval` None = a chart of `max_points` a line, peaks kept, or raw rows without it; else `"10s" "5m" "1h"
        "1d"`. `columns agg zone envelope` as in `history.query`; `by_tag`: lines are the servers' tags, in `tag`.
        `InvalidInput` for `end <= start`, unknown columns, or more than 50,000 rows (the text names an interval that
        fits)."""
        if by_tag:
            how["tags"] = {server.id: server.tags for server in self.servers() if server.id in server_ids}
        return history.cached(self.queries, self.db, history.asked(metric, server_ids, start, end, **how))

    def recent(
        self, metric: str, server_ids: Collection[int] | None = None, seconds: float = 60.0
    ) -> list[dict[str, Any]]:
        """Rows of the live tail, ascending; `timestamp` in epoch milliseconds. None = every server. Does not block."""
        return self.hub.recent(metric, server_ids, seconds)

    def live(
        self, metrics: Collection[str], server_ids: Collection[int] | None = None, *, back_s: float = 0.0
    ) -> "AsyncGenerator[Batch]":
        """Samples as they arrive, each once: `async for batch in data.live({"vmstat"}, {1, 2}, back_s=60)`.

        First those of the last `back_s`, without a gap or a repetition in between. Of a batch:
        `metric`, `server_id`, `timestamp_ms`, `rows` (list of dict, with `server_id` and `timestamp` in ms),
        `produced_ms`. Ends when the app shuts down; leave it by `break` or cancellation."""
        return self.hub.subscribe(metrics, server_ids, back_s=back_s)

    def export(
        self,
        metric: str,
        server_ids: Sequence[int],
        start: datetime,
        end: datetime,
        *,
        form: str,
        by_tag: bool = False,
        **how: Unpack[How],
    ) -> Iterator[bytes]:
        """The same as a file of any length, `form` `csv json ndjson parquet`, with a header; parameters as in
        `history`. What is wrong is raised here, not while the pieces are taken."""
        if by_tag:
            how["tags"] = {server.id: server.tags for server in self.servers() if server.id in server_ids}
        return history.export(self.queries, history.asked(metric, server_ids, start, end, **how), form)

    def provenance(
        self, metric: str, server_id: int, timestamp: datetime, *, within: timedelta = timedelta()
    ) -> dict[str, Any]:
        """Where the sample at that moment (or the first one `within` that time after it) came from; fields as in
        `history.trace`. `NotFound` without one; `KafkaUnavailable`."""
        links = self.links()
        sources = history.Sources(self.settings.bootstrap, links.dagster, links.mlflow)
        return history.trace(self.queries, sources, metric, server_id, timestamp, within)

    # Anomalies ----------------------------------------------------------------------------------------------------

    def anomalies(
        self,
        *,
        server_id: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        only_anomalies: bool = True,
        page: int = 1,
        page_size: int = 50,
    ) -> Page:
        """Of scheduled scoring, newest first. Each result: `server_id, hostname, timestamp: datetime, is_anomaly,
        anomaly_score, metric_values: dict, contributions: list[{"column", "weight"}] best first, forest_score,
        run_id: str, model_version`."""
        found, count = detection.anomalies(
            self.db,
            server_id=server_id,
            start=start,
            end=end,
            only_anomalies=only_anomalies,
            page=page,
            page_size=page_size,
        )
        return Page(found, count, page, page_size)

    def anomaly(self, server_id: int, timestamp: datetime) -> dict[str, Any]:
        """One scored minute of the scheduled scoring, fields as in `anomalies`; `NotFound`."""
        return detection.anomaly(self.db, server_id, timestamp)

    def attribution(self, server_id: int, timestamp: datetime) -> dict[str, Any]:
        """Shapley values of the forest's score of that minute, worked out now: `forest_score, expected, values` (by
        metric, the most anomalous first), `background, model_version`. `NotFound`, `NotEnoughData`, `ModelUntrusted`,
        `RegistryUnavailable` for a model that is not in the cache."""
        return detection.attribution(self.db, self.registry, server_id, timestamp)

    def scored_minutes(self, server_id: int, start: datetime, end: datetime) -> "pl.DataFrame":
        """Scheduled scores, ascending: `timestamp, anomaly_score, is_anomaly`, then one column a feature
        (`cpu_busy_pct, run_queue, …, us, sy, idle`; null where nothing is known)."""
        return detection.scored_minutes(self.db, server_id, start, end)

    def incidents(
        self,
        *,
        server_id: int | None = None,
        states: Collection[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        page: int = 1,
        page_size: int = 50,
    ) -> Page:
        """Those that touch the range, newest first. Each result: `id, state, severity, started_at, ended_at, minutes,
        peak_at, peak_server_id, peak_score, head_metric, culprit, causes, sentence, closed_at`, and `servers`, the
        strangest first: `server_id, hostname, started_at, ended_at, minutes, peak_at, peak_score, heads`."""
        found, count = detection.list_incidents(
            self.db, server_id=server_id, states=states, start=start, end=end, page=page, page_size=page_size
        )
        return Page(found, count, page, page_size)

    def incident(self, incident_id: int) -> dict[str, Any]:
        """One, fields as in `incidents`, with `events`, `learnt` and `explanation` as in `detection.incident`;
        `NotFound`."""
        return detection.incident(self.db, incident_id)

    def handle_incident(self, incident_id: int, step: str, reason: str = "") -> dict[str, Any]:
        """`step`: `acknowledge`, `resolve`, `false-alarm` or `reopen`. `NotFound`, `Conflict` when it can't be done in
        the state that it is in; fields as in `incidents`."""
        _only_administrators(f"{_STEPS[step][0]} an incident")
        return _STEPS[step][1](self.db, incident_id, current_user().username, reason)

    def daily_incidents(self, start: date, end: date, server_id: int | None = None) -> list[dict[str, Any]]:
        """By day, both inclusive: `day, servers` (scored ones), `minutes` (anomalous ones), and of the incidents that
        began `incidents, acknowledged, false_alarms`."""
        return detection.daily_incidents(self.db, start, end, server_id)

    def learnt(self, server_id: int | None = None) -> list[dict[str, Any]]:
        """What false alarms taught, the newest first: `id, server_id, incident_id, metrics, from_minute, minutes,
        demanded_score, created_by, created_at`."""
        return detection.learnt(self.db, server_id)

    def unlearn(self, suppression_id: int) -> None:
        """`NotFound`."""
        _only_administrators("undo what a false alarm taught")
        detection.unlearn(self.db, suppression_id, current_user().username)

    def coverage(self) -> list[dict[str, Any]]:
        """Of every server whether anomalies can be found on it, by hostname: `server_id, hostname, state` (watched,
        partly, silent, learning, off), `text` and `scored_until`."""
        return detection.coverage(self.db)

    def detection_runs(
        self,
        *,
        server_id: int | None = None,
        trigger: str | None = None,
        page: int = 1,
        page_size: int = 50,
    ) -> Page:
        """Newest first; fields of `anomaly_detection_runs` (`run_id` as str)."""
        found, count = detection.runs(self.db, server_id=server_id, trigger=trigger, page=page, page_size=page_size)
        return Page(found, count, page, page_size)

    def detect(self, server_id: int, start: datetime, end: datetime) -> Detection:
        """Scores the range now with the champion and keeps it as an on-demand run: `.results` frame (`timestamp,
        is_anomaly, anomaly_score, metric_values, …`), `.summary` dict, `.run_id`."""
        return detection.run_on_demand(self.db, self.registry, server_id, start, end, budget=self.settings.alert_budget)

    def thresholds(self, server_id: int | None = None) -> list[dict[str, Any]]:
        """`id, server_id, metric_name, anomaly_score_threshold, severity_level, enable_alerts,
        alert_cooldown_minutes, is_active`."""
        return detection.thresholds(self.db, server_id)

    def threshold(self, threshold_id: int) -> dict[str, Any]:
        """Fields as in `thresholds`; `NotFound`."""
        return detection.threshold(self.db, threshold_id)

    def add_threshold(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """`Conflict` when that server has one for that metric already, `NotFound` for an unknown server."""
        _only_administrators("add a threshold")
        return detection.add_threshold(self.db, fields)

    def update_threshold(self, threshold_id: int, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Changes only the fields given."""
        _only_administrators("change a threshold")
        return detection.update_threshold(self.db, threshold_id, fields)

    def remove_threshold(self, threshold_id: int) -> None:
        _only_administrators("remove a threshold")
        detection.remove_threshold(self.db, threshold_id)

    # Forecasts ----------------------------------------------------------------------------------------------------

    def forecasts(
        self, server_id: int, *, metric: str | None = None, horizon_days: int = forecasting.HORIZONS[0]
    ) -> list[dict[str, Any]]:
        """The newest forecasts, each with points or the reason why there are none; fields as in
        `forecasting.forecasts`. `metric` None = all that are forecast."""
        return forecasting.forecasts(self.db, server_id, metric=metric, horizon_days=horizon_days)

    # Links, progress ----------------------------------------------------------------------------------------------

    def links(self) -> Links:
        return Links(dagster=self.settings.dagster_address, mlflow=self.settings.tracking_uri)

    def progress(self) -> dict[str, Any] | None:
        """How far the demo's preparation is: `{"title", "message", "done": share from 0 to 1, "updated_at"}`;
        None when nothing is being prepared."""
        try:
            found = json.loads((self.settings.data_dir / PROGRESS).read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            logger.warning("progress of the demo can't be read: %s", error)
            return None
        return found if isinstance(found, dict) and not found.get("finished") else None


_STEPS: dict[str, tuple[str, Callable[[Database, int, str, str], dict[str, Any]]]] = {
    "acknowledge": ("acknowledge", detection.acknowledge),
    "resolve": ("resolve", detection.resolve),
    "false-alarm": ("call off", detection.false_alarm),
    "reopen": ("open", detection.reopen),
}


def _letter(letter: letters.Letter) -> dict[str, Any]:
    fields = asdict(letter)
    return {"metric": fields.pop("family"), **fields}


def _only_administrators(what: str) -> None:
    if not current_user().is_admin:
        raise Forbidden(f"Only administrators may {what}.")


def _age_s(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else round(max((now - moment).total_seconds(), 0.0), 3)


__all__ = ["Data", "Links", "Page"]
