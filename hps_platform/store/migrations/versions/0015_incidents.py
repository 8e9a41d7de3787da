"""Incidents with their servers and their life, and what false alarms taught."""

from alembic import op

revision = "0015"
down_revision = "0013"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE incidents (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'acknowledged', 'resolved', 'false_alarm')),
            severity text NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
            started_at timestamptz NOT NULL,
            ended_at timestamptz NOT NULL,
            minutes integer NOT NULL,
            peak_at timestamptz NOT NULL,
            peak_server_id bigint NOT NULL,
            peak_score double precision NOT NULL,
            head_metric text NOT NULL,
            culprit text,
            causes jsonb NOT NULL,
            sentence text NOT NULL,
            closed_at timestamptz,
            merged_into bigint,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        );
        COMMENT ON COLUMN incidents.ended_at IS 'exclusive: the end of its last anomalous minute so far';
        COMMENT ON COLUMN incidents.merged_into IS 'the incident of the fleet that it turned out to be a part of';
        CREATE INDEX incidents_by_start ON incidents (started_at DESC, id DESC);
        CREATE INDEX incidents_by_end ON incidents (ended_at);
        CREATE INDEX incidents_not_closed ON incidents (id) WHERE state IN ('open', 'acknowledged');

        CREATE TABLE incident_servers (
            incident_id bigint NOT NULL REFERENCES incidents ON DELETE CASCADE,
            server_id bigint NOT NULL,
            started_at timestamptz NOT NULL,
            ended_at timestamptz NOT NULL,
            minutes integer NOT NULL,
            peak_at timestamptz NOT NULL,
            peak_score double precision NOT NULL,
            heads text[] NOT NULL,
            PRIMARY KEY (incident_id, server_id)
        );
        COMMENT ON COLUMN incident_servers.heads IS 'metrics that headed its minutes, the most frequent first';
        CREATE INDEX incident_servers_by_server ON incident_servers (server_id, started_at DESC);

        CREATE TABLE incident_events (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            incident_id bigint NOT NULL REFERENCES incidents ON DELETE CASCADE,
            at timestamptz NOT NULL DEFAULT now(),
            kind text NOT NULL,
            actor text,
            reason text NOT NULL DEFAULT ''
        );
        COMMENT ON COLUMN incident_events.actor IS 'username; null: the platform itself';
        CREATE INDEX incident_events_by_incident ON incident_events (incident_id, id);

        CREATE TABLE anomaly_suppressions (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            server_id bigint NOT NULL REFERENCES servers ON DELETE CASCADE,
            incident_id bigint,
            metrics text[] NOT NULL,
            from_minute smallint NOT NULL CHECK (from_minute BETWEEN 0 AND 1439),
            minutes smallint NOT NULL CHECK (minutes BETWEEN 1 AND 1440),
            demanded_score double precision NOT NULL,
            created_by text,
            created_at timestamptz NOT NULL DEFAULT now()
        );
        COMMENT ON COLUMN anomaly_suppressions.from_minute IS 'of the day, UTC; with minutes it may go past midnight';
        COMMENT ON COLUMN anomaly_suppressions.demanded_score IS
            'a minute headed by these metrics at that time is anomalous only at or below it; below -1: never';
        CREATE INDEX anomaly_suppressions_by_server ON anomaly_suppressions (server_id);

        CREATE TABLE incident_progress (refreshed_at timestamptz NOT NULL);
        COMMENT ON TABLE incident_progress IS 'one row: scores up to then have been put together to incidents';
        """
    )


def downgrade() -> None:
    op.execute(
        """
        DROP TABLE incident_progress; DROP TABLE anomaly_suppressions; DROP TABLE incident_events;
        DROP TABLE incident_servers; DROP TABLE incidents;
        """
    )
