"""Answers about ranges that no longer change, kept for some minutes for every process of the platform."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("""
        CREATE UNLOGGED TABLE query_cache (
            key bytea PRIMARY KEY,
            family text NOT NULL,
            server_ids bigint[] NOT NULL,
            start_at timestamptz NOT NULL,
            end_at timestamptz NOT NULL,
            made_at timestamptz NOT NULL DEFAULT now(),
            answer bytea NOT NULL
        )""")
    # Answers are compressed already.
    op.execute("ALTER TABLE query_cache ALTER COLUMN answer SET STORAGE EXTERNAL")
    # An hour is marked dirty by whatever lands in it, late or again, and unmarked when its rollups are right. While it
    # is marked no answer about it is taken from the cache; afterwards none from before may be left.
    op.execute("""
        CREATE FUNCTION forget_answers() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            DELETE FROM query_cache AS c USING (SELECT DISTINCT family, hour FROM gone) AS g
            WHERE c.family = g.family AND c.start_at < g.hour + interval '1 hour' AND c.end_at > g.hour;
            RETURN NULL;
        END $$""")
    op.execute("""
        CREATE TRIGGER forget_answers AFTER DELETE ON dirty_hours
        REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_answers()""")


def downgrade() -> None:
    op.execute("DROP TRIGGER forget_answers ON dirty_hours")
    op.execute("DROP FUNCTION forget_answers()")
    op.execute("DROP TABLE query_cache")
