"""Who stands behind a workflow, whose turn it is to call somebody, headers that hosts are sent, and what is old."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0035"
down_revision = "0033"
branch_labels = None
depends_on = None

WORKFLOWS, RUNS, HOSTS = "agent_workflows", "agent_workflow_executions", "agent_workflow_hosts"
WAITING = f"ck_{RUNS}_waiting_for_known"
BEFORE = ("time", "retry", "http", "agent_task", "approval")
SINCE = ("time", "retry", "http", "turn", "agent_task", "approval", "workflow")
# The owner, if no superuser, is kept from these by their own row security.
READ = (WORKFLOWS, RUNS, "events", "workspace_members")


def _known(values: tuple[str, ...]) -> str:
    return f"waiting_for IN {values}"


def upgrade() -> None:
    for table in (WORKFLOWS, RUNS):
        op.add_column(table, sa.Column("on_behalf_of", sa.Uuid()))
    for table in READ:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    # Whoever has last changed it; or, where the log does not say, whoever has owned the workspace longest.
    op.execute(
        f"""
        UPDATE {WORKFLOWS} w SET on_behalf_of = coalesce(
            (SELECT m.user_id FROM events e
             JOIN workspace_members m ON m.workspace_id = e.workspace_id AND m.user_id = e.actor_id
             WHERE e.workspace_id = w.workspace_id AND e.subject_type = 'agent_workflow' AND e.subject_id = w.id
                AND e.actor_type = 'user'
             ORDER BY e.seq DESC LIMIT 1),
            (SELECT m.user_id FROM workspace_members m
             WHERE m.workspace_id = w.workspace_id AND m.role = 'owner' AND m.is_active
             ORDER BY m.created_at, m.id LIMIT 1)
        )
        """
    )
    op.execute(
        f"UPDATE {RUNS} r SET on_behalf_of = w.on_behalf_of FROM {WORKFLOWS} w"
        " WHERE w.workspace_id = r.workspace_id AND w.id = r.workflow_id AND r.status IN ('running', 'paused')"
    )
    for table in READ:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    for table in (WORKFLOWS, RUNS):
        op.create_foreign_key(
            op.f(f"fk_{table}_workspace_id_on_behalf_of"),
            table,
            "workspace_members",
            ["workspace_id", "on_behalf_of"],
            ["workspace_id", "user_id"],
            ondelete="RESTRICT",
        )
    op.drop_constraint(op.f(WAITING), RUNS)
    op.create_check_constraint(op.f(WAITING), RUNS, _known(SINCE))
    op.create_index(f"ix_{RUNS}_turn", RUNS, ["due_at"], postgresql_where=sa.text("waiting_for = 'turn'"))
    op.create_index(
        f"ix_{RUNS}_completed", RUNS, ["completed_at"], postgresql_where=sa.text("completed_at IS NOT NULL")
    )
    op.add_column(HOSTS, sa.Column("secret_headers", JSONB(), server_default=sa.text("'{}'"), nullable=False))


def downgrade() -> None:
    op.drop_column(HOSTS, "secret_headers")
    op.drop_index(f"ix_{RUNS}_completed", RUNS)
    op.drop_index(f"ix_{RUNS}_turn", RUNS)
    op.drop_constraint(op.f(WAITING), RUNS)
    op.execute(f"ALTER TABLE {RUNS} NO FORCE ROW LEVEL SECURITY")
    op.execute(
        f"UPDATE {RUNS} SET waiting_for = NULL, due_at = CASE WHEN status = 'running' THEN now() END"
        " WHERE waiting_for IN ('turn', 'workflow')"
    )
    op.execute(f"ALTER TABLE {RUNS} FORCE ROW LEVEL SECURITY")
    op.create_check_constraint(op.f(WAITING), RUNS, _known(BEFORE))
    for table in (WORKFLOWS, RUNS):
        op.drop_constraint(op.f(f"fk_{table}_workspace_id_on_behalf_of"), table)
        op.drop_column(table, "on_behalf_of")
