"""Traces in the samples of what explains an incident: which commands ran at a time of day, and when a host was
restarted.

What is made of them belongs to `hps_platform.analysis.jobs` and `hps_platform.detection.incidents`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection

_COUNTED = 1_000
"""Packets from which on an interface has counted enough for its beginning anew to say something."""


@dataclass(frozen=True, slots=True)
class Restart:
    """A host's packet counters began anew between two samples."""

    server_id: int
    before: datetime
    at: datetime


def commands(
    conn: Connection[Any], server_id: int, spans: Mapping[int, tuple[datetime, datetime]]
) -> dict[int, dict[str, float]]:
    """By key of `spans`, the command lines seen within that span, with their mean share of a processor in percent.

    From the minutes' rollups, which keep the busiest; of key 0, today, from the samples too, which name more. A span
    without a process sample is left out.
    """
    found: dict[int, dict[str, float]] = {}
    rows = conn.execute(
        """
        SELECT place, command, avg(coalesce(share, 0)) FROM unnest(
            %(places)s::integer[], %(since)s::timestamptz[], %(until)s::timestamptz[]) AS span(place, since, until)
        CROSS JOIN LATERAL (
            SELECT command, cpu_pct_mean AS share FROM process_metrics_1m
            WHERE server_id = %(server)s AND "timestamp" >= since AND "timestamp" < until
            UNION ALL
            SELECT command, cpu_pct FROM process_metrics
            WHERE place = 0 AND server_id = %(server)s AND "timestamp" >= since AND "timestamp" < until
        ) AS seen WHERE command IS NOT NULL GROUP BY place, command
        """,
        {
            "server": server_id,
            "places": list(spans),
            "since": [since for since, _ in spans.values()],
            "until": [until for _, until in spans.values()],
        },
    )
    for place, command, share in rows:
        found.setdefault(place, {})[command] = float(share)
    return found


def restarts(conn: Connection[Any], server_ids: Sequence[int], start: datetime, end: datetime) -> list[Restart]:
    """Restarts of these hosts within [`start`, `end`), in order, as far as their samples are kept.

    No host tells when it was booted. But its interfaces count since then: where the counters of all that had counted
    something fall, in both directions and between the same two samples, the host was restarted. A counter that flows
    over, or is set back by hand, falls alone.
    """
    rows = conn.execute(
        """
        SELECT server_id, max(before), "timestamp" FROM (
            SELECT server_id, "timestamp", lag("timestamp") OVER counting AS before,
                   ipkts < lag(ipkts) OVER counting AND opkts < lag(opkts) OVER counting AS fell,
                   lag(ipkts) OVER counting AS counted
            FROM netstat_metrics
            WHERE server_id = ANY(%(servers)s) AND "timestamp" >= %(start)s AND "timestamp" < %(end)s
            WINDOW counting AS (PARTITION BY server_id, interface ORDER BY "timestamp")
        ) AS steps WHERE counted >= %(counted)s
        GROUP BY server_id, "timestamp" HAVING bool_and(fell) ORDER BY "timestamp", server_id
        """,
        {"servers": list(server_ids), "start": start, "end": end, "counted": _COUNTED},
    )
    return [Restart(*row) for row in rows]
