"""Who has refused a conversation is not given it by another way, until there is something new."""

import uuid
from collections.abc import Collection, Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

REFUSED = """
coalesce((
    SELECT last.refused FROM (
        SELECT f.refused, f.fence, f.status, f.settled_at FROM conversation_handoffs f
        WHERE f.workspace_id = c.workspace_id AND f.conversation_id = c.id
        ORDER BY f.created_at DESC, f.id DESC LIMIT 1
    ) last
    WHERE last.refused <> '[]' AND last.fence = c.fence AND (last.status = 'open' OR NOT EXISTS (
        SELECT FROM conversation_messages m
        WHERE m.workspace_id = c.workspace_id AND m.conversation_id = c.id
            AND m.direction = 'inbound' AND m.created_at > last.settled_at
    ))
), '[]')"""
"""Who has refused a conversation ``c`` when it was handed on last: nobody any more once somebody has had it since (the
fence says so) or, when the handoff is over, its contact has said something."""

_MEMBERS = text(
    f"""
    SELECT c.id, array_agg(CAST(one->>'userId' AS uuid)) AS members
    FROM conversations c CROSS JOIN LATERAL jsonb_array_elements({REFUSED}) AS one
    WHERE c.workspace_id = :here AND c.id = ANY(CAST(:ids AS uuid[])) AND one->>'userId' IS NOT NULL
    GROUP BY c.id
    """
)


async def members(
    db: AsyncSession, workspace_id: uuid.UUID, conversation_ids: Collection[uuid.UUID]
) -> Mapping[uuid.UUID, frozenset[uuid.UUID]]:
    """Of each of these conversations that some have refused, the members who have."""
    found = await db.execute(_MEMBERS, {"here": workspace_id, "ids": list(conversation_ids)})
    return {row.id: frozenset(row.members) for row in found}
