"""Internal notes in conversations: for the team, never for the contact."""

import uuid
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, patch, post
from litestar.params import FromPath, JSONBody
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import messages as removing
from comms import notes as stories
from comms.credentials import Identity
from comms.errors import Missing
from comms.messages import ConversationMissing
from handlers.communications.messages import messages
from handlers.given import Asker, Db, Request
from handlers.guards import writer
from handlers.listing import Page
from handlers.resource import listed
from handlers.shapes import LONG_TEXT
from models.communications import Conversation, ConversationMessage, ConversationMessageView

Content = Annotated[str, msgspec.Meta(min_length=1, max_length=LONG_TEXT)]
Mentions = Annotated[list[uuid.UUID], msgspec.Meta(max_length=50)]


class NewNote(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A note. ``mentions`` are members to be told, besides those whom its text names as `@[userId]`."""

    content: Content
    mentions: Mentions = []


class NoteChange(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What a note says instead; without ``mentions`` those besides its text stay."""

    content: Content | msgspec.UnsetType = msgspec.UNSET
    mentions: Mentions | msgspec.UnsetType = msgspec.UNSET


async def _expect(db: AsyncSession, conversation_id: uuid.UUID) -> None:
    if await db.scalar(select(Conversation.id).where(Conversation.id == conversation_id)) is None:
        raise ConversationMissing


async def _held(
    db: AsyncSession, identity: Identity, conversation_id: uuid.UUID, note_id: uuid.UUID
) -> ConversationMessage:
    row: ConversationMessage = await messages.find(db, identity, note_id, to_change=True)
    if row.conversation_id != conversation_id:
        raise Missing(f"There is no note {note_id} in this conversation.")
    stories.refuse_other_than_note(row)
    return row


@listed(messages, "/{conversation_id:uuid}/notes", operation_id="list_notes_of_conversation")
async def of_conversation(
    request: Request, db: Db, identity: Asker, conversation_id: FromPath[uuid.UUID], asked: Any
) -> Page[ConversationMessageView]:
    """The internal notes of one conversation."""
    await _expect(db, conversation_id)
    here = (ConversationMessage.conversation_id == conversation_id, ConversationMessage.is_internal.is_(True))
    return await messages.listing.page(db, request, asked, *here)


@post("/{conversation_id:uuid}/notes", operation_id="create_note", guards=[writer])
async def create(
    db: Db, identity: Asker, conversation_id: FromPath[uuid.UUID], data: JSONBody[NewNote]
) -> ConversationMessageView:
    """The team reads this note in the conversation; the contact never does. Whom it mentions is notified.

    It is not counted in `messageCount` and does not move `lastMessageAt`.
    """
    await _expect(db, conversation_id)
    return await stories.write(db, identity, conversation_id, data.content, data.mentions)


@patch("/{conversation_id:uuid}/notes/{note_id:uuid}", operation_id="change_note", guards=[writer])
async def change(
    db: Db,
    identity: Asker,
    conversation_id: FromPath[uuid.UUID],
    note_id: FromPath[uuid.UUID],
    data: JSONBody[NoteChange],
) -> ConversationMessageView:
    """Your note says this instead; whom it mentions now and did not before is notified."""
    row = await _held(db, identity, conversation_id, note_id)
    content = None if data.content is msgspec.UNSET else data.content
    mentions = None if data.mentions is msgspec.UNSET else data.mentions
    return await stories.edit(db, identity, row, content, mentions)


@delete("/{conversation_id:uuid}/notes/{note_id:uuid}", operation_id="delete_note", guards=[writer])
async def remove(db: Db, identity: Asker, conversation_id: FromPath[uuid.UUID], note_id: FromPath[uuid.UUID]) -> None:
    """The note is gone: its author takes it back, or an administrator removes it."""
    await removing.remove(db, identity, await _held(db, identity, conversation_id, note_id))


routes = [Router("/conversations", route_handlers=[of_conversation, create, change, remove])]
