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

# What has left, or is just leaving, stays. Of messages that came here with a merged contact the fence is another's.
_CALL_BACK = """
WITH taken AS (
    DELETE FROM outgoing_messages o
    USING unnest($1::uuid[], $2::uuid[]) AS w (workspace_id, id), conversations c, conversation_messages m
    WHERE o.workspace_id = w.workspace_id AND o.conversation_id = w.id AND o.fence IS NOT NULL
        AND (o.state = 'scheduled' OR $3 AND o.state = 'queued')
        AND c.workspace_id = w.workspace_id AND c.id = w.id AND m.workspace_id = o.workspace_id AND m.id = o.id
        AND (c.fence <> o.fence OR c.agent_id IS DISTINCT FROM m.sender_agent_id)
    RETURNING o.workspace_id, o.id
)
UPDATE conversation_messages m SET status = 'canceled', error_message = $4, updated_at = now() FROM taken
WHERE m.workspace_id = taken.workspace_id AND m.id = taken.id
RETURNING m.id
"""


async def call_back(db: AsyncSession, lines: Sequence[tuple[Any, Any]], *, is_all: bool = False) -> bool:
    """What agents have scheduled in these lines, which are held, and no longer may say is canceled; whether any was.

    With ``is_all`` what waits to leave right now too. The lines may lack a head then.
    """
    rows = await fetch(db, _CALL_BACK, [line[0] for line in lines], [line[1] for line in lines], is_all, CALLED_BACK)
    if not rows:
        return False
    query = (
        select(ConversationMessage)
        .where(ConversationMessage.id.in_([row["id"] for row in rows]))
        .order_by(ConversationMessage.created_at, ConversationMessage.id)
        .options(selectinload(ConversationMessage.attachments))
        .execution_options(populate_existing=True)
    )
    for message in await db.scalars(query):
        view = msgspec.convert(message, ConversationMessageView, from_attributes=True)
        events.record(db, "message.canceled", message, view)
    return True
