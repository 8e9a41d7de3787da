"""The family `lpar`: raw table and rollups."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_FAMILY = """
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
    "physc_mean" real, "physc_min" real, "physc_max" real,
    "entc_pct_mean" real, "entc_pct_min" real, "entc_pct_max" real,
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
    "physc_mean" real, "physc_min" real, "physc_max" real,
    "entc_pct_mean" real, "entc_pct_min" real, "entc_pct_max" real,
    "lbusy_pct_mean" real, "lbusy_pct_min" real, "lbusy_pct_max" real,
    "app_mean" real, "app_min" real, "app_max" real,
    "vcsw_mean" real, "vcsw_min" real, "vcsw_max" real,
    "phint_mean" real, "phint_min" real, "phint_max" real,
    PRIMARY KEY ("server_id", "timestamp")
) PARTITION BY RANGE ("timestamp");
"""


def upgrade() -> None:
    op.execute(_FAMILY)
