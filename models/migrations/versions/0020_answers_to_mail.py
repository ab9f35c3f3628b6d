"""A mail says where its sender wants answers; messages that are mails are found by their subjects and senders."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# What was taken in already is taken in once more, with what is new about it.
_AGAIN = """
UPDATE search_progress p SET backfill = 'message', backfill_after = NULL
WHERE (p.backfill IS NULL OR p.backfill = 'message')
    AND EXISTS (SELECT FROM mails m WHERE m.workspace_id = p.workspace_id)
"""


def upgrade() -> None:
    op.add_column("mails", sa.Column("reply_to", sa.Text(), nullable=True))
    _index_again()


def downgrade() -> None:
    op.drop_column("mails", "reply_to")
    _index_again()


def _index_again() -> None:
    for table in ("search_progress", "mails"):
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(_AGAIN)
    for table in ("search_progress", "mails"):
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
