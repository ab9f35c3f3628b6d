"""Somebody wants a conversation routed that waited before there were rules."""

import uuid

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.assignment.queueing import queue, shown
from comms.assignment.rules import BEGIN
from comms.errors import Conflict, Missing
from models.communications import Conversation
from models.routing import RoutingPlace, RoutingPlaceView


async def enter(db: AsyncSession, workspace_id: uuid.UUID, conversation_id: uuid.UUID) -> RoutingPlaceView:
    """The conversation has a place in its queue; raises ``Missing``, and ``Conflict`` when it belongs in none."""
    await db.execute(BEGIN, {"here": workspace_id})
    await db.execute(_HOLD, {"here": workspace_id})
    conversation = await db.scalar(select(Conversation).where(Conversation.id == conversation_id))
    if conversation is None:
        raise Missing(f"There is no conversation {conversation_id} in this workspace.")
    if conversation.status != "active" or conversation.waiting_since is None:
        owner = conversation.assigned_to or conversation.agent_id
        raise Conflict(f"this conversation waits for nobody: it is {conversation.status}, and its owner is {owner}")
    await queue(db, workspace_id, [conversation_id])
    place = await db.scalar(select(RoutingPlace).where(RoutingPlace.conversation_id == conversation_id))
    if place is None:
        raise Conflict(
            "no active routing rule is true of this conversation now: it is snoozed, or one person or agent is asked"
            " first, or a rule is missing"
        )
    return shown(place)


_HOLD = text("SELECT seq FROM routing_progress WHERE workspace_id = :here FOR UPDATE")
