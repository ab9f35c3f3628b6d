"""Agents act by themselves: tokens of their own, policies, and pending actions that are done exactly once."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models import tenancy

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_REVIEWED = "status NOT IN ('approved', 'rejected') OR "
_ACTIONS = "agent_pending_actions"
_PERFORMED = (
    "(performed_at IS NULL) = (performed_by IS NULL) AND (performed_at IS NULL) = (succeeded IS NULL)"
    " AND (performed_at IS NULL OR status = 'approved')"
)


def _refer(table: str, column: str, to: str, ondelete: str = "RESTRICT", target: str = "id") -> None:
    op.create_foreign_key(
        op.f(f"fk_{table}_workspace_id_{column}"),
        table,
        to,
        ["workspace_id", column],
        ["workspace_id", target],
        ondelete=ondelete,
    )


def upgrade() -> None:
    op.add_column("access_tokens", sa.Column("agent_id", sa.Uuid()))
    _refer("access_tokens", "agent_id", "agents", "CASCADE")
    op.create_index(
        "ix_access_tokens_agent",
        "access_tokens",
        ["workspace_id", "agent_id"],
        postgresql_where=sa.text("agent_id IS NOT NULL"),
    )
    op.add_column("idempotency_keys", sa.Column("agent_id", sa.Uuid()))
    _refer("idempotency_keys", "agent_id", "agents", "CASCADE")
    op.drop_constraint("uq_idempotency_keys_workspace_id_user_id_key", "idempotency_keys")
    for whose, condition in (("user", "agent_id IS NULL"), ("agent", "agent_id IS NOT NULL")):
        op.create_index(
            f"uq_idempotency_keys_{whose}",
            "idempotency_keys",
            ["workspace_id", f"{whose}_id", "key"],
            unique=True,
            postgresql_where=sa.text(condition),
        )
    _make_policies()
    _do_actions()
    op.add_column("agent_logs", sa.Column("execution_id", sa.Uuid()))
    op.add_column("agent_logs", sa.Column("tokens_used", sa.Integer()))
    op.add_column("agent_logs", sa.Column("cost", sa.Numeric(14, 6)))
    _refer("agent_logs", "execution_id", "agent_executions", "CASCADE")
    op.create_check_constraint("tokens_used_range", "agent_logs", "tokens_used >= 0")
    op.create_check_constraint("cost_range", "agent_logs", "cost >= 0")
    op.create_index("ix_agent_logs_execution", "agent_logs", ["workspace_id", "execution_id", "created_at", "id"])


def _make_policies() -> None:
    op.create_table(
        "agent_policies",
        sa.Column("agent_id", sa.Uuid()),
        sa.Column("description", sa.Text()),
        sa.Column("pass_alone", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("answer_within_seconds", sa.Integer(), server_default=sa.text("86400"), nullable=False),
        sa.Column("reach", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_agent_policies")),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_agent_policies_workspace_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "agent_id"],
            ["agents.workspace_id", "agents.id"],
            name=op.f("fk_agent_policies_workspace_id_agent_id"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("reach IN ('handed', 'waiting', 'workspace')", name="reach_known"),
        sa.CheckConstraint("cardinality(pass_alone) <= 50", name="pass_alone_range"),
        sa.CheckConstraint("answer_within_seconds BETWEEN 60 AND 2592000", name="answer_within_seconds_range"),
    )
    op.create_index(
        "uq_agent_policies_agent_id",
        "agent_policies",
        ["workspace_id", "agent_id"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    op.create_index("ix_agent_policies_created", "agent_policies", ["workspace_id", "created_at", "id"])
    for statement in tenancy.secured("agent_policies"):
        op.execute(statement)


def _do_actions() -> None:
    for column in (
        sa.Column("asked_by", sa.Uuid()),
        sa.Column("passed_alone", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("conversation_id", sa.Uuid()),
        sa.Column("fence", sa.BigInteger()),
        sa.Column("performed_by", sa.Text()),
        sa.Column("performed_at", sa.DateTime(timezone=True)),
        sa.Column("succeeded", sa.Boolean()),
        sa.Column("result", postgresql.JSONB(none_as_null=True)),
        sa.Column("error", sa.Text()),
    ):
        op.add_column(_ACTIONS, column)
    _refer(_ACTIONS, "conversation_id", "conversations", "SET NULL (conversation_id)")
    _refer(_ACTIONS, "asked_by", "workspace_members", target="user_id")
    op.drop_constraint("reviewed_by_somebody", _ACTIONS, type_="check")
    op.create_check_constraint(
        "reviewed_by_somebody",
        _ACTIONS,
        _REVIEWED + "(reviewed_at IS NOT NULL AND (reviewed_by IS NOT NULL OR (passed_alone AND status = 'approved')))",
    )
    op.create_check_constraint("passed_alone_is_low", _ACTIONS, "NOT passed_alone OR risk_level = 'low'")
    op.create_check_constraint("performed_by_known", _ACTIONS, "performed_by IN ('comms', 'runtime')")
    op.create_check_constraint("performed_once_approved", _ACTIONS, _PERFORMED)
    op.create_index(
        "ix_agent_pending_actions_conversation",
        _ACTIONS,
        ["workspace_id", "conversation_id", "created_at", "id"],
        postgresql_where=sa.text("conversation_id IS NOT NULL"),
    )


def downgrade() -> None:
    for column in ("cost", "tokens_used", "execution_id"):
        op.drop_column("agent_logs", column)
    op.drop_index("ix_agent_pending_actions_conversation", _ACTIONS)
    for name in ("performed_once_approved", "performed_by_known", "passed_alone_is_low", "reviewed_by_somebody"):
        op.drop_constraint(name, _ACTIONS, type_="check")
    # What passed without a person was decided by nobody whom the older schema could name.
    op.execute(f"DELETE FROM {_ACTIONS} WHERE passed_alone")
    op.create_check_constraint(
        "reviewed_by_somebody", _ACTIONS, _REVIEWED + "(reviewed_by IS NOT NULL AND reviewed_at IS NOT NULL)"
    )
    for column in (
        "error",
        "result",
        "succeeded",
        "performed_at",
        "performed_by",
        "fence",
        "conversation_id",
        "passed_alone",
        "asked_by",
    ):
        op.drop_column(_ACTIONS, column)
    op.drop_table("agent_policies")
    # An agent's keys and tokens would be taken for its maker's.
    op.execute("DELETE FROM idempotency_keys WHERE agent_id IS NOT NULL")
    for whose in ("agent", "user"):
        op.drop_index(f"uq_idempotency_keys_{whose}", "idempotency_keys")
    op.create_unique_constraint(
        "uq_idempotency_keys_workspace_id_user_id_key", "idempotency_keys", ["workspace_id", "user_id", "key"]
    )
    op.drop_column("idempotency_keys", "agent_id")
    op.execute("DELETE FROM access_tokens WHERE agent_id IS NOT NULL")
    op.drop_column("access_tokens", "agent_id")
