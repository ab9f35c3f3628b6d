"""What an update has changed, an index for the activity feed, and the keys under which clients ask once."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models import tenancy

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("events", sa.Column("changes", sa.JSON(none_as_null=True), nullable=True))
    op.create_index(
        "ix_events_actor",
        "events",
        ["workspace_id", "actor_id", "seq"],
        postgresql_where=sa.text("actor_id IS NOT NULL AND actor_type <> 'contact'"),
    )
    op.create_index(
        "ix_events_kind",
        "events",
        ["workspace_id", "subject_type", "seq"],
        postgresql_where=sa.text("subject_type <> 'message'"),
    )
    op.create_index("ix_events_at", "events", ["at"], postgresql_using="brin", postgresql_with={"autosummarize": True})
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column(
            "headers",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("encrypted_body", sa.LargeBinary(), nullable=True),
        sa.Column("iv", sa.LargeBinary(), nullable=True),
        sa.Column("auth_tag", sa.LargeBinary(), nullable=True),
        sa.Column("encryption_key_id", sa.Text(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("length(key) BETWEEN 1 AND 255", name=op.f("ck_idempotency_keys_key_length")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_idempotency_keys_workspace_id_user_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_idempotency_keys_workspace_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_idempotency_keys")),
        sa.UniqueConstraint(
            "workspace_id", "user_id", "key", name=op.f("uq_idempotency_keys_workspace_id_user_id_key")
        ),
    )
    op.create_index("ix_idempotency_keys_age", "idempotency_keys", ["created_at"])
    for statement in tenancy.secured("idempotency_keys"):
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    for name in ("ix_events_at", "ix_events_kind", "ix_events_actor"):
        op.drop_index(name, "events")
    op.drop_column("events", "changes")
