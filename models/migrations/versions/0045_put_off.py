"""Until when a conversation was put off last is known when it is back, so that the watch begins with its return."""

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

# The last of three that are brought up together: whoever alters this table holds up every message that comes in.
TABLE = "conversations"


def upgrade() -> None:
    op.add_column(TABLE, sa.Column("put_off_until", sa.DateTime(timezone=True), nullable=True))
    op.execute(f"ALTER TABLE {TABLE} NO FORCE ROW LEVEL SECURITY")
    op.execute(f"UPDATE {TABLE} SET put_off_until = snoozed_until WHERE snoozed_until IS NOT NULL")
    op.execute(f"ALTER TABLE {TABLE} FORCE ROW LEVEL SECURITY")
    op.create_index(
        "ix_conversations_put_off",
        TABLE,
        ["workspace_id", "put_off_until"],
        postgresql_where=sa.text("put_off_until IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_conversations_put_off", TABLE)
    op.drop_column(TABLE, "put_off_until")
