"""The messages of conversations, and what was attached to them."""

import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote

from litestar import Router, delete, get, post
from litestar.params import FromPath, JSONBody
from litestar.response import Stream
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import messages as stories
from comms.credentials import Identity
from comms.errors import Conflict, Invalid
from comms.messages import ConversationMissing
from handlers import shapes
from handlers.batches import Many, batched
from handlers.given import Asker, Db, Here, Request, RowId
from handlers.guards import reader, writer
from handlers.listing import Page
from handlers.resource import READ, crud, listed
from models.base import now
from models.communications import (
    Conversation,
    ConversationMessage,
    ConversationMessageView,
    MessageAttachment,
    MessageAttachmentView,
)


async def change_message(
    db: AsyncSession, identity: Identity, row: ConversationMessage, values: dict[str, Any]
) -> None:
    """Read or unread, with the time it was read; what was decided about it stays in its metadata."""
    if "meta" in values:
        values = {**values, "meta": _with_our_own(row.meta, values["meta"])}
    if "is_read" in values and values["is_read"] != row.is_read:
        row.read_at = now() if values["is_read"] else None
    for name, value in values.items():
        setattr(row, name, value)


def _with_our_own(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """``metadata.consent`` says what we have read or decided: clients see it, and cannot set it."""
    if "consent" in after and after["consent"] != before.get("consent"):
        raise Invalid({"metadata.consent": "is read-only"})
    return {**after, **({"consent": before["consent"]} if "consent" in before else {})}


def there(identity: Identity) -> ColumnElement[bool]:
    """What is left of a deleted message is nobody's to see."""
    return ConversationMessage.deleted_at.is_(None)


messages = crud(
    "/conversation-messages",
    ConversationMessage,
    ConversationMessageView,
    search=("content",),
    filters=(
        "conversation_id",
        "direction",
        "status",
        "sender_type",
        "is_read",
        "is_internal",
        "provider",
        "provider_message_id",
        "phone_number_id",
    ),
    verbs=("list", "get", "change"),
    whose=there,
    change=change_message,
)
messages.edit = shapes.change_shape(ConversationMessage, ConversationMessageView, only=("is_read", "meta"))
New: Any = messages.new
messages.create = stories.record


@listed(messages, "/{conversation_id:uuid}/messages", operation_id="list_messages_of_conversation")
async def of_conversation(
    request: Request, db: Db, identity: Asker, conversation_id: FromPath[uuid.UUID], asked: Any
) -> Page[ConversationMessageView]:
    """The messages of one conversation."""
    if await db.scalar(select(Conversation.id).where(Conversation.id == conversation_id)) is None:
        raise ConversationMissing
    here = ConversationMessage.conversation_id == conversation_id
    return await messages.listing.page(db, request, asked, here, within=conversation_id)


def _nowhere() -> Invalid:
    return Invalid({"conversationId": "refers to nothing in this workspace"})


def _told(row: ConversationMessage) -> str:
    return "created" if row.provider_message_id is None else "sent"


@post("/", operation_id="create_conversation_message", guards=[writer])
async def create(db: Db, identity: Asker, data: JSONBody[New]) -> ConversationMessageView:
    """Record an outbound message that another system has sent through the provider, or a note of fact.

    With `provider` and `providerMessageId` its delivery reports find it, those too that came before it.
    """
    try:
        return await record(db, identity, shapes.given(data))
    except ConversationMissing:
        raise _nowhere() from None


@batched(messages, told=_told)
async def create_all(db: Db, identity: Asker, many: Many) -> Sequence[Any]:
    """Record up to 500 outbound messages that another system has sent, or notes of fact, each by itself."""
    rows = await stories.record_all(db, identity, many)
    return [_nowhere() if isinstance(row, ConversationMissing) else row for row in rows]


@delete("/{row_id:uuid}", operation_id="delete_conversation_message", guards=[writer])
async def remove(db: Db, identity: Asker, row_id: RowId) -> None:
    """The message is gone with its files, and no repeated webhook brings it back.

    Administrators only, except for one's own internal notes.
    """
    row = await messages.find(db, identity, row_id)
    # The conversation first, as arriving messages lock them.
    await db.execute(
        select(Conversation.id).where(Conversation.id == row.conversation_id).with_for_update(key_share=True)
    )
    await stories.remove(db, identity, await messages.find(db, identity, row_id, to_change=True))


async def record(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> ConversationMessageView:
    """The message that another system has sent is in its conversation, and told."""
    row = await messages.make(db, identity, values)
    view: ConversationMessageView = await messages.tell(db, identity, _told(row), row)
    return view


attachments = crud(
    "/message-attachments",
    MessageAttachment,
    MessageAttachmentView,
    filters=("message_id", "state", "content_type"),
    verbs=READ,
)


@get(
    "/{row_id:uuid}/content",
    operation_id="get_message_attachment_content",
    guards=[reader],
    problems={409: "The file is not here (yet): its `state` says why."},
)
async def content(service: Here, identity: Asker, row_id: RowId) -> Stream:
    """The attached file. Always a download: what strangers sent us is not shown by browsers under our address."""
    # Its own unit of work, over before the file is read: storage may be slow, and connections are few.
    async with service.database.workspace(identity.workspace_id) as db:
        row = await attachments.find(db, identity, row_id)
    if row.state != "stored":
        raise Conflict(f"the file is not here: it is {row.state}" + (f" ({row.error})" if row.error else ""))
    chunks, _, _ = await service.media.open(row)
    return downloaded(chunks, row)


def downloaded(chunks: AsyncIterator[bytes], row: Any) -> Stream:
    """A kept file on its way to a member who asked for it."""
    return Stream(
        chunks,
        media_type=row.content_type,
        headers={
            "Content-Disposition": f'attachment; filename="{row.id}"{_named(row.file_name)}',
            "Content-Length": str(row.size),
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, max-age=31536000, immutable",
        },
    )


def _named(file_name: str | None) -> str:
    """The name that the file came with, in the form that takes any letter (RFC 6266)."""
    return "" if file_name is None else f"; filename*=UTF-8''{quote(file_name, safe='')}"


routes = [
    messages.router(create, create_all, remove),
    Router("/conversations", route_handlers=[of_conversation]),
    attachments.router(content),
]
