"""Forecasts: of each server's metrics the newest ones, a row for each horizon."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE forecasts (
            server_id bigint NOT NULL REFERENCES servers ON DELETE CASCADE,
            metric text NOT NULL,
            key text NOT NULL DEFAULT '',
            horizon_days smallint NOT NULL,
            made_at timestamptz NOT NULL,
            first_at timestamptz NOT NULL,
            step_s integer NOT NULL,
            p10 double precision[] NOT NULL,
            p50 double precision[] NOT NULL,
            p90 double precision[] NOT NULL,
            trend jsonb,
            runway jsonb,
            week_on_week jsonb,
            backtest jsonb,
            reason text,
            PRIMARY KEY (server_id, metric, key, horizon_days)
        );
        COMMENT ON COLUMN forecasts.key IS 'the mount point of a file system''s metric, else empty';
        COMMENT ON COLUMN forecasts.first_at IS 'begin of the first hour or day that is forecast';
        COMMENT ON COLUMN forecasts.reason IS 'why there is no forecast; p10, p50 and p90 are then empty';
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE forecasts;")
