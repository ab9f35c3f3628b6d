"""A recording says which line records: a provider pauses it only by that line's name."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

TABLE = "recordings"
KEY = "fk_recordings_workspace_id_leg_id"


def upgrade() -> None:
    op.add_column(TABLE, sa.Column("leg_id", sa.Uuid()))
    op.create_foreign_key(
        KEY, TABLE, "call_legs", ["workspace_id", "leg_id"], ["workspace_id", "id"], ondelete="SET NULL (leg_id)"
    )


def downgrade() -> None:
    op.drop_constraint(KEY, TABLE, type_="foreignkey")
    op.drop_column(TABLE, "leg_id")
