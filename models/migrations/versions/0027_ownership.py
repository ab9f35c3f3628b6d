"""Conversations have an owner, a fence and a place in the queue; they are handed on, to people, agents and teams."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models import tenancy

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

TABLES = ("teams", "team_members", "conversation_handoffs")
SENDER = "coalesce(sender_contact_id, sender_user_id, sender_agent_id)"
SENDER_BEFORE = "coalesce(sender_contact_id, sender_user_id)"


def upgrade() -> None:
    _conversations()
    _messages()
    op.add_column("outgoing_messages", sa.Column("fence", sa.BigInteger(), nullable=True))
    _tables()
    for table in TABLES:
        for statement in tenancy.secured(table):
            op.execute(statement)


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    op.drop_column("outgoing_messages", "fence")
    op.drop_column("conversation_messages", "sender_id")
    op.drop_column("conversation_messages", "sender_agent_id")
    op.add_column(
        "conversation_messages", sa.Column("sender_id", sa.Uuid(), sa.Computed(SENDER_BEFORE, persisted=True))
    )
    for column in ("silence_told_at", "ownership_reason", "waiting_since", "lease_expires_at", "fence", "agent_id"):
        op.drop_column("conversations", column)


def _conversations() -> None:
    op.add_column("conversations", sa.Column("agent_id", sa.Uuid(), nullable=True))
    op.add_column("conversations", sa.Column("fence", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("conversations", sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("conversations", sa.Column("ownership_reason", sa.Text(), nullable=True))
    op.add_column("conversations", sa.Column("silence_told_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("conversations", sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=True))
    # The owner of the table, if no superuser, sees nothing of it but by its leave.
    op.execute("ALTER TABLE conversations NO FORCE ROW LEVEL SECURITY")
    op.execute(
        "UPDATE conversations SET waiting_since = coalesce(last_message_at, created_at) WHERE assigned_to IS NULL"
    )
    op.execute("ALTER TABLE conversations FORCE ROW LEVEL SECURITY")
    op.alter_column("conversations", "waiting_since", server_default=sa.text("now()"))
    op.create_foreign_key(
        op.f("fk_conversations_workspace_id_agent_id"),
        "conversations",
        "agents",
        ["workspace_id", "agent_id"],
        ["workspace_id", "id"],
        ondelete="RESTRICT",
    )
    op.create_check_constraint(op.f("ck_conversations_fence_range"), "conversations", "fence >= 0")
    op.create_check_constraint(
        op.f("ck_conversations_waiting_since_or_owner"),
        "conversations",
        "num_nonnulls(assigned_to, agent_id, waiting_since) = 1",
    )
    op.create_check_constraint(
        op.f("ck_conversations_lease_expires_at_of_agent"),
        "conversations",
        "(agent_id IS NULL) = (lease_expires_at IS NULL)",
    )
    op.create_index(
        "ix_conversations_agent",
        "conversations",
        ["workspace_id", "agent_id", "last_message_at", "id"],
        postgresql_where=sa.text("agent_id IS NOT NULL"),
    )
    op.create_index(
        "ix_conversations_lease",
        "conversations",
        ["lease_expires_at"],
        postgresql_where=sa.text("agent_id IS NOT NULL"),
    )


def _messages() -> None:
    op.add_column("conversation_messages", sa.Column("sender_agent_id", sa.Uuid(), nullable=True))
    op.drop_column("conversation_messages", "sender_id")
    op.add_column("conversation_messages", sa.Column("sender_id", sa.Uuid(), sa.Computed(SENDER, persisted=True)))
    op.create_foreign_key(
        op.f("fk_conversation_messages_workspace_id_sender_agent_id"),
        "conversation_messages",
        "agents",
        ["workspace_id", "sender_agent_id"],
        ["workspace_id", "id"],
        ondelete="RESTRICT",
    )
    op.create_index(
        "ix_conversation_messages_sender_agent",
        "conversation_messages",
        ["workspace_id", "sender_agent_id"],
        postgresql_where=sa.text("sender_agent_id IS NOT NULL"),
    )


def _tables() -> None:
    op.create_table(
        "teams",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        *_row("teams"),
    )
    op.create_index("ix_teams_created", "teams", ["workspace_id", "created_at", "id"])
    op.create_table(
        "team_members",
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        *_row("team_members"),
        _refers("team_members", "team_id", "teams", "CASCADE"),
        _refers_to_member("team_members", "user_id"),
        sa.UniqueConstraint(
            "workspace_id", "team_id", "user_id", name=op.f("uq_team_members_workspace_id_team_id_user_id")
        ),
    )
    op.create_index("ix_team_members_created", "team_members", ["workspace_id", "created_at", "id"])
    op.create_index("ix_team_members_user", "team_members", ["workspace_id", "user_id"])
    handoffs = "conversation_handoffs"
    op.create_table(
        handoffs,
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("from_user_id", sa.Uuid(), nullable=True),
        sa.Column("from_agent_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("packet", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("target_user_id", sa.Uuid(), nullable=True),
        sa.Column("target_agent_id", sa.Uuid(), nullable=True),
        sa.Column("target_team_id", sa.Uuid(), nullable=True),
        sa.Column("needed_skills", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("within_seconds", sa.Integer(), server_default=sa.text("300"), nullable=False),
        sa.Column("steps", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("steps_taken", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("contact_told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("untold_because", sa.Text(), nullable=True),
        sa.Column("taken_by_user_id", sa.Uuid(), nullable=True),
        sa.Column("taken_by_agent_id", sa.Uuid(), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_because", sa.Text(), nullable=True),
        *_row(handoffs),
        sa.CheckConstraint(
            "status IN ('open', 'accepted', 'taken', 'rejected', 'expired', 'withdrawn')",
            name=op.f(f"ck_{handoffs}_status_known"),
        ),
        sa.CheckConstraint(
            "num_nonnulls(target_user_id, target_agent_id, target_team_id) <= 1", name=op.f(f"ck_{handoffs}_target_one")
        ),
        sa.CheckConstraint(
            "num_nonnulls(target_user_id, target_agent_id, target_team_id) = 1 OR needed_skills <> '{}'",
            name=op.f(f"ck_{handoffs}_target_or_skills"),
        ),
        sa.CheckConstraint(
            "(status = 'open') = (settled_at IS NULL)", name=op.f(f"ck_{handoffs}_settled_at_of_settled")
        ),
        sa.CheckConstraint("steps_taken >= 0", name=op.f(f"ck_{handoffs}_steps_taken_range")),
        sa.CheckConstraint("jsonb_typeof(steps) = 'array'", name=op.f(f"ck_{handoffs}_steps_list")),
        sa.CheckConstraint("cardinality(needed_skills) <= 20", name=op.f(f"ck_{handoffs}_needed_skills_range")),
        _refers(handoffs, "conversation_id", "conversations", "CASCADE"),
        _refers_to_member(handoffs, "from_user_id"),
        _refers(handoffs, "from_agent_id", "agents"),
        _refers_to_member(handoffs, "target_user_id"),
        _refers(handoffs, "target_agent_id", "agents"),
        _refers(handoffs, "target_team_id", "teams"),
        _refers_to_member(handoffs, "taken_by_user_id"),
        _refers(handoffs, "taken_by_agent_id", "agents"),
    )
    open_ = sa.text("status = 'open'")
    for name, columns in (("conversation", ["conversation_id", "created_at", "id"]), ("created", ["created_at", "id"])):
        op.create_index(f"ix_{handoffs}_{name}", handoffs, ["workspace_id", *columns])
    op.create_index(f"ix_{handoffs}_deadline", handoffs, ["deadline_at"], postgresql_where=open_)
    op.create_index(
        f"uq_{handoffs}_open", handoffs, ["workspace_id", "conversation_id"], unique=True, postgresql_where=open_
    )


def _row(table: str) -> tuple[sa.schema.SchemaItem, ...]:
    return (
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f(f"fk_{table}_workspace_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f(f"pk_{table}")),
    )


def _refers(table: str, column: str, target: str, on_delete: str = "RESTRICT") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id", column],
        [f"{target}.workspace_id", f"{target}.id"],
        name=op.f(f"fk_{table}_workspace_id_{column}"),
        ondelete=on_delete,
    )


def _refers_to_member(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id", column],
        ["workspace_members.workspace_id", "workspace_members.user_id"],
        name=op.f(f"fk_{table}_workspace_id_{column}"),
        ondelete="RESTRICT",
    )
