"""What an agent has said and has not left yet, once its conversation has changed hands: it never leaves."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from comms import events
from comms.outbox.rows import fetch
from models.communications import ConversationMessage, ConversationMessageView

CALLED_BACK = "the conversation is no longer this agent's"

STALE = """
o.fence IS NOT NULL AND NOT EXISTS (
    SELECT FROM conversation_messages m
    JOIN agents a ON a.workspace_id = m.workspace_id AND a.id = m.sender_agent_id AND a.status = 'active'
    JOIN conversations c ON c.workspace_id = o.workspace_id AND c.id = o.conversation_id
    WHERE m.workspace_id = o.workspace_id AND m.id = o.id AND (
        c.fence = o.fence AND c.agent_id = a.id
        OR c.fence = o.fence + 1 AND c.assigned_to IS NULL AND c.agent_id IS NULL AND o.state <> 'scheduled'
    )
)"""
"""SQL for what waits to leave, ``o``, and may not any more: the one law of what an agent has said.

It leaves while the agent, which works, has the conversation under that fence; or has just let go of it and nobody has
had it since: who says "a colleague will be with you" and hands it on is heard.
"""

# What has left, or is just leaving, stays: whoever puts it back into its line finds that it is stale.
_CALL_BACK = f"""
WITH taken AS (
    DELETE FROM outgoing_messages o USING unnest($1::uuid[], $2::uuid[]) AS w (workspace_id, id)
    WHERE o.workspace_id = w.workspace_id AND o.conversation_id = w.id AND o.state IN ('scheduled', 'queued')
        AND {STALE}
    RETURNING o.workspace_id, o.id
),
was AS (
    SELECT m.workspace_id, m.id, m.status, m.error_message
    FROM conversation_messages m JOIN taken ON taken.workspace_id = m.workspace_id AND taken.id = m.id
)
UPDATE conversation_messages m SET status = 'canceled', error_message = $3, updated_at = now() FROM was
WHERE m.workspace_id = was.workspace_id AND m.id = was.id
RETURNING m.id, was.status, was.error_message
"""


async def call_back(db: AsyncSession, lines: Sequence[tuple[Any, Any]]) -> bool:
    """What is stale in these lines, which are held, is canceled; whether any was: then a line may lack its head."""
    rows = await fetch(db, _CALL_BACK, [line[0] for line in lines], [line[1] for line in lines], CALLED_BACK)
    if not rows:
        return False
    was = {row["id"]: {"status": row["status"], "error_message": row["error_message"]} for row in rows}
    query = (
        select(ConversationMessage)
        .where(ConversationMessage.id.in_(was))
        .order_by(ConversationMessage.created_at, ConversationMessage.id)
        .options(selectinload(ConversationMessage.attachments))
        .execution_options(populate_existing=True)
    )
    for message in await db.scalars(query):
        view = msgspec.convert(message, ConversationMessageView, from_attributes=True)
        before = msgspec.structs.replace(view, **was[message.id])
        events.record(db, "message.canceled", message, view, before=before)
    return True
