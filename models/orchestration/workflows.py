"""What agents do one after another."""

import uuid
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, refers_to_member, tenant_table

WorkflowTrigger = Literal["manual", "event", "schedule", "agent_request"]
WorkflowStatus = Literal["draft", "active", "paused", "archived"]
WorkflowExecutionStatus = Literal["running", "completed", "failed", "paused", "cancelled"]


class AgentWorkflow(TenantRow, Base):
    """Steps of agents, and what sets them off. One that has run is archived, never deleted."""

    __tablename__ = "agent_workflows"
    __table_args__ = tenant_table(
        refers("team_id", "agent_teams", on_delete="SET NULL"),
        one_of("trigger_type", WorkflowTrigger),
        one_of("status", WorkflowStatus),
        CheckConstraint("status <> 'active' OR steps <> '[]'", name="steps_of_active"),
        CheckConstraint(
            "(next_run_at IS NOT NULL) = (trigger_type = 'schedule' AND status = 'active')",
            name="next_run_at_of_scheduled",
        ),
        CheckConstraint("total_executions >= 0", name="total_executions_range"),
        CheckConstraint("successful_executions BETWEEN 0 AND total_executions", name="successful_executions_range"),
        CheckConstraint("avg_duration_ms >= 0", name="avg_duration_ms_range"),
        Index("ix_agent_workflows_created", "workspace_id", "created_at", "id"),
        Index("ix_agent_workflows_team", "workspace_id", "team_id"),
        # Which workflows an agent has a part in.
        Index("ix_agent_workflows_steps", "steps", postgresql_using="gin", postgresql_ops={"steps": "jsonb_path_ops"}),
        Index("ix_agent_workflows_due", "next_run_at", postgresql_where=text("next_run_at IS NOT NULL")),
    )

    team_id: Mapped[uuid.UUID | None]
    name: Mapped[str]
    description: Mapped[str | None]
    category: Mapped[str | None]
    trigger_type: Mapped[str] = mapped_column(default="manual", server_default="manual")
    trigger_config: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    steps: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))
    status: Mapped[str] = mapped_column(default="draft", server_default="draft")
    total_executions: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    successful_executions: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    avg_duration_ms: Mapped[int | None]
    next_run_at: Mapped[datetime | None]


class AgentWorkflowView(View, kw_only=True):
    """A workflow of agents.

    A step has an ``id``, an ``agentId`` and an ``action``, and may have a ``name``, ``inputs`` (with
    ``{{steps.<id>.…}}`` for what an earlier step gave), ``dependsOn``, ``next``, ``onFailure``, ``conditions``,
    ``timeoutSeconds`` and ``retries``. ``triggerConfig`` is, by ``triggerType``: nothing for manual, ``eventType`` for
    event, ``cron`` and ``timezone`` for schedule; ``conditions`` with any but manual.
    Steps and trigger change while it is a draft or paused.
    """

    id: ReadOnly[uuid.UUID]
    team_id: uuid.UUID | None = None
    name: str
    description: str | None = None
    category: str | None = None
    trigger_type: WorkflowTrigger = "manual"
    trigger_config: dict[str, Any] = {}
    steps: list[Any] = []
    status: ReadOnly[WorkflowStatus] = "draft"
    total_executions: ReadOnly[int] = 0
    successful_executions: ReadOnly[int] = 0
    avg_duration_ms: ReadOnly[int | None] = None
    next_run_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class AgentWorkflowExecution(TenantRow, Base):
    """One run of a workflow, by the steps it had when the run began."""

    __tablename__ = "agent_workflow_executions"
    __table_args__ = tenant_table(
        refers("workflow_id", "agent_workflows"),
        refers_to_member("triggered_by"),
        one_of("status", WorkflowExecutionStatus),
        one_of("trigger_type", WorkflowTrigger),
        CheckConstraint(
            "(status IN ('completed', 'failed', 'cancelled')) = (completed_at IS NOT NULL)",
            name="status_has_its_times",
        ),
        CheckConstraint("current_step_index >= 0", name="current_step_index_range"),
        CheckConstraint("completed_steps BETWEEN 0 AND total_steps", name="completed_steps_range"),
        CheckConstraint("duration_ms >= 0", name="duration_ms_range"),
        Index("ix_agent_workflow_executions_created", "workspace_id", "created_at", "id"),
        Index("ix_agent_workflow_executions_workflow", "workspace_id", "workflow_id", "created_at", "id"),
        Index("ix_agent_workflow_executions_status", "workspace_id", "status", "created_at", "id"),
    )

    workflow_id: Mapped[uuid.UUID]
    status: Mapped[str] = mapped_column(default="running", server_default="running")
    current_step_id: Mapped[str | None]
    current_step_index: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    steps: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))
    step_results: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    context: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    triggered_by: Mapped[uuid.UUID | None]
    trigger_type: Mapped[str] = mapped_column(default="manual", server_default="manual")
    trigger_data: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    duration_ms: Mapped[int | None]
    total_steps: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    completed_steps: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    completed_at: Mapped[datetime | None]


class AgentWorkflowExecutionView(View, kw_only=True):
    """One run of a workflow: where it is, what each step gave, and how long it took."""

    id: ReadOnly[uuid.UUID]
    workflow_id: ReadOnly[uuid.UUID]
    status: ReadOnly[WorkflowExecutionStatus]
    current_step_id: ReadOnly[str | None] = None
    current_step_index: ReadOnly[int] = 0
    steps: ReadOnly[list[Any]] = []
    step_results: ReadOnly[dict[str, Any]] = {}
    context: ReadOnly[dict[str, Any]] = {}
    triggered_by: ReadOnly[uuid.UUID | None] = None
    trigger_type: ReadOnly[WorkflowTrigger]
    trigger_data: ReadOnly[dict[str, Any]] = {}
    error: ReadOnly[dict[str, Any] | None] = None
    duration_ms: ReadOnly[int | None] = None
    total_steps: ReadOnly[int] = 0
    completed_steps: ReadOnly[int] = 0
    completed_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
