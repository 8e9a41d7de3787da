"""Accounts of the web app: users, their API tokens and sessions, and failed sign-ins.

Tokens and session ids are random; only their SHA-256 is kept, so a copy of the database opens no door.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE users (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            username text NOT NULL CHECK (username <> ''),
            password_hash text NOT NULL,
            is_admin boolean NOT NULL DEFAULT false,
            is_active boolean NOT NULL DEFAULT true,
            created_at timestamptz NOT NULL DEFAULT now(),
            password_changed_at timestamptz NOT NULL DEFAULT now(),
            last_sign_in_at timestamptz
        )""")
    op.execute("CREATE UNIQUE INDEX users_username ON users (lower(username))")
    op.execute("""
        CREATE TABLE api_tokens (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
            name text NOT NULL,
            token_hash bytea NOT NULL UNIQUE,
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz,
            last_used_at timestamptz
        )""")
    op.execute("CREATE INDEX api_tokens_user ON api_tokens (user_id)")
    op.execute("""
        CREATE TABLE sessions (
            token_hash bytea PRIMARY KEY,
            user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz NOT NULL,
            address text NOT NULL
        )""")
    op.execute("CREATE INDEX sessions_user ON sessions (user_id)")
    op.execute("CREATE INDEX sessions_expiry ON sessions (expires_at)")
    # username '' counts every account tried from that address
    op.execute("""
        CREATE UNLOGGED TABLE sign_in_failures (
            address text NOT NULL,
            username text NOT NULL,
            failures integer NOT NULL,
            last_at timestamptz NOT NULL,
            PRIMARY KEY (address, username)
        )""")


def downgrade() -> None:
    op.execute("DROP TABLE sign_in_failures, sessions, api_tokens, users")
