"""The newest values of every server, and its last hour by minutes, for the overview of the fleet."""

from datetime import datetime, timedelta
from typing import Any

import polars as pl
from psycopg import Connection, sql

from hps_platform.metrics.family import Family

# One index range per server and family: `newest` finds the last sample's time from the end of the key.
_LATEST = """
    SELECT s.id,
           greatest(v.at, m.at, d.at, n.at, f.at) AS newest,
           v.cpu_busy_pct, v.run_queue, v.paging_kb_s, m.used_pct, m.paging_used_pct, d.busy_pct, d.kb_s,
           n.packets, n.errors, f.fullest
    FROM unnest(%(ids)s::bigint[]) AS s (id)
    LEFT JOIN LATERAL (
        SELECT r.timestamp AS at, coalesce(ec, us + sy) AS cpu_busy_pct, r.r AS run_queue, pi + po AS paging_kb_s
        FROM vmstat_metrics AS r WHERE server_id = s.id AND timestamp >= now() - %(within)s
        ORDER BY timestamp DESC LIMIT 1
    ) AS v ON true
    LEFT JOIN LATERAL (
        SELECT r.timestamp AS at, used_pct, paging_used_pct FROM memory_metrics AS r
        WHERE server_id = s.id AND timestamp >= now() - %(within)s ORDER BY timestamp DESC LIMIT 1
    ) AS m ON true
    LEFT JOIN LATERAL (
        SELECT timestamp AS at, max(busy_pct) AS busy_pct, sum(kb_s) AS kb_s FROM iostat_metrics
        WHERE server_id = s.id AND timestamp >= now() - %(within)s GROUP BY timestamp ORDER BY timestamp DESC LIMIT 1
    ) AS d ON true
    LEFT JOIN LATERAL (
        SELECT timestamp AS at, sum(ipkts_s + opkts_s) AS packets, sum(ierrs_s + oerrs_s) AS errors
        FROM netstat_metrics
        WHERE server_id = s.id AND timestamp >= now() - %(within)s AND interface !~ '^lo[0-9]*$'
        GROUP BY timestamp ORDER BY timestamp DESC LIMIT 1
    ) AS n ON true
    LEFT JOIN LATERAL (
        SELECT timestamp AS at, max(used_pct) AS fullest FROM filesystem_metrics
        WHERE server_id = s.id AND timestamp >= now() - %(within)s GROUP BY timestamp ORDER BY timestamp DESC LIMIT 1
    ) AS f ON true
    ORDER BY s.id
"""

# Minutes of the last hour, from raw: the hour that matters is not rolled up yet.
_SPARKS = {
    "cpu_spark": """
        SELECT server_id, date_bin('1 minute', timestamp, %(since)s) AS minute, avg(coalesce(ec, us + sy)) AS value
        FROM vmstat_metrics WHERE server_id = ANY(%(ids)s) AND timestamp >= %(since)s GROUP BY 1, 2""",
    "mem_spark": """
        SELECT server_id, date_bin('1 minute', timestamp, %(since)s) AS minute, avg(used_pct) AS value
        FROM memory_metrics WHERE server_id = ANY(%(ids)s) AND timestamp >= %(since)s GROUP BY 1, 2""",
    "disk_spark": """
        SELECT server_id, minute, max(value) AS value FROM (
            SELECT server_id, date_bin('1 minute', timestamp, %(since)s) AS minute, avg(busy_pct) AS value
            FROM iostat_metrics WHERE server_id = ANY(%(ids)s) AND timestamp >= %(since)s GROUP BY 1, 2, disk
        ) AS disks GROUP BY 1, 2""",
    "net_spark": """
        SELECT server_id, minute, sum(value) AS value FROM (
            SELECT server_id, date_bin('1 minute', timestamp, %(since)s) AS minute, avg(ipkts_s + opkts_s) AS value
            FROM netstat_metrics WHERE server_id = ANY(%(ids)s) AND timestamp >= %(since)s
              AND interface !~ '^lo[0-9]*$' GROUP BY 1, 2, interface
        ) AS interfaces GROUP BY 1, 2""",
}
SPARKS = tuple(_SPARKS)
SPARK_MINUTES = 60

LATEST_SCHEMA: dict[str, pl.DataType] = {
    "server_id": pl.Int64(),
    "timestamp": pl.Datetime("ms", "UTC"),
    **dict.fromkeys(
        (
            *("cpu_busy_pct", "run_queue", "paging_kb_s", "mem_used_pct", "paging_used_pct", "disk_busy_pct"),
            *("disk_kb_s", "net_pkts_s", "net_errs_s", "fs_used_pct"),
        ),
        pl.Float64(),
    ),
}


def server_ids(conn: Connection[Any], *, active_only: bool = False) -> list[int]:
    """Every registered server."""
    rows = conn.execute("SELECT id FROM servers WHERE is_active OR NOT %s ORDER BY id", (active_only,))
    return [server_id for (server_id,) in rows]


def newest(conn: Connection[Any], family: Family, ids: list[int]) -> datetime | None:
    """When the newest landed sample of a family was taken, over these servers."""
    row = conn.execute(
        sql.SQL("""
            SELECT max(last.at) FROM unnest(%s::bigint[]) AS s (id) CROSS JOIN LATERAL (
                SELECT timestamp AS at FROM {} WHERE server_id = s.id ORDER BY timestamp DESC LIMIT 1) AS last
        """).format(sql.Identifier(family.table)),
        (ids,),
    ).fetchone()
    return row[0] if row else None


def latest(conn: Connection[Any], ids: list[int], within: timedelta = timedelta(days=1)) -> pl.DataFrame:
    """One row a server with `LATEST_SCHEMA`; null where there is nothing newer than `within`.

    Disks: the busiest one's share and the sum of throughputs; networks: sums without loopback; the fullest file system.
    """
    rows = conn.execute(_LATEST, {"ids": ids, "within": within}).fetchall()
    return pl.DataFrame(rows, schema=LATEST_SCHEMA, orient="row")


def sparks(conn: Connection[Any], ids: list[int]) -> pl.DataFrame:
    """`server_id` and, per name of `SPARKS`, a list of 60 minutes' values, oldest first, null where nothing came."""
    row = conn.execute("SELECT date_trunc('minute', now()) - interval '59 minutes'").fetchone()
    since = row[0] if row else None
    lines: dict[tuple[str, int], list[float | None]] = {}
    for name, query in _SPARKS.items():
        for server_id, minute, value in conn.execute(query, {"ids": ids, "since": since}):
            line = lines.setdefault((name, server_id), [None] * SPARK_MINUTES)
            index = int((minute - since).total_seconds() // 60)
            if index < SPARK_MINUTES:
                line[index] = None if value is None else float(value)
    empty: list[float | None] = [None] * SPARK_MINUTES
    return pl.DataFrame(
        {"server_id": ids} | {name: [lines.get((name, server_id), empty) for server_id in ids] for name in SPARKS},
        schema={"server_id": pl.Int64(), **dict.fromkeys(SPARKS, pl.List(pl.Float64()))},
    )
