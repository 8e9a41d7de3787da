"""Anomaly detection: runs, scored minutes (partitioned by day), alarm levels, thresholds, and what model files are."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE anomaly_detection_runs (
            run_id uuid PRIMARY KEY,
            server_id bigint NOT NULL,
            trigger text NOT NULL CHECK (trigger IN ('scheduled', 'on_demand')),
            start_time timestamptz NOT NULL,
            end_time timestamptz NOT NULL,
            total_points_analyzed integer NOT NULL DEFAULT 0,
            anomalies_detected integer NOT NULL DEFAULT 0,
            anomaly_rate double precision NOT NULL DEFAULT 0,
            model_version text,
            model_features jsonb NOT NULL DEFAULT '[]',
            execution_time_seconds double precision NOT NULL DEFAULT 0,
            status text NOT NULL CHECK (status IN ('running', 'completed', 'failed')),
            error_message text,
            started_at timestamptz NOT NULL DEFAULT now(),
            completed_at timestamptz
        );
        COMMENT ON COLUMN anomaly_detection_runs.anomaly_rate IS 'percent';
        COMMENT ON COLUMN anomaly_detection_runs.end_time IS 'exclusive; a scheduled run grows during its day';
        CREATE INDEX anomaly_detection_runs_by_server ON anomaly_detection_runs (server_id, trigger, end_time DESC);
        CREATE INDEX anomaly_detection_runs_by_time ON anomaly_detection_runs (started_at DESC);

        CREATE TABLE anomaly_detection_results (
            server_id bigint NOT NULL,
            "timestamp" timestamptz NOT NULL,
            is_anomaly boolean NOT NULL,
            anomaly_score double precision NOT NULL,
            metric_values jsonb,
            contributions jsonb,
            forest_score double precision,
            detection_run_id uuid NOT NULL,
            trigger text NOT NULL,
            model_version text,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (detection_run_id, server_id, "timestamp")
        ) PARTITION BY RANGE ("timestamp");
        COMMENT ON COLUMN anomaly_detection_results.trigger IS 'that of the run, here so that a chart needs no join';
        COMMENT ON COLUMN anomaly_detection_results.metric_values IS 'null for normal minutes of a scheduled run';
        CREATE INDEX anomaly_detection_results_by_server
            ON anomaly_detection_results (server_id, trigger, "timestamp");
        CREATE INDEX anomaly_detection_results_anomalies
            ON anomaly_detection_results ("timestamp" DESC) WHERE is_anomaly;

        CREATE TABLE anomaly_alarm_levels (
            server_id bigint NOT NULL,
            day date NOT NULL,
            budget double precision NOT NULL,
            level double precision NOT NULL,
            model_version text NOT NULL,
            computed_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (server_id, day)
        );
        COMMENT ON TABLE anomaly_alarm_levels IS 'how high a score must be on that day (UTC) to be an alarm';

        CREATE TABLE anomaly_thresholds (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            server_id bigint NOT NULL REFERENCES servers ON DELETE CASCADE,
            metric_name text NOT NULL DEFAULT '*',
            anomaly_score_threshold double precision NOT NULL DEFAULT -0.1
                CHECK (anomaly_score_threshold BETWEEN -1 AND 0),
            severity_level text NOT NULL DEFAULT 'medium'
                CHECK (severity_level IN ('low', 'medium', 'high', 'critical')),
            enable_alerts boolean NOT NULL DEFAULT true,
            alert_cooldown_minutes integer NOT NULL DEFAULT 30 CHECK (alert_cooldown_minutes BETWEEN 0 AND 10080),
            is_active boolean NOT NULL DEFAULT true,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            UNIQUE (server_id, metric_name)
        );

        CREATE TABLE model_files (
            name text NOT NULL,
            version integer NOT NULL,
            sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (name, version)
        );
        """
    )


def downgrade() -> None:
    op.execute(
        """
        DROP TABLE model_files; DROP TABLE anomaly_thresholds; DROP TABLE anomaly_alarm_levels;
        DROP TABLE anomaly_detection_results; DROP TABLE anomaly_detection_runs;
        """
    )
