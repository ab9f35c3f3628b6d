"""More indexes for values few rows have: other channels than texts, failed reports, where contacts are from."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# Name, table, columns, and of which rows.
FILTERED = (
    (
        "ix_conversations_channel",
        "conversations",
        ["workspace_id", "channel", "last_message_at", "id"],
        "channel <> 'sms'",
    ),
    (
        "ix_delivery_reports_status",
        "delivery_reports",
        ["workspace_id", "status", "created_at", "id"],
        "status NOT IN ('queued', 'sent', 'delivered')",
    ),
    (
        "ix_contacts_source",
        "contacts",
        ["workspace_id", "source", "created_at", "id"],
        "source <> 'inbound_sms'",
    ),
)


def upgrade() -> None:
    for name, table, columns, only in FILTERED:
        op.create_index(name, table, columns, postgresql_where=sa.text(only))


def downgrade() -> None:
    for name, table, *_ in FILTERED:
        op.drop_index(name, table)
