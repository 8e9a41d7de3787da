"""What the detector looks at, one row a minute: eight features of a server, from rollups and, where these are behind,
from raw samples.

The same features from frames at hand: `hps_platform.analysis.minutes`. How rollups are kept belongs to
`hps_platform.store.rollups`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from psycopg import Connection

FEATURES = (
    "cpu_busy_pct",
    "run_queue",
    "mem_used_pct",
    "paging_kb_s",
    "disk_busy_pct",
    "disk_kb_s",
    "net_pkts_s",
    "net_errs_s",
)
CPU_SHARES = ("us", "sy", "idle")

# Per family: what a minute's row of one key is made of (alias, rollup, raw), and what of these a minute's row is.
_VMSTAT = (
    "vmstat",
    None,
    {
        "us": ("us_mean", "avg(us)"),
        "sy": ("sy_mean", "avg(sy)"),
        "idle": ("idle_mean", "avg(idle)"),
        "busy": ("coalesce(ec_mean, us_mean + sy_mean)", "coalesce(avg(ec), avg(us + sy))"),
        "queue": ("r_mean", "avg(r)"),
        "paging": ("pi_mean + po_mean", "avg(pi + po)"),
    },
    {
        "cpu_busy_pct": "max(busy)",
        "run_queue": "max(queue)",
        "paging_kb_s": "max(paging)",
        "us": "max(us)",
        "sy": "max(sy)",
        "idle": "max(idle)",
    },
)
_MEMORY = ("memory", None, {"used": ("used_pct_mean", "avg(used_pct)")}, {"mem_used_pct": "max(used)"})
_IOSTAT = (
    "iostat",
    "disk",
    {"busy": ("busy_pct_mean", "avg(busy_pct)"), "throughput": ("kb_s_mean", "avg(kb_s)")},
    {"disk_busy_pct": "max(busy)", "disk_kb_s": "sum(throughput)"},
)
_NETSTAT = (
    "netstat",
    "interface",
    {
        "packets_in": ("ipkts_s_mean", "avg(ipkts_s)"),
        "packets_out": ("opkts_s_mean", "avg(opkts_s)"),
        "errors_in": ("ierrs_s_mean", "avg(ierrs_s)"),
        "errors_out": ("oerrs_s_mean", "avg(oerrs_s)"),
    },
    {"net_pkts_s": "sum(packets_in) + sum(packets_out)", "net_errs_s": "sum(errors_in) + sum(errors_out)"},
)
_LOOPBACK = "^lo[0-9]*$"
_Source = tuple[str, str | None, dict[str, tuple[str, str]], dict[str, str]]
_SOURCES: tuple[_Source, ...] = (_VMSTAT, _MEMORY, _IOSTAT, _NETSTAT)


def _query(source: _Source) -> str:
    """Closed hours from the minute rollup, hours not yet rolled up from the raw table, then one row a minute."""
    family, key, parts, features = source
    table = f"{family}_metrics"
    rolled = ", ".join(f"{rollup} AS {name}" for name, (rollup, _) in parts.items())
    raw = ", ".join(f"{expression} AS {name}" for name, (_, expression) in parts.items())
    chosen = f"AND {key} !~ '{_LOOPBACK}'" if key == "interface" else ""
    by_key = f", {key}" if key else ""
    wanted = ", ".join(f"{expression} AS {name}" for name, expression in features.items())
    # Every name here is a literal of this module; what callers give are parameters.
    return f"""
        WITH dirty AS MATERIALIZED (
            SELECT hour FROM dirty_hours
            WHERE family = '{family}' AND server_id = %(server)s
              AND hour >= date_trunc('hour', %(start)s::timestamptz) AND hour < %(end)s
        ), keyed AS (
            SELECT "timestamp" AS minute, {rolled} FROM {table}_1m
            WHERE server_id = %(server)s AND "timestamp" >= %(start)s AND "timestamp" < %(end)s {chosen}
              AND date_trunc('hour', "timestamp") NOT IN (SELECT hour FROM dirty)
            UNION ALL
            SELECT raw.* FROM dirty CROSS JOIN LATERAL (
                SELECT date_trunc('minute', "timestamp"), {raw} FROM {table}
                WHERE server_id = %(server)s AND "timestamp" >= hour AND "timestamp" < hour + interval '1 hour'
                  AND "timestamp" >= %(start)s AND "timestamp" < %(end)s {chosen}
                GROUP BY date_trunc('minute', "timestamp"){by_key}
            ) AS raw
        )
        SELECT minute, {wanted} FROM keyed GROUP BY minute ORDER BY minute
        """  # noqa: S608  # names of this module only


def read(conn: Connection[Any], server_id: int, start: datetime, end: datetime) -> pl.DataFrame:
    """Minutes that begin in [`start`, `end`): `timestamp`, the eight `FEATURES`, `us`, `sy`, `idle`; ascending.

    A minute with no sample of any family has no row; what was not printed is null. Seconds of `start` and `end` are
    cut off.
    """
    asked = {"server": server_id, "start": _minute(start), "end": _minute(end)}
    # Compiling a query costs more here than running it.
    conn.execute("SET LOCAL jit = off")
    joined: pl.DataFrame | None = None
    for source in _SOURCES:
        names = list(source[3])
        schema = {"timestamp": pl.Datetime("us", "UTC")} | dict.fromkeys(names, pl.Float64())
        rows: Sequence[tuple[Any, ...]] = conn.execute(_query(source).encode(), asked).fetchall()
        frame = pl.DataFrame(rows, schema=schema, orient="row")
        joined = frame if joined is None else joined.join(frame, on="timestamp", how="full", coalesce=True)
    assert joined is not None  # noqa: S101  # there are sources
    return joined.sort("timestamp").select("timestamp", *FEATURES, *CPU_SHARES)


def newest(conn: Connection[Any], server_id: int, since: datetime) -> datetime | None:
    """When the newest vmstat sample since then was taken; None without one."""
    row = conn.execute(
        'SELECT max("timestamp") FROM vmstat_metrics WHERE server_id = %s AND "timestamp" >= %s', (server_id, since)
    ).fetchone()
    return row[0] if row else None


def oldest(conn: Connection[Any], server_id: int) -> datetime | None:
    """The beginning of the first hour of samples; None without one."""
    row = conn.execute(
        """
        SELECT min(hour) FROM (
            SELECT min("timestamp") AS hour FROM vmstat_metrics_1h WHERE server_id = %(server)s
            UNION ALL
            SELECT min(hour) FROM dirty_hours WHERE family = 'vmstat' AND server_id = %(server)s
        ) AS hours
        """,
        {"server": server_id},
    ).fetchone()
    return row[0] if row else None


def _minute(moment: datetime) -> datetime:
    return moment - timedelta(seconds=moment.second, microseconds=moment.microsecond)
