"""A stretch of time is told an endpoint again once at a time."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        UPDATE webhook_replays r SET state = 'done' WHERE r.state = 'running' AND EXISTS (
            SELECT FROM webhook_replays o
            WHERE o.workspace_id = r.workspace_id AND o.endpoint_id = r.endpoint_id AND o.from_at = r.from_at
                AND o.until_at = r.until_at AND o.state = 'running' AND (o.created_at, o.id) < (r.created_at, r.id)
        )
        """
    )
    op.create_index(
        "uq_webhook_replays_stretch",
        "webhook_replays",
        ["workspace_id", "endpoint_id", "from_at", "until_at"],
        unique=True,
        postgresql_where=sa.text("state = 'running'"),
    )


def downgrade() -> None:
    op.drop_index("uq_webhook_replays_stretch", table_name="webhook_replays")
