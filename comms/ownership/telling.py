"""The contact is told what becomes of the conversation: in the workspace's words, on the contact's channel."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import outbox
from comms.database import attempt
from comms.errors import Invalid, Unsendable
from comms.ownership.settings import HandoffSettings, handoffs_of
from models.base import now
from models.communications import Conversation, ConversationHandoff
from models.core import Workspace


async def settled(db: AsyncSession, conversation: Conversation) -> HandoffSettings:
    """What the conversation's workspace has settled about handoffs."""
    query = select(Workspace.settings).where(Workspace.id == conversation.workspace_id)
    return handoffs_of(await db.scalar(query) or {})


async def tell(db: AsyncSession, conversation: Conversation, handoff: ConversationHandoff, words: str | None) -> None:
    """The contact is told, if there are words and may be: who has opted out hears nothing, and the handoff says why."""
    if words is None:
        return
    intent = outbox.Intent(
        workspace_id=conversation.workspace_id,
        conversation_id=conversation.id,
        content=words,
        metadata={"handoffId": str(handoff.id)},
    )
    try:
        async with attempt(db):
            await outbox.put(db, intent)
    except (Unsendable, Invalid) as refused:
        handoff.untold_because = refused.detail[:500]
    else:
        handoff.contact_told_at, handoff.untold_because = now(), None
    await db.refresh(conversation)  # it counts its messages by itself
