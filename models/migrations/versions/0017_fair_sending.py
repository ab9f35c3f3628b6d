"""What is due is looked for by workspace, so that one's storm is not in the way of the others."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

INDEX = "ix_outgoing_messages_due"


def upgrade() -> None:
    op.drop_index(INDEX, table_name="outgoing_messages")
    op.create_index(
        INDEX,
        "outgoing_messages",
        ["workspace_id", "next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("is_head"),
    )


def downgrade() -> None:
    op.drop_index(INDEX, table_name="outgoing_messages")
    op.create_index(
        INDEX, "outgoing_messages", ["next_attempt_at"], unique=False, postgresql_where=sa.text("is_head")
    )
