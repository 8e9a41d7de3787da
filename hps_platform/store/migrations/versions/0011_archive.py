"""Archived days, and tables that are written all the time are vacuumed early."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE archived_days (
            family text NOT NULL,
            day date NOT NULL,
            url text NOT NULL,
            bytes bigint NOT NULL,
            sha256 text NOT NULL,
            rows bigint NOT NULL,
            messages bigint NOT NULL,
            raw_url text,
            raw_bytes bigint NOT NULL DEFAULT 0,
            raw_sha256 text,
            raw_messages bigint NOT NULL DEFAULT 0,
            archived_at timestamptz NOT NULL DEFAULT now(),
            verified_at timestamptz,
            damage text,
            dropped_at timestamptz,
            minutes_dropped_at timestamptz,
            hours_dropped_at timestamptz,
            keep_until date,
            PRIMARY KEY (family, day)
        )""")
    op.execute("COMMENT ON COLUMN archived_days.dropped_at IS 'null: the rows are in their partition too'")
    op.execute("COMMENT ON COLUMN archived_days.minutes_dropped_at IS 'null: its rollup by minute is in the tables'")
    op.execute("COMMENT ON COLUMN archived_days.keep_until IS 'restored: not dropped before that day'")
    # A few rows, updated with every commit of landing: room on the page for it, and no bloat between two vacuums.
    op.execute(
        "ALTER TABLE landing_offsets SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0,"
        " autovacuum_vacuum_threshold = 500)"
    )
    op.execute(
        "ALTER TABLE landing_leases SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0,"
        " autovacuum_vacuum_threshold = 100)"
    )
    # A queue: rows come and go, and what is gone is read over until it is vacuumed.
    op.execute(
        "ALTER TABLE dirty_hours SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0,"
        " autovacuum_vacuum_threshold = 2000)"
    )
    op.execute(r"""
        DO $$ DECLARE part regclass; BEGIN
            FOR part IN
                SELECT inhrelid FROM pg_inherits JOIN pg_class AS parent ON parent.oid = inhparent
                WHERE parent.relnamespace = current_schema()::regnamespace AND parent.relname LIKE '%\_metrics'
            LOOP
                EXECUTE format('ALTER TABLE %s SET (autovacuum_freeze_min_age = 0,'
                               ' autovacuum_analyze_scale_factor = 0.02)', part);
            END LOOP;
            FOR part IN
                SELECT inhrelid FROM pg_inherits JOIN pg_class AS parent ON parent.oid = inhparent
                WHERE parent.relnamespace = current_schema()::regnamespace
                  AND (parent.relname LIKE '%\_metrics\_1m' OR parent.relname LIKE '%\_metrics\_1h')
            LOOP
                EXECUTE format('ALTER TABLE %s SET (autovacuum_vacuum_scale_factor = 0.05,'
                               ' autovacuum_analyze_scale_factor = 0.05)', part);
            END LOOP;
        END $$""")
