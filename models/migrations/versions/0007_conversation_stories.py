"""What the stories of conversations need: snooze, internal notes, mentions, deleted messages, members of channels."""

import sqlalchemy as sa
from alembic import op

from models import tenancy

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("conversations", sa.Column("snoozed_until", sa.DateTime(timezone=True), nullable=True))
    # Row security is forced: the owner sees no row unless it lets go for a moment.
    op.execute("ALTER TABLE conversations NO FORCE ROW LEVEL SECURITY")
    op.execute("UPDATE conversations SET tags = tags[1:50] WHERE cardinality(tags) > 50")
    op.execute("ALTER TABLE conversations FORCE ROW LEVEL SECURITY")
    op.create_check_constraint(op.f("ck_conversations_tags_range"), "conversations", "cardinality(tags) <= 50")
    op.create_index(
        "ix_conversations_assigned",
        "conversations",
        ["workspace_id", "assigned_to", "last_message_at", "id"],
        unique=False,
        postgresql_where=sa.text("assigned_to IS NOT NULL"),
    )
    op.create_index(
        "ix_conversations_snoozed",
        "conversations",
        ["workspace_id", "snoozed_until"],
        unique=False,
        postgresql_where=sa.text("snoozed_until IS NOT NULL"),
    )
    op.create_index(
        "ix_conversations_status",
        "conversations",
        ["workspace_id", "status", "last_message_at", "id"],
        unique=False,
        postgresql_where=sa.text("status <> 'active'"),
    )

    op.add_column(
        "conversation_messages",
        sa.Column("is_internal", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column("conversation_messages", sa.Column("mentions", sa.ARRAY(sa.Uuid()), nullable=True))
    op.add_column("conversation_messages", sa.Column("edited_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("conversation_messages", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.alter_column("conversation_messages", "conversation_id", existing_type=sa.Uuid(), nullable=True)
    op.create_check_constraint(
        op.f("ck_conversation_messages_conversation_id_of_deleted"),
        "conversation_messages",
        "conversation_id IS NOT NULL OR deleted_at IS NOT NULL",
    )
    op.create_check_constraint(
        op.f("ck_conversation_messages_is_internal_stays_here"),
        "conversation_messages",
        "NOT is_internal OR (provider_message_id IS NULL"
        " AND status NOT IN ('scheduled', 'accepted', 'queued', 'sending'))",
    )
    op.create_index(
        "ix_message_attachments_created", "message_attachments", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_conversation_participants_user",
        "conversation_participants",
        ["workspace_id", "user_id", "created_at", "id"],
        unique=False,
    )

    op.create_table(
        "team_channel_members",
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "channel_id"],
            ["team_channels.workspace_id", "team_channels.id"],
            name=op.f("fk_team_channel_members_workspace_id_channel_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_team_channel_members_workspace_id_user_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_team_channel_members_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_team_channel_members")),
        sa.UniqueConstraint(
            "workspace_id",
            "channel_id",
            "user_id",
            name=op.f("uq_team_channel_members_workspace_id_channel_id_user_id"),
        ),
    )
    op.create_index(
        "ix_team_channel_members_created", "team_channel_members", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_team_channel_members_user", "team_channel_members", ["workspace_id", "user_id", "channel_id"], unique=False
    )
    # Whoever made a channel belongs to it: done before row security hides both tables from their owner.
    op.execute("ALTER TABLE team_channels NO FORCE ROW LEVEL SECURITY")
    op.execute(
        "INSERT INTO team_channel_members (workspace_id, id, channel_id, user_id, created_at, updated_at)"
        " SELECT workspace_id, gen_random_uuid(), id, created_by, created_at, created_at FROM team_channels"
        " WHERE created_by IS NOT NULL"
    )
    op.execute("UPDATE team_channels SET member_count = CASE WHEN created_by IS NULL THEN 0 ELSE 1 END")
    op.execute("ALTER TABLE team_channels FORCE ROW LEVEL SECURITY")
    for statement in tenancy.secured("team_channel_members"):
        op.execute(statement)
    op.add_column(
        "team_messages",
        sa.Column("mentions", sa.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False),
    )
    op.create_index("ix_team_messages_created", "team_messages", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_team_messages_thread",
        "team_messages",
        ["workspace_id", "parent_message_id", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("parent_message_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_team_messages_thread", table_name="team_messages")
    op.drop_index("ix_team_messages_created", table_name="team_messages")
    op.drop_column("team_messages", "mentions")
    op.drop_table("team_channel_members")

    op.drop_index("ix_conversation_participants_user", table_name="conversation_participants")
    op.drop_index("ix_message_attachments_created", table_name="message_attachments")
    # Notes would be taken for messages that somebody sent.
    op.execute("ALTER TABLE conversation_messages NO FORCE ROW LEVEL SECURITY")
    op.execute("DELETE FROM conversation_messages WHERE conversation_id IS NULL OR is_internal")
    op.execute("ALTER TABLE conversation_messages FORCE ROW LEVEL SECURITY")
    op.drop_constraint(op.f("ck_conversation_messages_is_internal_stays_here"), "conversation_messages")
    op.drop_constraint(op.f("ck_conversation_messages_conversation_id_of_deleted"), "conversation_messages")
    op.alter_column("conversation_messages", "conversation_id", existing_type=sa.Uuid(), nullable=False)
    op.drop_column("conversation_messages", "deleted_at")
    op.drop_column("conversation_messages", "edited_at")
    op.drop_column("conversation_messages", "mentions")
    op.drop_column("conversation_messages", "is_internal")

    op.drop_index("ix_conversations_status", table_name="conversations")
    op.drop_index("ix_conversations_snoozed", table_name="conversations")
    op.drop_index("ix_conversations_assigned", table_name="conversations")
    op.drop_constraint(op.f("ck_conversations_tags_range"), "conversations")
    op.drop_column("conversations", "snoozed_until")
