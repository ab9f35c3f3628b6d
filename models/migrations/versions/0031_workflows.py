"""Workflows and schedules that run: what runs wait for, what each step saw and did, and which hosts may be called."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from models import tenancy

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

NEW = ("agent_workflow_step_runs", "agent_workflow_hosts")
RUNS = "agent_workflow_executions"


def _time(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _tenant(table: str, *items: sa.schema.SchemaItem) -> None:
    op.create_table(
        table,
        *[item for item in items if isinstance(item, sa.Column)],
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        _time("created_at", nullable=False),
        _time("updated_at", nullable=False),
        *[item for item in items if not isinstance(item, sa.Column)],
        sa.PrimaryKeyConstraint("workspace_id", "id", name=f"pk_{table}"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=f"fk_{table}_workspace_id", ondelete="CASCADE"
        ),
    )
    op.create_index(f"ix_{table}_created", table, ["workspace_id", "created_at", "id"])


def upgrade() -> None:
    op.add_column("agent_workflows", sa.Column("stopped_reason", sa.Text()))
    op.add_column("agent_workflows", sa.Column("from_seq", sa.BigInteger()))
    op.create_index(
        "ix_agent_workflows_listening",
        "agent_workflows",
        ["workspace_id"],
        postgresql_where=sa.text("status = 'active' AND trigger_type = 'event'"),
    )
    for column in (
        sa.Column("waiting_for", sa.Text()),
        sa.Column("waiting_id", sa.Uuid()),
        _time("due_at"),
        sa.Column("trigger_seq", sa.BigInteger()),
        sa.Column("about_id", sa.Uuid()),
        sa.Column("lineage", JSONB(), server_default=sa.text("'[]'"), nullable=False),
    ):
        op.add_column(RUNS, column)
    op.create_check_constraint(
        op.f(f"ck_{RUNS}_waiting_for_known"),
        RUNS,
        "waiting_for IN ('time', 'retry', 'http', 'agent_task', 'approval')",
    )
    op.create_check_constraint(op.f(f"ck_{RUNS}_due_at_of_running"), RUNS, "status = 'running' OR due_at IS NULL")
    op.create_unique_constraint(
        op.f(f"uq_{RUNS}_workspace_id_workflow_id_trigger_seq"), RUNS, ["workspace_id", "workflow_id", "trigger_seq"]
    )
    op.create_index(f"ix_{RUNS}_due", RUNS, ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    op.create_index(
        f"ix_{RUNS}_waiting", RUNS, ["workspace_id", "waiting_id"], postgresql_where=sa.text("waiting_id IS NOT NULL")
    )
    op.create_index(
        f"ix_{RUNS}_about",
        RUNS,
        ["workspace_id", "workflow_id", "about_id", "created_at"],
        postgresql_where=sa.text("about_id IS NOT NULL"),
    )
    _tenant(
        "agent_workflow_step_runs",
        sa.Column("execution_id", sa.Uuid(), nullable=False),
        sa.Column("step_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="running", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("inputs", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("output", JSONB()),
        sa.Column("error", JSONB()),
        sa.Column("chosen", JSONB()),
        _time("due_at"),
        _time("started_at", nullable=False),
        _time("completed_at"),
        sa.Column("duration_ms", sa.Integer()),
        sa.ForeignKeyConstraint(
            ["workspace_id", "execution_id"],
            [f"{RUNS}.workspace_id", f"{RUNS}.id"],
            name=op.f("fk_agent_workflow_step_runs_workspace_id_execution_id"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "status IN ('running', 'waiting', 'completed', 'failed', 'skipped')",
            name=op.f("ck_agent_workflow_step_runs_status_known"),
        ),
        sa.CheckConstraint("attempt >= 1", name=op.f("ck_agent_workflow_step_runs_attempt_range")),
        sa.CheckConstraint("duration_ms >= 0", name=op.f("ck_agent_workflow_step_runs_duration_ms_range")),
        sa.CheckConstraint(
            "(status IN ('completed', 'failed', 'skipped')) = (completed_at IS NOT NULL)",
            name=op.f("ck_agent_workflow_step_runs_status_has_its_times"),
        ),
        sa.UniqueConstraint(
            "workspace_id",
            "execution_id",
            "step_id",
            name=op.f("uq_agent_workflow_step_runs_workspace_id_execution_id_step_id"),
        ),
    )
    _tenant(
        "agent_workflow_hosts",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("description", sa.Text()),
        sa.UniqueConstraint("workspace_id", "host", name=op.f("uq_agent_workflow_hosts_workspace_id_host")),
    )
    op.create_table(
        "workflow_progress",
        sa.Column("workspace_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", name="pk_workflow_progress"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="fk_workflow_progress_workspace_id", ondelete="CASCADE"
        ),
    )
    op.add_column(
        "agent_schedules", sa.Column("missed_runs", sa.Text(), server_default=sa.text("'once'"), nullable=False)
    )
    op.create_check_constraint(
        op.f("ck_agent_schedules_missed_runs_known"), "agent_schedules", "missed_runs IN ('skip', 'once', 'all')"
    )
    op.add_column("agent_executions", sa.Column("schedule_id", sa.Uuid()))
    op.create_foreign_key(
        op.f("fk_agent_executions_workspace_id_schedule_id"),
        "agent_executions",
        "agent_schedules",
        ["workspace_id", "schedule_id"],
        ["workspace_id", "id"],
        ondelete="SET NULL (schedule_id)",
    )
    op.create_index(
        "ix_agent_executions_schedule",
        "agent_executions",
        ["workspace_id", "schedule_id"],
        postgresql_where=sa.text("schedule_id IS NOT NULL"),
    )
    # The owner, if no superuser, is kept from these by their own row security.
    for table in ("agent_workflows", "event_counters"):
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(
        "INSERT INTO workflow_progress (workspace_id, seq) SELECT workspace_id, seq FROM event_counters c"
        " WHERE EXISTS (SELECT FROM agent_workflows w WHERE w.workspace_id = c.workspace_id AND w.status = 'active')"
    )
    for table in ("agent_workflows", "event_counters"):
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    for table in (*NEW, "workflow_progress"):
        for statement in tenancy.secured(table):
            op.execute(statement)


def downgrade() -> None:
    op.drop_index("ix_agent_executions_schedule", "agent_executions")
    op.drop_constraint(op.f("fk_agent_executions_workspace_id_schedule_id"), "agent_executions")
    op.drop_column("agent_executions", "schedule_id")
    op.drop_column("agent_schedules", "missed_runs")
    for table in ("workflow_progress", *NEW):
        op.drop_table(table)
    op.drop_constraint(op.f(f"uq_{RUNS}_workspace_id_workflow_id_trigger_seq"), RUNS)
    for name in ("about", "waiting", "due"):
        op.drop_index(f"ix_{RUNS}_{name}", RUNS)
    op.drop_constraint(op.f(f"ck_{RUNS}_due_at_of_running"), RUNS)
    op.drop_constraint(op.f(f"ck_{RUNS}_waiting_for_known"), RUNS)
    for name in ("waiting_for", "waiting_id", "due_at", "trigger_seq", "about_id", "lineage"):
        op.drop_column(RUNS, name)
    op.drop_index("ix_agent_workflows_listening", "agent_workflows")
    op.drop_column("agent_workflows", "from_seq")
    op.drop_column("agent_workflows", "stopped_reason")
