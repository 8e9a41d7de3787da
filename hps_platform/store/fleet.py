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
        FROM vmstat_metrics AS r WHERE server_id = s.id AND timestamp >= %(since)s
        ORDER BY timestamp DESC LIMIT 1
    ) AS v ON true
    LEFT JOIN LATERAL (
        SELECT r.timestamp AS at, used_pct, paging_used_pct FROM memory_metrics AS r
        WHERE server_id = s.id AND timestamp >= %(since)s ORDER BY timestamp DESC LIMIT 1
    ) AS m ON true
    LEFT JOIN LATERAL (
        SELECT timestamp AS at, max(busy_pct) AS busy_pct, sum(kb_s) AS kb_s FROM iostat_metrics
        WHERE server_id = s.id AND timestamp >= %(since)s GROUP BY timestamp ORDER BY timestamp DESC LIMIT 1
    ) AS d ON true
    LEFT JOIN LATERAL (
        SELECT timestamp AS at, sum(ipkts_s + opkts_s) AS packets, sum(ierrs_s + oerrs_s) AS errors
        FROM netstat_metrics
        WHERE server_id = s.id AND timestamp >= %(since)s AND interface !~ '^lo[0-9]*$'
        GROUP BY timestamp ORDER BY timestamp DESC LIMIT 1
    ) AS n ON true
    LEFT JOIN LATERAL (
        SELECT timestamp AS at, max(used_pct) AS fullest FROM filesystem_metrics
        WHERE server_id = s.id AND timestamp >= %(since)s GROUP BY timestamp ORDER BY timestamp DESC LIMIT 1
    ) AS f ON true
    ORDER BY s.id
"""

# By family what a minute's line is made of (rolled up, raw), over which keys, and how these are put together.
_SPARKS = {
    "cpu_spark": ("vmstat", "", "coalesce(ec_mean, us_mean + sy_mean)", "avg(coalesce(ec, us + sy))", "max"),
    "mem_spark": ("memory", "", "used_pct_mean", "avg(used_pct)", "max"),
    "disk_spark": ("iostat", "disk", "busy_pct_mean", "avg(busy_pct)", "max"),
    "net_spark": ("netstat", "interface", "ipkts_s_mean + opkts_s_mean", "avg(ipkts_s + opkts_s)", "sum"),
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


def _spark_query(name: str) -> bytes:
    """Minutes that are rolled up from the rollup, the newest from raw samples: the rollups follow within a minute."""
    family, key, rolled, raw, together = _SPARKS[name]
    chosen = "AND interface !~ '^lo[0-9]*$'" if key == "interface" else ""
    by_key = f", {key}" if key else ""
    # Every name here is a literal of this module; what callers give are parameters.
    return f"""
        WITH rolled AS MATERIALIZED (
            SELECT coalesce(max(last.at), %(since)s) AS upto FROM unnest(%(ids)s::bigint[]) AS s (id)
            CROSS JOIN LATERAL (
                SELECT timestamp AS at FROM {family}_metrics_1m
                WHERE server_id = s.id AND timestamp >= %(since)s ORDER BY timestamp DESC LIMIT 1
            ) AS last
        )
        SELECT server_id, minute, {together}(value) FROM (
            SELECT server_id, timestamp AS minute, {rolled} AS value FROM {family}_metrics_1m
            WHERE server_id = ANY(%(ids)s) AND timestamp >= %(since)s AND timestamp < (SELECT upto FROM rolled) {chosen}
            UNION ALL
            SELECT server_id, date_bin('1 minute', timestamp, %(since)s), {raw} FROM {family}_metrics
            WHERE server_id = ANY(%(ids)s) AND timestamp >= %(since)s {chosen}
              AND timestamp >= (SELECT upto FROM rolled)
            GROUP BY 1, 2{by_key}
        ) AS lines GROUP BY 1, 2
        """.encode()  # noqa: S608  # names of this module only


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
    # A moment and not an expression: then the planner leaves all older days' partitions out.
    row = conn.execute("SELECT now() - %s", (within,)).fetchone()
    rows = conn.execute(_LATEST, {"ids": ids, "since": row[0] if row else None}, prepare=False).fetchall()
    return pl.DataFrame(rows, schema=LATEST_SCHEMA, orient="row")


def sparks(conn: Connection[Any], ids: list[int]) -> pl.DataFrame:
    """`server_id` and, per name of `SPARKS`, a list of 60 minutes' values, oldest first, null where nothing came."""
    row = conn.execute("SELECT date_trunc('minute', now()) - interval '59 minutes'").fetchone()
    since = row[0] if row else None
    lines: dict[tuple[str, int], list[float | None]] = {}
    for name in SPARKS:
        for server_id, minute, value in conn.execute(_spark_query(name), {"ids": ids, "since": since}, prepare=False):
            line = lines.setdefault((name, server_id), [None] * SPARK_MINUTES)
            index = int((minute - since).total_seconds() // 60)
            if index < SPARK_MINUTES:
                line[index] = None if value is None else float(value)
    empty: list[float | None] = [None] * SPARK_MINUTES
    return pl.DataFrame(
        {"server_id": ids} | {name: [lines.get((name, server_id), empty) for server_id in ids] for name in SPARKS},
        schema={"server_id": pl.Int64(), **dict.fromkeys(SPARKS, pl.List(pl.Float64()))},
    )
