"""Conversations find their person: rules, what people can take, queues, places in them, and how it was decided."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models import tenancy

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

TABLES = (
    "routing_rules",
    "routing_profiles",
    "routing_queues",
    "routing_places",
    "routing_decisions",
    "routing_turns",
    "routing_bonds",
    "routing_progress",
)
ASSIGNED = "status = 'active' AND assigned_to IS NOT NULL"


def upgrade() -> None:
    op.create_table(
        "routing_progress",
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("has_begun", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_routing_progress_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("pk_routing_progress")),
    )
    op.create_table(
        "routing_profiles",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("availability", sa.Text(), server_default="available", nullable=False),
        sa.Column("needs_presence", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("skills", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("capacity", sa.Integer(), server_default=sa.text("5"), nullable=False),
        sa.Column(
            "channel_capacity", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "availability IN ('available', 'away')", name=op.f("ck_routing_profiles_availability_known")
        ),
        sa.CheckConstraint("capacity BETWEEN 0 AND 1000", name=op.f("ck_routing_profiles_capacity_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_routing_profiles_workspace_id_user_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_routing_profiles_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_routing_profiles")),
        sa.UniqueConstraint("workspace_id", "user_id", name=op.f("uq_routing_profiles_workspace_id_user_id")),
    )
    op.create_index(
        "ix_routing_profiles_created", "routing_profiles", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_table(
        "routing_rules",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("channels", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("phone_number_ids", sa.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column(
            "conditions", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
        sa.Column("hours", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("when_closed", sa.Text(), server_default="wait", nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("skills", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("mode", sa.Text(), server_default="least_busy", nullable=False),
        sa.Column("sticky_days", sa.Integer(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("mode IN ('least_busy', 'round_robin')", name=op.f("ck_routing_rules_mode_known")),
        sa.CheckConstraint("when_closed IN ('wait', 'skip')", name=op.f("ck_routing_rules_when_closed_known")),
        sa.CheckConstraint("position >= 0", name=op.f("ck_routing_rules_position_positive")),
        sa.CheckConstraint("sticky_days BETWEEN 1 AND 365", name=op.f("ck_routing_rules_sticky_days_range")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "team_id"],
            ["teams.workspace_id", "teams.id"],
            name=op.f("fk_routing_rules_workspace_id_team_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_routing_rules_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_routing_rules")),
    )
    op.create_index("ix_routing_rules_created", "routing_rules", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index("ix_routing_rules_position", "routing_rules", ["workspace_id", "position", "id"], unique=False)
    op.create_index("ix_routing_rules_team", "routing_rules", ["workspace_id", "team_id"], unique=False)
    op.create_table(
        "routing_turns",
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("online_until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_routing_turns_workspace_id_user_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_routing_turns_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "user_id", name=op.f("pk_routing_turns")),
    )
    op.create_table(
        "routing_bonds",
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "contact_id"],
            ["contacts.workspace_id", "contacts.id"],
            name=op.f("fk_routing_bonds_workspace_id_contact_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_routing_bonds_workspace_id_user_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_routing_bonds_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "contact_id", name=op.f("pk_routing_bonds")),
    )
    op.create_table(
        "routing_queues",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=True),
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("skills", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("held_up", sa.Text(), nullable=True),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "channel IN ('email', 'sms', 'call', 'whatsapp', 'social', 'live_chat')",
            name=op.f("ck_routing_queues_channel_known"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "rule_id"],
            ["routing_rules.workspace_id", "routing_rules.id"],
            name=op.f("fk_routing_queues_workspace_id_rule_id"),
            ondelete="SET NULL (rule_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "team_id"],
            ["teams.workspace_id", "teams.id"],
            name=op.f("fk_routing_queues_workspace_id_team_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_routing_queues_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_routing_queues")),
        sa.UniqueConstraint("workspace_id", "key", name=op.f("uq_routing_queues_workspace_id_key")),
    )
    op.create_index("ix_routing_queues_created", "routing_queues", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index("ix_routing_queues_rule", "routing_queues", ["workspace_id", "rule_id"], unique=False)
    op.create_index("ix_routing_queues_team", "routing_queues", ["workspace_id", "team_id"], unique=False)
    op.create_table(
        "routing_decisions",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=True),
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "considered", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
        sa.Column("others", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("mode IN ('least_busy', 'round_robin')", name=op.f("ck_routing_decisions_mode_known")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "conversation_id"],
            ["conversations.workspace_id", "conversations.id"],
            name=op.f("fk_routing_decisions_workspace_id_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "rule_id"],
            ["routing_rules.workspace_id", "routing_rules.id"],
            name=op.f("fk_routing_decisions_workspace_id_rule_id"),
            ondelete="SET NULL (rule_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "team_id"],
            ["teams.workspace_id", "teams.id"],
            name=op.f("fk_routing_decisions_workspace_id_team_id"),
            ondelete="SET NULL (team_id)",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_routing_decisions_workspace_id_user_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_routing_decisions_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_routing_decisions")),
    )
    op.create_index(
        "ix_routing_decisions_conversation",
        "routing_decisions",
        ["workspace_id", "conversation_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_routing_decisions_created", "routing_decisions", ["workspace_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_routing_decisions_rule", "routing_decisions", ["workspace_id", "rule_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_routing_decisions_team", "routing_decisions", ["workspace_id", "team_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_routing_decisions_user", "routing_decisions", ["workspace_id", "user_id", "created_at", "id"], unique=False
    )
    op.create_table(
        "routing_places",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("queue_id", sa.Uuid(), nullable=False),
        sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("let_go_by", sa.Uuid(), nullable=True),
        sa.Column("is_stale", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "conversation_id"],
            ["conversations.workspace_id", "conversations.id"],
            name=op.f("fk_routing_places_workspace_id_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "let_go_by"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            name=op.f("fk_routing_places_workspace_id_let_go_by"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "queue_id"],
            ["routing_queues.workspace_id", "routing_queues.id"],
            name=op.f("fk_routing_places_workspace_id_queue_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_routing_places_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_routing_places")),
        sa.UniqueConstraint(
            "workspace_id", "conversation_id", name=op.f("uq_routing_places_workspace_id_conversation_id")
        ),
    )
    op.create_index("ix_routing_places_created", "routing_places", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_routing_places_queue", "routing_places", ["workspace_id", "queue_id", "waiting_since", "id"], unique=False
    )
    op.create_index(
        "ix_routing_places_stale",
        "routing_places",
        ["workspace_id", "id"],
        unique=False,
        postgresql_where=sa.text("is_stale"),
    )
    op.create_index(
        "ix_routing_places_waiting", "routing_places", ["workspace_id", "waiting_since", "id"], unique=False
    )
    op.create_index(
        "ix_conversations_load",
        "conversations",
        ["workspace_id", "assigned_to", "channel"],
        unique=False,
        postgresql_where=sa.text(ASSIGNED),
    )
    for table in TABLES:
        for statement in tenancy.secured(table):
            op.execute(statement)


def downgrade() -> None:
    op.drop_index("ix_conversations_load", "conversations")
    for table in reversed(TABLES):
        op.drop_table(table)
