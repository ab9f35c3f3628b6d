"""What another system has said to a contact, or a note of fact, takes its place in the conversation; and is deleted."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import delete, func, null, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from comms import events, jobs
from comms.chat import showing
from comms.credentials import Identity
from comms.delivery import join_parked
from comms.errors import Forbidden, Invalid, Missing, Refused
from comms.media import REMOVE
from comms.outbox.changing import withdraw
from comms.permissions import ADMINISTRATORS
from models.base import new_id, now
from models.communications import (
    ChatMessage,
    Conversation,
    ConversationMessage,
    ConversationMessageView,
    Mail,
    MessageAttachment,
)

EMPTIED: Mapping[str, Any] = {
    "conversation_id": None,
    "content": "",
    "meta": {},
    "sender_contact_id": None,
    "sender_user_id": None,
    "error_message": None,
    "connection_id": None,
    "phone_number_id": None,
    "from_address": None,
    "to_address": None,
}
"""What is left of a deleted message that a provider knows: nothing but what the provider calls it."""


_COUNT = text(
    """
    UPDATE conversations c SET
        message_count = c.message_count + n.more, last_message_at = greatest(c.last_message_at, n.last),
        updated_at = :now
    FROM (
        SELECT id, count(*) AS more, max(at) AS last
        FROM unnest(CAST(:said AS uuid[]), CAST(:at AS timestamptz[])) AS m (id, at) GROUP BY id
    ) n
    WHERE c.workspace_id = :workspace AND c.id = n.id
    """
)


class ConversationMissing(Missing):
    """There is no such conversation in this workspace."""


async def record(db: AsyncSession, sender: Identity, values: Mapping[str, Any]) -> ConversationMessage:
    """The outbound message is the newest of its conversation; raises ``Invalid`` and ``ConversationMissing``."""
    [message] = await record_all(db, sender, [values])
    if isinstance(message, Refused):
        raise message
    return message


async def record_all(
    db: AsyncSession, sender: Identity, many: Sequence[Mapping[str, Any]]
) -> list[ConversationMessage | Refused]:
    """Each outbound message is the newest of its conversation, and delivery reports that came before it are its own.

    With a ``provider_message_id`` it has been sent, by whoever gives us that id; without one it is accepted and no
    more: nothing is sent from here. Refused is an ``Invalid`` one, and one whose ``ConversationMissing``.
    """
    refused = [_refusal(values) for values in many]
    conversations = {values["conversation_id"] for values, no in zip(many, refused, strict=True) if no is None}
    # First of all: this also proves that the conversations are there, and keeps them there.
    held = select(Conversation.id).where(
        Conversation.workspace_id == sender.workspace_id, Conversation.id.in_(conversations)
    )
    there = set(await db.scalars(held.order_by(Conversation.id).with_for_update(key_share=True)))
    outcome: list[ConversationMessage | Refused] = [
        no or (_message(sender, values) if values["conversation_id"] in there else ConversationMissing())
        for values, no in zip(many, refused, strict=True)
    ]
    messages = [message for message in outcome if isinstance(message, ConversationMessage)]
    await _count(db, sender.workspace_id, messages)
    db.add_all(messages)
    await db.flush()
    await join_parked(db, [message for message in messages if message.provider_message_id is not None])
    return outcome


def _refusal(values: Mapping[str, Any]) -> Invalid | None:
    if values["direction"] != "outbound":
        return Invalid({"direction": "must be outbound: inbound messages come from the providers"})
    if values["provider_message_id"] is not None and values["provider"] is None:
        return Invalid({"provider": "is required with providerMessageId"})
    return None


def _message(sender: Identity, values: Mapping[str, Any]) -> ConversationMessage:
    at = now()
    is_sent = values["provider_message_id"] is not None
    return ConversationMessage(
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


async def _count(db: AsyncSession, workspace_id: uuid.UUID, messages: Sequence[ConversationMessage]) -> None:
    """The conversations count these messages, and were last spoken in when the last of them was said."""
    if not messages:
        return
    said = [message.conversation_id for message in messages]
    at = [message.created_at for message in messages]
    await db.execute(_COUNT, {"workspace": workspace_id, "said": said, "at": at, "now": now()})


async def remove(db: AsyncSession, asker: Identity, message: ConversationMessage) -> None:
    """The message is gone with its files, from its conversation's count too; no repeated webhook brings it back.

    ``message`` is locked, and its conversation before it, in the order of arriving messages. What was said with a
    contact is removed by administrators, an internal note by its author too.
    """
    is_own_note = message.is_internal and message.sender_user_id == asker.user_id
    if not is_own_note and asker.role not in ADMINISTRATORS:
        raise Forbidden("Only an administrator may delete this; of internal notes, their author may too.")
    await withdraw(db, message)
    await showing.withdraw(db, message.workspace_id, [message.id])
    view = msgspec.convert(message, ConversationMessageView, from_attributes=True)
    events.record(db, "message.deleted", message, view)
    conversation_id = message.conversation_id
    this = (ConversationMessage.workspace_id == message.workspace_id, ConversationMessage.id == message.id)
    await _remove_files(db, *this)
    if message.provider_message_id is None:
        await db.execute(delete(ConversationMessage).where(*this).execution_options(synchronize_session=False))
    else:
        await _empty(db, *this)
    if message.is_internal:
        return
    newest = (
        select(func.max(ConversationMessage.created_at))
        .where(
            ConversationMessage.workspace_id == Conversation.workspace_id,
            ConversationMessage.conversation_id == Conversation.id,
            ConversationMessage.is_internal.is_(False),
        )
        .correlate(Conversation)
        .scalar_subquery()
    )
    await db.execute(
        update(Conversation)
        .where(Conversation.workspace_id == message.workspace_id, Conversation.id == conversation_id)
        .values(message_count=func.greatest(Conversation.message_count - 1, 0), last_message_at=newest)
        .execution_options(synchronize_session=False)
    )


async def bury_all(db: AsyncSession, conversation: Conversation) -> None:
    """What providers know of the conversation's messages outlives it, empty; the files of all of them are gone."""
    these = (
        ConversationMessage.workspace_id == conversation.workspace_id,
        ConversationMessage.conversation_id == conversation.id,
    )
    seen = await db.scalars(
        select(ChatMessage.message_id)
        .join(
            ConversationMessage,
            (ConversationMessage.workspace_id == ChatMessage.workspace_id)
            & (ConversationMessage.id == ChatMessage.message_id),
        )
        .where(*these)
    )
    await showing.withdraw(db, conversation.workspace_id, [one for one in seen if one is not None])
    await _remove_files(db, *these)
    await _empty(db, *these, ConversationMessage.provider_message_id.is_not(None))


async def _empty(db: AsyncSession, *which: ColumnElement[bool]) -> None:
    these = select(ConversationMessage.workspace_id, ConversationMessage.id).where(*which).subquery()
    await db.execute(
        delete(Mail)
        .where(Mail.workspace_id == these.c.workspace_id, Mail.message_id == these.c.id)
        .execution_options(synchronize_session=False)
    )
    await db.execute(
        update(ConversationMessage)
        .where(*which)
        .values({getattr(ConversationMessage, name): value for name, value in EMPTIED.items()})
        .values(deleted_at=func.now(), mentions=null())
        .execution_options(synchronize_session=False)
    )


async def _remove_files(db: AsyncSession, *of_messages: ColumnElement[bool]) -> None:
    """What was attached is gone, and a job removes the files; one that is being fetched is removed when it comes."""
    messages = select(ConversationMessage.workspace_id, ConversationMessage.id).where(*of_messages).subquery()
    keys = await db.scalars(
        delete(MessageAttachment)
        .where(MessageAttachment.workspace_id == messages.c.workspace_id, MessageAttachment.message_id == messages.c.id)
        .returning(MessageAttachment.storage_key)
        .execution_options(synchronize_session=False)
    )
    await jobs.enqueue(db, REMOVE, [{"storageKey": key} for key in keys if key is not None])
