"""What agents tell each other."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, tenant_table

AgentMessageType = Literal["task", "result", "context", "handoff", "status", "query"]
AgentMessageStatus = Literal["pending", "delivered", "read", "processed"]


class AgentMessage(TenantRow, Base):
    """A message to an agent or a team. A thread is named by its first message.

    What is said to a team is taken by the first of its agents that acknowledges it.
    """

    __tablename__ = "agent_messages"
    __table_args__ = tenant_table(
        refers("from_agent_id", "agents"),
        refers("to_agent_id", "agents"),
        refers("team_id", "agent_teams"),
        refers("taken_by_agent_id", "agents"),
        refers("parent_message_id", "agent_messages"),
        one_of("message_type", AgentMessageType),
        one_of("status", AgentMessageStatus),
        CheckConstraint("to_agent_id IS NOT NULL OR team_id IS NOT NULL", name="to_agent_id_or_team"),
        Index("ix_agent_messages_created", "workspace_id", "created_at", "id"),
        Index("ix_agent_messages_thread", "workspace_id", "thread_id", "created_at", "id"),
        Index("ix_agent_messages_inbox", "workspace_id", "to_agent_id", "status", "created_at", "id"),
        Index("ix_agent_messages_sender", "workspace_id", "from_agent_id", "created_at", "id"),
        Index("ix_agent_messages_team", "workspace_id", "team_id", "created_at", "id"),
        Index("ix_agent_messages_parent", "workspace_id", "parent_message_id"),
    )

    from_agent_id: Mapped[uuid.UUID | None]
    to_agent_id: Mapped[uuid.UUID | None]
    team_id: Mapped[uuid.UUID | None]
    message_type: Mapped[str] = mapped_column(default="task", server_default="task")
    content: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    parent_message_id: Mapped[uuid.UUID | None]
    thread_id: Mapped[uuid.UUID]
    status: Mapped[str] = mapped_column(default="pending", server_default="pending")
    taken_by_agent_id: Mapped[uuid.UUID | None]


class AgentMessageView(View, kw_only=True):
    """A message between agents, or from a member when ``fromAgentId`` is null.

    ``content`` holds its ``subject``, ``body``, ``data`` and ``priority`` (low, normal, high or urgent).
    """

    id: ReadOnly[uuid.UUID]
    from_agent_id: uuid.UUID | None = None
    to_agent_id: Annotated[uuid.UUID, msgspec.Meta(examples=["0198c0de-5000-7fb0-9a6f-6d2c3f1e8b11"])] | None = None
    team_id: uuid.UUID | None = None
    message_type: AgentMessageType = "task"
    content: dict[str, Any] = {}
    parent_message_id: uuid.UUID | None = None
    thread_id: ReadOnly[uuid.UUID]
    status: ReadOnly[AgentMessageStatus] = "pending"
    taken_by_agent_id: Annotated[
        ReadOnly[uuid.UUID | None],
        msgspec.Meta(description="The agent that has acknowledged it: what is said to a team is one agent's then."),
    ] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
