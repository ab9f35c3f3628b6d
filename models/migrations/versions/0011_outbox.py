"""What leaves: the outbox, when messages are to leave, how fast a number may, and what it counts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models import tenancy

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workspace_phone_numbers", sa.Column("segments_per_second", sa.Integer(), nullable=True))
    op.add_column("workspace_phone_numbers", sa.Column("fallback_number_id", sa.Uuid(), nullable=True))
    op.add_column("workspace_phone_numbers", sa.Column("paced_until", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(
        op.f("ck_workspace_phone_numbers_segments_per_second_range"),
        "workspace_phone_numbers",
        "segments_per_second BETWEEN 1 AND 10000",
    )
    op.create_check_constraint(
        op.f("ck_workspace_phone_numbers_fallback_number_id_is_another"),
        "workspace_phone_numbers",
        "fallback_number_id <> id",
    )
    op.create_foreign_key(
        op.f("fk_workspace_phone_numbers_workspace_id_fallback_number_id"),
        "workspace_phone_numbers",
        "workspace_phone_numbers",
        ["workspace_id", "fallback_number_id"],
        ["workspace_id", "id"],
        ondelete="SET NULL (fallback_number_id)",
    )
    op.add_column("conversation_messages", sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("conversation_messages", sa.Column("segments", sa.Integer(), nullable=True))
    op.create_index(
        "ix_conversation_messages_sent_by",
        "conversation_messages",
        ["workspace_id", "phone_number_id", "created_at"],
        unique=False,
        postgresql_where=sa.text("direction = 'outbound'"),
    )

    op.add_column("delivery_reports", sa.Column("marked_id", sa.Uuid(), nullable=True))
    op.create_index(
        "ix_delivery_reports_marked",
        "delivery_reports",
        ["workspace_id", "marked_id"],
        unique=False,
        postgresql_where=sa.text("marked_id IS NOT NULL"),
    )

    op.create_table(
        "outgoing_messages",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("phone_number_id", sa.Uuid(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("is_head", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("line_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("slot_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_reply", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("segments", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'scheduled', 'sending', 'unclear')", name=op.f("ck_outgoing_messages_state_known")
        ),
        sa.CheckConstraint(
            "state <> 'scheduled' OR NOT is_head", name=op.f("ck_outgoing_messages_is_head_of_what_is_due")
        ),
        sa.CheckConstraint("segments >= 1", name=op.f("ck_outgoing_messages_segments_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "id"],
            ["conversation_messages.workspace_id", "conversation_messages.id"],
            name=op.f("fk_outgoing_messages_workspace_id_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "conversation_id"],
            ["conversations.workspace_id", "conversations.id"],
            name=op.f("fk_outgoing_messages_workspace_id_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "connection_id"],
            ["workspace_api_keys.workspace_id", "workspace_api_keys.id"],
            name=op.f("fk_outgoing_messages_workspace_id_connection_id"),
            ondelete="SET NULL (connection_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "phone_number_id"],
            ["workspace_phone_numbers.workspace_id", "workspace_phone_numbers.id"],
            name=op.f("fk_outgoing_messages_workspace_id_phone_number_id"),
            ondelete="SET NULL (phone_number_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_outgoing_messages_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_outgoing_messages")),
    )
    op.create_index(
        "uq_outgoing_messages_head",
        "outgoing_messages",
        ["workspace_id", "conversation_id"],
        unique=True,
        postgresql_where=sa.text("is_head"),
    )
    op.create_index(
        "ix_outgoing_messages_line",
        "outgoing_messages",
        ["workspace_id", "conversation_id", "line_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_outgoing_messages_due",
        "outgoing_messages",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("is_head"),
    )
    op.create_index(
        "ix_outgoing_messages_scheduled",
        "outgoing_messages",
        ["line_at"],
        unique=False,
        postgresql_where=sa.text("state = 'scheduled'"),
    )
    op.create_index(
        "ix_outgoing_messages_created", "outgoing_messages", ["workspace_id", "created_at", "id"], unique=False
    )
    for statement in tenancy.secured("outgoing_messages"):
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("outgoing_messages")
    op.drop_index("ix_delivery_reports_marked", table_name="delivery_reports")
    op.drop_column("delivery_reports", "marked_id")
    op.drop_index("ix_conversation_messages_sent_by", table_name="conversation_messages")
    op.drop_column("conversation_messages", "segments")
    op.drop_column("conversation_messages", "scheduled_at")
    op.drop_constraint(op.f("fk_workspace_phone_numbers_workspace_id_fallback_number_id"), "workspace_phone_numbers")
    op.drop_constraint(op.f("ck_workspace_phone_numbers_fallback_number_id_is_another"), "workspace_phone_numbers")
    op.drop_constraint(op.f("ck_workspace_phone_numbers_segments_per_second_range"), "workspace_phone_numbers")
    op.drop_column("workspace_phone_numbers", "paced_until")
    op.drop_column("workspace_phone_numbers", "fallback_number_id")
    op.drop_column("workspace_phone_numbers", "segments_per_second")
