"""What is told of an inbound message: each fact with the resource as GET shows it."""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from comms import senders, threads
from comms.arrivals.passage import Passage
from comms.events import Fact, changes, encode
from models.communications import ConversationMessageView, ConversationView, MessageAttachmentView
from models.crm import ContactView


def message_received(passage: Passage, attachments: list[MessageAttachmentView]) -> Fact:
    """A customer has written."""
    assert passage.message_id is not None
    return Fact(
        workspace_id=passage.workspace_id,
        event="message.received",
        subject_type="message",
        subject_id=passage.message_id,
        conversation_id=passage.conversation_id,
        actor_type="contact",
        actor_id=passage.contact_id,
        at=passage.arrival.at,
        data=encode(shown(passage, attachments)),
    )


def shown(passage: Passage, attachments: list[MessageAttachmentView]) -> ConversationMessageView:
    """The message as GET shows it from now on."""
    arrival, message = passage.arrival, passage.arrival.message
    assert passage.message_id is not None
    assert passage.conversation_id is not None
    provider: Any = message.provider
    return ConversationMessageView(
        id=passage.message_id,
        conversation_id=passage.conversation_id,
        direction="inbound",
        content=message.content,
        content_type=passage.content_type,
        sender_type="contact",
        sender_id=passage.contact_id,
        meta=passage.metadata,
        status="received",
        provider=provider,
        provider_message_id=message.provider_message_id,
        phone_number_id=passage.number_id,
        from_address=passage.said_by,
        to_address=passage.line,
        attachments=attachments,
        created_at=arrival.at,
        updated_at=arrival.at,
    )


def contact_created(stranger: senders.Stranger, contact_id: uuid.UUID) -> Fact:
    return Fact(
        workspace_id=stranger.workspace_id,
        event="contact.created",
        subject_type="contact",
        subject_id=contact_id,
        at=stranger.at,
        data=encode(
            ContactView(
                id=contact_id,
                phone=stranger.phone,
                email=stranger.email,
                first_name=stranger.name,
                source=stranger.source,
                created_at=stranger.at,
                updated_at=stranger.at,
            )
        ),
    )


def conversation_created(opening: threads.Opening, conversation_id: uuid.UUID) -> Fact:
    """Told as it began, without the message that follows in the log."""
    return Fact(
        workspace_id=opening.workspace_id,
        event="conversation.created",
        subject_type="conversation",
        subject_id=conversation_id,
        conversation_id=conversation_id,
        at=opening.at,
        data=encode(
            ConversationView(
                id=conversation_id,
                contact_id=opening.contact_id,
                channel=opening.channel,
                subject=opening.subject,
                phone_number_id=opening.phone_number_id,
                waiting_since=opening.at,
                created_at=opening.at,
                updated_at=opening.at,
            )
        ),
    )


_REOPENED = "SELECT * FROM conversations WHERE id = ANY($1::uuid[]) ORDER BY id"


async def conversations_reopened(db: Any, reopened: Mapping[Any, Any], kept: Sequence[Passage]) -> list[Fact]:
    """Told as they stood before the messages that follow in the log are counted; ``reopened`` has the old statuses."""
    since = Counter(passage.conversation_id for passage in kept)
    rows = await db.fetch(_REOPENED, list(reopened))
    return [conversation_reopened(row, reopened[row["id"]], since[row["id"]]) for row in rows]


def conversation_reopened(row: Any, was: Any, since: int = 0) -> Fact:
    """Told of the conversation's row, whose status ``was`` that, without so many messages that it has counted since."""
    view = ConversationView(
        **{name: row[name] for name in ConversationView.__struct_fields__ if name != "message_count"},
        message_count=row["message_count"] - since,
    )
    return Fact(
        workspace_id=row["workspace_id"],
        event="conversation.reopened",
        subject_type="conversation",
        subject_id=row["id"],
        conversation_id=row["id"],
        at=row["updated_at"],
        data=encode(view),
        changes=changes(msgspec.structs.replace(view, status=was), view),
    )
