"""What agents tell each other: every message has an addressee and a thread."""

import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import reading
from comms.agents import states
from comms.errors import Conflict, Invalid
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


def acknowledge(row: AgentMessage, agent_id: uuid.UUID, status: str) -> None:
    """The message has come so far with that agent. What was said to a team is the first one's who says so.

    The caller holds it. Raises ``Conflict`` for the others of the team.
    """
    if row.taken_by_agent_id not in (None, agent_id):
        raise Conflict(f"agent {row.taken_by_agent_id} of this team has taken this message: leave it to that one")
    states.move(row, status, states.MESSAGE, "message")
    row.taken_by_agent_id = agent_id


async def _addressed(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """An answer that says nothing else is to whom it answers; and of what no agent has said, to whom it was said.

    What an agent so answers a member or a workflow is no other agent's to do: it is processed as it is made.
    """
    if values.get("parent_message_id") is None or values.get("to_agent_id") or values.get("team_id"):
        return values
    parent = await db.get(AgentMessage, (workspace_id, values["parent_message_id"]))
    if parent is None:
        return values
    to = parent.from_agent_id or parent.to_agent_id
    for_nobody = {"status": "processed"} if parent.from_agent_id is None and values.get("from_agent_id") else {}
    return {**values, **for_nobody, "to_agent_id": to, "team_id": None if to is not None else parent.team_id}
