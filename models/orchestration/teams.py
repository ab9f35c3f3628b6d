"""Agents that work together."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, tenant_table

Department = Literal[
    "sales",
    "marketing",
    "support",
    "operations",
    "finance",
    "product",
    "engineering",
    "research",
    "hr",
    "legal",
    "general",
]
TeamStatus = Literal["active", "paused", "archived"]
TeamRole = Literal["coordinator", "specialist", "support"]


class AgentTeam(TenantRow, Base):
    """Agents of one department; the coordinator is one of its members."""

    __tablename__ = "agent_teams"
    __table_args__ = tenant_table(
        refers("coordinator_agent_id", "agents", on_delete="SET NULL"),
        one_of("department", Department),
        one_of("status", TeamStatus),
        CheckConstraint("total_executions >= 0", name="total_executions_range"),
        CheckConstraint("successful_executions BETWEEN 0 AND total_executions", name="successful_executions_range"),
        Index("ix_agent_teams_created", "workspace_id", "created_at", "id"),
        Index("ix_agent_teams_coordinator", "workspace_id", "coordinator_agent_id"),
    )

    name: Mapped[str]
    department: Mapped[str] = mapped_column(default="general", server_default="general")
    description: Mapped[str | None]
    coordinator_agent_id: Mapped[uuid.UUID | None]
    config: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    status: Mapped[str] = mapped_column(default="active", server_default="active")
    total_executions: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    successful_executions: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    last_active_at: Mapped[datetime | None]


class AgentTeamView(View, kw_only=True):
    """A team of agents; ``config`` holds its ``autonomyLevel``, ``approvalRequired`` and ``workingHours``.

    Whoever is made its coordinator becomes a member of it.
    """

    id: ReadOnly[uuid.UUID]
    name: Annotated[str, msgspec.Meta(examples=["Support"])]
    department: Department = "general"
    description: str | None = None
    coordinator_agent_id: uuid.UUID | None = None
    config: dict[str, Any] = {}
    status: ReadOnly[TeamStatus] = "active"
    total_executions: ReadOnly[int] = 0
    successful_executions: ReadOnly[int] = 0
    last_active_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class AgentTeamMember(TenantRow, Base):
    """An agent's place in a team: once, in a role, in the order in which they are asked."""

    __tablename__ = "agent_team_members"
    __table_args__ = tenant_table(
        refers("team_id", "agent_teams", on_delete="CASCADE"),
        refers("agent_id", "agents", on_delete="CASCADE"),
        UniqueConstraint("workspace_id", "team_id", "agent_id"),
        one_of("role", TeamRole),
        CheckConstraint("priority BETWEEN 0 AND 10000", name="priority_range"),
        Index("ix_agent_team_members_created", "workspace_id", "created_at", "id"),
        Index("ix_agent_team_members_order", "workspace_id", "team_id", "priority", "id"),
        Index("ix_agent_team_members_agent", "workspace_id", "agent_id"),
        Index(
            "uq_agent_team_members_coordinator",
            "workspace_id",
            "team_id",
            unique=True,
            postgresql_where=text("role = 'coordinator'"),
        ),
    )

    team_id: Mapped[uuid.UUID]
    agent_id: Mapped[uuid.UUID]
    role: Mapped[str] = mapped_column(default="specialist", server_default="specialist")
    priority: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    config: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))


class AgentTeamMemberView(View, kw_only=True):
    """A member of a team of agents: the lowest ``priority`` is asked first.

    ``config`` holds its ``specializations`` and whom it is ``fallbackFor``.
    """

    id: ReadOnly[uuid.UUID]
    team_id: uuid.UUID
    agent_id: uuid.UUID
    role: TeamRole = "specialist"
    priority: int = 0
    config: dict[str, Any] = {}
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
