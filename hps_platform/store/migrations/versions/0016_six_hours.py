"""Rollups of six hours, made from the hours that are there.

Hours that wait to be rolled up are put right with them, as their marks say.
"""

from alembic import op

revision = "0016"
down_revision = "0015"

_TABLES = """
CREATE TABLE vmstat_metrics_6h (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "samples" integer NOT NULL,
    "r_mean" real, "r_min" real, "r_max" real,
    "b_mean" real, "b_min" real, "b_max" real,
    "avm_mean" real, "avm_min" real, "avm_max" real,
    "fre_mean" real, "fre_min" real, "fre_max" real,
    "swpd_mean" real, "swpd_min" real, "swpd_max" real,
    "buff_mean" real, "buff_min" real, "buff_max" real,
    "cache_mean" real, "cache_min" real, "cache_max" real,
    "pi_mean" real, "pi_min" real, "pi_max" real,
    "po_mean" real, "po_min" real, "po_max" real,
    "fr_mean" real, "fr_min" real, "fr_max" real,
    "sr_mean" real, "sr_min" real, "sr_max" real,
    "bi_mean" real, "bi_min" real, "bi_max" real,
    "bo_mean" real, "bo_min" real, "bo_max" real,
    "interrupts_mean" real, "interrupts_min" real, "interrupts_max" real,
    "syscalls_mean" real, "syscalls_min" real, "syscalls_max" real,
    "cs_mean" real, "cs_min" real, "cs_max" real,
    "us_mean" real, "us_min" real, "us_max" real,
    "sy_mean" real, "sy_min" real, "sy_max" real,
    "idle_mean" real, "idle_min" real, "idle_max" real,
    "wa_mean" real, "wa_min" real, "wa_max" real,
    "st_mean" real, "st_min" real, "st_max" real,
    "pc_mean" real, "pc_min" real, "pc_max" real,
    "ec_mean" real, "ec_min" real, "ec_max" real,
    PRIMARY KEY ("server_id", "timestamp")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE iostat_metrics_6h (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "disk" text NOT NULL,
    "samples" integer NOT NULL,
    "tps_mean" real, "tps_min" real, "tps_max" real,
    "kb_s_mean" real, "kb_s_min" real, "kb_s_max" real,
    "kb_read_s_mean" real, "kb_read_s_min" real, "kb_read_s_max" real,
    "kb_wrtn_s_mean" real, "kb_wrtn_s_min" real, "kb_wrtn_s_max" real,
    "kb_read_mean" real, "kb_read_min" real, "kb_read_max" real,
    "kb_wrtn_mean" real, "kb_wrtn_min" real, "kb_wrtn_max" real,
    "busy_pct_mean" real, "busy_pct_min" real, "busy_pct_max" real,
    "service_time_ms_mean" real, "service_time_ms_min" real, "service_time_ms_max" real,
    "queue_length_mean" real, "queue_length_min" real, "queue_length_max" real,
    PRIMARY KEY ("server_id", "timestamp", "disk")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE netstat_metrics_6h (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "interface" text NOT NULL,
    "samples" integer NOT NULL,
    "mtu_last" bigint,
    "ipkts_s_mean" real, "ipkts_s_min" real, "ipkts_s_max" real,
    "ierrs_s_mean" real, "ierrs_s_min" real, "ierrs_s_max" real,
    "opkts_s_mean" real, "opkts_s_min" real, "opkts_s_max" real,
    "oerrs_s_mean" real, "oerrs_s_min" real, "oerrs_s_max" real,
    "ibytes_s_mean" real, "ibytes_s_min" real, "ibytes_s_max" real,
    "obytes_s_mean" real, "obytes_s_min" real, "obytes_s_max" real,
    PRIMARY KEY ("server_id", "timestamp", "interface")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE process_metrics_6h (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "command" text NOT NULL,
    "samples" integer NOT NULL,
    "cpu_pct_mean" real, "cpu_pct_min" real, "cpu_pct_max" real,
    "mem_pct_mean" real, "mem_pct_min" real, "mem_pct_max" real,
    "vsz_kb_mean" real, "vsz_kb_min" real, "vsz_kb_max" real,
    "rss_kb_mean" real, "rss_kb_min" real, "rss_kb_max" real,
    "cpu_time_s_mean" real, "cpu_time_s_min" real, "cpu_time_s_max" real,
    "elapsed_s_mean" real, "elapsed_s_min" real, "elapsed_s_max" real,
    PRIMARY KEY ("server_id", "timestamp", "command")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE filesystem_metrics_6h (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "mount" text NOT NULL,
    "samples" integer NOT NULL,
    "size_kb_last" bigint,
    "used_kb_mean" real, "used_kb_min" real, "used_kb_max" real,
    "avail_kb_mean" real, "avail_kb_min" real, "avail_kb_max" real,
    "used_pct_mean" real, "used_pct_min" real, "used_pct_max" real,
    "inodes_last" bigint,
    "iused_mean" real, "iused_min" real, "iused_max" real,
    "iused_pct_mean" real, "iused_pct_min" real, "iused_pct_max" real,
    PRIMARY KEY ("server_id", "timestamp", "mount")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE memory_metrics_6h (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "samples" integer NOT NULL,
    "total_kb_last" bigint,
    "used_kb_mean" real, "used_kb_min" real, "used_kb_max" real,
    "available_kb_mean" real, "available_kb_min" real, "available_kb_max" real,
    "cached_kb_mean" real, "cached_kb_min" real, "cached_kb_max" real,
    "paging_total_kb_last" bigint,
    "paging_used_kb_mean" real, "paging_used_kb_min" real, "paging_used_kb_max" real,
    "used_pct_mean" real, "used_pct_min" real, "used_pct_max" real,
    "paging_used_pct_mean" real, "paging_used_pct_min" real, "paging_used_pct_max" real,
    PRIMARY KEY ("server_id", "timestamp")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE lpar_metrics_6h (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "samples" integer NOT NULL,
    "user_pct_mean" real, "user_pct_min" real, "user_pct_max" real,
    "sys_pct_mean" real, "sys_pct_min" real, "sys_pct_max" real,
    "wait_pct_mean" real, "wait_pct_min" real, "wait_pct_max" real,
    "idle_pct_mean" real, "idle_pct_min" real, "idle_pct_max" real,
    "physc_mean" real, "physc_min" real, "physc_max" real,
    "entc_pct_mean" real, "entc_pct_min" real, "entc_pct_max" real,
    "lbusy_pct_mean" real, "lbusy_pct_min" real, "lbusy_pct_max" real,
    "app_mean" real, "app_min" real, "app_max" real,
    "vcsw_mean" real, "vcsw_min" real, "vcsw_max" real,
    "phint_mean" real, "phint_min" real, "phint_max" real,
    PRIMARY KEY ("server_id", "timestamp")
) PARTITION BY RANGE ("timestamp");
"""
_KEYS = {
    "vmstat": None,
    "iostat": "disk",
    "netstat": "interface",
    "process": "command",
    "filesystem": "mount",
    "memory": None,
    "lpar": None,
}


def upgrade() -> None:
    op.execute(_TABLES)
    for family, key in _KEYS.items():
        _add_partitions(family)
        _fill(family, key)


def _add_partitions(family: str) -> None:
    """Months as the rollup by hour has them."""
    op.execute(rf"""
        DO $$ DECLARE part record; BEGIN
            FOR part IN
                SELECT regexp_replace(relname, '(_1h)?(_p\d{{6}})?$', '_6h\2') AS name,
                       pg_get_expr(relpartbound, pg_class.oid) AS bounds
                FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
                WHERE inhparent = '{family}_metrics_1h'::regclass
            LOOP
                EXECUTE format('CREATE TABLE %I PARTITION OF {family}_metrics_6h %s'
                               ' WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)',
                               part.name, part.bounds);
            END LOOP;
        END $$""")  # noqa: S608  # names of this module


def _fill(family: str, key: str | None) -> None:
    """Means weigh by samples; of capacities the last value."""
    found = op.get_bind().exec_driver_sql(
        "SELECT attname FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attnum > 0 ORDER BY attnum",
        {"table": f"{family}_metrics_6h"},
    )
    columns = [name for (name,) in found if name not in ("server_id", "timestamp", key)]
    place = f'server_id, "{key}"' if key else "server_id"
    op.execute(f"""
        INSERT INTO {family}_metrics_6h ({place}, "timestamp", {", ".join(f'"{name}"' for name in columns)})
        SELECT {place}, date_bin('6 hours', "timestamp", timestamptz '2000-01-01 00:00Z') AS bucket,
               {", ".join(map(_value, columns))}
        FROM {family}_metrics_1h GROUP BY {place}, bucket""")  # noqa: S608  # names of this module


def _value(name: str) -> str:
    kind = name.rpartition("_")[2]
    if kind == "mean":
        return f'(sum("{name}"::float8 * samples) / nullif(sum(samples) FILTER (WHERE "{name}" IS NOT NULL), 0))::real'
    if kind == "last":
        return f'(array_agg("{name}" ORDER BY "timestamp" DESC) FILTER (WHERE "{name}" IS NOT NULL))[1]'
    return f'sum("{name}")::integer' if name == "samples" else f'{kind}("{name}")'
