CREATE TABLE vmstat_metrics (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "r" bigint,
    "b" bigint,
    "avm" bigint,
    "fre" bigint,
    "swpd" bigint,
    "buff" bigint,
    "cache" bigint,
    "pi" double precision,
    "po" double precision,
    "fr" double precision,
    "sr" double precision,
    "bi" double precision,
    "bo" double precision,
    "interrupts" double precision,
    "syscalls" double precision,
    "cs" double precision,
    "us" double precision,
    "sy" double precision,
    "idle" double precision,
    "wa" double precision,
    "st" double precision,
    "pc" double precision,
    "ec" double precision,
    "kafka_partition" smallint NOT NULL,
    "kafka_offset" bigint NOT NULL,
    PRIMARY KEY ("server_id", "timestamp")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE vmstat_metrics_1m (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "samples" integer NOT NULL,
    "r_mean" real, "r_min" real, "r_max" real, "r_p95" real,
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
    "us_mean" real, "us_min" real, "us_max" real, "us_p95" real,
    "sy_mean" real, "sy_min" real, "sy_max" real, "sy_p95" real,
    "idle_mean" real, "idle_min" real, "idle_max" real,
    "wa_mean" real, "wa_min" real, "wa_max" real, "wa_p95" real,
    "st_mean" real, "st_min" real, "st_max" real,
    "pc_mean" real, "pc_min" real, "pc_max" real,
    "ec_mean" real, "ec_min" real, "ec_max" real,
    PRIMARY KEY ("server_id", "timestamp")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE vmstat_metrics_1h (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "samples" integer NOT NULL,
    "r_mean" real, "r_min" real, "r_max" real, "r_p95" real,
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
    "us_mean" real, "us_min" real, "us_max" real, "us_p95" real,
    "sy_mean" real, "sy_min" real, "sy_max" real, "sy_p95" real,
    "idle_mean" real, "idle_min" real, "idle_max" real,
    "wa_mean" real, "wa_min" real, "wa_max" real, "wa_p95" real,
    "st_mean" real, "st_min" real, "st_max" real,
    "pc_mean" real, "pc_min" real, "pc_max" real,
    "ec_mean" real, "ec_min" real, "ec_max" real,
    PRIMARY KEY ("server_id", "timestamp")
) PARTITION BY RANGE ("timestamp");

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

CREATE TABLE iostat_metrics (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "disk" text NOT NULL,
    "tps" double precision,
    "kb_s" double precision,
    "kb_read_s" double precision,
    "kb_wrtn_s" double precision,
    "kb_read" bigint,
    "kb_wrtn" bigint,
    "busy_pct" double precision,
    "service_time_ms" double precision,
    "queue_length" double precision,
    "kafka_partition" smallint NOT NULL,
    "kafka_offset" bigint NOT NULL,
    PRIMARY KEY ("server_id", "timestamp", "disk")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE iostat_metrics_1m (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "disk" text NOT NULL,
    "samples" integer NOT NULL,
    "tps_mean" real, "tps_min" real, "tps_max" real,
    "kb_s_mean" real, "kb_s_min" real, "kb_s_max" real, "kb_s_p95" real,
    "kb_read_s_mean" real, "kb_read_s_min" real, "kb_read_s_max" real,
    "kb_wrtn_s_mean" real, "kb_wrtn_s_min" real, "kb_wrtn_s_max" real,
    "kb_read_mean" real, "kb_read_min" real, "kb_read_max" real,
    "kb_wrtn_mean" real, "kb_wrtn_min" real, "kb_wrtn_max" real,
    "busy_pct_mean" real, "busy_pct_min" real, "busy_pct_max" real, "busy_pct_p95" real,
    "service_time_ms_mean" real, "service_time_ms_min" real, "service_time_ms_max" real, "service_time_ms_p95" real,
    "queue_length_mean" real, "queue_length_min" real, "queue_length_max" real, "queue_length_p95" real,
    PRIMARY KEY ("server_id", "timestamp", "disk")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE iostat_metrics_1h (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "disk" text NOT NULL,
    "samples" integer NOT NULL,
    "tps_mean" real, "tps_min" real, "tps_max" real,
    "kb_s_mean" real, "kb_s_min" real, "kb_s_max" real, "kb_s_p95" real,
    "kb_read_s_mean" real, "kb_read_s_min" real, "kb_read_s_max" real,
    "kb_wrtn_s_mean" real, "kb_wrtn_s_min" real, "kb_wrtn_s_max" real,
    "kb_read_mean" real, "kb_read_min" real, "kb_read_max" real,
    "kb_wrtn_mean" real, "kb_wrtn_min" real, "kb_wrtn_max" real,
    "busy_pct_mean" real, "busy_pct_min" real, "busy_pct_max" real, "busy_pct_p95" real,
    "service_time_ms_mean" real, "service_time_ms_min" real, "service_time_ms_max" real, "service_time_ms_p95" real,
    "queue_length_mean" real, "queue_length_min" real, "queue_length_max" real, "queue_length_p95" real,
    PRIMARY KEY ("server_id", "timestamp", "disk")
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

CREATE TABLE netstat_metrics (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "interface" text NOT NULL,
    "mtu" bigint,
    "ipkts" bigint,
    "ierrs" bigint,
    "opkts" bigint,
    "oerrs" bigint,
    "coll" bigint,
    "idrops" bigint,
    "odrops" bigint,
    "ibytes" bigint,
    "obytes" bigint,
    "ipkts_s" double precision,
    "ierrs_s" double precision,
    "opkts_s" double precision,
    "oerrs_s" double precision,
    "ibytes_s" double precision,
    "obytes_s" double precision,
    "kafka_partition" smallint NOT NULL,
    "kafka_offset" bigint NOT NULL,
    PRIMARY KEY ("server_id", "timestamp", "interface")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE netstat_metrics_1m (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "interface" text NOT NULL,
    "samples" integer NOT NULL,
    "mtu_last" bigint,
    "ipkts_s_mean" real, "ipkts_s_min" real, "ipkts_s_max" real, "ipkts_s_p95" real,
    "ierrs_s_mean" real, "ierrs_s_min" real, "ierrs_s_max" real,
    "opkts_s_mean" real, "opkts_s_min" real, "opkts_s_max" real, "opkts_s_p95" real,
    "oerrs_s_mean" real, "oerrs_s_min" real, "oerrs_s_max" real,
    "ibytes_s_mean" real, "ibytes_s_min" real, "ibytes_s_max" real, "ibytes_s_p95" real,
    "obytes_s_mean" real, "obytes_s_min" real, "obytes_s_max" real, "obytes_s_p95" real,
    PRIMARY KEY ("server_id", "timestamp", "interface")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE netstat_metrics_1h (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "interface" text NOT NULL,
    "samples" integer NOT NULL,
    "mtu_last" bigint,
    "ipkts_s_mean" real, "ipkts_s_min" real, "ipkts_s_max" real, "ipkts_s_p95" real,
    "ierrs_s_mean" real, "ierrs_s_min" real, "ierrs_s_max" real,
    "opkts_s_mean" real, "opkts_s_min" real, "opkts_s_max" real, "opkts_s_p95" real,
    "oerrs_s_mean" real, "oerrs_s_min" real, "oerrs_s_max" real,
    "ibytes_s_mean" real, "ibytes_s_min" real, "ibytes_s_max" real, "ibytes_s_p95" real,
    "obytes_s_mean" real, "obytes_s_min" real, "obytes_s_max" real, "obytes_s_p95" real,
    PRIMARY KEY ("server_id", "timestamp", "interface")
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

CREATE TABLE process_metrics (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "pid" bigint NOT NULL,
    "ppid" bigint,
    "user" text,
    "cpu_pct" double precision,
    "mem_pct" double precision,
    "vsz_kb" bigint,
    "rss_kb" bigint,
    "state" text,
    "cpu_time_s" double precision,
    "elapsed_s" double precision,
    "command" text,
    "kafka_partition" smallint NOT NULL,
    "kafka_offset" bigint NOT NULL,
    PRIMARY KEY ("server_id", "timestamp", "pid")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE process_metrics_1m (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "command" text NOT NULL,
    "samples" integer NOT NULL,
    "cpu_pct_mean" real, "cpu_pct_min" real, "cpu_pct_max" real, "cpu_pct_p95" real,
    "mem_pct_mean" real, "mem_pct_min" real, "mem_pct_max" real,
    "vsz_kb_mean" real, "vsz_kb_min" real, "vsz_kb_max" real,
    "rss_kb_mean" real, "rss_kb_min" real, "rss_kb_max" real, "rss_kb_p95" real,
    "cpu_time_s_mean" real, "cpu_time_s_min" real, "cpu_time_s_max" real,
    "elapsed_s_mean" real, "elapsed_s_min" real, "elapsed_s_max" real,
    PRIMARY KEY ("server_id", "timestamp", "command")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE process_metrics_1h (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "command" text NOT NULL,
    "samples" integer NOT NULL,
    "cpu_pct_mean" real, "cpu_pct_min" real, "cpu_pct_max" real, "cpu_pct_p95" real,
    "mem_pct_mean" real, "mem_pct_min" real, "mem_pct_max" real,
    "vsz_kb_mean" real, "vsz_kb_min" real, "vsz_kb_max" real,
    "rss_kb_mean" real, "rss_kb_min" real, "rss_kb_max" real, "rss_kb_p95" real,
    "cpu_time_s_mean" real, "cpu_time_s_min" real, "cpu_time_s_max" real,
    "elapsed_s_mean" real, "elapsed_s_min" real, "elapsed_s_max" real,
    PRIMARY KEY ("server_id", "timestamp", "command")
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

CREATE TABLE filesystem_metrics (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "mount" text NOT NULL,
    "device" text,
    "size_kb" bigint,
    "used_kb" bigint,
    "avail_kb" bigint,
    "used_pct" double precision,
    "inodes" bigint,
    "iused" bigint,
    "iused_pct" double precision,
    "kafka_partition" smallint NOT NULL,
    "kafka_offset" bigint NOT NULL,
    PRIMARY KEY ("server_id", "timestamp", "mount")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE filesystem_metrics_1m (
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

CREATE TABLE filesystem_metrics_1h (
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

CREATE TABLE memory_metrics (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "total_kb" bigint,
    "used_kb" bigint,
    "available_kb" bigint,
    "cached_kb" bigint,
    "paging_total_kb" bigint,
    "paging_used_kb" bigint,
    "used_pct" double precision,
    "paging_used_pct" double precision,
    "kafka_partition" smallint NOT NULL,
    "kafka_offset" bigint NOT NULL,
    PRIMARY KEY ("server_id", "timestamp")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE memory_metrics_1m (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "samples" integer NOT NULL,
    "total_kb_last" bigint,
    "used_kb_mean" real, "used_kb_min" real, "used_kb_max" real,
    "available_kb_mean" real, "available_kb_min" real, "available_kb_max" real,
    "cached_kb_mean" real, "cached_kb_min" real, "cached_kb_max" real,
    "paging_total_kb_last" bigint,
    "paging_used_kb_mean" real, "paging_used_kb_min" real, "paging_used_kb_max" real,
    "used_pct_mean" real, "used_pct_min" real, "used_pct_max" real, "used_pct_p95" real,
    "paging_used_pct_mean" real, "paging_used_pct_min" real, "paging_used_pct_max" real, "paging_used_pct_p95" real,
    PRIMARY KEY ("server_id", "timestamp")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE memory_metrics_1h (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "samples" integer NOT NULL,
    "total_kb_last" bigint,
    "used_kb_mean" real, "used_kb_min" real, "used_kb_max" real,
    "available_kb_mean" real, "available_kb_min" real, "available_kb_max" real,
    "cached_kb_mean" real, "cached_kb_min" real, "cached_kb_max" real,
    "paging_total_kb_last" bigint,
    "paging_used_kb_mean" real, "paging_used_kb_min" real, "paging_used_kb_max" real,
    "used_pct_mean" real, "used_pct_min" real, "used_pct_max" real, "used_pct_p95" real,
    "paging_used_pct_mean" real, "paging_used_pct_min" real, "paging_used_pct_max" real, "paging_used_pct_p95" real,
    PRIMARY KEY ("server_id", "timestamp")
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

CREATE TABLE lpar_metrics (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "user_pct" double precision,
    "sys_pct" double precision,
    "wait_pct" double precision,
    "idle_pct" double precision,
    "physc" double precision,
    "entc_pct" double precision,
    "lbusy_pct" double precision,
    "app" double precision,
    "vcsw" double precision,
    "phint" double precision,
    "kafka_partition" smallint NOT NULL,
    "kafka_offset" bigint NOT NULL,
    PRIMARY KEY ("server_id", "timestamp")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE lpar_metrics_1m (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "samples" integer NOT NULL,
    "user_pct_mean" real, "user_pct_min" real, "user_pct_max" real,
    "sys_pct_mean" real, "sys_pct_min" real, "sys_pct_max" real,
    "wait_pct_mean" real, "wait_pct_min" real, "wait_pct_max" real,
    "idle_pct_mean" real, "idle_pct_min" real, "idle_pct_max" real,
    "physc_mean" real, "physc_min" real, "physc_max" real, "physc_p95" real,
    "entc_pct_mean" real, "entc_pct_min" real, "entc_pct_max" real, "entc_pct_p95" real,
    "lbusy_pct_mean" real, "lbusy_pct_min" real, "lbusy_pct_max" real,
    "app_mean" real, "app_min" real, "app_max" real,
    "vcsw_mean" real, "vcsw_min" real, "vcsw_max" real,
    "phint_mean" real, "phint_min" real, "phint_max" real,
    PRIMARY KEY ("server_id", "timestamp")
) PARTITION BY RANGE ("timestamp");

CREATE TABLE lpar_metrics_1h (
    "server_id" bigint NOT NULL,
    "timestamp" timestamptz NOT NULL,
    "samples" integer NOT NULL,
    "user_pct_mean" real, "user_pct_min" real, "user_pct_max" real,
    "sys_pct_mean" real, "sys_pct_min" real, "sys_pct_max" real,
    "wait_pct_mean" real, "wait_pct_min" real, "wait_pct_max" real,
    "idle_pct_mean" real, "idle_pct_min" real, "idle_pct_max" real,
    "physc_mean" real, "physc_min" real, "physc_max" real, "physc_p95" real,
    "entc_pct_mean" real, "entc_pct_min" real, "entc_pct_max" real, "entc_pct_p95" real,
    "lbusy_pct_mean" real, "lbusy_pct_min" real, "lbusy_pct_max" real,
    "app_mean" real, "app_min" real, "app_max" real,
    "vcsw_mean" real, "vcsw_min" real, "vcsw_max" real,
    "phint_mean" real, "phint_min" real, "phint_max" real,
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
