"""Several collectors: who is alive, which server is leased to whom, and what each host is asked for."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE collectors (
            id uuid PRIMARY KEY,
            session text NOT NULL,
            name text NOT NULL,
            only_server bigint,
            started_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL,
            figures jsonb NOT NULL DEFAULT '{}'
        );
        COMMENT ON COLUMN collectors.id IS 'stays the same when the collector is started again; session does not';
        COMMENT ON COLUMN collectors.only_server IS 'null: it collects from any server';
        COMMENT ON COLUMN collectors.expires_at IS 'its leases end then, unless it says that it is alive';

        CREATE TABLE collector_leases (
            server_id bigint PRIMARY KEY REFERENCES servers ON DELETE CASCADE,
            collector_id uuid REFERENCES collectors ON DELETE SET NULL,
            fence bigint NOT NULL DEFAULT 0,
            taken_at timestamptz NOT NULL
        );
        COMMENT ON COLUMN collector_leases.collector_id IS 'null: given back';
        COMMENT ON COLUMN collector_leases.fence IS 'grows with each change of hands';

        ALTER TABLE servers
            ADD facts jsonb NOT NULL DEFAULT '{}',
            ADD recognised_at timestamptz,
            ADD clock_offset_s double precision,
            ADD plan jsonb NOT NULL DEFAULT '[]';
        COMMENT ON COLUMN servers.facts IS 'what the host said of itself at the last login';
        COMMENT ON COLUMN servers.clock_offset_s IS 'the host''s clock minus the collector''s at that moment';
        COMMENT ON COLUMN servers.plan IS 'the collector''s word: command, state and reason of each family';
        """
    )


def downgrade() -> None:
    op.execute(
        "DROP TABLE collector_leases; DROP TABLE collectors; "
        "ALTER TABLE servers DROP plan, DROP facts, DROP recognised_at, DROP clock_offset_s;"
    )
