"""When agents run by themselves."""

import uuid
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.agents.runs import ExecutionStatus
from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, tenant_table
from models.types import Cron, TimeZone

ScheduleTrigger = Literal["manual", "scheduled", "webhook"]
MissedRuns = Literal["skip", "once", "all"]


class AgentSchedule(TenantRow, Base):
    """What makes an agent run: a member, the clock, or a call to its webhook."""

    __tablename__ = "agent_schedules"
    __table_args__ = tenant_table(
        refers("agent_id", "agents", on_delete="CASCADE"),
        one_of("trigger_type", ScheduleTrigger),
        one_of("last_run_status", ExecutionStatus),
        one_of("missed_runs", MissedRuns),
        CheckConstraint("trigger_type <> 'scheduled' OR cron IS NOT NULL", name="cron_of_scheduled"),
        CheckConstraint(
            "(next_run_at IS NOT NULL) = (trigger_type = 'scheduled' AND enabled)", name="next_run_at_of_scheduled"
        ),
        CheckConstraint(
            "(webhook_secret IS NULL) = (webhook_secret_key_id IS NULL)"
            " AND (webhook_secret IS NULL) = (webhook_secret_last_four IS NULL)",
            name="webhook_secret_whole",
        ),
        Index("ix_agent_schedules_created", "workspace_id", "created_at", "id"),
        Index("ix_agent_schedules_agent", "workspace_id", "agent_id", "created_at", "id"),
        # The runner asks for what is due in every workspace.
        Index("ix_agent_schedules_due", "next_run_at", postgresql_where=text("next_run_at IS NOT NULL")),
    )

    agent_id: Mapped[uuid.UUID]
    trigger_type: Mapped[str] = mapped_column(default="manual", server_default="manual")
    cron: Mapped[str | None] = mapped_column(Cron)
    timezone: Mapped[str] = mapped_column(TimeZone, default="UTC", server_default="UTC")
    webhook_url: Mapped[str | None]
    # Under AES-256-GCM: nonce, tag and text. A hash would not do, the caller's signature is checked with it.
    webhook_secret: Mapped[bytes | None]
    webhook_secret_key_id: Mapped[str | None]
    webhook_secret_last_four: Mapped[str | None]
    enabled: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    missed_runs: Mapped[str] = mapped_column(default="once", server_default="once")
    next_run_at: Mapped[datetime | None]
    last_run_at: Mapped[datetime | None]
    last_run_status: Mapped[str | None]


class AgentScheduleView(View, kw_only=True):
    """When an agent runs. ``cron`` has five fields and is read in ``timezone``; ``nextRunAt`` follows from them.

    A webhook's secret is made by `POST /agent-schedules/{id}/webhook-secret`, which alone shows it.
    """

    id: ReadOnly[uuid.UUID]
    agent_id: uuid.UUID
    trigger_type: Annotated[ScheduleTrigger, msgspec.Meta(examples=["scheduled"])] = "manual"
    cron: str | None = None
    timezone: str = "UTC"
    webhook_url: ReadOnly[str | None] = None
    webhook_secret_last_four: ReadOnly[str | None] = None
    enabled: bool = True
    missed_runs: Annotated[
        MissedRuns,
        msgspec.Meta(
            description="What becomes of times that passed while nobody was there to run it: none is made up for, one "
            "run for all of them, or one for each (the last 100).",
            examples=["once"],
        ),
    ] = "once"
    next_run_at: ReadOnly[datetime | None] = None
    last_run_at: ReadOnly[datetime | None] = None
    last_run_status: ReadOnly[ExecutionStatus | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
