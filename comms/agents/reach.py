"""Which conversations an agent may look at, and which of them wait for it."""

import uuid
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents.sight import REACH, SEES, WAITS
from comms.messages import ConversationMissing
from models.communications import Conversation

_FROM = f"""
FROM agents a
CROSS JOIN LATERAL (SELECT {REACH} AS reach) w
JOIN conversations c ON c.workspace_id = a.workspace_id
LEFT JOIN conversation_handoffs h
    ON h.workspace_id = c.workspace_id AND h.conversation_id = c.id AND h.status = 'open'
WHERE a.workspace_id = :workspace AND a.id = :agent"""

_ONE = text(
    f"SELECT {SEES} AS sees, c.agent_id IS NOT DISTINCT FROM a.id OR ({WAITS}) AS claims {_FROM} AND c.id = :id"
)
# What was handed to this very agent first, and then whoever has waited longest.
_WAITING = text(
    f"SELECT c.id {_FROM} AND (c.waiting_since IS NOT NULL OR c.agent_id IS NOT NULL) AND {WAITS}"
    " ORDER BY h.id IS NULL, coalesce(c.waiting_since, c.lease_expires_at), c.id LIMIT :most"
)


async def expect_seen(
    db: AsyncSession, workspace_id: uuid.UUID, agent_id: uuid.UUID, conversation_id: uuid.UUID
) -> bool:
    """Whether the agent may claim the conversation; ``ConversationMissing`` when it may not even look at it."""
    asked = {"workspace": workspace_id, "agent": agent_id, "id": conversation_id}
    row = (await db.execute(_ONE, asked)).one_or_none()
    if row is None or not row.sees:
        raise ConversationMissing
    return bool(row.claims)


async def waiting_for(db: AsyncSession, workspace_id: uuid.UUID, agent_id: uuid.UUID, most: int) -> Sequence[uuid.UUID]:
    """The conversations that wait for this agent, or for anybody."""
    asked = {"workspace": workspace_id, "agent": agent_id, "most": most}
    return [row.id for row in await db.execute(_WAITING, asked)]


async def held(db: AsyncSession, workspace_id: uuid.UUID, conversation_id: uuid.UUID) -> Conversation:
    """The conversation, which nobody else changes until the commit."""
    row = await db.get(
        Conversation, (workspace_id, conversation_id), with_for_update={"key_share": True}, populate_existing=True
    )
    if row is None:
        raise ConversationMissing
    return row
