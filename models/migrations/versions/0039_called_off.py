"""What was to be told again can be called off, and whoever has refused a handoff is known as long as it is open."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("webhook_deliveries", sa.Column("replay_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_webhook_deliveries_workspace_id_replay_id"),
        "webhook_deliveries",
        "webhook_replays",
        ["workspace_id", "replay_id"],
        ["workspace_id", "id"],
        ondelete="SET NULL (replay_id)",
    )
    op.create_index(
        "ix_webhook_deliveries_replay",
        "webhook_deliveries",
        ["workspace_id", "replay_id"],
        postgresql_where=sa.text("replay_id IS NOT NULL"),
    )
    op.add_column(
        "conversation_handoffs",
        sa.Column("refused", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_conversation_handoffs_refused_list"), "conversation_handoffs", "jsonb_typeof(refused) = 'array'"
    )


def downgrade() -> None:
    op.drop_column("conversation_handoffs", "refused")
    op.drop_column("webhook_deliveries", "replay_id")
