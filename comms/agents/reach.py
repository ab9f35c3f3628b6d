"""Which conversations an agent may look at, which of them wait for it, and whose rows it may touch."""

import uuid
from collections.abc import Collection, Sequence

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

_SEEN = text(
    f"SELECT a.id AS agent_id, c.id {_FROM.replace('a.id = :agent', 'a.id = ANY(CAST(:agents AS uuid[]))')}"
    f" AND c.id = ANY(CAST(:ids AS uuid[])) AND ({SEES})"
)
# Rows of the CRM are their contact's; one without conversations is nobody's, as what waits is.
_STRANGERS = text(
    f"""
    WITH concerned AS (
        SELECT id AS contact_id FROM contacts WHERE workspace_id = :workspace AND id = ANY(CAST(:ids AS uuid[]))
        UNION SELECT contact_id FROM contact_points WHERE workspace_id = :workspace AND value = :phone
        UNION SELECT contact_id FROM deals WHERE workspace_id = :workspace AND id = ANY(CAST(:ids AS uuid[]))
        UNION SELECT contact_id FROM prospects WHERE workspace_id = :workspace AND id = ANY(CAST(:ids AS uuid[]))
        UNION SELECT contact_id FROM crm_interactions WHERE workspace_id = :workspace AND id = ANY(CAST(:ids AS uuid[]))
        UNION SELECT contact_id FROM customers WHERE workspace_id = :workspace AND (id = ANY(CAST(:ids AS uuid[]))
            OR id IN (SELECT customer_id FROM projects
                WHERE workspace_id = :workspace AND id = ANY(CAST(:ids AS uuid[]))))
    )
    SELECT concerned.contact_id FROM concerned
    WHERE concerned.contact_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM agents a
        CROSS JOIN LATERAL (SELECT {REACH} AS reach) w
        LEFT JOIN conversations c ON c.workspace_id = a.workspace_id AND c.contact_id = concerned.contact_id
        LEFT JOIN conversation_handoffs h
            ON h.workspace_id = c.workspace_id AND h.conversation_id = c.id AND h.status = 'open'
        WHERE a.workspace_id = :workspace AND a.id = :agent
            AND (w.reach = 'workspace' OR (c.id IS NULL AND w.reach = 'waiting') OR ({SEES}))
    )
    LIMIT 1
    """
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


async def seen(
    db: AsyncSession, workspace_id: uuid.UUID, pairs: Collection[tuple[uuid.UUID, uuid.UUID]]
) -> frozenset[tuple[uuid.UUID, uuid.UUID]]:
    """Those of these agents and conversations of which the agent may look at the conversation."""
    if not pairs:
        return frozenset()
    asked = {"agents": list({one for one, _ in pairs}), "ids": list({one for _, one in pairs})}
    found = await db.execute(_SEEN, {"workspace": workspace_id, **asked})
    return frozenset((row.agent_id, row.id) for row in found) & frozenset(pairs)


async def is_strangers(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    agent_id: uuid.UUID,
    ids: Collection[uuid.UUID],
    phone: str | None = None,
) -> bool:
    """Whether one of these rows, or who has that phone, is a contact's none of whose conversations the agent sees."""
    if not ids and phone is None:
        return False
    asked = {"workspace": workspace_id, "agent": agent_id, "ids": list(ids), "phone": phone}
    return (await db.execute(_STRANGERS, asked)).first() is not None


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
