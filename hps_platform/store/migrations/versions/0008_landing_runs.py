"""Which landing run began where, so that each row can be traced to the run that landed it."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE landing_runs (
            topic text NOT NULL,
            partition integer NOT NULL,
            first_offset bigint NOT NULL,
            run_id text NOT NULL,
            fence bigint NOT NULL,
            began_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (topic, partition, first_offset)
        )""")


def downgrade() -> None:
    op.execute("DROP TABLE landing_runs")
