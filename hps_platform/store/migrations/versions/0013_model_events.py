"""What happened to models and why, what their minutes looked like, and how far servers have drifted since."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE model_files ADD COLUMN reference jsonb, ADD COLUMN borrowed_from bigint;
        COMMENT ON COLUMN model_files.reference IS 'distributions of the training minutes, for measuring drift';
        COMMENT ON COLUMN model_files.borrowed_from IS 'id of the server whose model this is a copy of';

        CREATE TABLE model_events (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            model text NOT NULL,
            version integer NOT NULL,
            event text NOT NULL CHECK (event IN ('promoted', 'rejected', 'rolled_back', 'borrowed')),
            reason text NOT NULL,
            metrics jsonb NOT NULL DEFAULT '{}',
            at timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX model_events_by_model ON model_events (model, id);
        COMMENT ON TABLE model_events IS 'which versions became champion, which did not, and why';

        CREATE TABLE model_drift (
            model text PRIMARY KEY,
            version integer NOT NULL,
            features jsonb NOT NULL,
            score double precision,
            drifted boolean NOT NULL,
            measured_at timestamptz NOT NULL DEFAULT now()
        );
        COMMENT ON TABLE model_drift IS 'population stability index of a server''s last days against its champion';
        """
    )


def downgrade() -> None:
    op.execute(
        """
        DROP TABLE model_drift; DROP TABLE model_events;
        ALTER TABLE model_files DROP COLUMN reference, DROP COLUMN borrowed_from;
        """
    )
