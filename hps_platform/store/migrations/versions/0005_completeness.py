"""The conservation ledger by minute: what was sequenced, landed, rejected and is missing; replayed dead letters.

The sums by hour and session that were kept before go into the first minute of their hour, so that a session's numbers
are followed on.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE completeness RENAME TO completeness_by_hour")
    op.execute("ALTER INDEX completeness_pkey RENAME TO completeness_by_hour_pkey")
    op.execute("""
        CREATE TABLE completeness_log (
            family text NOT NULL,
            server_id bigint NOT NULL,
            "timestamp" timestamptz NOT NULL,
            session text NOT NULL,
            first_seq bigint,
            last_seq bigint,
            landed boolean NOT NULL,
            landed_rows bigint NOT NULL,
            rejected_rows bigint NOT NULL,
            recount boolean NOT NULL
        )""")
    op.execute("COMMENT ON TABLE completeness_log IS 'what commits saw and the ledger has not taken in yet'")
    op.execute("""
        CREATE TABLE completeness (
            family text NOT NULL,
            server_id bigint NOT NULL,
            "timestamp" timestamptz NOT NULL,
            session text NOT NULL,
            landed_seqs int8multirange NOT NULL DEFAULT '{}',
            rejected_seqs int8multirange NOT NULL DEFAULT '{}',
            collected integer NOT NULL DEFAULT 0,
            landed integer NOT NULL DEFAULT 0,
            rejected integer NOT NULL DEFAULT 0,
            missing integer NOT NULL DEFAULT 0,
            landed_rows bigint NOT NULL DEFAULT 0,
            rejected_rows bigint NOT NULL DEFAULT 0,
            PRIMARY KEY (server_id, family, "timestamp", session)
        ) PARTITION BY RANGE ("timestamp")""")
    op.execute("""
        CREATE TABLE completeness_1h (
            family text NOT NULL,
            server_id bigint NOT NULL,
            "timestamp" timestamptz NOT NULL,
            collected integer NOT NULL,
            landed integer NOT NULL,
            rejected integer NOT NULL,
            missing integer NOT NULL,
            landed_rows bigint NOT NULL,
            rejected_rows bigint NOT NULL,
            PRIMARY KEY (server_id, family, "timestamp")
        ) PARTITION BY RANGE ("timestamp")""")
    op.execute("""
        CREATE FUNCTION completeness_count(numbers int8multirange) RETURNS integer LANGUAGE sql IMMUTABLE AS
        'SELECT coalesce(sum(upper(part) - lower(part)), 0)::integer FROM unnest(numbers) AS part'""")
    op.execute("""
        DO $$
        DECLARE day date; month date;
        BEGIN
            FOR day IN SELECT DISTINCT (hour AT TIME ZONE 'UTC')::date FROM completeness_by_hour LOOP
                EXECUTE format('CREATE TABLE %I PARTITION OF completeness FOR VALUES FROM (%L) TO (%L)',
                    'completeness_p' || to_char(day, 'YYYYMMDD'), day || ' 00:00Z', day + 1 || ' 00:00Z');
            END LOOP;
            FOR month IN
                SELECT DISTINCT date_trunc('month', hour AT TIME ZONE 'UTC')::date FROM completeness_by_hour
            LOOP
                EXECUTE format('CREATE TABLE %I PARTITION OF completeness_1h FOR VALUES FROM (%L) TO (%L)',
                    'completeness_1h_p' || to_char(month, 'YYYYMM'), month || ' 00:00Z',
                    (month + interval '1 month')::date || ' 00:00Z');
            END LOOP;
        END $$""")
    op.execute("""
        INSERT INTO completeness (family, server_id, "timestamp", session, landed_seqs, collected, landed, rejected,
                                  landed_rows, rejected_rows)
        SELECT family, server_id, hour, session, int8multirange(int8range(first_seq, last_seq, '[]')),
               samples + rejected_samples, samples, rejected_samples, landed_rows, rejected_rows
        FROM completeness_by_hour""")
    op.execute("""
        INSERT INTO completeness_1h
        SELECT family, server_id, "timestamp", sum(collected), sum(landed), sum(rejected), 0, sum(landed_rows),
               sum(rejected_rows)
        FROM completeness GROUP BY family, server_id, "timestamp"
        """)
    op.execute("DROP TABLE completeness_by_hour")
    op.execute("ALTER TABLE dead_letters ADD COLUMN replayed_at timestamptz")
