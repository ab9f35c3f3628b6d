"""Indexes for values few rows have: a list filtered by one that none has must not read them all to say so."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Name, table, columns, and of which rows.
FILTERED = (
    (
        "ix_conversation_messages_status",
        "conversation_messages",
        ["workspace_id", "status", "created_at", "id"],
        "status NOT IN ('received', 'delivered')",
    ),
    (
        "ix_conversation_messages_content_type",
        "conversation_messages",
        ["workspace_id", "content_type", "created_at", "id"],
        "content_type <> 'text'",
    ),
    (
        "ix_conversation_messages_provider",
        "conversation_messages",
        ["workspace_id", "provider", "created_at", "id"],
        "provider <> 'twilio'",
    ),
    (
        "ix_conversation_messages_internal",
        "conversation_messages",
        ["workspace_id", "created_at", "id"],
        "is_internal",
    ),
    (
        "ix_conversation_messages_phone_number",
        "conversation_messages",
        ["workspace_id", "phone_number_id", "created_at", "id"],
        None,
    ),
    (
        "ix_message_attachments_state",
        "message_attachments",
        ["workspace_id", "state", "created_at", "id"],
        "state <> 'stored'",
    ),
    ("ix_conversations_tagged", "conversations", ["workspace_id", "created_at", "id"], "tags <> '{}'"),
)


def upgrade() -> None:
    for name, table, columns, only in FILTERED:
        op.create_index(name, table, columns, postgresql_where=sa.text(only) if only else None)


def downgrade() -> None:
    for name, table, *_ in FILTERED:
        op.drop_index(name, table)
