"""The newest word about consent counts, also where it has changed nothing."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TABLES = ("consents", "consent_entries")


def upgrade() -> None:
    op.add_column("consents", sa.Column("heard_at", sa.DateTime(timezone=True), nullable=True))
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(
        """
        UPDATE consents c SET heard_at = greatest(c.since, (
            SELECT max(e.said_at) FROM consent_entries e
            WHERE e.workspace_id = c.workspace_id AND e.address = c.address AND e.sender = c.sender
                AND e.says = CASE c.state WHEN 'opted_out' THEN 'stop' ELSE 'start' END))
        """
    )
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.alter_column("consents", "heard_at", nullable=False)


def downgrade() -> None:
    op.drop_column("consents", "heard_at")
