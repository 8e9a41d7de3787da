"""Rollups hold what each column declares: 95th percentiles of a few, of capacities the last value alone.

Rows that are there keep their means as last values; their hours are marked, so that the next refresh computes the
percentiles, and cuts processes to the busiest, wherever raw rows are left.
"""

from alembic import op

revision = "0010"
down_revision = "0009"

_PEAKS = {
    "vmstat": ("r", "us", "sy", "wa"),
    "iostat": ("kb_s", "busy_pct", "service_time_ms", "queue_length"),
    "netstat": ("ipkts_s", "opkts_s", "ibytes_s", "obytes_s"),
    "process": ("cpu_pct", "rss_kb"),
    "memory": ("used_pct", "paging_used_pct"),
    "lpar": ("physc", "entc_pct"),
}
_CAPACITIES = {
    "netstat": ("mtu",),
    "filesystem": ("size_kb", "inodes"),
    "memory": ("total_kb", "paging_total_kb"),
}


def upgrade() -> None:
    for family, columns in _PEAKS.items():
        for grain in ("1m", "1h"):
            adds = ", ".join(f'ADD COLUMN "{column}_p95" real' for column in columns)
            op.execute(f"ALTER TABLE {family}_metrics_{grain} {adds}")
    for family, columns in _CAPACITIES.items():
        for grain in ("1m", "1h"):
            table = f"{family}_metrics_{grain}"
            adds = ", ".join(f'ADD COLUMN "{column}_last" bigint' for column in columns)
            values = ", ".join(f'"{column}_last" = round("{column}_mean"::float8)' for column in columns)
            drops = ", ".join(f'DROP COLUMN "{column}_{part}"' for column in columns for part in ("mean", "min", "max"))
            op.execute(f"ALTER TABLE {table} {adds}")
            op.execute(f"UPDATE {table} SET {values}")  # noqa: S608  # names of this module
            op.execute(f"ALTER TABLE {table} {drops}")
    for family in _PEAKS:
        op.execute(f"""
            INSERT INTO dirty_hours (family, hour, server_id, marked_at)
            SELECT DISTINCT '{family}', h."timestamp", h.server_id, now() FROM {family}_metrics_1h AS h
            WHERE EXISTS (SELECT FROM {family}_metrics AS r WHERE r.server_id = h.server_id
                          AND r."timestamp" >= h."timestamp" AND r."timestamp" < h."timestamp" + interval '1 hour')
            ON CONFLICT DO NOTHING
            """)  # noqa: S608  # names of this module
