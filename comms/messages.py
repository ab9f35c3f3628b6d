"""What another system has said to a contact, or a note of fact, takes its place in the conversation."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession

from comms.credentials import Identity
from comms.delivery import join_parked
from comms.errors import Invalid, Missing
from models.base import new_id, now
from models.communications import Conversation, ConversationMessage


class ConversationMissing(Missing):
    """There is no such conversation in this workspace."""


async def record(db: AsyncSession, sender: Identity, values: Mapping[str, Any]) -> ConversationMessage:
    """The outbound message is the newest of its conversation, and delivery reports that came before it are its own.

    With a ``provider_message_id`` it has been sent, by whoever gives us that id; without one it is accepted and no
    more: nothing is sent from here. Raises ``Invalid`` and ``ConversationMissing``.
    """
    if values["direction"] != "outbound":
        raise Invalid({"direction": "must be outbound: inbound messages come from the providers"})
    is_sent = values["provider_message_id"] is not None
    if is_sent and values["provider"] is None:
        raise Invalid({"provider": "is required with providerMessageId"})
    at = now()
    # First of all: this also proves that the conversation is there, and keeps it there.
    kept = await db.execute(
        update(Conversation)
        .where(Conversation.workspace_id == sender.workspace_id, Conversation.id == values["conversation_id"])
        .values(
            message_count=Conversation.message_count + 1,
            last_message_at=func.greatest(Conversation.last_message_at, at),
        )
        .returning(Conversation.id)
        .execution_options(synchronize_session=False)
    )
    if kept.scalar_one_or_none() is None:
        raise ConversationMissing
    message = ConversationMessage(
        workspace_id=sender.workspace_id,
        id=new_id(),
        **values,
        sender_type="user",
        sender_user_id=sender.user_id,
        status="sent" if is_sent else "accepted",
        sent_at=at if is_sent else None,
        created_at=at,
        updated_at=at,
    )
    db.add(message)
    await db.flush()
    if is_sent:
        await join_parked(db, message)
    return message
