"""The CRM: deals and their stages, prospects, interactions, merges and imports of contacts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models import tenancy

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TENANT_TABLES = (
    "contact_imports",
    "contact_import_errors",
    "contact_merges",
    "crm_interactions",
    "deals",
    "deal_stage_changes",
    "prospects",
)


def upgrade() -> None:
    op.create_table(
        "contact_imports",
        sa.Column("filename", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default="previewed", nullable=False),
        sa.Column("columns", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("mapping", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("update_existing", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("total_rows", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("processed_rows", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_rows", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("updated_rows", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("duplicate_rows", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed_rows", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("content", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('previewed', 'running', 'completed')", name=op.f("ck_contact_imports_status_known")
        ),
        sa.CheckConstraint(
            "processed_rows BETWEEN 0 AND total_rows", name=op.f("ck_contact_imports_processed_rows_range")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "created_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_contact_imports_workspace_id_created_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_contact_imports_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_contact_imports")),
    )
    op.create_index("ix_contact_imports_created", "contact_imports", ["workspace_id", "created_at", "id"], unique=False)
    op.create_table(
        "contact_import_errors",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("row_number", sa.Integer(), nullable=False),
        sa.Column("field", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "import_id"],
            ["contact_imports.workspace_id", "contact_imports.id"],
            name=op.f("fk_contact_import_errors_workspace_id_import_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_contact_import_errors_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_contact_import_errors")),
    )
    op.create_index(
        "ix_contact_import_errors_created", "contact_import_errors", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_contact_import_errors_row",
        "contact_import_errors",
        ["workspace_id", "import_id", "row_number", "id"],
        unique=False,
    )
    op.create_table(
        "contact_merges",
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("merged_contact_id", sa.Uuid(), nullable=False),
        sa.Column("merged_by", sa.Uuid(), nullable=True),
        sa.Column("kept_before", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("kept_after", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("merged", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("moved", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("removed", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("joined", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "contact_id"],
            ["contacts.workspace_id", "contacts.id"],
            name=op.f("fk_contact_merges_workspace_id_contact_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "merged_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_contact_merges_workspace_id_merged_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_contact_merges_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_contact_merges")),
    )
    op.create_index(
        "ix_contact_merges_contact", "contact_merges", ["workspace_id", "contact_id", "created_at", "id"], unique=False
    )
    op.create_index("ix_contact_merges_created", "contact_merges", ["workspace_id", "created_at", "id"], unique=False)
    op.create_table(
        "crm_interactions",
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("duration", sa.Integer(), nullable=True),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("agent_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column(
            "occurred_at",
            sa.DateTime(timezone=True),
            sa.Computed("coalesce(completed_at, scheduled_at, created_at)", persisted=True),
            nullable=False,
        ),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("direction IN ('inbound', 'outbound')", name=op.f("ck_crm_interactions_direction_known")),
        sa.CheckConstraint(
            "type IN ('call', 'email', 'meeting', 'note', 'task', 'sms', 'whatsapp', 'linkedin')",
            name=op.f("ck_crm_interactions_type_known"),
        ),
        sa.CheckConstraint("duration >= 0", name=op.f("ck_crm_interactions_duration_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "agent_id"],
            ["agents.workspace_id", "agents.id"],
            name=op.f("fk_crm_interactions_workspace_id_agent_id"),
            ondelete="SET NULL (agent_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "contact_id"],
            ["contacts.workspace_id", "contacts.id"],
            name=op.f("fk_crm_interactions_workspace_id_contact_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_crm_interactions_workspace_id_user_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_crm_interactions_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_crm_interactions")),
    )
    op.create_index(
        "ix_crm_interactions_agent",
        "crm_interactions",
        ["workspace_id", "agent_id"],
        unique=False,
        postgresql_where=sa.text("agent_id IS NOT NULL"),
    )
    op.create_index(
        "ix_crm_interactions_contact",
        "crm_interactions",
        ["workspace_id", "contact_id", "occurred_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_crm_interactions_created", "crm_interactions", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_crm_interactions_occurred", "crm_interactions", ["workspace_id", "occurred_at", "id"], unique=False
    )
    op.create_index(
        "ix_crm_interactions_user", "crm_interactions", ["workspace_id", "user_id", "created_at", "id"], unique=False
    )
    op.create_table(
        "deals",
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Numeric(precision=14, scale=2), nullable=True),
        sa.Column("currency", sa.Text(), server_default="USD", nullable=False),
        sa.Column("stage", sa.Text(), server_default="qualification", nullable=False),
        sa.Column("priority", sa.Text(), server_default="medium", nullable=False),
        sa.Column("probability", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("expected_close_date", sa.Date(), nullable=True),
        sa.Column("actual_close_date", sa.Date(), nullable=True),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("lost_reason", sa.Text(), nullable=True),
        sa.Column("custom_fields", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(stage = 'closed_lost') = (lost_reason IS NOT NULL)", name=op.f("ck_deals_lost_reason_lost")
        ),
        sa.CheckConstraint(
            "(stage IN ('closed_won', 'closed_lost')) = (actual_close_date IS NOT NULL)",
            name=op.f("ck_deals_actual_close_date_closed"),
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_deals_currency_code")),
        sa.CheckConstraint("priority IN ('low', 'medium', 'high', 'critical')", name=op.f("ck_deals_priority_known")),
        sa.CheckConstraint(
            "stage IN ('qualification', 'discovery', 'proposal', 'negotiation', 'closed_won', 'closed_lost')",
            name=op.f("ck_deals_stage_known"),
        ),
        sa.CheckConstraint("probability BETWEEN 0 AND 100", name=op.f("ck_deals_probability_range")),
        sa.CheckConstraint("value >= 0", name=op.f("ck_deals_value_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "contact_id"],
            ["contacts.workspace_id", "contacts.id"],
            name=op.f("fk_deals_workspace_id_contact_id"),
            ondelete="SET NULL (contact_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "owner_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_deals_workspace_id_owner_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_deals_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_deals")),
    )
    op.create_index("ix_deals_contact", "deals", ["workspace_id", "contact_id", "created_at", "id"], unique=False)
    op.create_index("ix_deals_created", "deals", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index("ix_deals_expected_close", "deals", ["workspace_id", "expected_close_date", "id"], unique=False)
    op.create_index("ix_deals_owner", "deals", ["workspace_id", "owner_id", "created_at", "id"], unique=False)
    op.create_index("ix_deals_stage", "deals", ["workspace_id", "stage", "created_at", "id"], unique=False)
    op.create_table(
        "deal_stage_changes",
        sa.Column("deal_id", sa.Uuid(), nullable=False),
        sa.Column("from_stage", sa.Text(), nullable=False),
        sa.Column("to_stage", sa.Text(), nullable=False),
        sa.Column("from_probability", sa.Integer(), nullable=False),
        sa.Column("to_probability", sa.Integer(), nullable=False),
        sa.Column("changed_by", sa.Uuid(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "from_stage IN ('qualification', 'discovery', 'proposal', 'negotiation', 'closed_won', 'closed_lost')",
            name=op.f("ck_deal_stage_changes_from_stage_known"),
        ),
        sa.CheckConstraint(
            "to_stage IN ('qualification', 'discovery', 'proposal', 'negotiation', 'closed_won', 'closed_lost')",
            name=op.f("ck_deal_stage_changes_to_stage_known"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "changed_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_deal_stage_changes_workspace_id_changed_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "deal_id"],
            ["deals.workspace_id", "deals.id"],
            name=op.f("fk_deal_stage_changes_workspace_id_deal_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_deal_stage_changes_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_deal_stage_changes")),
    )
    op.create_index(
        "ix_deal_stage_changes_created", "deal_stage_changes", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_deal_stage_changes_deal",
        "deal_stage_changes",
        ["workspace_id", "deal_id", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "prospects",
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("stage", sa.Text(), server_default="new", nullable=False),
        sa.Column("value", sa.Numeric(precision=14, scale=2), nullable=True),
        sa.Column("currency", sa.Text(), server_default="USD", nullable=False),
        sa.Column("probability", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("expected_close_date", sa.Date(), nullable=True),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("deal_id", sa.Uuid(), nullable=True),
        sa.Column("customer_id", sa.Uuid(), nullable=True),
        sa.Column("converted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_prospects_currency_code")),
        sa.CheckConstraint(
            "stage IN ('new', 'contacted', 'qualified', 'proposal', 'negotiation', 'won', 'lost')",
            name=op.f("ck_prospects_stage_known"),
        ),
        sa.CheckConstraint("probability BETWEEN 0 AND 100", name=op.f("ck_prospects_probability_range")),
        sa.CheckConstraint("value >= 0", name=op.f("ck_prospects_value_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "contact_id"],
            ["contacts.workspace_id", "contacts.id"],
            name=op.f("fk_prospects_workspace_id_contact_id"),
            ondelete="SET NULL (contact_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "customer_id"],
            ["customers.workspace_id", "customers.id"],
            name=op.f("fk_prospects_workspace_id_customer_id"),
            ondelete="SET NULL (customer_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "deal_id"],
            ["deals.workspace_id", "deals.id"],
            name=op.f("fk_prospects_workspace_id_deal_id"),
            ondelete="SET NULL (deal_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "owner_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_prospects_workspace_id_owner_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_prospects_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_prospects")),
    )
    op.create_index(
        "ix_prospects_contact", "prospects", ["workspace_id", "contact_id", "created_at", "id"], unique=False
    )
    op.create_index("ix_prospects_created", "prospects", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_prospects_customer",
        "prospects",
        ["workspace_id", "customer_id"],
        unique=False,
        postgresql_where=sa.text("customer_id IS NOT NULL"),
    )
    op.create_index(
        "ix_prospects_deal",
        "prospects",
        ["workspace_id", "deal_id"],
        unique=False,
        postgresql_where=sa.text("deal_id IS NOT NULL"),
    )
    op.create_index("ix_prospects_owner", "prospects", ["workspace_id", "owner_id", "created_at", "id"], unique=False)
    op.create_index("ix_prospects_stage", "prospects", ["workspace_id", "stage", "created_at", "id"], unique=False)
    op.add_column(
        "contact_points",
        sa.Column(
            "match_key",
            sa.Text(),
            sa.Computed(
                "CASE kind WHEN 'phone'::text THEN \"right\"(value, 7) WHEN 'email'::text THEN lower(replace(split_part(split_part(value, '@'::text, 1), '+'::text, 1), '.'::text, ''::text)) ELSE NULL::text END",
                persisted=True,
            ),
            nullable=True,
        ),
    )
    op.create_index(
        "ix_contact_points_match_key", "contact_points", ["workspace_id", "kind", "match_key"], unique=False
    )
    op.add_column(
        "contacts",
        sa.Column(
            "name_key",
            sa.Text(),
            sa.Computed(
                "lower(btrim(((COALESCE(\"left\"(first_name, 100), ''::text) || ' '::text) || COALESCE(\"left\"(last_name, 100), ''::text))))",
                persisted=True,
            ),
            nullable=True,
        ),
    )
    op.create_index("ix_contacts_name_key", "contacts", ["workspace_id", "name_key"], unique=False)
    op.create_index(
        "ix_conversation_messages_sender_contact",
        "conversation_messages",
        ["workspace_id", "sender_contact_id"],
        unique=False,
        postgresql_where=sa.text("sender_contact_id IS NOT NULL"),
    )
    # ### end Alembic commands ###
    for table in TENANT_TABLES:
        for statement in tenancy.secured(table):
            op.execute(statement)


def downgrade() -> None:
    op.drop_index(
        "ix_conversation_messages_sender_contact",
        table_name="conversation_messages",
        postgresql_where=sa.text("sender_contact_id IS NOT NULL"),
    )
    op.drop_index("ix_contacts_name_key", table_name="contacts")
    op.drop_column("contacts", "name_key")
    op.drop_index("ix_contact_points_match_key", table_name="contact_points")
    op.drop_column("contact_points", "match_key")
    op.drop_index("ix_prospects_stage", table_name="prospects")
    op.drop_index("ix_prospects_owner", table_name="prospects")
    op.drop_index("ix_prospects_deal", table_name="prospects", postgresql_where=sa.text("deal_id IS NOT NULL"))
    op.drop_index("ix_prospects_customer", table_name="prospects", postgresql_where=sa.text("customer_id IS NOT NULL"))
    op.drop_index("ix_prospects_created", table_name="prospects")
    op.drop_index("ix_prospects_contact", table_name="prospects")
    op.drop_table("prospects")
    op.drop_index("ix_deal_stage_changes_deal", table_name="deal_stage_changes")
    op.drop_index("ix_deal_stage_changes_created", table_name="deal_stage_changes")
    op.drop_table("deal_stage_changes")
    op.drop_index("ix_deals_stage", table_name="deals")
    op.drop_index("ix_deals_owner", table_name="deals")
    op.drop_index("ix_deals_expected_close", table_name="deals")
    op.drop_index("ix_deals_created", table_name="deals")
    op.drop_index("ix_deals_contact", table_name="deals")
    op.drop_table("deals")
    op.drop_index("ix_crm_interactions_user", table_name="crm_interactions")
    op.drop_index("ix_crm_interactions_occurred", table_name="crm_interactions")
    op.drop_index("ix_crm_interactions_created", table_name="crm_interactions")
    op.drop_index("ix_crm_interactions_contact", table_name="crm_interactions")
    op.drop_index(
        "ix_crm_interactions_agent", table_name="crm_interactions", postgresql_where=sa.text("agent_id IS NOT NULL")
    )
    op.drop_table("crm_interactions")
    op.drop_index("ix_contact_merges_created", table_name="contact_merges")
    op.drop_index("ix_contact_merges_contact", table_name="contact_merges")
    op.drop_table("contact_merges")
    op.drop_index("ix_contact_import_errors_row", table_name="contact_import_errors")
    op.drop_index("ix_contact_import_errors_created", table_name="contact_import_errors")
    op.drop_table("contact_import_errors")
    op.drop_index("ix_contact_imports_created", table_name="contact_imports")
    op.drop_table("contact_imports")
    # ### end Alembic commands ###
