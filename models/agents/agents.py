"""The agents of a workspace."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers_to_member, tenant_table

AgentType = Literal[
    "scope",
    "call",
    "email",
    "note",
    "task",
    "content",
    "sms",
    "chat",
    "research",
    "scheduling",
    "sales",
    "support",
    "marketing",
    "finance",
    "custom",
]
AgentStatus = Literal["draft", "active", "paused", "archived"]


class Agent(TenantRow, Base):
    """Somebody artificial who works for the workspace."""

    __tablename__ = "agents"
    __table_args__ = tenant_table(
        refers_to_member("created_by"),
        one_of("type", AgentType),
        one_of("status", AgentStatus),
        CheckConstraint("execution_count >= 0", name="execution_count_range"),
        Index("ix_agents_created", "workspace_id", "created_at", "id"),
        # How often a template was installed lately is asked across workspaces.
        Index(
            "ix_agents_source_template",
            "source_template_id",
            "created_at",
            postgresql_where=text("source_template_id IS NOT NULL"),
        ),
    )

    name: Mapped[str]
    description: Mapped[str | None]
    type: Mapped[str] = mapped_column(default="custom", server_default="custom")
    status: Mapped[str] = mapped_column(default="draft", server_default="draft")
    config: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    # Where it came from, which may be gone by now: the catalogue is nobody's foreign key.
    source_pack_id: Mapped[uuid.UUID | None]
    source_template_id: Mapped[uuid.UUID | None]
    is_custom: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    created_by: Mapped[uuid.UUID | None]
    execution_count: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    last_executed_at: Mapped[datetime | None]


class AgentView(View, kw_only=True):
    """An agent; ``config`` holds its ``aiProvider``, ``model``, ``systemPrompt`` and ``tools``."""

    id: ReadOnly[uuid.UUID]
    name: Annotated[str, msgspec.Meta(examples=["Front desk"])]
    description: str | None = None
    type: AgentType = "custom"
    status: ReadOnly[AgentStatus] = "draft"
    config: dict[str, Any] = {}
    source_pack_id: ReadOnly[uuid.UUID | None] = None
    source_template_id: ReadOnly[uuid.UUID | None] = None
    is_custom: ReadOnly[bool] = True
    created_by: ReadOnly[uuid.UUID | None] = None
    execution_count: ReadOnly[int] = 0
    last_executed_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
