"""What agents did: executions and logs. Only the system writes them."""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import CheckConstraint, Index, Numeric, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, now, one_of, refers, refers_to_member, tenant_table

ExecutionStatus = Literal["pending", "running", "completed", "failed", "cancelled"]


class AgentExecution(TenantRow, Base):
    """One run of an agent. An agent that has run is archived, never deleted."""

    __tablename__ = "agent_executions"
    __table_args__ = tenant_table(
        refers("agent_id", "agents"),
        refers_to_member("triggered_by"),
        refers("schedule_id", "agent_schedules", on_delete="SET NULL"),
        one_of("status", ExecutionStatus),
        CheckConstraint(
            "(status IN ('completed', 'failed', 'cancelled')) = (completed_at IS NOT NULL)"
            " AND (status NOT IN ('running', 'completed', 'failed') OR started_at IS NOT NULL)",
            name="status_has_its_times",
        ),
        CheckConstraint("duration_ms >= 0", name="duration_ms_range"),
        CheckConstraint("tokens_used >= 0", name="tokens_used_range"),
        CheckConstraint("cost >= 0", name="cost_range"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_code"),
        Index("ix_agent_executions_created", "workspace_id", "created_at", "id"),
        Index("ix_agent_executions_agent", "workspace_id", "agent_id", "created_at", "id"),
        Index("ix_agent_executions_status", "workspace_id", "status", "created_at", "id"),
        Index(
            "ix_agent_executions_schedule",
            "workspace_id",
            "schedule_id",
            postgresql_where=text("schedule_id IS NOT NULL"),
        ),
    )

    agent_id: Mapped[uuid.UUID]
    triggered_by: Mapped[uuid.UUID | None]
    schedule_id: Mapped[uuid.UUID | None]
    status: Mapped[str] = mapped_column(default="pending", server_default="pending")
    input: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    output: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    duration_ms: Mapped[int | None]
    tokens_used: Mapped[int | None]
    # A run costs fractions of a cent: two decimals would make most of them nothing.
    cost: Mapped[Decimal | None] = mapped_column(Numeric(14, 6))
    currency: Mapped[str] = mapped_column(default="USD", server_default="USD")
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]


class AgentExecutionView(View, kw_only=True):
    """One run of an agent; ``triggeredBy`` is the member who asked for it."""

    id: ReadOnly[uuid.UUID]
    agent_id: ReadOnly[uuid.UUID]
    triggered_by: ReadOnly[uuid.UUID | None] = None
    schedule_id: ReadOnly[
        Annotated[uuid.UUID | None, msgspec.Meta(description="The schedule that came due, where one did.")]
    ] = None
    status: ReadOnly[ExecutionStatus]
    input: ReadOnly[dict[str, Any]] = {}
    output: ReadOnly[dict[str, Any] | None] = None
    error: ReadOnly[dict[str, Any] | None] = None
    duration_ms: ReadOnly[int | None] = None
    tokens_used: ReadOnly[int | None] = None
    cost: ReadOnly[Decimal | None] = None
    currency: ReadOnly[str] = "USD"
    started_at: ReadOnly[datetime | None] = None
    completed_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class AgentLog(TenantRow, Base):
    """One step of an agent, such as a call of a model, in short: what it cost and whether it worked.

    Of an execution, or of none; never the whole text.
    """

    __tablename__ = "agent_logs"
    __table_args__ = tenant_table(
        refers("agent_id", "agents", on_delete="SET NULL"),
        refers("execution_id", "agent_executions", on_delete="CASCADE"),
        refers_to_member("user_id"),
        CheckConstraint("duration >= 0", name="duration_range"),
        CheckConstraint("tokens_used >= 0", name="tokens_used_range"),
        CheckConstraint("cost >= 0", name="cost_range"),
        Index("ix_agent_logs_created", "workspace_id", "created_at", "id"),
        Index("ix_agent_logs_agent", "workspace_id", "agent_id", "created_at", "id"),
        Index("ix_agent_logs_execution", "workspace_id", "execution_id", "created_at", "id"),
    )

    agent_id: Mapped[uuid.UUID | None]
    execution_id: Mapped[uuid.UUID | None]
    tenant_id: Mapped[uuid.UUID | None]
    user_id: Mapped[uuid.UUID | None]
    input_summary: Mapped[str | None]
    output_summary: Mapped[str | None]
    duration: Mapped[int | None]
    success: Mapped[bool]
    provider: Mapped[str | None]
    model: Mapped[str | None]
    error: Mapped[str | None]
    tokens_used: Mapped[int | None]
    cost: Mapped[Decimal | None] = mapped_column(Numeric(14, 6))
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict, server_default=text("'{}'"))
    timestamp: Mapped[datetime] = mapped_column(default=now)


class AgentLogView(View, kw_only=True):
    """One step of an agent, such as a call of a model; ``duration`` is in milliseconds."""

    id: ReadOnly[uuid.UUID]
    agent_id: ReadOnly[uuid.UUID | None] = None
    execution_id: ReadOnly[uuid.UUID | None] = None
    tenant_id: ReadOnly[uuid.UUID | None] = None
    user_id: ReadOnly[uuid.UUID | None] = None
    input_summary: ReadOnly[str | None] = None
    output_summary: ReadOnly[str | None] = None
    duration: ReadOnly[int | None] = None
    success: ReadOnly[bool]
    provider: ReadOnly[str | None] = None
    model: ReadOnly[str | None] = None
    error: ReadOnly[str | None] = None
    tokens_used: ReadOnly[int | None] = None
    cost: ReadOnly[Decimal | None] = None
    meta: ReadOnly[dict[str, Any]] = msgspec.field(name="metadata", default_factory=dict)
    timestamp: ReadOnly[datetime]
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
