"""Incidents: put together from anomalous minutes, what people do with them, and what explains one.

What belongs together is decided in `hps_platform.analysis.incidents`. A false alarm makes its pattern quieter:
`scoring` honours that as it does thresholds.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from hps_platform.analysis import incidents as together
from hps_platform.analysis import jobs, maintenance, words
from hps_platform.analysis.incidents import Episode, Incident, Minute
from hps_platform.analysis.minutes import FAMILIES as SOURCES
from hps_platform.analysis.minutes import LOOPBACKS
from hps_platform.detection.training import DAYS
from hps_platform.errors import Conflict
from hps_platform.metrics import FAMILIES
from hps_platform.store import events, series, servers, suppressions, thresholds, traces
from hps_platform.store import incidents as stored
from hps_platform.store.database import Connection, Database
from hps_platform.store.incidents import Known, OnServer
from hps_platform.store.series import Aggregate, Scope, Value, Width
from hps_platform.store.servers import Server

QUIET = timedelta(hours=1)
"""An open or acknowledged incident is over when its servers were scored for so long without an anomalous minute."""
SILENT = timedelta(days=1)
"""Where nothing is scored any more, an open incident is given up after this time."""
NEARBY = timedelta(hours=1)
"""How long before and after an incident other events are shown with it."""
MARGIN = 0.05
"""How much lower than a false alarm's lowest score the next one's must be."""
ASIDE = timedelta(minutes=30)
"""How far from its time of day a false alarm makes its like quieter."""
_MINUTE = timedelta(minutes=1)
_RECENT = timedelta(minutes=3)
_STALE = timedelta(hours=1)
_TOLD = 50
_LONGEST = timedelta(days=2)
"""Restarts are looked for from an hour before an incident on, this long at most."""
_RUNNING_SINCE = timedelta(minutes=5)
_STARTED_WITHIN = timedelta(minutes=30)
"""Programs that ran within the first time before this moment of other days are missed if none ran within the second
time before it today: jobs don't begin on the second, and may have ended early."""

# From which states each step leads where.
_STEPS = {
    "acknowledged": (("open",), "acknowledged"),
    "resolved": (("open", "acknowledged"), "resolved"),
    "false_alarm": (("open", "acknowledged", "resolved"), "false_alarm"),
    "reopened": (("acknowledged", "resolved", "false_alarm"), "open"),
}
_CLOSED = ("resolved", "false_alarm")


@dataclass
class IncidentReport:
    """What a refresh did: how many incidents."""

    opened: int = 0
    changed: int = 0
    merged: int = 0
    removed: int = 0
    resolved: int = 0


# Putting together -----------------------------------------------------------------------------------------------------


def refresh(db: Database, *, now: datetime | None = None) -> IncidentReport:
    """Brings incidents in line with what scheduled scoring has said since the last time; idempotent.

    Minutes in a server's maintenance windows make no incident. One whose minutes were scored again keeps its number
    and state; if none of them is anomalous any more it is removed, unless a person did something with it.
    """
    report = IncidentReport()
    with db.connection() as conn:
        stored.lock(conn)
        since = stored.scored_since(conn)
        if since is not None:
            _put_together(conn, since - together.GAP, report)
        for incident_id, ended_at, sure in stored.quiet(conn, now or datetime.now(UTC), QUIET, SILENT):
            stored.set_state(conn, incident_id, "resolved", ended_at + QUIET)
            reason = "quiet for an hour" if sure else "no scores for a day: whether it is over is not known"
            stored.note(conn, incident_id, "resolved", reason=reason)
            report.resolved += 1
        stored.mark_refreshed(conn)
    return report


def _put_together(conn: Connection, border: datetime, report: IncidentReport) -> None:
    known = stored.known(conn, border)
    registered = {server.id: server for server in servers.list_servers(conn)}
    start = min([border, *(one.started_at for one in known)])
    minutes = _minutes(conn, start, registered)
    active = sum(server.is_active for server in registered.values())
    severities = _severities(conn)
    on_server: dict[int, list[tuple[OnServer, Known]]] = {}
    for one in known:
        for part in one.servers:
            on_server.setdefault(part.server_id, []).append((part, one))
    matched: set[int] = set()
    for incident in together.incidents(together.episodes(minutes), active):
        if incident.end < border:
            continue
        touched = {
            one.id: one
            for episode in incident.episodes
            for part, one in on_server.get(episode.server_id, ())
            if one.id not in matched and part.started_at < episode.end and episode.start < part.ended_at
        }
        matched |= touched.keys()
        # One that is still open goes on; the numbers of the others lead to it.
        alike = sorted(touched.values(), key=lambda one: (one.state in _CLOSED, one.id))
        severity = together.severity(incident, severities)
        _keep(conn, incident, severity, alike[0] if alike else None, registered, report)
        for other in alike[1:]:
            _merge(conn, other, alike[0], report)
    for one in known:
        if one.id not in matched and not one.touched:
            stored.remove(conn, one.id)
            report.removed += 1


def _minutes(conn: Connection, start: datetime, registered: Mapping[int, Server]) -> list[Minute]:
    found = stored.anomalous(conn, start)
    last = found[-1][1] + _MINUTE if found else start
    closed = {
        server_id: maintenance.windows(registered[server_id].settings, start, last)
        for server_id in {row[0] for row in found}
    }
    return [
        Minute(server_id, at, score, tuple(words.contributions(causes or ())))
        for server_id, at, score, causes in found
        if not any(begin <= at < until for begin, until in closed[server_id])
    ]


def _severities(conn: Connection) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    for one in thresholds.list_thresholds(conn):
        if one.is_active:
            found.setdefault(one.server_id, {})[one.metric_name] = one.severity_level
    return found


def _keep(
    conn: Connection,
    incident: Incident,
    severity: str,
    known: Known | None,
    registered: Mapping[int, Server],
    report: IncidentReport,
) -> None:
    """Writes a new incident, or what has changed of a known one."""
    peak = incident.peak
    server = registered[peak.server_id]
    same_peak = known is not None and (known.peak_at, known.peak_server_id) == (peak.at, peak.server_id)
    culprit = known.culprit if known is not None and same_peak else _culprit(conn, peak)
    fields: dict[str, Any] = {
        "severity": severity,
        "started_at": incident.start,
        "ended_at": incident.end,
        "minutes": incident.minutes,
        "peak_at": peak.at,
        "peak_server_id": peak.server_id,
        "peak_score": peak.score,
        "head_metric": peak.head,
        "culprit": culprit,
        "causes": [asdict(one) for one in peak.causes],
        "sentence": together.sentence(incident, server.hostname, culprit, _absent(conn, server, peak.at)),
    }
    parts = sorted((_part(one) for one in incident.episodes), key=lambda part: (part.peak_score, part.server_id))
    if known is None:
        stored.note(conn, stored.add(conn, fields, parts), "opened")
        report.opened += 1
        return
    if known.servers == parts and all(getattr(known, name) == value for name, value in fields.items()):
        return
    stored.change(conn, known.id, fields, parts)
    report.changed += 1
    if known.state == "resolved" and known.closed_at and incident.end > known.closed_at + together.GAP:
        stored.set_state(conn, known.id, "open")
        stored.note(conn, known.id, "reopened", reason="it went on after it was resolved")


def _part(one: Episode) -> OnServer:
    return OnServer(one.server_id, one.start, one.end, one.minutes, one.peak.at, one.peak.score, list(one.heads))


def _merge(conn: Connection, other: Known, into: Known, report: IncidentReport) -> None:
    stored.merge(conn, other.id, into.id)
    stored.note(conn, into.id, "merged", reason=f"incident {other.id} is a part of it")
    if other.state == "acknowledged" and into.state == "open":
        stored.set_state(conn, into.id, "acknowledged")
    report.merged += 1


def _culprit(conn: Connection, peak: Minute) -> str | None:
    """The disk or interface on which the head metric was measured, or at least half of it."""
    feature = words.FEATURES.get(peak.head)
    if feature is None or not feature.named:
        return None
    key = str(FAMILIES[feature.family].summary_key)
    found = _at(conn, feature.family, feature.columns, peak.server_id, peak.at, timedelta())
    parts = (
        found.filter(~pl.col(key).is_in(list(LOOPBACKS)))
        .select(key, value=pl.sum_horizontal(feature.columns))
        .sort("value", key, descending=[True, False])
    )
    if parts.is_empty() or (feature.summed and 2 * parts["value"][0] < parts["value"].sum()):
        return None
    return str(parts[key][0])


def _absent(conn: Connection, server: Server, at: datetime) -> list[str]:
    """Programs that usually run on the server at this time of its day and did not then."""
    local = at.astimezone(ZoneInfo(server.settings.get("time_zone", "UTC")))
    spans = {0: (at - _STARTED_WITHIN, at + _MINUTE)}
    for back in range(1, jobs.DAYS + 1):
        then = (local - timedelta(days=back)).astimezone(UTC)
        spans[back] = (then - _RUNNING_SINCE, then + _MINUTE)
    return jobs.absent(traces.commands(conn, server.id, spans))


def _at(
    conn: Connection, family: str, columns: Sequence[str], server_id: int, at: datetime, before: timedelta
) -> pl.DataFrame:
    """Means over the minute of the newest sample in [`at` - `before`, `at` + 1 min): the key and `columns`."""
    scope = Scope(FAMILIES[family], [server_id], at - before, at + _MINUTE)
    values = [Value(name, name, Aggregate.MEAN) for name in columns]
    found = series.buckets(conn, scope, values, Width(60))
    return found.filter(pl.col("timestamp") == pl.col("timestamp").max())


# Life cycle -----------------------------------------------------------------------------------------------------------


def acknowledge(db: Database, incident_id: int, actor: str, reason: str = "") -> dict[str, Any]:
    """Somebody looks after it, until it is over or closed. `NotFound`; `Conflict` unless it is open."""
    return _step(db, incident_id, "acknowledged", actor, reason)


def resolve(db: Database, incident_id: int, actor: str, reason: str = "") -> dict[str, Any]:
    """It is over. `NotFound`; `Conflict` when it is closed already."""
    return _step(db, incident_id, "resolved", actor, reason)


def false_alarm(db: Database, incident_id: int, actor: str, reason: str = "") -> dict[str, Any]:
    """It was none: on each of its servers, minutes headed by the same metrics at the same time of day must from now on
    be stranger than this one was. `NotFound`; `Conflict` when that was said before."""
    return _step(db, incident_id, "false_alarm", actor, reason)


def reopen(db: Database, incident_id: int, actor: str, reason: str = "") -> dict[str, Any]:
    """Open again until a person closes it; what a false alarm taught is undone. `NotFound`; `Conflict` when open."""
    return _step(db, incident_id, "reopened", actor, reason)


def _step(db: Database, incident_id: int, kind: str, actor: str, reason: str) -> dict[str, Any]:
    allowed, state = _STEPS[kind]
    with db.connection() as conn:
        known = stored.held(conn, incident_id)
        if known.state not in allowed:
            raise Conflict(f"incident {known.id} is {known.state.replace('_', ' ')}")
        stored.set_state(conn, known.id, state, datetime.now(UTC) if state in _CLOSED else None)
        stored.note(conn, known.id, kind, actor=actor, reason=reason)
        if kind == "false_alarm":
            _learn(conn, known, actor)
        elif kind == "reopened":
            suppressions.remove_of_incident(conn, known.id)
        return stored.shown(conn, known.id)


def _learn(conn: Connection, known: Known, actor: str) -> None:
    for part in known.servers:
        if not part.heads:
            continue
        begin = part.started_at.astimezone(UTC) - ASIDE
        length = part.ended_at - part.started_at + 2 * ASIDE
        suppressions.add(
            conn,
            part.server_id,
            known.id,
            part.heads,
            begin.hour * 60 + begin.minute,
            min(1440, int(length / _MINUTE)),
            round(part.peak_score - MARGIN, 4),
            actor,
        )


def learnt(db: Database, server_id: int | None = None) -> list[dict[str, Any]]:
    """What false alarms taught, the newest first; fields of `suppressions.Suppression`."""
    with db.connection() as conn:
        return [asdict(one) for one in suppressions.listing(conn, server_id=server_id)]


def unlearn(db: Database, suppression_id: int, actor: str) -> None:
    """That pattern counts again as it did before; `NotFound`. The incident stays what it was called."""
    with db.connection() as conn:
        gone = suppressions.remove(conn, suppression_id)
        if gone.incident_id is not None:
            stored.note(conn, gone.incident_id, "unlearnt", actor=actor)


# Reading --------------------------------------------------------------------------------------------------------------


def list_incidents(
    db: Database,
    *,
    server_id: int | None = None,
    states: Collection[str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    page: int = 1,
    page_size: int = 50,
) -> tuple[list[dict[str, Any]], int]:
    """Incidents that touch the range, the newest first, and how many there are in all; fields as in
    `store.incidents.listing`."""
    with db.connection() as conn:
        return stored.listing(
            conn,
            server_id=server_id,
            states=states,
            start=start,
            end=end,
            limit=page_size,
            offset=(page - 1) * page_size,
        )


def incident(db: Database, incident_id: int) -> dict[str, Any]:
    """One incident, or the one it became a part of, with what explains it; `NotFound`.

    Beside the fields of `list_incidents`: `events` (its life: `at, kind, actor, reason`), `learnt` (what it taught as a
    false alarm), and `explanation`: of the strangest server at the peak `processes` (`command, cpu_pct, rss_kb`, the
    busiest five), `absent` (programs that usually run at this hour and did not) and `filesystems` (`mount, used_pct`,
    the fullest five); of all its servers `similar` (earlier incidents), `nearby` (`at, server_id, kind, message` from
    an hour before to an hour after: what collectors told, and restarts) and `maintenance` (`server_id, start, end`).
    """
    with db.connection() as conn:
        found = stored.shown(conn, incident_id)
        ids = [part["server_id"] for part in found["servers"]]
        start, end = found["started_at"] - NEARBY, found["ended_at"] + NEARBY
        known = {server_id: servers.get_server(conn, server_id) for server_id in ids}
        strangest, peak = found["peak_server_id"], found["peak_at"]
        return {
            **found,
            "events": [asdict(one) for one in stored.events(conn, found["id"])],
            "learnt": [asdict(one) for one in suppressions.listing(conn, incident_id=found["id"])],
            "explanation": {
                "processes": _processes(conn, strangest, peak),
                "absent": _absent(conn, known[strangest], peak) if strangest in known else [],
                "filesystems": _filesystems(conn, strangest, peak),
                "similar": stored.similar(conn, ids, found["head_metric"], found["started_at"]),
                "nearby": _nearby(conn, ids, start, end),
                "maintenance": _maintenance(known.values(), start, end),
            },
        }


def _processes(conn: Connection, server_id: int, at: datetime) -> list[dict[str, Any]]:
    found = _at(conn, "process", ("cpu_pct", "rss_kb"), server_id, at, _RECENT)
    ranked = found.sort("cpu_pct", "rss_kb", descending=True, nulls_last=True)
    return ranked.select("command", "cpu_pct", "rss_kb").head(5).to_dicts()


def _filesystems(conn: Connection, server_id: int, at: datetime) -> list[dict[str, Any]]:
    found = _at(conn, "filesystem", ("used_pct",), server_id, at, _RECENT)
    ranked = found.drop_nulls("used_pct").sort("used_pct", "mount", descending=[True, False])
    return ranked.select("mount", "used_pct").head(5).to_dicts()


def _nearby(conn: Connection, ids: Sequence[int], start: datetime, end: datetime) -> list[dict[str, Any]]:
    """What collectors told, and restarts; the oldest first, at most fifty and never without a restart."""
    told: list[dict[str, Any]] = [
        {"at": one.at, "server_id": one.server_id, "kind": one.kind, "message": one.message}
        for server_id in ids
        for one in events.list_events(conn, server_id=server_id, start=start, end=end)
    ]
    restarted: list[dict[str, Any]] = [
        {"at": one.at, "server_id": one.server_id, "kind": "restarted", "message": _restarted(one)}
        for one in traces.restarts(conn, ids, start, min(end, start + _LONGEST))
    ]
    told = sorted(told, key=lambda one: one["at"])[: max(0, _TOLD - len(restarted))]
    return sorted([*told, *restarted], key=lambda one: one["at"])


def _restarted(one: traces.Restart) -> str:
    return f"restarted after {one.before:%H:%M:%S} UTC: the packet counters of all its interfaces began anew"


def _maintenance(known: Iterable[Server], start: datetime, end: datetime) -> list[dict[str, Any]]:
    return [
        {"server_id": server.id, "start": begin, "end": until}
        for server in known
        for begin, until in maintenance.windows(server.settings, start, end)
    ]


def daily_incidents(db: Database, start: date, end: date, server_id: int | None = None) -> list[dict[str, Any]]:
    """By day, both inclusive: `day, servers, minutes, incidents, acknowledged, false_alarms`: servers that were scored,
    their anomalous minutes, incidents that began, and of these the ones people acknowledged or called false."""
    with db.connection() as conn:
        return stored.daily(conn, start, end, server_id)


def coverage(db: Database, now: datetime | None = None) -> list[dict[str, Any]]:
    """Of every registered server whether it is watched, and what is missing: `server_id, hostname, state` (watched,
    partly, silent, learning, off), `text` (a sentence) and `scored_until`; by hostname."""
    now = now or datetime.now(UTC)
    with db.connection() as conn:
        rows = stored.coverage(conn, SOURCES, now - timedelta(days=DAYS))
    return [
        {name: row[name] for name in ("server_id", "hostname", "scored_until")}
        | dict(zip(("state", "text"), _covered(row, now), strict=True))
        for row in rows
    ]


def _covered(row: Mapping[str, Any], now: datetime) -> tuple[str, str]:
    """A state and a sentence for a server's row of `store.incidents.coverage`."""
    last = max(row["newest"].values(), default=None)
    if not row["is_active"]:
        return "off", "It is switched off: nothing is collected and nothing is judged."
    if last is None:
        seen = row["last_seen_at"]
        ago = f"none came since {seen:%Y-%m-%d %H:%M} UTC" if seen else "none has come yet"
        return "silent", f"There are no samples of the last {DAYS} days: {ago}."
    if now - last > _STALE:
        return "silent", f"No samples came since {last:%Y-%m-%d %H:%M} UTC: what happened after that is not judged."
    if row["scored_until"] is None or last - row["scored_until"] > _STALE:
        return "learning", _learning(row)
    missing = [name for name in SOURCES if name not in row["newest"] or now - row["newest"][name] > SILENT]
    if missing:
        blind = [words.label(name) for name in words.FEATURES if words.FEATURES[name].family in missing]
        return "partly", f"No samples of {' and '.join(missing)} came for a day. Not judged: {', '.join(blind)}."
    return "watched", f"Scored until {row['scored_until']:%Y-%m-%d %H:%M} UTC."


def _learning(row: Mapping[str, Any]) -> str:
    if row["scored_until"] is not None:
        until = f"{row['scored_until']:%Y-%m-%d %H:%M} UTC"
        return f"What happened after {until} is not judged yet: scoring is behind, or a new model is due."
    if "vmstat" not in row["newest"]:
        return "No vmstat samples came: without them nothing is judged."
    hours = row["minutes"] / 60
    if hours < 24:
        return f"It needs 24 hours of samples before anything is judged; it has {hours:.0f}."
    return "It has the day of samples that it takes; its model is trained within the hour."
