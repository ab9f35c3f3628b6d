"""Agents and what they do together: templates, executions, schedules, teams, workflows, memory, approvals."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models import tenancy

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

CATALOGUE = ("agent_packs", "agent_templates")
TENANT_TABLES = (
    "agent_action_audit_log",
    "agent_executions",
    "agent_logs",
    "agent_messages",
    "agent_pending_actions",
    "agent_schedules",
    "agent_shared_memory",
    "agent_team_members",
    "agent_teams",
    "agent_workflow_executions",
    "agent_workflows",
    "agents",
)
DROPPED_IN_ORDER = (
    "agent_workflow_executions",
    "agent_workflows",
    "agent_team_members",
    "agent_shared_memory",
    "agent_pending_actions",
    "agent_messages",
    "agent_action_audit_log",
    "agent_teams",
    "agent_schedules",
    "agent_logs",
    "agent_executions",
    "agents",
    "agent_templates",
    "agent_packs",
)


def upgrade() -> None:
    op.create_table(
        "agent_packs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("author_workspace_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("agent_templates", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=True),
        sa.Column("author_name", sa.Text(), nullable=True),
        sa.Column("icon_url", sa.Text(), nullable=True),
        sa.Column("cover_image_url", sa.Text(), nullable=True),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("pricing_type", sa.Text(), server_default="free", nullable=False),
        sa.Column("price", sa.Numeric(precision=14, scale=2), server_default=sa.text("0"), nullable=False),
        sa.Column("currency", sa.Text(), server_default="USD", nullable=False),
        sa.Column("install_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("rating", sa.Numeric(precision=3, scale=2), nullable=True),
        sa.Column("review_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_published", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_agent_packs_currency_code")),
        sa.CheckConstraint(
            "price >= 0 AND (pricing_type <> 'free' OR price = 0)", name=op.f("ck_agent_packs_price_range")
        ),
        sa.CheckConstraint(
            "pricing_type IN ('free', 'one-time', 'subscription')", name=op.f("ck_agent_packs_pricing_type_known")
        ),
        sa.CheckConstraint("slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'", name=op.f("ck_agent_packs_slug_spelling")),
        sa.CheckConstraint("install_count >= 0", name=op.f("ck_agent_packs_install_count_range")),
        sa.CheckConstraint("rating BETWEEN 0 AND 5", name=op.f("ck_agent_packs_rating_range")),
        sa.CheckConstraint("review_count >= 0", name=op.f("ck_agent_packs_review_count_range")),
        sa.ForeignKeyConstraint(
            ["author_id"], ["users.id"], name=op.f("fk_agent_packs_author_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["author_workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_agent_packs_author_workspace_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agent_packs")),
        sa.UniqueConstraint("slug", name=op.f("uq_agent_packs_slug")),
    )
    op.create_index("ix_agent_packs_author", "agent_packs", ["author_workspace_id", "created_at", "id"], unique=False)
    op.create_index("ix_agent_packs_created", "agent_packs", ["created_at", "id"], unique=False)
    op.create_table(
        "agent_templates",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("author_workspace_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("short_description", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), server_default="custom", nullable=False),
        sa.Column("icon_url", sa.Text(), nullable=True),
        sa.Column("cover_image_url", sa.Text(), nullable=True),
        sa.Column("badge_text", sa.Text(), nullable=True),
        sa.Column("config", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("kpis", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("install_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("rating", sa.Numeric(precision=3, scale=2), nullable=True),
        sa.Column("review_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("installs24h", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("installs7d", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("installs30d", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("trending_score", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_published", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_featured", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'", name=op.f("ck_agent_templates_slug_spelling")),
        sa.CheckConstraint(
            "type IN ('scope', 'call', 'email', 'note', 'task', 'content', 'sms', 'chat', 'research', 'scheduling', 'sales', 'support', 'marketing', 'finance', 'custom')",
            name=op.f("ck_agent_templates_type_known"),
        ),
        sa.CheckConstraint("install_count >= 0", name=op.f("ck_agent_templates_install_count_range")),
        sa.CheckConstraint("rating BETWEEN 0 AND 5", name=op.f("ck_agent_templates_rating_range")),
        sa.CheckConstraint("review_count >= 0", name=op.f("ck_agent_templates_review_count_range")),
        sa.ForeignKeyConstraint(
            ["author_workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_agent_templates_author_workspace_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agent_templates")),
        sa.UniqueConstraint("slug", name=op.f("uq_agent_templates_slug")),
    )
    op.create_index(
        "ix_agent_templates_author", "agent_templates", ["author_workspace_id", "created_at", "id"], unique=False
    )
    op.create_index("ix_agent_templates_created", "agent_templates", ["created_at", "id"], unique=False)
    op.create_table(
        "agents",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), server_default="custom", nullable=False),
        sa.Column("status", sa.Text(), server_default="draft", nullable=False),
        sa.Column("config", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("source_pack_id", sa.Uuid(), nullable=True),
        sa.Column("source_template_id", sa.Uuid(), nullable=True),
        sa.Column("is_custom", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("execution_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_executed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status IN ('draft', 'active', 'paused', 'archived')", name=op.f("ck_agents_status_known")),
        sa.CheckConstraint(
            "type IN ('scope', 'call', 'email', 'note', 'task', 'content', 'sms', 'chat', 'research', 'scheduling', 'sales', 'support', 'marketing', 'finance', 'custom')",
            name=op.f("ck_agents_type_known"),
        ),
        sa.CheckConstraint("execution_count >= 0", name=op.f("ck_agents_execution_count_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "created_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_agents_workspace_id_created_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_agents_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_agents")),
    )
    op.create_index("ix_agents_created", "agents", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_agents_source_template",
        "agents",
        ["source_template_id", "created_at"],
        unique=False,
        postgresql_where=sa.text("source_template_id IS NOT NULL"),
    )
    op.create_table(
        "agent_executions",
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("triggered_by", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("input", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("output", postgresql.JSONB(), nullable=True),
        sa.Column("error", postgresql.JSONB(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("tokens_used", sa.Integer(), nullable=True),
        sa.Column("cost", sa.Numeric(precision=14, scale=6), nullable=True),
        sa.Column("currency", sa.Text(), server_default="USD", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(status IN ('completed', 'failed', 'cancelled')) = (completed_at IS NOT NULL) AND (status NOT IN ('running', 'completed', 'failed') OR started_at IS NOT NULL)",
            name=op.f("ck_agent_executions_status_has_its_times"),
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_agent_executions_currency_code")),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'completed', 'failed', 'cancelled')",
            name=op.f("ck_agent_executions_status_known"),
        ),
        sa.CheckConstraint("cost >= 0", name=op.f("ck_agent_executions_cost_range")),
        sa.CheckConstraint("duration_ms >= 0", name=op.f("ck_agent_executions_duration_ms_range")),
        sa.CheckConstraint("tokens_used >= 0", name=op.f("ck_agent_executions_tokens_used_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "agent_id"],
            ["agents.workspace_id", "agents.id"],
            name=op.f("fk_agent_executions_workspace_id_agent_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "triggered_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_agent_executions_workspace_id_triggered_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_agent_executions_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_agent_executions")),
    )
    op.create_index(
        "ix_agent_executions_agent", "agent_executions", ["workspace_id", "agent_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_agent_executions_created", "agent_executions", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_agent_executions_status", "agent_executions", ["workspace_id", "status", "created_at", "id"], unique=False
    )
    op.create_table(
        "agent_logs",
        sa.Column("agent_id", sa.Uuid(), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("input_summary", sa.Text(), nullable=True),
        sa.Column("output_summary", sa.Text(), nullable=True),
        sa.Column("duration", sa.Integer(), nullable=True),
        sa.Column("success", sa.Boolean(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("duration >= 0", name=op.f("ck_agent_logs_duration_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "agent_id"],
            ["agents.workspace_id", "agents.id"],
            name=op.f("fk_agent_logs_workspace_id_agent_id"),
            ondelete="SET NULL (agent_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_agent_logs_workspace_id_user_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_agent_logs_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_agent_logs")),
    )
    op.create_index("ix_agent_logs_agent", "agent_logs", ["workspace_id", "agent_id", "created_at", "id"], unique=False)
    op.create_index("ix_agent_logs_created", "agent_logs", ["workspace_id", "created_at", "id"], unique=False)
    op.create_table(
        "agent_schedules",
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("trigger_type", sa.Text(), server_default="manual", nullable=False),
        sa.Column("cron", sa.Text(), nullable=True),
        sa.Column("timezone", sa.Text(), server_default="UTC", nullable=False),
        sa.Column("webhook_url", sa.Text(), nullable=True),
        sa.Column("webhook_secret", sa.LargeBinary(), nullable=True),
        sa.Column("webhook_secret_key_id", sa.Text(), nullable=True),
        sa.Column("webhook_secret_last_four", sa.Text(), nullable=True),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("next_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_run_status", sa.Text(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(next_run_at IS NOT NULL) = (trigger_type = 'scheduled' AND enabled)",
            name=op.f("ck_agent_schedules_next_run_at_of_scheduled"),
        ),
        sa.CheckConstraint(
            "last_run_status IN ('pending', 'running', 'completed', 'failed', 'cancelled')",
            name=op.f("ck_agent_schedules_last_run_status_known"),
        ),
        sa.CheckConstraint(
            "trigger_type <> 'scheduled' OR cron IS NOT NULL", name=op.f("ck_agent_schedules_cron_of_scheduled")
        ),
        sa.CheckConstraint(
            "trigger_type IN ('manual', 'scheduled', 'webhook')", name=op.f("ck_agent_schedules_trigger_type_known")
        ),
        sa.CheckConstraint(
            "(webhook_secret IS NULL) = (webhook_secret_key_id IS NULL) AND (webhook_secret IS NULL) = (webhook_secret_last_four IS NULL)",
            name=op.f("ck_agent_schedules_webhook_secret_whole"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "agent_id"],
            ["agents.workspace_id", "agents.id"],
            name=op.f("fk_agent_schedules_workspace_id_agent_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_agent_schedules_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_agent_schedules")),
    )
    op.create_index(
        "ix_agent_schedules_agent", "agent_schedules", ["workspace_id", "agent_id", "created_at", "id"], unique=False
    )
    op.create_index("ix_agent_schedules_created", "agent_schedules", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_agent_schedules_due",
        "agent_schedules",
        ["next_run_at"],
        unique=False,
        postgresql_where=sa.text("next_run_at IS NOT NULL"),
    )
    op.create_table(
        "agent_teams",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("department", sa.Text(), server_default="general", nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("coordinator_agent_id", sa.Uuid(), nullable=True),
        sa.Column("config", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("total_executions", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("successful_executions", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_active_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "department IN ('sales', 'marketing', 'support', 'operations', 'finance', 'product', 'engineering', 'research', 'hr', 'legal', 'general')",
            name=op.f("ck_agent_teams_department_known"),
        ),
        sa.CheckConstraint("status IN ('active', 'paused', 'archived')", name=op.f("ck_agent_teams_status_known")),
        sa.CheckConstraint(
            "successful_executions BETWEEN 0 AND total_executions",
            name=op.f("ck_agent_teams_successful_executions_range"),
        ),
        sa.CheckConstraint("total_executions >= 0", name=op.f("ck_agent_teams_total_executions_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "coordinator_agent_id"],
            ["agents.workspace_id", "agents.id"],
            name=op.f("fk_agent_teams_workspace_id_coordinator_agent_id"),
            ondelete="SET NULL (coordinator_agent_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_agent_teams_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_agent_teams")),
    )
    op.create_index("ix_agent_teams_coordinator", "agent_teams", ["workspace_id", "coordinator_agent_id"], unique=False)
    op.create_index("ix_agent_teams_created", "agent_teams", ["workspace_id", "created_at", "id"], unique=False)
    op.create_table(
        "agent_action_audit_log",
        sa.Column("agent_id", sa.Uuid(), nullable=True),
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("action_type", sa.Text(), nullable=False),
        sa.Column("action_details", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("success", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("triggered_by", sa.Text(), nullable=False),
        sa.Column("executed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "triggered_by IN ('user', 'schedule', 'workflow', 'agent')",
            name=op.f("ck_agent_action_audit_log_triggered_by_known"),
        ),
        sa.CheckConstraint("duration_ms >= 0", name=op.f("ck_agent_action_audit_log_duration_ms_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "agent_id"],
            ["agents.workspace_id", "agents.id"],
            name=op.f("fk_agent_action_audit_log_workspace_id_agent_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "team_id"],
            ["agent_teams.workspace_id", "agent_teams.id"],
            name=op.f("fk_agent_action_audit_log_workspace_id_team_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_agent_action_audit_log_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_agent_action_audit_log")),
    )
    op.create_index(
        "ix_agent_action_audit_log_agent",
        "agent_action_audit_log",
        ["workspace_id", "agent_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_agent_action_audit_log_created",
        "agent_action_audit_log",
        ["workspace_id", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "agent_messages",
        sa.Column("from_agent_id", sa.Uuid(), nullable=True),
        sa.Column("to_agent_id", sa.Uuid(), nullable=True),
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("message_type", sa.Text(), server_default="task", nullable=False),
        sa.Column("content", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("parent_message_id", sa.Uuid(), nullable=True),
        sa.Column("thread_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "message_type IN ('task', 'result', 'context', 'handoff', 'status', 'query')",
            name=op.f("ck_agent_messages_message_type_known"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'delivered', 'read', 'processed')", name=op.f("ck_agent_messages_status_known")
        ),
        sa.CheckConstraint(
            "to_agent_id IS NOT NULL OR team_id IS NOT NULL", name=op.f("ck_agent_messages_to_agent_id_or_team")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "from_agent_id"],
            ["agents.workspace_id", "agents.id"],
            name=op.f("fk_agent_messages_workspace_id_from_agent_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "parent_message_id"],
            ["agent_messages.workspace_id", "agent_messages.id"],
            name=op.f("fk_agent_messages_workspace_id_parent_message_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "team_id"],
            ["agent_teams.workspace_id", "agent_teams.id"],
            name=op.f("fk_agent_messages_workspace_id_team_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "to_agent_id"],
            ["agents.workspace_id", "agents.id"],
            name=op.f("fk_agent_messages_workspace_id_to_agent_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_agent_messages_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_agent_messages")),
    )
    op.create_index("ix_agent_messages_created", "agent_messages", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_agent_messages_inbox",
        "agent_messages",
        ["workspace_id", "to_agent_id", "status", "created_at", "id"],
        unique=False,
    )
    op.create_index("ix_agent_messages_parent", "agent_messages", ["workspace_id", "parent_message_id"], unique=False)
    op.create_index(
        "ix_agent_messages_sender",
        "agent_messages",
        ["workspace_id", "from_agent_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_agent_messages_team", "agent_messages", ["workspace_id", "team_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_agent_messages_thread", "agent_messages", ["workspace_id", "thread_id", "created_at", "id"], unique=False
    )
    op.create_table(
        "agent_pending_actions",
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("action_type", sa.Text(), nullable=False),
        sa.Column("risk_level", sa.Text(), server_default="medium", nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("details", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("edited_details", postgresql.JSONB(), nullable=True),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reviewed_by", sa.Uuid(), nullable=True),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status NOT IN ('approved', 'rejected') OR (reviewed_by IS NOT NULL AND reviewed_at IS NOT NULL)",
            name=op.f("ck_agent_pending_actions_reviewed_by_somebody"),
        ),
        sa.CheckConstraint(
            "edited_details IS NULL OR status = 'approved'",
            name=op.f("ck_agent_pending_actions_edited_details_of_approved"),
        ),
        sa.CheckConstraint(
            "risk_level IN ('low', 'medium', 'high', 'critical')",
            name=op.f("ck_agent_pending_actions_risk_level_known"),
        ),
        sa.CheckConstraint(
            "status <> 'expired' OR expires_at IS NOT NULL", name=op.f("ck_agent_pending_actions_expires_at_of_expired")
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'approved', 'rejected', 'expired')",
            name=op.f("ck_agent_pending_actions_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "agent_id"],
            ["agents.workspace_id", "agents.id"],
            name=op.f("fk_agent_pending_actions_workspace_id_agent_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "reviewed_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_agent_pending_actions_workspace_id_reviewed_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "team_id"],
            ["agent_teams.workspace_id", "agent_teams.id"],
            name=op.f("fk_agent_pending_actions_workspace_id_team_id"),
            ondelete="SET NULL (team_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_agent_pending_actions_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_agent_pending_actions")),
    )
    op.create_index(
        "ix_agent_pending_actions_agent",
        "agent_pending_actions",
        ["workspace_id", "agent_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_agent_pending_actions_created", "agent_pending_actions", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_agent_pending_actions_due",
        "agent_pending_actions",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "ix_agent_pending_actions_status",
        "agent_pending_actions",
        ["workspace_id", "status", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "agent_shared_memory",
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("agent_id", sa.Uuid(), nullable=True),
        sa.Column("memory_tier", sa.Text(), server_default="short_term", nullable=False),
        sa.Column("category", sa.Text(), server_default="context", nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(), nullable=False),
        sa.Column("value_text", sa.Text(), sa.Computed("value #>> '{}'", persisted=True), nullable=True),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("importance", sa.Integer(), server_default=sa.text("50"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "category IN ('context', 'pattern', 'preference', 'knowledge', 'relationship')",
            name=op.f("ck_agent_shared_memory_category_known"),
        ),
        sa.CheckConstraint(
            "memory_tier IN ('short_term', 'medium_term', 'long_term')",
            name=op.f("ck_agent_shared_memory_memory_tier_known"),
        ),
        sa.CheckConstraint("importance BETWEEN 0 AND 100", name=op.f("ck_agent_shared_memory_importance_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "agent_id"],
            ["agents.workspace_id", "agents.id"],
            name=op.f("fk_agent_shared_memory_workspace_id_agent_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "team_id"],
            ["agent_teams.workspace_id", "agent_teams.id"],
            name=op.f("fk_agent_shared_memory_workspace_id_team_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_agent_shared_memory_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_agent_shared_memory")),
    )
    op.create_index("ix_agent_shared_memory_agent", "agent_shared_memory", ["workspace_id", "agent_id"], unique=False)
    op.create_index(
        "ix_agent_shared_memory_created", "agent_shared_memory", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_agent_shared_memory_expiry",
        "agent_shared_memory",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_index(
        "ix_agent_shared_memory_importance", "agent_shared_memory", ["workspace_id", "importance", "id"], unique=False
    )
    op.create_index(
        "uq_agent_shared_memory_key",
        "agent_shared_memory",
        ["workspace_id", "team_id", "agent_id", "key"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "agent_team_members",
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), server_default="specialist", nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("config", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "role IN ('coordinator', 'specialist', 'support')", name=op.f("ck_agent_team_members_role_known")
        ),
        sa.CheckConstraint("priority BETWEEN 0 AND 10000", name=op.f("ck_agent_team_members_priority_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "agent_id"],
            ["agents.workspace_id", "agents.id"],
            name=op.f("fk_agent_team_members_workspace_id_agent_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "team_id"],
            ["agent_teams.workspace_id", "agent_teams.id"],
            name=op.f("fk_agent_team_members_workspace_id_team_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_agent_team_members_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_agent_team_members")),
        sa.UniqueConstraint(
            "workspace_id", "team_id", "agent_id", name=op.f("uq_agent_team_members_workspace_id_team_id_agent_id")
        ),
    )
    op.create_index("ix_agent_team_members_agent", "agent_team_members", ["workspace_id", "agent_id"], unique=False)
    op.create_index(
        "ix_agent_team_members_created", "agent_team_members", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_agent_team_members_order", "agent_team_members", ["workspace_id", "team_id", "priority", "id"], unique=False
    )
    op.create_index(
        "uq_agent_team_members_coordinator",
        "agent_team_members",
        ["workspace_id", "team_id"],
        unique=True,
        postgresql_where=sa.text("role = 'coordinator'"),
    )
    op.create_table(
        "agent_workflows",
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("trigger_type", sa.Text(), server_default="manual", nullable=False),
        sa.Column("trigger_config", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("steps", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("status", sa.Text(), server_default="draft", nullable=False),
        sa.Column("total_executions", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("successful_executions", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("avg_duration_ms", sa.Integer(), nullable=True),
        sa.Column("next_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(next_run_at IS NOT NULL) = (trigger_type = 'schedule' AND status = 'active')",
            name=op.f("ck_agent_workflows_next_run_at_of_scheduled"),
        ),
        sa.CheckConstraint("status <> 'active' OR steps <> '[]'", name=op.f("ck_agent_workflows_steps_of_active")),
        sa.CheckConstraint(
            "status IN ('draft', 'active', 'paused', 'archived')", name=op.f("ck_agent_workflows_status_known")
        ),
        sa.CheckConstraint(
            "trigger_type IN ('manual', 'event', 'schedule', 'agent_request')",
            name=op.f("ck_agent_workflows_trigger_type_known"),
        ),
        sa.CheckConstraint("avg_duration_ms >= 0", name=op.f("ck_agent_workflows_avg_duration_ms_range")),
        sa.CheckConstraint(
            "successful_executions BETWEEN 0 AND total_executions",
            name=op.f("ck_agent_workflows_successful_executions_range"),
        ),
        sa.CheckConstraint("total_executions >= 0", name=op.f("ck_agent_workflows_total_executions_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "team_id"],
            ["agent_teams.workspace_id", "agent_teams.id"],
            name=op.f("fk_agent_workflows_workspace_id_team_id"),
            ondelete="SET NULL (team_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_agent_workflows_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_agent_workflows")),
    )
    op.create_index("ix_agent_workflows_created", "agent_workflows", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_agent_workflows_due",
        "agent_workflows",
        ["next_run_at"],
        unique=False,
        postgresql_where=sa.text("next_run_at IS NOT NULL"),
    )
    op.create_index(
        "ix_agent_workflows_steps",
        "agent_workflows",
        ["steps"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"steps": "jsonb_path_ops"},
    )
    op.create_index("ix_agent_workflows_team", "agent_workflows", ["workspace_id", "team_id"], unique=False)
    op.create_table(
        "agent_workflow_executions",
        sa.Column("workflow_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), server_default="running", nullable=False),
        sa.Column("current_step_id", sa.Text(), nullable=True),
        sa.Column("current_step_index", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("steps", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("step_results", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("context", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("triggered_by", sa.Uuid(), nullable=True),
        sa.Column("trigger_type", sa.Text(), server_default="manual", nullable=False),
        sa.Column("trigger_data", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("error", postgresql.JSONB(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("total_steps", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("completed_steps", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(status IN ('completed', 'failed', 'cancelled')) = (completed_at IS NOT NULL)",
            name=op.f("ck_agent_workflow_executions_status_has_its_times"),
        ),
        sa.CheckConstraint(
            "status IN ('running', 'completed', 'failed', 'paused', 'cancelled')",
            name=op.f("ck_agent_workflow_executions_status_known"),
        ),
        sa.CheckConstraint(
            "trigger_type IN ('manual', 'event', 'schedule', 'agent_request')",
            name=op.f("ck_agent_workflow_executions_trigger_type_known"),
        ),
        sa.CheckConstraint(
            "completed_steps BETWEEN 0 AND total_steps", name=op.f("ck_agent_workflow_executions_completed_steps_range")
        ),
        sa.CheckConstraint(
            "current_step_index >= 0", name=op.f("ck_agent_workflow_executions_current_step_index_range")
        ),
        sa.CheckConstraint("duration_ms >= 0", name=op.f("ck_agent_workflow_executions_duration_ms_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "triggered_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_agent_workflow_executions_workspace_id_triggered_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "workflow_id"],
            ["agent_workflows.workspace_id", "agent_workflows.id"],
            name=op.f("fk_agent_workflow_executions_workspace_id_workflow_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_agent_workflow_executions_workspace_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_agent_workflow_executions")),
    )
    op.create_index(
        "ix_agent_workflow_executions_created",
        "agent_workflow_executions",
        ["workspace_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_agent_workflow_executions_status",
        "agent_workflow_executions",
        ["workspace_id", "status", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_agent_workflow_executions_workflow",
        "agent_workflow_executions",
        ["workspace_id", "workflow_id", "created_at", "id"],
        unique=False,
    )

    for table in TENANT_TABLES:
        for statement in tenancy.secured(table):
            op.execute(statement)
    for table in CATALOGUE:
        for statement in tenancy.secured_catalogue(table):
            op.execute(statement)


def downgrade() -> None:
    for table in DROPPED_IN_ORDER:
        op.drop_table(table)
