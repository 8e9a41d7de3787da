"""Incidents, the servers they are on, and what became of them: tables `incidents`, `incident_servers`,
`incident_events`.

What belongs together in one incident is found in `hps_platform.analysis.incidents`, when one changes its state in
`hps_platform.detection.incidents`. An incident that became a part of another one stays as a pointer to it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from hps_platform.errors import NotFound

STATES = ("open", "acknowledged", "resolved", "false_alarm")
_LOCK = 0x687073_06
_OVERLAP = timedelta(minutes=10)
"""A scoring is dated by its beginning and seen at its end; none takes longer."""


@dataclass(frozen=True, slots=True)
class OnServer:
    """The part of an incident that is on one server; times as in `Known`."""

    server_id: int
    started_at: datetime
    ended_at: datetime
    minutes: int
    peak_at: datetime
    peak_score: float
    heads: list[str]


@dataclass(frozen=True, slots=True)
class Known:
    """An incident as far as putting together needs it. `touched`: a person did something with it."""

    id: int
    state: str
    started_at: datetime
    ended_at: datetime
    peak_at: datetime
    peak_server_id: int
    peak_score: float
    severity: str
    minutes: int
    head_metric: str
    causes: list[dict[str, Any]]
    culprit: str | None
    sentence: str
    closed_at: datetime | None
    touched: bool
    servers: list[OnServer]


@dataclass(frozen=True, slots=True)
class Event:
    """`actor` is a username, None for the platform itself; `kind` such as opened, acknowledged, resolved."""

    at: datetime
    kind: str
    actor: str | None
    reason: str


_KNOWN = """
    SELECT id, state, started_at, ended_at, peak_at, peak_server_id, peak_score, severity, minutes, head_metric, causes,
           culprit, sentence, closed_at, EXISTS (
               SELECT FROM incident_events WHERE incident_id = incidents.id AND actor IS NOT NULL) AS touched
    FROM incidents
    """


# Putting together -------------------------------------------------------------------------------------------------


def lock(conn: Connection[Any]) -> None:
    """Until the transaction's end nobody else puts incidents together."""
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


def scored_since(conn: Connection[Any]) -> datetime | None:
    """From where on scheduled scores may have changed since the last `mark_refreshed`; None: nowhere."""
    row = conn.execute(
        """
        SELECT min(start_time) FROM anomaly_detection_runs
        WHERE trigger = 'scheduled' AND status = 'completed'
          AND completed_at >= coalesce((SELECT max(refreshed_at) - %s FROM incident_progress), '-infinity')
        """,
        (_OVERLAP,),
    ).fetchone()
    return row[0] if row else None


def mark_refreshed(conn: Connection[Any]) -> None:
    if conn.execute("UPDATE incident_progress SET refreshed_at = now()").rowcount == 0:
        conn.execute("INSERT INTO incident_progress VALUES (now())")


def anomalous(conn: Connection[Any], start: datetime) -> list[tuple[int, datetime, float, list[dict[str, Any]] | None]]:
    """Anomalous minutes of scheduled scoring from `start` on, of registered servers: server, time, score, causes."""
    return conn.execute(
        """
        SELECT server_id, "timestamp", anomaly_score, contributions
        FROM anomaly_detection_results JOIN servers ON servers.id = server_id
        WHERE is_anomaly AND trigger = 'scheduled' AND "timestamp" >= %s
        ORDER BY "timestamp", server_id
        """,
        (start,),
    ).fetchall()


def known(conn: Connection[Any], since: datetime) -> list[Known]:
    """Incidents that end at or after `since`, by id, without those that became a part of another; kept from changes
    by others until the transaction ends."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            f"{_KNOWN} WHERE ended_at >= %s AND merged_into IS NULL ORDER BY id FOR UPDATE", (since,)
        ).fetchall()
    parts = _servers(conn, [row["id"] for row in rows])
    return [Known(**row, servers=parts.get(row["id"], [])) for row in rows]


def _servers(conn: Connection[Any], ids: Sequence[int]) -> dict[int, list[OnServer]]:
    found: dict[int, list[OnServer]] = {}
    rows = conn.execute(
        """
        SELECT incident_id, server_id, started_at, ended_at, minutes, peak_at, peak_score, heads
        FROM incident_servers WHERE incident_id = ANY(%s) ORDER BY incident_id, peak_score, server_id
        """,
        (list(ids),),
    )
    for incident_id, *fields in rows:
        found.setdefault(incident_id, []).append(OnServer(*fields))
    return found


def add(conn: Connection[Any], fields: Mapping[str, Any], servers: Sequence[OnServer]) -> int:
    """A new open incident; `fields` are columns of the table, `causes` as plain rows. Returns its id."""
    row = conn.execute(
        """
        INSERT INTO incidents (severity, started_at, ended_at, minutes, peak_at, peak_server_id, peak_score,
                               head_metric, culprit, causes, sentence)
        VALUES (%(severity)s, %(started_at)s, %(ended_at)s, %(minutes)s, %(peak_at)s, %(peak_server_id)s,
                %(peak_score)s, %(head_metric)s, %(culprit)s, %(causes)s, %(sentence)s) RETURNING id
        """,
        {**fields, "causes": Jsonb(fields["causes"])},
    ).fetchone()
    assert row is not None  # noqa: S101  # INSERT … RETURNING gives a row or raises
    _put_servers(conn, row[0], servers)
    return int(row[0])


def change(conn: Connection[Any], incident_id: int, fields: Mapping[str, Any], servers: Sequence[OnServer]) -> None:
    """Says anew what an incident is; its state stays."""
    conn.execute(
        """
        UPDATE incidents SET severity = %(severity)s, started_at = %(started_at)s, ended_at = %(ended_at)s,
            minutes = %(minutes)s, peak_at = %(peak_at)s, peak_server_id = %(peak_server_id)s,
            peak_score = %(peak_score)s, head_metric = %(head_metric)s, culprit = %(culprit)s, causes = %(causes)s,
            sentence = %(sentence)s, updated_at = now()
        WHERE id = %(id)s
        """,
        {**fields, "causes": Jsonb(fields["causes"]), "id": incident_id},
    )
    conn.execute("DELETE FROM incident_servers WHERE incident_id = %s", (incident_id,))
    _put_servers(conn, incident_id, servers)


def _put_servers(conn: Connection[Any], incident_id: int, servers: Sequence[OnServer]) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO incident_servers
                (incident_id, server_id, started_at, ended_at, minutes, peak_at, peak_score, heads)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (
                    incident_id,
                    *(one.server_id, one.started_at, one.ended_at, one.minutes, one.peak_at, one.peak_score, one.heads),
                )
                for one in servers
            ],
        )


def merge(conn: Connection[Any], incident_id: int, into: int) -> None:
    """It is a part of another one from now on, which takes over its events."""
    conn.execute("DELETE FROM incident_servers WHERE incident_id = %s", (incident_id,))
    conn.execute("UPDATE incident_events SET incident_id = %s WHERE incident_id = %s", (into, incident_id))
    conn.execute("UPDATE anomaly_suppressions SET incident_id = %s WHERE incident_id = %s", (into, incident_id))
    conn.execute(
        "UPDATE incidents SET merged_into = %(into)s, state = 'resolved', closed_at = now(), updated_at = now()"
        " WHERE id = %(id)s OR merged_into = %(id)s",
        {"into": into, "id": incident_id},
    )


def remove(conn: Connection[Any], incident_id: int) -> None:
    conn.execute("DELETE FROM incidents WHERE id = %s", (incident_id,))


# Life cycle -------------------------------------------------------------------------------------------------------


def held(conn: Connection[Any], incident_id: int) -> Known:
    """One incident, kept from changes by others until the transaction ends; `NotFound`."""
    row = conn.execute("SELECT coalesce(merged_into, id) FROM incidents WHERE id = %s", (incident_id,)).fetchone()
    if row is None:
        raise NotFound(f"no incident {incident_id}")
    with conn.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(f"{_KNOWN} WHERE id = %s FOR UPDATE", (row[0],)).fetchone()
    if found is None:
        raise NotFound(f"no incident {incident_id}")
    return Known(**found, servers=_servers(conn, [found["id"]]).get(found["id"], []))


def set_state(conn: Connection[Any], incident_id: int, state: str, closed_at: datetime | None = None) -> None:
    conn.execute(
        "UPDATE incidents SET state = %s, closed_at = %s, updated_at = now() WHERE id = %s",
        (state, closed_at, incident_id),
    )


def note(conn: Connection[Any], incident_id: int, kind: str, *, actor: str | None = None, reason: str = "") -> None:
    conn.execute(
        "INSERT INTO incident_events (incident_id, kind, actor, reason) VALUES (%s, %s, %s, %s)",
        (incident_id, kind, actor, reason),
    )


def events(conn: Connection[Any], incident_id: int) -> list[Event]:
    """What happened to it, the oldest first."""
    with conn.cursor(row_factory=class_row(Event)) as cursor:
        return cursor.execute(
            "SELECT at, kind, actor, reason FROM incident_events WHERE incident_id = %s ORDER BY id", (incident_id,)
        ).fetchall()


def quiet(
    conn: Connection[Any], now: datetime, quiet_for: timedelta, silent_for: timedelta
) -> list[tuple[int, datetime, bool]]:
    """Open and acknowledged incidents that are over: id, since when, and whether they are known to be.

    Known: all its active servers were scored up to `quiet_for` after its end. Not known: it ended `silent_for` ago
    while scores are missing; an acknowledged one then stays with whoever looks after it. One that a person opened again
    waits for a person.
    """
    rows = conn.execute(
        """
        SELECT id, ended_at, scored FROM incidents CROSS JOIN LATERAL (
            SELECT NOT EXISTS (
                SELECT FROM incident_servers AS part JOIN servers ON servers.id = part.server_id AND is_active
                WHERE part.incident_id = incidents.id AND NOT EXISTS (
                    SELECT FROM anomaly_detection_runs AS run
                    WHERE run.server_id = part.server_id AND run.trigger = 'scheduled' AND run.status = 'completed'
                      AND run.end_time >= incidents.ended_at + %(quiet)s)) AS scored
        ) AS judged
        WHERE state IN ('open', 'acknowledged') AND merged_into IS NULL
          AND (scored AND ended_at + %(quiet)s <= %(now)s OR state = 'open' AND ended_at + %(silent)s <= %(now)s)
          AND NOT EXISTS (
              SELECT FROM incident_events
              WHERE incident_id = incidents.id AND kind = 'reopened' AND actor IS NOT NULL)
        """,
        {"now": now, "quiet": quiet_for, "silent": silent_for},
    )
    return rows.fetchall()


def spans(conn: Connection[Any], server_id: int, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """When a server's incidents that touch [`start`, `end`) were on it, in order, without false alarms."""
    return conn.execute(
        """
        SELECT part.started_at, part.ended_at FROM incident_servers AS part JOIN incidents ON id = incident_id
        WHERE server_id = %s AND part.ended_at > %s AND part.started_at < %s AND state <> 'false_alarm'
        ORDER BY part.started_at
        """,
        (server_id, start, end),
    ).fetchall()


# Reading ----------------------------------------------------------------------------------------------------------

_PARTS = """
    CROSS JOIN LATERAL (
        SELECT jsonb_agg(jsonb_build_object(
            'server_id', server_id, 'hostname', hostname, 'started_at', part.started_at, 'ended_at', part.ended_at,
            'minutes', part.minutes, 'peak_at', part.peak_at, 'peak_score', part.peak_score, 'heads', part.heads)
            ORDER BY part.peak_score, server_id) AS servers
        FROM incident_servers AS part JOIN servers ON servers.id = server_id
        WHERE part.incident_id = incidents.id
    ) AS parts
    """
_CHOSEN = """
    WHERE merged_into IS NULL
      AND (%(state)s::text[] IS NULL OR state = ANY(%(state)s))
      AND (%(start)s::timestamptz IS NULL OR ended_at > %(start)s)
      AND (%(end)s::timestamptz IS NULL OR incidents.started_at < %(end)s)
      AND EXISTS (
          SELECT FROM incident_servers AS part JOIN servers ON servers.id = server_id
          WHERE part.incident_id = incidents.id AND (%(server)s::bigint IS NULL OR server_id = %(server)s))
    """


def listing(
    conn: Connection[Any],
    *,
    server_id: int | None = None,
    states: Collection[str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    limit: int = 50,
    offset: int = 0,
) -> tuple[list[dict[str, Any]], int]:
    """Incidents of registered servers that touch [`start`, `end`), the newest first, and how many there are in all.

    Each: the table's columns, and `servers`, the strangest first: `server_id, hostname, started_at, ended_at, minutes,
    peak_at, peak_score, heads`.
    """
    asked = {
        "server": server_id,
        "state": list(states) if states else None,
        "start": start,
        "end": end,
        "limit": limit,
        "offset": offset,
    }
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            # Chosen first: only of those on the page the servers are gathered.
            f"""
            SELECT incidents.*, parts.servers FROM (
                SELECT * FROM incidents {_CHOSEN} ORDER BY started_at DESC, id DESC LIMIT %(limit)s OFFSET %(offset)s
            ) AS incidents {_PARTS} ORDER BY incidents.started_at DESC, id DESC
            """,  # noqa: S608  # literals
            asked,
        ).fetchall()
    count = conn.execute(f"SELECT count(*) FROM incidents {_CHOSEN}", asked).fetchone()  # noqa: S608  # literals
    return [_timed(row) for row in rows], count[0] if count else 0


def shown(conn: Connection[Any], incident_id: int) -> dict[str, Any]:
    """One incident, or the one it became a part of, fields as in `listing`; `NotFound`."""
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            f"""
            SELECT incidents.*, parts.servers FROM incidents {_PARTS}
            WHERE id = (SELECT coalesce(merged_into, id) FROM incidents WHERE id = %s)
            """,  # noqa: S608  # a literal
            (incident_id,),
        ).fetchone()
    if row is None:
        raise NotFound(f"no incident {incident_id}")
    return _timed(row)


def _timed(row: dict[str, Any]) -> dict[str, Any]:
    """Moments within JSON are text."""
    for part in row["servers"] or []:
        for name in ("started_at", "ended_at", "peak_at"):
            part[name] = datetime.fromisoformat(part[name])
    return {**row, "servers": row["servers"] or []}


def similar(
    conn: Connection[Any], server_ids: Sequence[int], head: str, before: datetime, limit: int = 5
) -> list[dict[str, Any]]:
    """Earlier incidents headed by the same metric, on these servers or on others of the same system and a common tag;
    the same servers' first, then the newest. `id, state, started_at, ended_at, peak_score, sentence, hostname,
    same_server`."""
    own = list(server_ids)
    peers = conn.execute(
        """
        SELECT DISTINCT other.id FROM servers AS own JOIN servers AS other
            ON other.tags && own.tags AND other.operating_system = own.operating_system
        WHERE own.id = ANY(%(own)s) AND other.id <> ALL(%(own)s)
        """,
        {"own": own},
    )
    found = _earlier(conn, own, [], head, before, limit)
    others = _earlier(conn, [one for (one,) in peers], own, head, before, limit - len(found))
    return [{**row, "same_server": True} for row in found] + [{**row, "same_server": False} for row in others]


def _earlier(
    conn: Connection[Any], on: list[int], not_on: list[int], head: str, before: datetime, limit: int
) -> list[dict[str, Any]]:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT found.*, (
                SELECT hostname FROM incident_servers JOIN servers ON servers.id = server_id
                WHERE incident_id = found.id AND server_id = ANY(%(on)s) ORDER BY peak_score LIMIT 1) AS hostname
            FROM (
                SELECT id, state, started_at, ended_at, peak_score, sentence FROM incidents
                WHERE merged_into IS NULL AND head_metric = %(head)s AND started_at < %(before)s
                  AND EXISTS (SELECT FROM incident_servers WHERE incident_id = id AND server_id = ANY(%(on)s))
                  AND NOT EXISTS (SELECT FROM incident_servers WHERE incident_id = id AND server_id = ANY(%(not_on)s))
                ORDER BY started_at DESC LIMIT %(limit)s
            ) AS found ORDER BY started_at DESC
            """,
            {"on": on, "not_on": not_on, "head": head, "before": before, "limit": limit},
        ).fetchall()


def daily(conn: Connection[Any], start: date, end: date, server_id: int | None = None) -> list[dict[str, Any]]:
    """By day (UTC) from `start` to `end`, both inclusive: `day, servers` (scored ones), `minutes` (flagged ones), and
    the incidents that began: `incidents, acknowledged, false_alarms`."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            WITH days AS (
                SELECT day::timestamp AT TIME ZONE 'UTC' AS since,
                       (day::timestamp + interval '1 day') AT TIME ZONE 'UTC' AS until
                FROM generate_series(%(start)s::timestamp, %(end)s::timestamp, interval '1 day') AS day
            ), began AS (
                SELECT started_at, state, EXISTS (
                           SELECT FROM incident_events
                           WHERE incident_id = incidents.id AND kind = 'acknowledged') AS acknowledged
                FROM incidents WHERE merged_into IS NULL AND started_at >= (SELECT min(since) FROM days)
                  AND (%(server)s::bigint IS NULL OR EXISTS (
                      SELECT FROM incident_servers WHERE incident_id = incidents.id AND server_id = %(server)s))
            )
            SELECT (since AT TIME ZONE 'UTC')::date AS day,
                   (SELECT count(DISTINCT server_id) FROM anomaly_detection_runs
                    WHERE trigger = 'scheduled' AND status = 'completed' AND start_time < until AND end_time > since
                      AND (%(server)s::bigint IS NULL OR server_id = %(server)s)) AS servers,
                   (SELECT count(*) FROM anomaly_detection_results
                    WHERE is_anomaly AND trigger = 'scheduled' AND "timestamp" >= since AND "timestamp" < until
                      AND (%(server)s::bigint IS NULL OR server_id = %(server)s)) AS minutes,
                   began.*
            FROM days CROSS JOIN LATERAL (
                SELECT count(*) AS incidents, count(*) FILTER (WHERE acknowledged) AS acknowledged,
                       count(*) FILTER (WHERE state = 'false_alarm') AS false_alarms
                FROM began WHERE started_at >= since AND started_at < until
            ) AS began ORDER BY day
            """,
            {"start": start, "end": end, "server": server_id},
        ).fetchall()


def prune(conn: Connection[Any], before: date) -> int:
    """Deletes closed incidents that ended before that day; returns how many."""
    return conn.execute(
        "DELETE FROM incidents WHERE ended_at < %s::timestamptz AND state IN ('resolved', 'false_alarm')", (before,)
    ).rowcount


# Coverage ---------------------------------------------------------------------------------------------------------


def coverage(conn: Connection[Any], families: Sequence[str], since: datetime) -> list[dict[str, Any]]:
    """What can be judged, a row a registered server, by hostname: `server_id, hostname, is_active, last_seen_at,
    scored_until`, `minutes` rolled up since then, and `newest`: by family when its newest sample since then was
    taken, families without one left out."""
    one = "'{0}', (SELECT max(timestamp) FROM {0}_metrics WHERE server_id = servers.id AND timestamp >= %(since)s)"
    newest = ", ".join(one.format(name) for name in families)
    query = f"""
        SELECT id AS server_id, hostname, is_active, last_seen_at,
               (SELECT max(end_time) FROM anomaly_detection_runs AS run
                WHERE run.server_id = servers.id AND trigger = 'scheduled' AND status = 'completed') AS scored_until,
               CASE WHEN NOT EXISTS (
                   SELECT FROM anomaly_detection_runs AS run
                   WHERE run.server_id = servers.id AND trigger = 'scheduled' AND status = 'completed'
               ) THEN (SELECT count(*) FROM vmstat_metrics_1m
                       WHERE server_id = servers.id AND "timestamp" >= %(since)s) ELSE 0 END AS minutes,
               jsonb_strip_nulls(jsonb_build_object({newest})) AS newest
        FROM servers ORDER BY hostname
        """  # noqa: S608  # families are named by us
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query.encode(), {"since": since}).fetchall()
    for row in rows:
        row["newest"] = {name: datetime.fromisoformat(moment) for name, moment in row["newest"].items()}
    return rows
