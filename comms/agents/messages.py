"""What agents tell each other: every message has an addressee and a thread."""

import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import reading
from comms.errors import Invalid
from models.base import new_id
from models.orchestration import AgentMessage


class Content(msgspec.Struct, rename="camel", omit_defaults=True):
    """What a message says."""

    subject: Annotated[str, msgspec.Meta(max_length=1_000)] | None = None
    body: Annotated[str, msgspec.Meta(max_length=65_536)] | None = None
    data: dict[str, Any] = {}
    priority: Literal["low", "normal", "high", "urgent"] = "normal"


async def write(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> AgentMessage:
    """The message is pending, in the thread of the one it answers or first of its own."""
    values = await _addressed(db, workspace_id, values)
    if values.get("to_agent_id") is None and values.get("team_id") is None:
        raise Invalid({"toAgentId": "is required unless teamId is given"})
    content = reading.written(reading.read(Content, values.get("content", {}), "content"))
    row = AgentMessage(workspace_id=workspace_id, id=new_id(), **{**values, "content": content})
    row.thread_id = row.id
    if row.parent_message_id is not None:
        thread_id = await db.scalar(
            select(AgentMessage.thread_id).where(
                AgentMessage.workspace_id == workspace_id, AgentMessage.id == row.parent_message_id
            )
        )
        if thread_id is None:
            raise Invalid({"parentMessageId": "refers to nothing in this workspace"})
        row.thread_id = thread_id
    db.add(row)
    return row


async def _addressed(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """An answer that says nothing else is to whom it answers; and of what no agent has said, to whom it was said."""
    if values.get("parent_message_id") is None or values.get("to_agent_id") or values.get("team_id"):
        return values
    parent = await db.get(AgentMessage, (workspace_id, values["parent_message_id"]))
    if parent is None:
        return values
    to = parent.from_agent_id or parent.to_agent_id
    return {**values, "to_agent_id": to, "team_id": None if to is not None else parent.team_id}
