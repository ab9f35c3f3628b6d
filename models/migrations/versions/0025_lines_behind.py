"""An index of those who stand behind a head: a look for lines without one no longer reads a whole campaign."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_outgoing_messages_behind",
        "outgoing_messages",
        ["workspace_id", "conversation_id"],
        postgresql_where=sa.text("NOT is_head AND state <> 'scheduled'"),
    )


def downgrade() -> None:
    op.drop_index("ix_outgoing_messages_behind", "outgoing_messages")
