"""What is due is looked for by workspace; members bring files to be sent."""

import sqlalchemy as sa
from alembic import op

from models import tenancy

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

INDEX = "ix_outgoing_messages_due"


def upgrade() -> None:
    op.add_column("workspace_phone_numbers", sa.Column("replies_until", sa.DateTime(timezone=True), nullable=True))
    op.drop_index(INDEX, table_name="outgoing_messages")
    op.create_index(
        INDEX,
        "outgoing_messages",
        ["workspace_id", "next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("is_head"),
    )
    op.create_table(
        "uploads",
        sa.Column("uploaded_by", sa.Uuid(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("size > 0", name=op.f("ck_uploads_size_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "uploaded_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_uploads_workspace_id_uploaded_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_uploads_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_uploads")),
    )
    op.create_index("ix_uploads_created", "uploads", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index("ix_uploads_storage_key", "uploads", ["storage_key"], unique=False)
    for statement in tenancy.secured("uploads"):
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("uploads")
    op.drop_column("workspace_phone_numbers", "replies_until")
    op.drop_index(INDEX, table_name="outgoing_messages")
    op.create_index(INDEX, "outgoing_messages", ["next_attempt_at"], unique=False, postgresql_where=sa.text("is_head"))
