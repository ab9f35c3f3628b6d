"""Agents do not go in circles: everybody whom a handoff has asked is known, and who has taken a team's message."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0033"
down_revision = "0031"
branch_labels = None
depends_on = None

HANDOFFS, MESSAGES = "conversation_handoffs", "agent_messages"


def upgrade() -> None:
    op.add_column(HANDOFFS, sa.Column("asked", JSONB(), server_default=sa.text("'[]'"), nullable=False))
    op.create_check_constraint(op.f(f"ck_{HANDOFFS}_asked_list"), HANDOFFS, "jsonb_typeof(asked) = 'array'")
    op.add_column(MESSAGES, sa.Column("taken_by_agent_id", sa.Uuid()))
    op.create_foreign_key(
        op.f(f"fk_{MESSAGES}_workspace_id_taken_by_agent_id"),
        MESSAGES,
        "agents",
        ["workspace_id", "taken_by_agent_id"],
        ["workspace_id", "id"],
        ondelete="RESTRICT",
    )


def downgrade() -> None:
    op.drop_column(MESSAGES, "taken_by_agent_id")
    op.drop_column(HANDOFFS, "asked")
