"""Which program wrote a model's file, so that it need not be opened to know that it can be."""

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE model_files ADD COLUMN made_by text;
        COMMENT ON COLUMN model_files.made_by IS 'what wrote the file; null: from before this was kept';
        """
    )


def downgrade() -> None:
    op.execute("ALTER TABLE model_files DROP COLUMN made_by")
