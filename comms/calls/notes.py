"""What a call leaves in its conversation: that it came, how it ended, what was recorded of it."""

import uuid
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from comms import events, media
from comms.database import driver_of
from models.base import new_id, now
from models.communications import (
    Call,
    Conversation,
    ConversationMessage,
    ConversationMessageView,
    ConversationView,
)
from models.core import User

BACK_FILLED = timedelta(minutes=1)
"""An end that is older is told late, and stands in the conversation where it belongs."""

_ENDS = {
    "answered": "Call answered",
    "voicemail": "Missed call, with a message",
    "missed": "Missed call",
    "after_hours": "Missed call, after hours",
    "unreached": "Not reached",
}


async def note(
    db: AsyncSession,
    call: Call,
    key: str,
    content: str,
    *,
    content_type: str = "system",
    sound: str | None = None,
    at: datetime | None = None,
) -> ConversationMessage | None:
    """The conversation says so, once for a ``key``; None if it does already, or is gone. ``sound`` is fetched later.

    What is said in a spam conversation is kept, and nobody is told.
    """
    conversation = await _held(db, call)
    if conversation is None:
        return None
    at = at or now()
    is_ours = call.direction == "outbound" and call.placed_by is not None
    message: ConversationMessage | None = await db.scalar(
        insert(ConversationMessage)
        .values(
            workspace_id=call.workspace_id,
            id=new_id(),
            conversation_id=conversation.id,
            direction=call.direction,
            content=content,
            content_type=content_type,
            sender_type="user" if is_ours else "contact" if call.contact_id else "system",
            sender_user_id=call.placed_by if is_ours else None,
            sender_contact_id=None if is_ours else call.contact_id,
            meta={"callId": str(call.id)},
            status="sent" if call.direction == "outbound" else "received",
            provider=call.provider,
            provider_message_id=key,
            connection_id=call.connection_id,
            phone_number_id=call.phone_number_id,
            from_address=call.from_address,
            to_address=call.to_address,
            created_at=at,
            updated_at=at,
        )
        .on_conflict_do_nothing(
            index_elements=["workspace_id", "provider", "provider_message_id"],
            index_where=ConversationMessage.provider_message_id.is_not(None),
        )
        .returning(ConversationMessage)
    )
    if message is None:
        return None
    await _count(db, conversation, call, at)
    if sound:
        await _attach(db, call, message, sound, at)
    if conversation.status != "spam":
        what = "created" if call.direction == "outbound" else "received"
        events.record(db, f"message.{what}", message, await _view_of(db, message))
    return message


async def name_of(db: AsyncSession, user_id: uuid.UUID | None) -> str | None:
    """What a member is called; None for nobody."""
    user = None if user_id is None else await db.scalar(select(User).where(User.id == user_id))
    return None if user is None else " ".join(filter(None, (user.first_name, user.last_name))) or user.email


async def note_end(db: AsyncSession, call: Call) -> None:
    """The conversation says what came of the call."""
    said = _ENDS[call.outcome or "missed"]
    if call.outcome == "answered" and call.duration_seconds:
        minutes, seconds = divmod(call.duration_seconds, 60)
        said += f", {minutes}:{seconds:02} min"
    ended_at = call.ended_at or now()  # by the provider's clock, in whole seconds
    await note(db, call, f"{call.id}/end", said, at=ended_at if ended_at < now() - BACK_FILLED else None)


async def reword(db: AsyncSession, message: ConversationMessage, content: str) -> None:
    """The message says this instead, and that is told."""
    before = await _view_of(db, message)
    message.content = content
    await db.flush()
    status = await db.scalar(select(Conversation.status).where(Conversation.id == message.conversation_id))
    if status != "spam":
        events.record(db, "message.updated", message, await _view_of(db, message), before=before)


async def _view_of(db: AsyncSession, message: ConversationMessage) -> ConversationMessageView:
    query = select(ConversationMessage).where(ConversationMessage.id == message.id)
    query = query.options(selectinload(ConversationMessage.attachments)).execution_options(populate_existing=True)
    return msgspec.convert((await db.scalars(query)).one(), ConversationMessageView, from_attributes=True)


async def _held(db: AsyncSession, call: Call) -> Conversation | None:
    if call.conversation_id is None:
        return None
    query = select(Conversation).where(Conversation.id == call.conversation_id).with_for_update(key_share=True)
    found: Conversation | None = await db.scalar(query.execution_options(populate_existing=True))
    return found


async def _count(db: AsyncSession, conversation: Conversation, call: Call, at: datetime) -> None:
    before = msgspec.convert(conversation, ConversationView, from_attributes=True)
    if conversation.status in ("closed", "archived"):
        try:
            async with db.begin_nested():
                conversation.status = "active"
                conversation.waiting_since = conversation.waiting_since and at
                await db.flush()
        except IntegrityError:  # the contact has another one by now
            conversation.status, conversation.waiting_since = before.status, before.waiting_since
        else:
            view = msgspec.convert(conversation, ConversationView, from_attributes=True)
            events.record(db, "conversation.reopened", conversation, view, before=before)
    conversation.message_count += 1
    conversation.last_message_at = max(conversation.last_message_at or at, at)
    conversation.phone_number_id = call.phone_number_id or conversation.phone_number_id
    conversation.snoozed_until = None
    await db.flush()


async def _attach(db: AsyncSession, call: Call, message: ConversationMessage, sound: str, at: datetime) -> None:
    announced = media.Announced(
        workspace_id=call.workspace_id,
        message_id=message.id,
        connection_id=call.connection_id,
        position=0,
        source_url=sound,
        declared_type=None,
        at=at,
    )
    await media.announce(await driver_of(db), [announced])
