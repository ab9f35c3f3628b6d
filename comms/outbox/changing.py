"""What has not left yet is changed, put off, or called off; what may have left is not."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.errors import Conflict, Invalid, Missing
from comms.mail import leaving
from comms.outbox import lines
from comms.outbox.addressing import REPLY_WITHIN
from comms.outbox.rows import fetch
from comms.providers import segments
from models.base import now
from models.communications import ConversationMessage, ConversationMessageView, OutgoingMessage


class Left(Conflict):
    """This message has left, or is just leaving: it can no longer be changed or called off."""


class NotWaiting(Missing):
    """There is no such message that is still to be sent."""


_CONVERSATION_OF = "SELECT conversation_id FROM outgoing_messages WHERE workspace_id = $1 AND id = $2"


async def hold(
    db: AsyncSession, workspace_id: uuid.UUID, message_id: uuid.UUID
) -> tuple[ConversationMessage, OutgoingMessage]:
    """The message and its place in line, locked as senders lock them: the conversation first.

    Raises ``NotWaiting`` and ``Left``.
    """
    rows = await fetch(db, _CONVERSATION_OF, workspace_id, message_id)
    if rows:
        await lines.hold(db, [(workspace_id, rows[0]["conversation_id"])])
    outgoing = await db.get(
        OutgoingMessage, (workspace_id, message_id), with_for_update={"key_share": True}, populate_existing=True
    )
    message = await db.scalar(
        select(ConversationMessage)
        .where(ConversationMessage.workspace_id == workspace_id, ConversationMessage.id == message_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if message is None or (outgoing is None and message.direction == "inbound"):
        raise NotWaiting
    if outgoing is None or outgoing.state in ("sending", "unclear"):
        if message.status == "canceled":
            raise Left("This message has been called off already.")
        raise Left
    return message, outgoing


async def change(
    db: AsyncSession, message: ConversationMessage, outgoing: OutgoingMessage, values: Mapping[str, Any]
) -> ConversationMessage:
    """The message says this (``content``), or leaves then (``scheduled_at``; None: now); told as ``message.updated``.

    Both are as ``hold`` has found them; raises ``Invalid``.
    """
    before = _view(message)
    if "content" in values:
        await _reword(db, message, outgoing, values["content"])
    if "scheduled_at" in values:
        await _put_off(db, message, outgoing, values["scheduled_at"])
    await db.flush()
    await db.refresh(message)
    await lines.promote(db, [(message.workspace_id, outgoing.conversation_id)])
    after = _view(message)
    if after != before:
        events.record(db, "message.updated", message, after, before=before)
    return message


async def cancel(db: AsyncSession, message: ConversationMessage, outgoing: OutgoingMessage) -> ConversationMessage:
    """The message, as ``hold`` has found it, stays where it was said, as ``canceled``, and never leaves."""
    message.status = "canceled"
    await db.flush()
    await db.refresh(message)
    await lines.step_out(db, message.workspace_id, message.id, outgoing.conversation_id)
    events.record(db, "message.canceled", message, _view(message))
    return message


async def withdraw(db: AsyncSession, message: ConversationMessage) -> None:
    """The message, which is locked and whose conversation is, is in no line any more; raises ``Left``."""
    outgoing = await db.get(OutgoingMessage, (message.workspace_id, message.id), with_for_update=True)
    if outgoing is None:
        return
    if outgoing.state in ("sending", "unclear"):
        raise Left
    await lines.step_out(db, message.workspace_id, message.id, outgoing.conversation_id)
    db.expunge(outgoing)


_ATTACHED = "SELECT count(*) AS items FROM message_attachments WHERE workspace_id = $1 AND message_id = $2"


async def _reword(db: AsyncSession, message: ConversationMessage, outgoing: OutgoingMessage, content: str) -> None:
    (attached,) = await fetch(db, _ATTACHED, message.workspace_id, message.id)
    media = len(outgoing.details.get("mediaUrls", ())) + attached["items"]
    mail = outgoing.details.get("mail")
    if not content.strip() and not media:
        raise Invalid({"content": "must not be empty"})
    if mail is None and len(content) > segments.LONGEST:
        raise Invalid({"content": f"must be at most {segments.LONGEST} characters"})
    message.content = content
    if mail is None:
        message.segments = outgoing.segments = segments.count(content, media)
        # A sender's statement that began before this commit still sees the old message, but the new place in line.
        outgoing.details = {**outgoing.details, "content": content}
    else:
        said = await leaving.reword(db, message.id, mail, content, message.content_type)
        outgoing.details = {**outgoing.details, "mail": said}


async def _put_off(
    db: AsyncSession, message: ConversationMessage, outgoing: OutgoingMessage, until: datetime | None
) -> None:
    at = now()
    if until is not None and until <= at:
        raise Invalid({"scheduledAt": "must be in the future, or null to send it now"})
    message.scheduled_at = until
    message.status = "queued" if until is None else "scheduled"
    outgoing.state = message.status
    outgoing.is_reply = outgoing.is_reply and (until or at) - at < REPLY_WITHIN
    outgoing.is_head = False
    outgoing.slot_at = None
    outgoing.line_at = outgoing.next_attempt_at = until or at


def _view(message: ConversationMessage) -> ConversationMessageView:
    # Its attachments do not change with it, and are shown by whoever answers.
    fields = {name for name in ConversationMessageView.__struct_fields__ if name != "attachments"}
    return ConversationMessageView(**{name: getattr(message, name) for name in fields})
