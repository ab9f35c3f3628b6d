"""Customers, projects, invoices and expenses; what marketing knows: channels, campaigns, segments and rules."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models import tenancy

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

DROPPED_IN_ORDER = (
    "invoices",
    "expenses",
    "projects",
    "customers",
    "campaign_recipients",
    "lead_routing_rules",
    "campaigns",
    "segments",
    "marketing_channels",
    "lead_scoring_rules",
    "invoice_counters",
    "automation_rules",
)


def upgrade() -> None:
    op.create_table(
        "automation_rules",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("trigger_type", sa.Text(), nullable=False),
        sa.Column(
            "trigger_config", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("action_type", sa.Text(), nullable=False),
        sa.Column(
            "action_config", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("status", sa.Text(), server_default="draft", nullable=False),
        sa.Column("execution_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_executed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "action_type IN ('send_email', 'send_sms', 'create_task', 'update_field', 'add_tag', 'remove_tag', 'assign_owner', 'change_deal_stage', 'add_to_campaign', 'notify_member', 'call_webhook')",
            name=op.f("ck_automation_rules_action_type_known"),
        ),
        sa.CheckConstraint(
            "status IN ('active', 'paused', 'draft', 'archived')", name=op.f("ck_automation_rules_status_known")
        ),
        sa.CheckConstraint(
            "trigger_type IN ('lead_created', 'contact_created', 'contact_updated', 'tag_added', 'segment_entered', 'lead_score_reached', 'deal_created', 'deal_stage_changed', 'deal_won', 'deal_lost', 'email_opened', 'email_clicked', 'message_received', 'call_missed', 'conversation_closed', 'invoice_overdue', 'invoice_paid')",
            name=op.f("ck_automation_rules_trigger_type_known"),
        ),
        sa.CheckConstraint("execution_count >= 0", name=op.f("ck_automation_rules_execution_count_positive")),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_automation_rules_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_automation_rules")),
    )
    op.create_index(
        "ix_automation_rules_created", "automation_rules", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_automation_rules_trigger",
        "automation_rules",
        ["workspace_id", "trigger_type"],
        unique=False,
        postgresql_where=sa.text("status = 'active'"),
    )
    op.create_table(
        "invoice_counters",
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("last_number", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_invoice_counters_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("pk_invoice_counters")),
    )
    op.create_table(
        "lead_scoring_rules",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("operator", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(), nullable=True),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), server_default="demographic", nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "type IN ('demographic', 'behavioral', 'engagement')", name=op.f("ck_lead_scoring_rules_type_known")
        ),
        sa.CheckConstraint(
            "operator IN ('equals', 'not_equals', 'in', 'not_in', 'contains', 'not_contains', 'contains_any', 'contains_all', 'starts_with', 'ends_with', 'greater_than', 'at_least', 'less_than', 'at_most', 'before', 'after', 'within_days', 'not_within_days', 'is_set', 'is_not_set')",
            name=op.f("ck_lead_scoring_rules_operator_known"),
        ),
        sa.CheckConstraint("points BETWEEN -100 AND 100", name=op.f("ck_lead_scoring_rules_points_range")),
        sa.CheckConstraint("priority >= 0", name=op.f("ck_lead_scoring_rules_priority_positive")),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_lead_scoring_rules_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_lead_scoring_rules")),
    )
    op.create_index(
        "ix_lead_scoring_rules_created", "lead_scoring_rules", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_lead_scoring_rules_priority", "lead_scoring_rules", ["workspace_id", "priority", "id"], unique=False
    )
    op.create_table(
        "marketing_channels",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("credential_names", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("encrypted_key", sa.LargeBinary(), nullable=True),
        sa.Column("iv", sa.LargeBinary(), nullable=True),
        sa.Column("auth_tag", sa.LargeBinary(), nullable=True),
        sa.Column("encryption_key_id", sa.Text(), nullable=True),
        sa.Column("budget", sa.Numeric(precision=14, scale=2), nullable=True),
        sa.Column("spent", sa.Numeric(precision=14, scale=2), server_default=sa.text("0"), nullable=False),
        sa.Column("currency", sa.Text(), server_default="USD", nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("NOT config ? 'credentials'", name=op.f("ck_marketing_channels_config_without_credentials")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_marketing_channels_currency_code")),
        sa.CheckConstraint(
            "status IN ('active', 'paused', 'archived')", name=op.f("ck_marketing_channels_status_known")
        ),
        sa.CheckConstraint(
            "type IN ('email', 'social', 'ads', 'content', 'seo', 'affiliate')",
            name=op.f("ck_marketing_channels_type_known"),
        ),
        sa.CheckConstraint("budget >= 0", name=op.f("ck_marketing_channels_budget_positive")),
        sa.CheckConstraint("spent >= 0", name=op.f("ck_marketing_channels_spent_positive")),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_marketing_channels_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_marketing_channels")),
    )
    op.create_index(
        "ix_marketing_channels_created", "marketing_channels", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_marketing_channels_status",
        "marketing_channels",
        ["workspace_id", "status", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "segments",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("rules", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("match", sa.Text(), server_default="all", nullable=False),
        sa.Column("contact_count", sa.Integer(), nullable=True),
        sa.Column("last_calculated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("match IN ('all', 'any')", name=op.f("ck_segments_match_known")),
        sa.CheckConstraint("contact_count >= 0", name=op.f("ck_segments_contact_count_positive")),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_segments_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_segments")),
    )
    op.create_index("ix_segments_created", "segments", ["workspace_id", "created_at", "id"], unique=False)
    op.create_table(
        "campaigns",
        sa.Column("channel_id", sa.Uuid(), nullable=True),
        sa.Column("segment_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), server_default="email", nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("content", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("status", sa.Text(), server_default="draft", nullable=False),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("budget", sa.Numeric(precision=14, scale=2), nullable=True),
        sa.Column("spent", sa.Numeric(precision=14, scale=2), server_default=sa.text("0"), nullable=False),
        sa.Column("currency", sa.Text(), server_default="USD", nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("recipient_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(status = 'completed') = (completed_at IS NOT NULL)", name=op.f("ck_campaigns_completed_at_when_completed")
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_campaigns_currency_code")),
        sa.CheckConstraint(
            "status <> 'scheduled' OR scheduled_at IS NOT NULL", name=op.f("ck_campaigns_scheduled_at_when_scheduled")
        ),
        sa.CheckConstraint(
            "status IN ('draft', 'scheduled', 'active', 'paused', 'completed')", name=op.f("ck_campaigns_status_known")
        ),
        sa.CheckConstraint(
            "status NOT IN ('active', 'paused', 'completed') OR sent_at IS NOT NULL",
            name=op.f("ck_campaigns_sent_at_known"),
        ),
        sa.CheckConstraint(
            "type IN ('email', 'sms', 'whatsapp', 'voice', 'social', 'ads', 'content')",
            name=op.f("ck_campaigns_type_known"),
        ),
        sa.CheckConstraint("budget >= 0", name=op.f("ck_campaigns_budget_positive")),
        sa.CheckConstraint("spent >= 0", name=op.f("ck_campaigns_spent_positive")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "channel_id"],
            ["marketing_channels.workspace_id", "marketing_channels.id"],
            name=op.f("fk_campaigns_workspace_id_channel_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "segment_id"],
            ["segments.workspace_id", "segments.id"],
            name=op.f("fk_campaigns_workspace_id_segment_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_campaigns_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_campaigns")),
    )
    op.create_index("ix_campaigns_channel", "campaigns", ["workspace_id", "channel_id"], unique=False)
    op.create_index("ix_campaigns_created", "campaigns", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_campaigns_due",
        "campaigns",
        ["scheduled_at"],
        unique=False,
        postgresql_where=sa.text("status = 'scheduled'"),
    )
    op.create_index("ix_campaigns_segment", "campaigns", ["workspace_id", "segment_id"], unique=False)
    op.create_index("ix_campaigns_status", "campaigns", ["workspace_id", "status", "created_at", "id"], unique=False)
    op.create_table(
        "lead_routing_rules",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "conditions", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
        sa.Column("assign_to", sa.Uuid(), nullable=True),
        sa.Column("round_robin", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "round_robin_users", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
        sa.Column("last_assigned_to", sa.Uuid(), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "NOT is_active OR round_robin OR assign_to IS NOT NULL",
            name=op.f("ck_lead_routing_rules_assign_to_somebody"),
        ),
        sa.CheckConstraint("priority >= 0", name=op.f("ck_lead_routing_rules_priority_positive")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "assign_to"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_lead_routing_rules_workspace_id_assign_to"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_lead_routing_rules_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_lead_routing_rules")),
    )
    op.create_index(
        "ix_lead_routing_rules_created", "lead_routing_rules", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_lead_routing_rules_priority", "lead_routing_rules", ["workspace_id", "priority", "id"], unique=False
    )
    op.create_table(
        "campaign_recipients",
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clicked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'sent', 'delivered', 'opened', 'clicked', 'bounced', 'failed', 'complained', 'unsubscribed')",
            name=op.f("ck_campaign_recipients_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "campaign_id"],
            ["campaigns.workspace_id", "campaigns.id"],
            name=op.f("fk_campaign_recipients_workspace_id_campaign_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "contact_id"],
            ["contacts.workspace_id", "contacts.id"],
            name=op.f("fk_campaign_recipients_workspace_id_contact_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_campaign_recipients_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_campaign_recipients")),
        sa.UniqueConstraint(
            "workspace_id",
            "campaign_id",
            "contact_id",
            name=op.f("uq_campaign_recipients_workspace_id_campaign_id_contact_id"),
        ),
    )
    op.create_index(
        "ix_campaign_recipients_campaign",
        "campaign_recipients",
        ["workspace_id", "campaign_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_campaign_recipients_contact", "campaign_recipients", ["workspace_id", "contact_id"], unique=False
    )
    op.create_index(
        "ix_campaign_recipients_created", "campaign_recipients", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_table(
        "customers",
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("company", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("assigned_to", sa.Uuid(), nullable=True),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("lifetime_value", sa.Numeric(precision=14, scale=2), server_default=sa.text("0"), nullable=False),
        sa.Column("currency", sa.Text(), server_default="USD", nullable=False),
        sa.Column("last_order_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_customers_currency_code")),
        sa.CheckConstraint(
            "status IN ('lead', 'active', 'inactive', 'churned')", name=op.f("ck_customers_status_known")
        ),
        sa.CheckConstraint("lifetime_value >= 0", name=op.f("ck_customers_lifetime_value_positive")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "assigned_to"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_customers_workspace_id_assigned_to"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "contact_id"],
            ["contacts.workspace_id", "contacts.id"],
            name=op.f("fk_customers_workspace_id_contact_id"),
            ondelete="SET NULL (contact_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_customers_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_customers")),
    )
    op.create_index("ix_customers_assigned_to", "customers", ["workspace_id", "assigned_to"], unique=False)
    op.create_index("ix_customers_contact", "customers", ["workspace_id", "contact_id"], unique=False)
    op.create_index("ix_customers_created", "customers", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index("ix_customers_email", "customers", ["workspace_id", "email"], unique=False)
    op.create_index("ix_customers_status", "customers", ["workspace_id", "status", "created_at", "id"], unique=False)
    op.create_table(
        "projects",
        sa.Column("customer_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default="planning", nullable=False),
        sa.Column("budget", sa.Numeric(precision=14, scale=2), nullable=True),
        sa.Column("currency", sa.Text(), server_default="USD", nullable=False),
        sa.Column("start_date", sa.Date(), nullable=True),
        sa.Column("end_date", sa.Date(), nullable=True),
        sa.Column("actual_end_date", sa.Date(), nullable=True),
        sa.Column("manager_id", sa.Uuid(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_projects_currency_code")),
        sa.CheckConstraint(
            "status IN ('planning', 'in_progress', 'on_hold', 'completed', 'cancelled')",
            name=op.f("ck_projects_status_known"),
        ),
        sa.CheckConstraint("actual_end_date >= start_date", name=op.f("ck_projects_actual_end_date_after_start")),
        sa.CheckConstraint("budget >= 0", name=op.f("ck_projects_budget_positive")),
        sa.CheckConstraint("end_date >= start_date", name=op.f("ck_projects_end_date_after_start")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "customer_id"],
            ["customers.workspace_id", "customers.id"],
            name=op.f("fk_projects_workspace_id_customer_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "manager_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_projects_workspace_id_manager_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_projects_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_projects")),
    )
    op.create_index("ix_projects_created", "projects", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index("ix_projects_customer", "projects", ["workspace_id", "customer_id"], unique=False)
    op.create_index("ix_projects_manager", "projects", ["workspace_id", "manager_id"], unique=False)
    op.create_index("ix_projects_status", "projects", ["workspace_id", "status", "created_at", "id"], unique=False)
    op.create_table(
        "expenses",
        sa.Column("project_id", sa.Uuid(), nullable=True),
        sa.Column("submitted_by", sa.Uuid(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=14, scale=2), nullable=False),
        sa.Column("currency", sa.Text(), server_default="USD", nullable=False),
        sa.Column("category", sa.Text(), server_default="other", nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("receipt", sa.Text(), nullable=True),
        sa.Column("vendor", sa.Text(), nullable=True),
        sa.Column("approved_by", sa.Uuid(), nullable=True),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rejected_by", sa.Uuid(), nullable=True),
        sa.Column("rejected_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rejection_reason", sa.Text(), nullable=True),
        sa.Column("reimbursed_by", sa.Uuid(), nullable=True),
        sa.Column("reimbursed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(status = 'reimbursed') = (reimbursed_at IS NOT NULL)",
            name=op.f("ck_expenses_reimbursed_at_when_reimbursed"),
        ),
        sa.CheckConstraint(
            "(status = 'rejected') = (rejected_at IS NOT NULL)", name=op.f("ck_expenses_rejected_at_when_rejected")
        ),
        sa.CheckConstraint(
            "(status IN ('approved', 'reimbursed')) = (approved_at IS NOT NULL)",
            name=op.f("ck_expenses_approved_at_when_approved"),
        ),
        sa.CheckConstraint(
            "category IN ('travel', 'meals', 'software', 'hardware', 'marketing', 'office', 'telecommunications', 'training', 'professional_services', 'rent', 'utilities', 'insurance', 'taxes', 'other')",
            name=op.f("ck_expenses_category_known"),
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_expenses_currency_code")),
        sa.CheckConstraint("receipt ~ '^https?://'", name=op.f("ck_expenses_receipt_address")),
        sa.CheckConstraint(
            "status = 'pending' OR submitted_by NOT IN (approved_by, rejected_by, reimbursed_by)",
            name=op.f("ck_expenses_submitted_by_is_not_the_reviewer"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'approved', 'rejected', 'reimbursed')", name=op.f("ck_expenses_status_known")
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_expenses_amount_positive")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "approved_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_expenses_workspace_id_approved_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "project_id"],
            ["projects.workspace_id", "projects.id"],
            name=op.f("fk_expenses_workspace_id_project_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "reimbursed_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_expenses_workspace_id_reimbursed_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "rejected_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_expenses_workspace_id_rejected_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "submitted_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_expenses_workspace_id_submitted_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_expenses_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_expenses")),
    )
    op.create_index("ix_expenses_created", "expenses", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index("ix_expenses_project", "expenses", ["workspace_id", "project_id"], unique=False)
    op.create_index("ix_expenses_status", "expenses", ["workspace_id", "status", "created_at", "id"], unique=False)
    op.create_index(
        "ix_expenses_submitted_by", "expenses", ["workspace_id", "submitted_by", "created_at", "id"], unique=False
    )
    op.create_table(
        "invoices",
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=True),
        sa.Column("invoice_number", sa.Text(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=14, scale=2), nullable=False),
        sa.Column("currency", sa.Text(), server_default="USD", nullable=False),
        sa.Column("tax", sa.Numeric(precision=14, scale=2), server_default=sa.text("0"), nullable=False),
        sa.Column("status", sa.Text(), server_default="draft", nullable=False),
        sa.Column("due_date", sa.Date(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancellation_reason", sa.Text(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column(
            "line_items", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(status = 'cancelled') = (cancelled_at IS NOT NULL)", name=op.f("ck_invoices_cancelled_at_when_cancelled")
        ),
        sa.CheckConstraint(
            "(status = 'draft') = (invoice_number IS NULL)", name=op.f("ck_invoices_invoice_number_once_sent")
        ),
        sa.CheckConstraint("(status = 'draft') = (sent_at IS NULL)", name=op.f("ck_invoices_sent_at_once_sent")),
        sa.CheckConstraint("(status = 'paid') = (paid_at IS NOT NULL)", name=op.f("ck_invoices_paid_at_when_paid")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_invoices_currency_code")),
        sa.CheckConstraint(
            "status IN ('draft', 'sent', 'paid', 'overdue', 'cancelled')", name=op.f("ck_invoices_status_known")
        ),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_invoices_amount_positive")),
        sa.CheckConstraint("tax BETWEEN 0 AND amount", name=op.f("ck_invoices_tax_within_amount")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "customer_id"],
            ["customers.workspace_id", "customers.id"],
            name=op.f("fk_invoices_workspace_id_customer_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "project_id"],
            ["projects.workspace_id", "projects.id"],
            name=op.f("fk_invoices_workspace_id_project_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_invoices_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_invoices")),
        sa.UniqueConstraint("workspace_id", "invoice_number", name=op.f("uq_invoices_workspace_id_invoice_number")),
    )
    op.create_index("ix_invoices_created", "invoices", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_invoices_customer", "invoices", ["workspace_id", "customer_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_invoices_due", "invoices", ["due_date"], unique=False, postgresql_where=sa.text("status = 'sent'")
    )
    op.create_index("ix_invoices_project", "invoices", ["workspace_id", "project_id"], unique=False)
    op.create_index("ix_invoices_status", "invoices", ["workspace_id", "status", "created_at", "id"], unique=False)

    # It becomes part of every invoice's number.
    op.create_check_constraint(
        op.f("ck_workspaces_settings_invoice_prefix"),
        "workspaces",
        "settings->'invoicePrefix' IS NULL OR (jsonb_typeof(settings->'invoicePrefix') = 'string' AND length(settings->>'invoicePrefix') <= 20)",
    )
    for table in DROPPED_IN_ORDER:
        for statement in tenancy.secured(table):
            op.execute(statement)


def downgrade() -> None:
    op.drop_constraint(op.f("ck_workspaces_settings_invoice_prefix"), "workspaces", type_="check")
    for table in DROPPED_IN_ORDER:
        op.drop_table(table)
