"""What agents remember together."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import CheckConstraint, Computed, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, tenant_table

MemoryTier = Literal["short_term", "medium_term", "long_term"]
MemoryCategory = Literal["context", "pattern", "preference", "knowledge", "relationship"]


class AgentSharedMemory(TenantRow, Base):
    """Something remembered under a key, which is there once for the workspace, once per team and once per agent."""

    __tablename__ = "agent_shared_memory"
    __table_args__ = tenant_table(
        refers("team_id", "agent_teams", on_delete="CASCADE"),
        refers("agent_id", "agents", on_delete="CASCADE"),
        one_of("memory_tier", MemoryTier),
        one_of("category", MemoryCategory),
        CheckConstraint("importance BETWEEN 0 AND 100", name="importance_range"),
        # No team and no agent is a scope of its own: there too a key is taken once.
        Index(
            "uq_agent_shared_memory_key",
            "workspace_id",
            "team_id",
            "agent_id",
            "key",
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
        Index("ix_agent_shared_memory_created", "workspace_id", "created_at", "id"),
        Index("ix_agent_shared_memory_agent", "workspace_id", "agent_id"),
        Index("ix_agent_shared_memory_importance", "workspace_id", "importance", "id"),
        Index("ix_agent_shared_memory_expiry", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
    )

    team_id: Mapped[uuid.UUID | None]
    agent_id: Mapped[uuid.UUID | None]
    memory_tier: Mapped[str] = mapped_column(default="short_term", server_default="short_term")
    category: Mapped[str] = mapped_column(default="context", server_default="context")
    key: Mapped[str]
    value: Mapped[Any] = mapped_column(JSONB)
    # What a search reads: the text itself of a text, the JSON of anything else.
    value_text: Mapped[str | None] = mapped_column(Computed("value #>> '{}'", persisted=True))
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict, server_default=text("'{}'"))
    importance: Mapped[int] = mapped_column(default=50, server_default=text("50"))
    expires_at: Mapped[datetime | None]


class AgentSharedMemoryView(View, kw_only=True):
    """Something agents remember: everybody's without ``teamId`` and ``agentId``, else that team's or agent's.

    ``metadata`` holds its ``source`` and ``confidence`` (0 to 1); ``lastAccessed`` in it is ours to set.
    After ``expiresAt`` it is forgotten.
    """

    id: ReadOnly[uuid.UUID]
    team_id: uuid.UUID | None = None
    agent_id: uuid.UUID | None = None
    memory_tier: MemoryTier = "short_term"
    category: MemoryCategory = "context"
    key: str
    value: Annotated[Any, msgspec.Meta(examples=[{"monday": "9-17"}])]
    meta: dict[str, Any] = msgspec.field(name="metadata", default_factory=dict)
    importance: int = 50
    expires_at: datetime | None = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
