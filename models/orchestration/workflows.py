"""What is done one step after another, and what came of it."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import (
    Base,
    ReadOnly,
    TenantRow,
    View,
    one_of,
    refers,
    refers_to_member,
    tenant_table,
    workspace_reference,
)
from models.types import Host

WorkflowTrigger = Literal["manual", "event", "schedule", "agent_request"]
WorkflowStatus = Literal["draft", "active", "paused", "archived"]
WorkflowExecutionStatus = Literal["running", "completed", "failed", "paused", "cancelled"]
WaitingFor = Literal["time", "retry", "http", "turn", "agent_task", "approval", "workflow"]
StepRunStatus = Literal["running", "waiting", "completed", "failed", "skipped"]


class AgentWorkflow(TenantRow, Base):
    """Steps, and what sets them off. One that has run is archived, never deleted."""

    __tablename__ = "agent_workflows"
    __table_args__ = tenant_table(
        refers("team_id", "agent_teams", on_delete="SET NULL"),
        refers_to_member("on_behalf_of"),
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
        # Whoever reads the log asks which events set something off.
        Index(
            "ix_agent_workflows_listening",
            "workspace_id",
            postgresql_where=text("status = 'active' AND trigger_type = 'event'"),
        ),
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
    stopped_reason: Mapped[str | None]
    # What the log said before it became active is not for it.
    from_seq: Mapped[int | None] = mapped_column(BigInteger)
    on_behalf_of: Mapped[uuid.UUID | None]


class AgentWorkflowView(View, kw_only=True):
    """A workflow: what is done step by step, and what sets it off.

    A step has an ``id`` and an ``action``, and may have an ``agentId``, a ``name``, ``inputs`` (with
    ``{{steps.<id>.…}}`` for what an earlier step gave, ``{{trigger.…}}`` and ``{{context.…}}``), ``dependsOn``,
    ``next``, ``onFailure``, ``conditions``, ``timeoutSeconds`` and ``retries``. What comms does by itself are the
    actions message, wait, condition, approval, http and those of the CRM; any other is a task for the step's agent.
    ``triggerConfig`` is, by ``triggerType``: nothing for manual, ``eventType`` for event, ``cron``, ``timezone`` and
    ``missedRuns`` for schedule; ``conditions`` for event and agent_request. Steps and trigger change while it is a
    draft or paused.
    """

    id: ReadOnly[uuid.UUID]
    team_id: uuid.UUID | None = None
    name: Annotated[str, msgspec.Meta(examples=["Big deals"])]
    description: str | None = None
    category: str | None = None
    trigger_type: Annotated[WorkflowTrigger, msgspec.Meta(examples=["event"])] = "manual"
    trigger_config: Annotated[dict[str, Any], msgspec.Meta(examples=[{"eventType": "deal.stage_changed"}])] = {}
    steps: Annotated[
        list[Any],
        msgspec.Meta(
            examples=[
                [{"id": "note", "action": "tag_contact", "inputs": {"id": "{{trigger.data.contactId}}", "tag": "deal"}}]
            ]
        ),
    ] = []
    status: ReadOnly[WorkflowStatus] = "draft"
    total_executions: ReadOnly[int] = 0
    successful_executions: ReadOnly[int] = 0
    avg_duration_ms: ReadOnly[int | None] = None
    next_run_at: ReadOnly[datetime | None] = None
    stopped_reason: ReadOnly[
        Annotated[
            str | None,
            msgspec.Meta(description="Why comms has paused it by itself; null when it has not.", examples=[None]),
        ]
    ] = None
    on_behalf_of: ReadOnly[
        Annotated[
            uuid.UUID | None,
            msgspec.Meta(
                description="Who last changed its steps or trigger, or made it active: it may do what they may."
            ),
        ]
    ] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class AgentWorkflowExecution(TenantRow, Base):
    """One run of a workflow, by the steps it had when the run began."""

    __tablename__ = "agent_workflow_executions"
    __table_args__ = tenant_table(
        refers("workflow_id", "agent_workflows"),
        refers_to_member("triggered_by"),
        refers_to_member("on_behalf_of"),
        one_of("status", WorkflowExecutionStatus),
        one_of("trigger_type", WorkflowTrigger),
        CheckConstraint(
            "(status IN ('completed', 'failed', 'cancelled')) = (completed_at IS NOT NULL)",
            name="status_has_its_times",
        ),
        CheckConstraint("current_step_index >= 0", name="current_step_index_range"),
        CheckConstraint("completed_steps BETWEEN 0 AND total_steps", name="completed_steps_range"),
        CheckConstraint("duration_ms >= 0", name="duration_ms_range"),
        one_of("waiting_for", WaitingFor),
        CheckConstraint("status = 'running' OR due_at IS NULL", name="due_at_of_running"),
        # An event sets a workflow off once.
        UniqueConstraint("workspace_id", "workflow_id", "trigger_seq"),
        Index("ix_agent_workflow_executions_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        # Whose turn to call somebody is next, and which are old enough to go.
        Index("ix_agent_workflow_executions_turn", "due_at", postgresql_where=text("waiting_for = 'turn'")),
        Index(
            "ix_agent_workflow_executions_completed", "completed_at", postgresql_where=text("completed_at IS NOT NULL")
        ),
        Index(
            "ix_agent_workflow_executions_waiting",
            "workspace_id",
            "waiting_id",
            postgresql_where=text("waiting_id IS NOT NULL"),
        ),
        # Does it go round and round about the same thing?
        Index(
            "ix_agent_workflow_executions_about",
            "workspace_id",
            "workflow_id",
            "about_id",
            "created_at",
            postgresql_where=text("about_id IS NOT NULL"),
        ),
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
    waiting_for: Mapped[str | None]
    waiting_id: Mapped[uuid.UUID | None]
    # When it is to be looked at again, if nothing rings before: null while it waits for somebody who may never come.
    due_at: Mapped[datetime | None]
    trigger_seq: Mapped[int | None] = mapped_column(BigInteger)
    about_id: Mapped[uuid.UUID | None]
    # The workflows whose doing led to this run, the first one first.
    lineage: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))
    # Who stood behind the workflow when the run began: its steps are theirs.
    on_behalf_of: Mapped[uuid.UUID | None]


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
    waiting_for: ReadOnly[
        Annotated[
            WaitingFor | None,
            msgspec.Meta(
                description="What it waits for before it goes on; null while it does not. `turn` is until fewer calls"
                " of the workspace are under way, `workflow` until its workflow is active again.",
                examples=[None],
            ),
        ]
    ] = None
    waiting_id: ReadOnly[
        Annotated[
            uuid.UUID | None,
            msgspec.Meta(description="The pending action, or the agent message, whose answer it waits for."),
        ]
    ] = None
    trigger_seq: ReadOnly[
        Annotated[int | None, msgspec.Meta(description="The event that set it off, by its `seq`.", examples=[None])]
    ] = None
    lineage: ReadOnly[
        Annotated[
            list[Any],
            msgspec.Meta(description="The workflows whose doing led to this run, the first one first.", examples=[[]]),
        ]
    ] = []
    on_behalf_of: ReadOnly[
        Annotated[
            uuid.UUID | None,
            msgspec.Meta(
                description="The member who stood behind the workflow when this run began: it may do what they may."
            ),
        ]
    ] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class AgentWorkflowStepRun(TenantRow, Base):
    """A step of a run: what it saw, and what it did. The effect and this row are one commit."""

    __tablename__ = "agent_workflow_step_runs"
    __table_args__ = tenant_table(
        refers("execution_id", "agent_workflow_executions", on_delete="CASCADE"),
        one_of("status", StepRunStatus),
        CheckConstraint("attempt >= 1", name="attempt_range"),
        CheckConstraint("duration_ms >= 0", name="duration_ms_range"),
        CheckConstraint(
            "(status IN ('completed', 'failed', 'skipped')) = (completed_at IS NOT NULL)", name="status_has_its_times"
        ),
        UniqueConstraint("workspace_id", "execution_id", "step_id"),
        Index("ix_agent_workflow_step_runs_created", "workspace_id", "created_at", "id"),
    )

    execution_id: Mapped[uuid.UUID]
    step_id: Mapped[str]
    action: Mapped[str]
    status: Mapped[str] = mapped_column(default="running", server_default="running")
    attempt: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    inputs: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    output: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    # The steps it led to, where it chose; null where the order of the steps decides.
    chosen: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))
    due_at: Mapped[datetime | None]
    started_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None]


class AgentWorkflowStepRunView(View, kw_only=True):
    """A step of a workflow's run: what it saw, what it did, and why it failed or was passed over."""

    id: ReadOnly[uuid.UUID]
    execution_id: ReadOnly[
        Annotated[uuid.UUID, msgspec.Meta(examples=["0198c0de-5000-7b44-96c0-086bed0401d7"], description="The run.")]
    ]
    step_id: ReadOnly[
        Annotated[str, msgspec.Meta(description="The step, by its `id` in the workflow.", examples=["ask"])]
    ]
    action: ReadOnly[Annotated[str, msgspec.Meta(description="What the step does.", examples=["approval"])]]
    status: ReadOnly[StepRunStatus]
    attempt: ReadOnly[Annotated[int, msgspec.Meta(description="Which try this is; the first is 1.", examples=[1])]] = 1
    inputs: ReadOnly[
        Annotated[
            dict[str, Any],
            msgspec.Meta(description="What it saw: its inputs, with what they speak of.", examples=[{"hours": 2}]),
        ]
    ] = {}
    output: ReadOnly[
        Annotated[
            dict[str, Any] | None,
            msgspec.Meta(description="What it did, and what later steps may speak of.", examples=[None]),
        ]
    ] = None
    error: ReadOnly[
        Annotated[
            dict[str, Any] | None,
            msgspec.Meta(description="Why it failed, was passed over, or is tried again.", examples=[None]),
        ]
    ] = None
    due_at: ReadOnly[
        Annotated[
            datetime | None,
            msgspec.Meta(description="When it goes on, or gives up, at the latest.", examples=["2036-03-01T12:00:00Z"]),
        ]
    ] = None
    started_at: ReadOnly[datetime]
    completed_at: ReadOnly[datetime | None] = None
    duration_ms: ReadOnly[int | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class AgentWorkflowHost(TenantRow, Base):
    """A host that workflows of this workspace may call."""

    __tablename__ = "agent_workflow_hosts"
    __table_args__ = tenant_table(
        UniqueConstraint("workspace_id", "host"),
        Index("ix_agent_workflow_hosts_created", "workspace_id", "created_at", "id"),
    )

    host: Mapped[str] = mapped_column(Host)
    description: Mapped[str | None]
    secret_headers: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))


class SecretHeaderView(msgspec.Struct, rename="camel"):
    """A header that is sent to a host: that it is there, and its last four characters."""

    last_four: str


class AgentWorkflowHostView(View, kw_only=True):
    """A host that workflows may call, over https. One with a leading dot stands for every name below it."""

    id: ReadOnly[uuid.UUID]
    host: Annotated[
        str,
        msgspec.Meta(
            description="Its name, with a port where that is not 443. No address of a private network is ever called.",
            examples=["api.example.com"],
        ),
    ]
    description: str | None = None
    secret_headers: ReadOnly[
        Annotated[
            dict[str, SecretHeaderView],
            msgspec.Meta(
                description="Headers that every call there carries, kept sealed, by their names.",
                examples=[{"authorization": {"lastFour": "9f2c"}}],
            ),
        ]
    ] = {}
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class WorkflowProgress(Base):
    """How far the log of a workspace that has workflows was read for what sets them off, and what they wait for."""

    __tablename__ = "workflow_progress"

    workspace_id: Mapped[uuid.UUID] = workspace_reference()
    seq: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
