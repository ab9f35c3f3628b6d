"""Internal notes: what the team says in a conversation and its contact never hears.

A note is a message that is internal: outbound and already received, so that nothing that sends ever takes it. It is not
counted among what was said with the contact, does not move ``lastMessageAt``, and so threads nothing and reopens
nothing.
"""

import uuid
from collections.abc import Collection

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.attributes import set_committed_value

from comms import events
from comms.credentials import Identity
from comms.errors import Conflict, Forbidden
from comms.mentions import mentioned, mentioned_anew
from models.base import new_id, now
from models.communications import ConversationMessage, ConversationMessageView


async def write(
    db: AsyncSession, author: Identity, conversation_id: uuid.UUID, content: str, mentions: Collection[uuid.UUID]
) -> ConversationMessageView:
    """The team reads the note, and whom it mentions is told."""
    called = await mentioned(db, author.workspace_id, content, mentions)
    at = now()
    is_agents = author.agent_id is not None
    note = ConversationMessage(
        workspace_id=author.workspace_id,
        id=new_id(),
        conversation_id=conversation_id,
        direction="outbound",
        content=content,
        sender_type="agent" if is_agents else "user",
        sender_user_id=None if is_agents else author.user_id,
        sender_agent_id=author.agent_id,
        status="received",
        is_internal=True,
        mentions=called,
        created_at=at,
        updated_at=at,
    )
    db.add(note)
    await db.flush()
    await db.refresh(note, ["sender_id"])
    set_committed_value(note, "attachments", [])
    return _tell(db, "created", note)


async def edit(
    db: AsyncSession,
    author: Identity,
    note: ConversationMessage,
    content: str | None,
    mentions: Collection[uuid.UUID] | None,
) -> ConversationMessageView:
    """The note says this instead; whom it mentions now and did not before is told."""
    refuse_other_than_note(note)
    if note.sender_user_id != author.user_id:
        raise Forbidden("Only its author may edit a note.")
    before = list(note.mentions or [])
    text = note.content if content is None else content
    called = await mentioned_anew(db, author.workspace_id, before, note.content, text, mentions)
    if (text, called) != (note.content, before):
        note.content, note.mentions, note.edited_at = text, called, now()
        await db.flush()
        _tell(db, "updated", note)
    return _view(note)


def refuse_other_than_note(message: ConversationMessage) -> None:
    """``Conflict`` when this was said with the contact: what was said stays as it was said."""
    if not message.is_internal:
        raise Conflict("this is no note: what was said with the contact stays as it was said")


def _tell(db: AsyncSession, what: str, note: ConversationMessage) -> ConversationMessageView:
    view = _view(note)
    events.record(db, f"message.{what}", note, view)
    return view


def _view(note: ConversationMessage) -> ConversationMessageView:
    return msgspec.convert(note, ConversationMessageView, from_attributes=True)
