"""What the detector looks at, one row a minute: nine features of a server, from rollups and, where these are behind,
from raw samples.

The same features from frames at hand: `hps_platform.analysis.minutes`. How rollups are kept belongs to
`hps_platform.store.rollups`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from psycopg import Connection

from hps_platform.analysis.minutes import GROWTH_HOLDS

FEATURES = (
    "cpu_busy_pct",
    "run_queue",
    "mem_used_pct",
    "paging_kb_s",
    "disk_busy_pct",
    "disk_kb_s",
    "net_pkts_s",
    "net_errs_s",
    "fs_growth_kb_s",
)
CPU_SHARES = ("us", "sy", "idle")


@dataclass(frozen=True, slots=True)
class _Source:
    """`parts`: what a minute of one key is made of, by name from the rollup and from raw rows. `growth` are further
    parts: by how much one of these has grown a second since the key's minute before. `features`: what of all keys'
    parts a minute is."""

    family: str
    key: str | None
    parts: Mapping[str, tuple[str, str]]
    features: Mapping[str, str]
    growth: Mapping[str, str] = field(default_factory=dict)


_VMSTAT = _Source(
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
_MEMORY = _Source("memory", None, {"used": ("used_pct_mean", "avg(used_pct)")}, {"mem_used_pct": "max(used)"})
_IOSTAT = _Source(
    "iostat",
    "disk",
    {"busy": ("busy_pct_mean", "avg(busy_pct)"), "throughput": ("kb_s_mean", "avg(kb_s)")},
    {"disk_busy_pct": "max(busy)", "disk_kb_s": "sum(throughput)"},
)
_NETSTAT = _Source(
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
_FILESYSTEM = _Source(
    "filesystem",
    "mount",
    {"used": ("used_kb_mean", "avg(used_kb)")},
    {"fs_growth_kb_s": "sum(grown)"},
    growth={"grown": "used"},
)
_LOOPBACK = "^lo[0-9]*$"
_SOURCES = (_VMSTAT, _MEMORY, _IOSTAT, _NETSTAT)


def _query(source: _Source) -> str:
    """Closed hours from the minute rollup, hours not yet rolled up from the raw table, then one row a minute."""
    key, table = source.key, f"{source.family}_metrics"
    with_key = f"{key}, " if key else ""
    rolled = with_key + ", ".join(f"{rollup} AS {name}" for name, (rollup, _) in source.parts.items())
    raw = with_key + ", ".join(f"{expression} AS {name}" for name, (_, expression) in source.parts.items())
    chosen = f"AND {key} !~ '{_LOOPBACK}'" if key == "interface" else ""
    by_key = f", {key}" if key else ""
    wanted = ", ".join(f"{expression} AS {name}" for name, expression in source.features.items())
    grown = "".join(
        f", CASE WHEN minute - lag(minute) OVER told <= interval '{GROWTH_HOLDS}'"
        f" THEN greatest({part} - lag({part}) OVER told, 0) / extract(epoch FROM minute - lag(minute) OVER told)"
        f" END AS {name}"
        for name, part in source.growth.items()
    )
    told = f"WINDOW told AS (PARTITION BY {key} ORDER BY minute)" if grown else ""
    # Every name here is a literal of this module; what callers give are parameters.
    return f"""
        WITH dirty AS MATERIALIZED (
            SELECT hour FROM dirty_hours
            WHERE family = '{source.family}' AND server_id = %(server)s
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
        ), parts AS (
            SELECT *{grown} FROM keyed {told}
        )
        SELECT minute, {wanted} FROM parts GROUP BY minute ORDER BY minute
        """  # noqa: S608  # names of this module only


def read(conn: Connection[Any], server_id: int, start: datetime, end: datetime) -> pl.DataFrame:
    """Minutes that begin in [`start`, `end`): `timestamp`, the nine `FEATURES`, `us`, `sy`, `idle`; ascending.

    A minute with no sample of any family has no row; what was not printed is null. Seconds of `start` and `end` are
    cut off.
    """
    asked = {"server": server_id, "start": _minute(start), "end": _minute(end)}
    # Compiling a query costs more here than running it.
    conn.execute("SET LOCAL jit = off")
    joined = _features(conn, _SOURCES[0], asked)
    for source in _SOURCES[1:]:
        joined = joined.join(_features(conn, source, asked), on="timestamp", how="full", coalesce=True)
    growth = _features(conn, _FILESYSTEM, asked).drop_nulls()
    held = joined.sort("timestamp").join_asof(growth, on="timestamp", tolerance=GROWTH_HOLDS)
    return held.select("timestamp", *FEATURES, *CPU_SHARES)


def _features(conn: Connection[Any], source: _Source, asked: Mapping[str, Any]) -> pl.DataFrame:
    schema = {"timestamp": pl.Datetime("us", "UTC")} | dict.fromkeys(source.features, pl.Float64())
    rows: Sequence[tuple[Any, ...]] = conn.execute(_query(source).encode(), asked).fetchall()
    return pl.DataFrame(rows, schema=schema, orient="row")


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
