"""Certificates for logging in, and credentials of jump hosts that are not registered."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE servers ADD COLUMN ssh_certificate text, ADD COLUMN ssh_jump_credentials text;
        COMMENT ON COLUMN servers.ssh_certificate IS 'encrypted: OpenSSH certificate of the private key';
        COMMENT ON COLUMN servers.ssh_jump_credentials IS 'encrypted: JSON by address, see settings.jump';
        """
    )


def downgrade() -> None:
    op.execute("ALTER TABLE servers DROP COLUMN ssh_certificate, DROP COLUMN ssh_jump_credentials;")
