"""The foundation: workspaces and their people, contacts, conversations, webhooks kept, the event log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models import tenancy

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TENANT_TABLES = (
    "access_tokens",
    "contact_points",
    "contacts",
    "conversation_messages",
    "conversation_participants",
    "conversations",
    "delivery_reports",
    "event_counters",
    "events",
    "message_attachments",
    "notifications",
    "team_channels",
    "team_messages",
    "webhook_receipts",
    "workspace_api_keys",
    "workspace_members",
    "workspace_phone_numbers",
    "ws_tickets",
)

DROPPED_IN_ORDER = (
    "message_attachments",
    "delivery_reports",
    "conversation_participants",
    "conversation_messages",
    "conversations",
    "ws_tickets",
    "workspace_phone_numbers",
    "webhook_receipts",
    "team_messages",
    "contact_points",
    "workspace_api_keys",
    "team_channels",
    "notifications",
    "events",
    "contacts",
    "access_tokens",
    "workspace_members",
    "event_counters",
    "workspaces",
    "users",
)


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("clerk_user_id", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=True),
        sa.Column("last_name", sa.Text(), nullable=True),
        sa.Column("avatar_url", sa.Text(), nullable=True),
        sa.Column("preferences", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("clerk_user_id", name=op.f("uq_users_clerk_user_id")),
    )
    op.create_index("uq_users_email", "users", [sa.literal_column("lower(email)")], unique=True)
    op.create_table(
        "workspaces",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("clerk_organization_id", sa.Text(), nullable=True),
        sa.Column("subscription_tier", sa.Text(), server_default="free", nullable=False),
        sa.Column("stripe_customer_id", sa.Text(), nullable=True),
        sa.Column("stripe_subscription_id", sa.Text(), nullable=True),
        sa.Column("settings", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("encrypted_api_keys", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "settings->'reopenWithin' IS NULL OR (jsonb_typeof(settings->'reopenWithin') = 'number' AND (settings->>'reopenWithin')::numeric BETWEEN 0 AND 315360000)",
            name=op.f("ck_workspaces_reopen_within_seconds"),
        ),
        sa.CheckConstraint(
            "subscription_tier IN ('free', 'starter', 'professional', 'enterprise')",
            name=op.f("ck_workspaces_subscription_tier_known"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspaces")),
        sa.UniqueConstraint("clerk_organization_id", name=op.f("uq_workspaces_clerk_organization_id")),
        sa.UniqueConstraint("slug", name=op.f("uq_workspaces_slug")),
    )
    op.create_table(
        "event_counters",
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_event_counters_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("pk_event_counters")),
    )
    op.create_table(
        "workspace_members",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("permissions", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("invited_by", sa.Uuid(), nullable=True),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "role IN ('owner', 'admin', 'member', 'viewer')", name=op.f("ck_workspace_members_role_known")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_workspace_members_user_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "invited_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_workspace_members_workspace_id_invited_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_workspace_members_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_workspace_members")),
        sa.UniqueConstraint("workspace_id", "user_id", name=op.f("uq_workspace_members_workspace_id_user_id")),
    )
    op.create_index("ix_workspace_members_user_id", "workspace_members", ["user_id"], unique=False)
    op.create_table(
        "access_tokens",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("last_four", sa.Text(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_access_tokens_workspace_id_user_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_access_tokens_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_access_tokens")),
        sa.UniqueConstraint("workspace_id", "token_hash", name=op.f("uq_access_tokens_workspace_id_token_hash")),
    )
    op.create_index("ix_access_tokens_token_hash", "access_tokens", ["token_hash"], unique=False)
    op.create_table(
        "contacts",
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("first_name", sa.Text(), nullable=True),
        sa.Column("last_name", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("company", sa.Text(), nullable=True),
        sa.Column("job_title", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default="lead", nullable=False),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("custom_fields", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("last_contacted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lead_score", sa.Integer(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('lead', 'active', 'inactive', 'customer', 'blocked')", name=op.f("ck_contacts_status_known")
        ),
        sa.CheckConstraint("lead_score BETWEEN 0 AND 100", name=op.f("ck_contacts_lead_score_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "owner_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_contacts_workspace_id_owner_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_contacts_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_contacts")),
    )
    op.create_index("ix_contacts_created", "contacts", ["workspace_id", "created_at", "id"], unique=False)
    op.create_table(
        "events",
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("actor_type", sa.Text(), server_default="system", nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["event_counters.workspace_id"], name=op.f("fk_events_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "seq", name=op.f("pk_events")),
    )
    op.create_index("ix_events_subject", "events", ["workspace_id", "subject_id", "seq"], unique=False)
    op.create_table(
        "notifications",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), server_default="info", nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("link", sa.Text(), nullable=True),
        sa.Column("data", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("is_read", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "type IN ('info', 'success', 'warning', 'error', 'mention', 'assignment', 'reminder')",
            name=op.f("ck_notifications_type_known"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_notifications_workspace_id_user_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_notifications_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_notifications")),
    )
    op.create_index(
        "ix_notifications_user", "notifications", ["workspace_id", "user_id", "created_at", "id"], unique=False
    )
    op.create_table(
        "team_channels",
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), server_default="group", nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("is_private", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("last_message_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("member_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "type IN ('general', 'direct', 'group', 'announcement')", name=op.f("ck_team_channels_type_known")
        ),
        sa.CheckConstraint("member_count >= 0", name=op.f("ck_team_channels_member_count_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "created_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_team_channels_workspace_id_created_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_team_channels_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_team_channels")),
    )
    op.create_index("ix_team_channels_created", "team_channels", ["workspace_id", "created_at", "id"], unique=False)
    op.create_table(
        "workspace_api_keys",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("encrypted_key", sa.LargeBinary(), nullable=False),
        sa.Column("iv", sa.LargeBinary(), nullable=False),
        sa.Column("auth_tag", sa.LargeBinary(), nullable=False),
        sa.Column("encryption_key_id", sa.Text(), nullable=False),
        sa.Column("last_four", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "provider IN ('twilio', 'signalwire', 'sendgrid')", name=op.f("ck_workspace_api_keys_provider_known")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "created_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_workspace_api_keys_workspace_id_created_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_workspace_api_keys_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_workspace_api_keys")),
    )
    op.create_index("ix_workspace_api_keys_id", "workspace_api_keys", ["id"], unique=False)
    op.create_table(
        "contact_points",
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("is_primary", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('phone', 'email', 'short_code', 'alphanumeric', 'messenger', 'rcs')",
            name=op.f("ck_contact_points_kind_known"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "contact_id"],
            ["contacts.workspace_id", "contacts.id"],
            name=op.f("fk_contact_points_workspace_id_contact_id"),
            ondelete="CASCADE",
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_contact_points_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_contact_points")),
        sa.UniqueConstraint("workspace_id", "kind", "value", name=op.f("uq_contact_points_workspace_id_kind_value")),
    )
    op.create_index("ix_contact_points_contact", "contact_points", ["workspace_id", "contact_id"], unique=False)
    op.create_index(
        "uq_contact_points_primary",
        "contact_points",
        ["workspace_id", "contact_id", "kind"],
        unique=True,
        postgresql_where=sa.text("is_primary"),
    )
    op.create_table(
        "team_messages",
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("sender_id", sa.Uuid(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), server_default="text", nullable=False),
        sa.Column("attachments", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("parent_message_id", sa.Uuid(), nullable=True),
        sa.Column("thread_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_pinned", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_edited", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("edited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "content_type IN ('text', 'html', 'media', 'system')", name=op.f("ck_team_messages_content_type_known")
        ),
        sa.CheckConstraint("thread_count >= 0", name=op.f("ck_team_messages_thread_count_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "channel_id"],
            ["team_channels.workspace_id", "team_channels.id"],
            name=op.f("fk_team_messages_workspace_id_channel_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "parent_message_id"],
            ["team_messages.workspace_id", "team_messages.id"],
            name=op.f("fk_team_messages_workspace_id_parent_message_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "sender_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_team_messages_workspace_id_sender_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_team_messages_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_team_messages")),
    )
    op.create_index(
        "ix_team_messages_channel", "team_messages", ["workspace_id", "channel_id", "created_at", "id"], unique=False
    )
    op.create_table(
        "webhook_receipts",
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("headers", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('messages', 'message-status', 'inbound', 'events')", name=op.f("ck_webhook_receipts_kind_known")
        ),
        sa.CheckConstraint(
            "provider IN ('twilio', 'signalwire', 'sendgrid')", name=op.f("ck_webhook_receipts_provider_known")
        ),
        sa.CheckConstraint(
            "state IN ('processed', 'unmapped', 'failed')", name=op.f("ck_webhook_receipts_state_known")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "connection_id"],
            ["workspace_api_keys.workspace_id", "workspace_api_keys.id"],
            name=op.f("fk_webhook_receipts_workspace_id_connection_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_webhook_receipts")),
        sa.UniqueConstraint(
            "workspace_id",
            "connection_id",
            "kind",
            "identity",
            name=op.f("uq_webhook_receipts_workspace_id_connection_id_kind_identity"),
        ),
    )
    op.create_index(
        "ix_webhook_receipts_created", "webhook_receipts", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_webhook_receipts_due",
        "webhook_receipts",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state = 'failed'"),
    )
    op.create_index(
        "ix_webhook_receipts_open",
        "webhook_receipts",
        ["workspace_id", "state"],
        unique=False,
        postgresql_where=sa.text("state <> 'processed'"),
    )
    op.create_table(
        "workspace_phone_numbers",
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("phone_number", sa.Text(), nullable=False),
        sa.Column("friendly_name", sa.Text(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column(
            "capabilities",
            postgresql.JSONB(),
            server_default=sa.text('\'{"voice": true, "sms": true, "mms": true}\''),
            nullable=False,
        ),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("monthly_price", sa.Numeric(precision=14, scale=2), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "provider IN ('signalwire', 'twilio')", name=op.f("ck_workspace_phone_numbers_provider_known")
        ),
        sa.CheckConstraint(
            "status IN ('active', 'pending', 'suspended', 'released')",
            name=op.f("ck_workspace_phone_numbers_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "connection_id"],
            ["workspace_api_keys.workspace_id", "workspace_api_keys.id"],
            name=op.f("fk_workspace_phone_numbers_workspace_id_connection_id"),
            ondelete="SET NULL (connection_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_workspace_phone_numbers_workspace_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_workspace_phone_numbers")),
        sa.UniqueConstraint(
            "workspace_id", "phone_number", name=op.f("uq_workspace_phone_numbers_workspace_id_phone_number")
        ),
    )
    op.create_index(
        "ix_workspace_phone_numbers_created",
        "workspace_phone_numbers",
        ["workspace_id", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "ws_tickets",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_id", sa.Uuid(), nullable=True),
        sa.Column("ticket_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "token_id"],
            ["access_tokens.workspace_id", "access_tokens.id"],
            name=op.f("fk_ws_tickets_workspace_id_token_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_ws_tickets_workspace_id_user_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_ws_tickets_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_ws_tickets")),
        sa.UniqueConstraint("workspace_id", "ticket_hash", name=op.f("uq_ws_tickets_workspace_id_ticket_hash")),
    )
    op.create_index("ix_ws_tickets_ticket_hash", "ws_tickets", ["ticket_hash"], unique=False)
    op.create_table(
        "conversations",
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("last_message_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("message_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("assigned_to", sa.Uuid(), nullable=True),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("phone_number_id", sa.Uuid(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "channel IN ('email', 'sms', 'call', 'whatsapp', 'social', 'live_chat')",
            name=op.f("ck_conversations_channel_known"),
        ),
        sa.CheckConstraint(
            "status IN ('active', 'archived', 'closed', 'spam')", name=op.f("ck_conversations_status_known")
        ),
        sa.CheckConstraint("message_count >= 0", name=op.f("ck_conversations_message_count_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "assigned_to"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_conversations_workspace_id_assigned_to"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "contact_id"],
            ["contacts.workspace_id", "contacts.id"],
            name=op.f("fk_conversations_workspace_id_contact_id"),
            ondelete="SET NULL (contact_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "phone_number_id"],
            ["workspace_phone_numbers.workspace_id", "workspace_phone_numbers.id"],
            name=op.f("fk_conversations_workspace_id_phone_number_id"),
            ondelete="SET NULL (phone_number_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_conversations_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_conversations")),
    )
    op.create_index(
        "ix_conversations_contact",
        "conversations",
        ["workspace_id", "contact_id", "channel", "last_message_at"],
        unique=False,
    )
    op.create_index("ix_conversations_created", "conversations", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index("ix_conversations_inbox", "conversations", ["workspace_id", "last_message_at", "id"], unique=False)
    op.create_index(
        "uq_conversations_active",
        "conversations",
        ["workspace_id", "contact_id", "channel"],
        unique=True,
        postgresql_where=sa.text("status = 'active' AND contact_id IS NOT NULL"),
    )
    op.create_table(
        "conversation_messages",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), server_default="text", nullable=False),
        sa.Column("sender_type", sa.Text(), nullable=False),
        sa.Column("sender_contact_id", sa.Uuid(), nullable=True),
        sa.Column("sender_user_id", sa.Uuid(), nullable=True),
        sa.Column(
            "sender_id",
            sa.Uuid(),
            sa.Computed("coalesce(sender_contact_id, sender_user_id)", persisted=True),
            nullable=True,
        ),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("is_read", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("provider_message_id", sa.Text(), nullable=True),
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("phone_number_id", sa.Uuid(), nullable=True),
        sa.Column("from_address", sa.Text(), nullable=True),
        sa.Column("to_address", sa.Text(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "content_type IN ('text', 'html', 'media', 'system')",
            name=op.f("ck_conversation_messages_content_type_known"),
        ),
        sa.CheckConstraint(
            "direction IN ('inbound', 'outbound')", name=op.f("ck_conversation_messages_direction_known")
        ),
        sa.CheckConstraint(
            "sender_type IN ('contact', 'user', 'agent', 'system')",
            name=op.f("ck_conversation_messages_sender_type_known"),
        ),
        sa.CheckConstraint(
            "status IN ('receiving', 'received', 'scheduled', 'accepted', 'queued', 'sending', 'sent', 'partially_delivered', 'canceled', 'failed', 'undelivered', 'delivered', 'read')",
            name=op.f("ck_conversation_messages_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "connection_id"],
            ["workspace_api_keys.workspace_id", "workspace_api_keys.id"],
            name=op.f("fk_conversation_messages_workspace_id_connection_id"),
            ondelete="SET NULL (connection_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "conversation_id"],
            ["conversations.workspace_id", "conversations.id"],
            name=op.f("fk_conversation_messages_workspace_id_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "phone_number_id"],
            ["workspace_phone_numbers.workspace_id", "workspace_phone_numbers.id"],
            name=op.f("fk_conversation_messages_workspace_id_phone_number_id"),
            ondelete="SET NULL (phone_number_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "sender_contact_id"],
            ["contacts.workspace_id", "contacts.id"],
            name=op.f("fk_conversation_messages_workspace_id_sender_contact_id"),
            ondelete="SET NULL (sender_contact_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "sender_user_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_conversation_messages_workspace_id_sender_user_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_conversation_messages")),
    )
    op.create_index(
        "ix_conversation_messages_created", "conversation_messages", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_conversation_messages_thread",
        "conversation_messages",
        ["workspace_id", "conversation_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "uq_conversation_messages_provider_id",
        "conversation_messages",
        ["workspace_id", "provider", "provider_message_id"],
        unique=True,
        postgresql_where=sa.text("provider_message_id IS NOT NULL"),
    )
    op.create_table(
        "conversation_participants",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), server_default="participant", nullable=False),
        sa.Column("last_read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("notifications_enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "role IN ('owner', 'participant', 'observer')", name=op.f("ck_conversation_participants_role_known")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "conversation_id"],
            ["conversations.workspace_id", "conversations.id"],
            name=op.f("fk_conversation_participants_workspace_id_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_conversation_participants_workspace_id_user_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_conversation_participants_workspace_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_conversation_participants")),
        sa.UniqueConstraint(
            "workspace_id",
            "conversation_id",
            "user_id",
            name=op.f("uq_conversation_participants_workspace_id_conversation_id_user_id"),
        ),
    )
    op.create_index(
        "ix_conversation_participants_created",
        "conversation_participants",
        ["workspace_id", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "delivery_reports",
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("provider_message_id", sa.Text(), nullable=False),
        sa.Column("reported", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "message_id"],
            ["conversation_messages.workspace_id", "conversation_messages.id"],
            name=op.f("fk_delivery_reports_workspace_id_message_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_delivery_reports_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_delivery_reports")),
        sa.UniqueConstraint(
            "workspace_id",
            "provider",
            "provider_message_id",
            "reported",
            name=op.f("uq_delivery_reports_workspace_id_provider_provider_message_id_reported"),
        ),
    )
    op.create_index(
        "ix_delivery_reports_created", "delivery_reports", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index("ix_delivery_reports_message", "delivery_reports", ["workspace_id", "message_id"], unique=False)
    op.create_index(
        "ix_delivery_reports_parked",
        "delivery_reports",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("message_id IS NULL"),
    )
    op.create_table(
        "message_attachments",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=True),
        sa.Column("source_url", sa.Text(), nullable=False),
        sa.Column("declared_type", sa.Text(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("storage_key", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('pending', 'stored', 'failed', 'refused')", name=op.f("ck_message_attachments_state_known")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "connection_id"],
            ["workspace_api_keys.workspace_id", "workspace_api_keys.id"],
            name=op.f("fk_message_attachments_workspace_id_connection_id"),
            ondelete="SET NULL (connection_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "message_id"],
            ["conversation_messages.workspace_id", "conversation_messages.id"],
            name=op.f("fk_message_attachments_workspace_id_message_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_message_attachments_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_message_attachments")),
        sa.UniqueConstraint(
            "workspace_id",
            "message_id",
            "position",
            name=op.f("uq_message_attachments_workspace_id_message_id_position"),
        ),
    )
    op.create_index(
        "ix_message_attachments_due",
        "message_attachments",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )

    for table in TENANT_TABLES:
        for statement in tenancy.secured(table):
            op.execute(statement)
    for statement in (*tenancy.secured_workspaces(), *tenancy.secured_users()):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP POLICY workspace ON users")  # it looks into another table
    for table in DROPPED_IN_ORDER:
        op.drop_table(table)
