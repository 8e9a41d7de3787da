"""The registry of servers, and what the collector has to say about them."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE servers (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            hostname text NOT NULL,
            ip_address inet,
            operating_system text,
            os_version text,
            architecture text,
            is_active boolean NOT NULL DEFAULT true,
            owner text,
            organisation text,
            ssh_port integer NOT NULL DEFAULT 22 CHECK (ssh_port BETWEEN 1 AND 65535),
            ssh_username text NOT NULL,
            ssh_password text,
            ssh_private_key text,
            ssh_key_passphrase text,
            host_key text,
            tags text[] NOT NULL DEFAULT '{}',
            settings jsonb NOT NULL DEFAULT '{}',
            state text NOT NULL DEFAULT 'connecting',
            state_message text NOT NULL DEFAULT '',
            state_since timestamptz NOT NULL DEFAULT now(),
            last_seen_at timestamptz,
            revision bigint NOT NULL DEFAULT 1,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE UNIQUE INDEX servers_by_hostname ON servers (lower(hostname));
        COMMENT ON COLUMN servers.ip_address IS 'null: the host is reached by its hostname';
        COMMENT ON COLUMN servers.operating_system IS 'null: recognised at the first login';
        COMMENT ON COLUMN servers.ssh_password IS 'encrypted, as ssh_private_key and ssh_key_passphrase';
        COMMENT ON COLUMN servers.host_key IS 'null: nobody logs in';
        COMMENT ON COLUMN servers.revision IS 'grows with each change that a person makes';

        CREATE TABLE collector_events (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            server_id bigint,
            at timestamptz NOT NULL,
            kind text NOT NULL,
            message text NOT NULL,
            details jsonb NOT NULL DEFAULT '{}'
        );
        COMMENT ON COLUMN collector_events.server_id IS 'null: about the collector itself; outlives a removed server';
        CREATE INDEX collector_events_by_server ON collector_events (server_id, at DESC);
        CREATE INDEX collector_events_by_time ON collector_events (at DESC);
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE collector_events; DROP TABLE servers;")
