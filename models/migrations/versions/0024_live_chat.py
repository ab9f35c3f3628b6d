"""Live chat: widgets, visitors, their sessions and what they see; chats that go on by text or mail."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import models.types
from models import tenancy

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

TABLES = ("chat_widgets", "visitors", "visitor_sessions", "chat_messages")
ACTIVE = "uq_conversations_active"
SOURCES = "'keyword', 'provider', 'review', 'carrier', 'unsubscribe', 'resubscribe', 'complaint', 'bounce', 'person'"


def upgrade() -> None:
    op.create_table(
        "chat_widgets",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("allowed_origins", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("texts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("colours", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("hours", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "pre_chat_fields", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
        sa.Column("shows_names", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("continues_by", sa.Text(), nullable=True),
        sa.Column("phone_number_id", sa.Uuid(), nullable=True),
        sa.Column("mail_address_id", sa.Uuid(), nullable=True),
        sa.Column("grace_seconds", sa.Integer(), server_default=sa.text("120"), nullable=False),
        sa.Column("encrypted_secret", sa.LargeBinary(), nullable=True),
        sa.Column("iv", sa.LargeBinary(), nullable=True),
        sa.Column("auth_tag", sa.LargeBinary(), nullable=True),
        sa.Column("encryption_key_id", sa.Text(), nullable=True),
        sa.Column("last_four", sa.Text(), nullable=True),
        sa.Column("next_last_four", sa.Text(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("continues_by IN ('sms', 'email')", name=op.f("ck_chat_widgets_continues_by_known")),
        sa.CheckConstraint("grace_seconds BETWEEN 1 AND 86400", name=op.f("ck_chat_widgets_grace_seconds_range")),
        sa.CheckConstraint(
            "num_nulls(encrypted_secret, iv, auth_tag, encryption_key_id) IN (0, 4)",
            name=op.f("ck_chat_widgets_secret_whole"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "mail_address_id"],
            ["workspace_mail_addresses.workspace_id", "workspace_mail_addresses.id"],
            name=op.f("fk_chat_widgets_workspace_id_mail_address_id"),
            ondelete="SET NULL (mail_address_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "phone_number_id"],
            ["workspace_phone_numbers.workspace_id", "workspace_phone_numbers.id"],
            name=op.f("fk_chat_widgets_workspace_id_phone_number_id"),
            ondelete="SET NULL (phone_number_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_chat_widgets_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_chat_widgets")),
        sa.UniqueConstraint("workspace_id", "key", name=op.f("uq_chat_widgets_workspace_id_key")),
    )
    op.create_index("ix_chat_widgets_created", "chat_widgets", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index("ix_chat_widgets_key", "chat_widgets", ["key"], unique=False)
    op.create_table(
        "visitors",
        sa.Column("widget_id", sa.Uuid(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("email", models.types.Email(), nullable=True),
        sa.Column("phone", models.types.Phone(), nullable=True),
        sa.Column("fields", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("continues_by", sa.Text(), nullable=True),
        sa.Column("continues_to", sa.Text(), nullable=True),
        sa.Column("agreed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("said_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("transcribed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("continues_by IN ('sms', 'email')", name=op.f("ck_visitors_continues_by_known")),
        sa.CheckConstraint(
            "agreed_at IS NULL OR num_nulls(continues_by, continues_to) = 0",
            name=op.f("ck_visitors_agreed_to_something"),
        ),
        sa.CheckConstraint("seq >= 0", name=op.f("ck_visitors_seq_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "contact_id"],
            ["contacts.workspace_id", "contacts.id"],
            name=op.f("fk_visitors_workspace_id_contact_id"),
            ondelete="SET NULL (contact_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "conversation_id"],
            ["conversations.workspace_id", "conversations.id"],
            name=op.f("fk_visitors_workspace_id_conversation_id"),
            ondelete="SET NULL (conversation_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "widget_id"],
            ["chat_widgets.workspace_id", "chat_widgets.id"],
            name=op.f("fk_visitors_workspace_id_widget_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_visitors_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_visitors")),
        sa.UniqueConstraint(
            "workspace_id", "widget_id", "identity", name=op.f("uq_visitors_workspace_id_widget_id_identity")
        ),
    )
    op.create_index("ix_visitors_contact", "visitors", ["workspace_id", "contact_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_visitors_conversation", "visitors", ["workspace_id", "conversation_id", "created_at", "id"], unique=False
    )
    op.create_index("ix_visitors_created", "visitors", ["workspace_id", "created_at", "id"], unique=False)
    op.create_table(
        "chat_messages",
        sa.Column("visitor_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "message_id"],
            ["conversation_messages.workspace_id", "conversation_messages.id"],
            name=op.f("fk_chat_messages_workspace_id_message_id"),
            ondelete="SET NULL (message_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "visitor_id"],
            ["visitors.workspace_id", "visitors.id"],
            name=op.f("fk_chat_messages_workspace_id_visitor_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_chat_messages_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_chat_messages")),
        sa.UniqueConstraint(
            "workspace_id", "visitor_id", "client_id", name=op.f("uq_chat_messages_workspace_id_visitor_id_client_id")
        ),
        sa.UniqueConstraint(
            "workspace_id", "visitor_id", "seq", name=op.f("uq_chat_messages_workspace_id_visitor_id_seq")
        ),
    )
    op.create_index(
        "ix_chat_messages_message",
        "chat_messages",
        ["workspace_id", "message_id"],
        unique=False,
        postgresql_where=sa.text("message_id IS NOT NULL"),
    )
    op.create_table(
        "visitor_sessions",
        sa.Column("visitor_id", sa.Uuid(), nullable=False),
        sa.Column("page_url", sa.Text(), nullable=True),
        sa.Column("page_title", sa.Text(), nullable=True),
        sa.Column("referrer", sa.Text(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("present_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "visitor_id"],
            ["visitors.workspace_id", "visitors.id"],
            name=op.f("fk_visitor_sessions_workspace_id_visitor_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_visitor_sessions_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_visitor_sessions")),
    )
    op.create_index(
        "ix_visitor_sessions_created", "visitor_sessions", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_visitor_sessions_visitor",
        "visitor_sessions",
        ["workspace_id", "visitor_id", "created_at", "id"],
        unique=False,
    )
    for table in TABLES:
        for statement in tenancy.secured(table):
            op.execute(statement)
    op.add_column(
        "conversations", sa.Column("is_unproven", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("conversations", sa.Column("continued_by", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_conversations_continued_by_known"), "conversations", "continued_by IN ('sms', 'email')"
    )
    op.create_index(
        "ix_conversations_continued",
        "conversations",
        ["workspace_id", "contact_id"],
        postgresql_where=sa.text("continued_by IS NOT NULL"),
    )
    _keep_one_active("status = 'active' AND contact_id IS NOT NULL AND NOT is_unproven")
    _know_sources(SOURCES + ", 'chat'")
    op.add_column("uploads", sa.Column("visitor_id", sa.Uuid(), nullable=True))
    op.alter_column("uploads", "uploaded_by", existing_type=sa.Uuid(), nullable=True)
    op.create_check_constraint(
        op.f("ck_uploads_uploaded_by_somebody"), "uploads", "num_nonnulls(uploaded_by, visitor_id) > 0"
    )
    op.create_foreign_key(
        op.f("fk_uploads_workspace_id_visitor_id"),
        "uploads",
        "visitors",
        ["workspace_id", "visitor_id"],
        ["workspace_id", "id"],
        ondelete="CASCADE",
    )
    op.create_index(
        "ix_uploads_visitor",
        "uploads",
        ["workspace_id", "visitor_id"],
        postgresql_where=sa.text("visitor_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.execute("DELETE FROM uploads WHERE uploaded_by IS NULL")
    op.drop_index("ix_uploads_visitor", table_name="uploads")
    op.drop_constraint(op.f("fk_uploads_workspace_id_visitor_id"), "uploads", type_="foreignkey")
    op.drop_constraint(op.f("ck_uploads_uploaded_by_somebody"), "uploads", type_="check")
    op.alter_column("uploads", "uploaded_by", existing_type=sa.Uuid(), nullable=False)
    op.drop_column("uploads", "visitor_id")
    for table in ("consents", "consent_entries"):
        op.execute(f"UPDATE {table} SET source = 'keyword' WHERE source = 'chat'")
    _know_sources(SOURCES)
    op.execute("UPDATE conversations SET status = 'archived' WHERE is_unproven AND status = 'active'")
    _keep_one_active("status = 'active' AND contact_id IS NOT NULL")
    op.drop_index("ix_conversations_continued", table_name="conversations")
    op.drop_column("conversations", "continued_by")
    op.drop_column("conversations", "is_unproven")
    for table in reversed(TABLES):
        op.drop_table(table)


def _keep_one_active(those: str) -> None:
    op.drop_index(ACTIVE, table_name="conversations")
    columns = ["workspace_id", "contact_id", "channel"]
    op.create_index(ACTIVE, "conversations", columns, unique=True, postgresql_where=sa.text(those))


def _know_sources(listed: str) -> None:
    for table in ("consents", "consent_entries"):
        name = op.f(f"ck_{table}_source_known")
        op.drop_constraint(name, table, type_="check")
        op.create_check_constraint(name, table, f"source IN ({listed})")
