"""What a number costs a month is not less than nothing, and in some currency."""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

TABLE = "workspace_phone_numbers"


def upgrade() -> None:
    op.add_column(TABLE, sa.Column("currency", sa.Text(), server_default="USD", nullable=False))
    op.create_check_constraint(op.f("ck_workspace_phone_numbers_currency_code"), TABLE, "currency ~ '^[A-Z]{3}$'")
    # Nobody is paid for having one: what says so was typed wrong.
    op.execute(f"ALTER TABLE {TABLE} NO FORCE ROW LEVEL SECURITY")
    op.execute(f"UPDATE {TABLE} SET monthly_price = -monthly_price WHERE monthly_price < 0")
    op.execute(f"ALTER TABLE {TABLE} FORCE ROW LEVEL SECURITY")
    op.create_check_constraint(op.f("ck_workspace_phone_numbers_monthly_price_range"), TABLE, "monthly_price >= 0")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_workspace_phone_numbers_monthly_price_range"), TABLE)
    op.drop_column(TABLE, "currency")
