"""A visitor says something: it finds its conversation, is kept once, and is told to all, in one commit.

The page sends it again until it knows that it is kept; its ``clientId`` finds what was kept before.
"""

import uuid

import msgspec
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from comms import events, metrics, threads
from comms.arrivals.facts import conversation_created
from comms.chat import showing, visitors
from comms.chat.protocol import Said
from comms.chat.visitors import Caller
from comms.database import Database
from comms.errors import Invalid, Unauthenticated, Unavailable
from comms.events import Actor
from comms.outbox.rows import Rows, fetch
from models.base import new_id, now
from models.communications import (
    ChatMessage,
    ChatWidget,
    Conversation,
    ConversationMessage,
    ConversationMessageView,
    ConversationView,
    MessageAttachment,
    Upload,
    Visitor,
    VisitorSession,
)

TRIES = 5
READ_AT_ONCE = 200


class Kept(msgspec.Struct, rename="camel"):
    """Where a message of the visitor's has its place; ``isNew`` unless it had been kept before."""

    id: uuid.UUID
    place: int
    client_id: str
    is_new: bool


class _Again(Exception):
    """Somebody else was quicker with this visitor's conversation: look anew."""


async def say(database: Database, caller: Caller, said: Said, *, is_open: bool) -> Kept:
    """What the visitor says is kept, once however often and wherever it is sent; raises ``Invalid``.

    While nobody is there to answer, an address of theirs has to be known: what they say is a message left for us.
    """
    content = said.content.strip()
    if not content and not said.upload_ids:
        raise Invalid({"content": "must not be empty when no file is sent"})
    if "\x00" in said.content:
        raise Invalid({"content": "must not contain NUL"})
    for _ in range(TRIES):
        try:
            async with database.workspace(caller.workspace_id, Actor("contact")) as db:
                return await _say(db, caller, said, is_open=is_open)
        except (_Again, threads.Contended):
            continue
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", "") not in ("40P01", "23505"):
                raise
    raise Unavailable("Others wrote here at the same moment: try again.")


async def _say(db: AsyncSession, caller: Caller, said: Said, *, is_open: bool) -> Kept:
    conversation_id = await _conversation_for(db, caller)
    if conversation_id is not None:  # before the visitor, as everybody locks them
        held = select(Conversation.id).where(Conversation.id == conversation_id)
        await db.execute(held.with_for_update(key_share=True))
    visitor = (
        await db.scalars(select(Visitor).where(Visitor.id == caller.visitor_id).with_for_update(key_share=True))
    ).one()
    known = await db.scalar(
        select(ChatMessage).where(ChatMessage.visitor_id == visitor.id, ChatMessage.client_id == said.client_id)
    )
    if known is not None:
        return Kept(known.id, known.place, said.client_id, is_new=False)
    if visitor.conversation_id != conversation_id and await _conversation_for(db, caller) != conversation_id:
        raise _Again
    widget = (await db.scalars(select(ChatWidget).where(ChatWidget.id == caller.widget_id))).one()
    session = (await db.scalars(select(VisitorSession).where(VisitorSession.id == caller.session_id))).one()
    if session.revoked_at is not None:  # since the caller was proved
        raise Unauthenticated("This session has ended: begin another.")
    if not is_open and visitor.email is None and visitor.phone is None and visitor.conversation_id is None:
        raise Invalid({"email": "is required, or phone: nobody is here now, and has to know where to answer"})
    before = visitors.shown(visitor)
    if visitor.contact_id is None:
        await visitors.join(db, widget, visitor)
    conversation = await _enter(db, visitor, conversation_id)
    visitor.conversation_id = conversation.id
    await visitors.tell_of(db, visitor, before)
    # When they last said something is shown to nobody, and no change of theirs.
    await db.execute(
        update(Visitor)
        .where(Visitor.workspace_id == visitor.workspace_id, Visitor.id == visitor.id)
        .values(said_at=now(), updated_at=Visitor.updated_at)
        .execution_options(synchronize_session=False)
    )
    message = await _keep(db, caller, visitor, session, conversation, said, is_open=is_open)
    entry = (caller.workspace_id, visitor.id, message.id, said.client_id)
    ((entry_id, place),) = await showing.enter(db, [entry], message.created_at)
    await visitors.touch(db, caller)
    return Kept(entry_id, place, said.client_id, is_new=True)


_TAKES = f"""
SELECT c.id FROM visitors v
JOIN conversations c ON c.workspace_id = v.workspace_id AND c.id = v.conversation_id
JOIN workspaces w ON w.id = v.workspace_id
WHERE v.workspace_id = $1 AND v.id = $2 AND (c.status IN ('active', 'spam') OR c.last_message_at >
    now() - make_interval(secs => coalesce((w.settings->>'reopenWithin')::float8, {threads.REOPEN_WITHIN_SECONDS})))
    AND (c.is_unproven OR c.contact_id IS NULL OR c.status IN ('active', 'spam') OR NOT EXISTS (
        SELECT FROM conversations o WHERE o.workspace_id = c.workspace_id AND o.contact_id = c.contact_id
            AND o.channel = c.channel AND o.status = 'active' AND NOT o.is_unproven))
"""

# Only who has proved that the address is theirs goes on in the conversation of the contact who has it.
_RULE = f"""
SELECT c.id FROM visitors v
CROSS JOIN LATERAL (SELECT v.workspace_id, 'live_chat'::text AS channel, now() AS at) i
CROSS JOIN LATERAL (SELECT v.contact_id) p
CROSS JOIN LATERAL ({threads.TAKES_THE_MESSAGE}) c
WHERE v.workspace_id = $1 AND v.id = $2 AND v.identity LIKE 'email:%'
"""


async def _conversation_for(db: AsyncSession, caller: Caller) -> uuid.UUID | None:
    """The conversation that takes what the visitor says; None if it is to begin."""
    for question in (_TAKES, _RULE):
        rows = await fetch(db, question, caller.workspace_id, caller.visitor_id)
        if rows:
            found: uuid.UUID = rows[0]["id"]
            return found
    return None


async def _enter(db: AsyncSession, visitor: Visitor, conversation_id: uuid.UUID | None) -> Conversation:
    """The conversation, which is open from now on: the visitor's, or a new one."""
    if conversation_id is None:
        opening = threads.Opening(
            workspace_id=visitor.workspace_id,
            contact_id=visitor.contact_id,
            channel="live_chat",
            phone_number_id=None,
            at=now(),
            is_unproven=not (visitor.identity or "").startswith("email:"),
        )
        (opened,) = await threads.open_for(Rows(db), [opening])
        if not opened.is_new:
            raise _Again
        db.info.setdefault("facts", []).append(conversation_created(opening, opened.id))
        conversation_id = opened.id
    conversation = await db.get(Conversation, (visitor.workspace_id, conversation_id), populate_existing=True)
    if conversation is None:
        raise _Again
    if conversation.status in ("closed", "archived"):
        conversation.status, conversation.snoozed_until = "active", None
        conversation.waiting_since = conversation.waiting_since and now()
        await db.flush()
        events.record(db, "conversation.reopened", conversation, _shown(conversation))
    elif conversation.contact_id is None and visitor.contact_id is not None:
        before = _shown(conversation)
        conversation.contact_id = visitor.contact_id
        await db.flush()
        events.record(db, "conversation.updated", conversation, _shown(conversation), before=before)
    return conversation


_COUNT = text(
    """
    UPDATE conversations SET message_count = message_count + 1, last_message_at = greatest(last_message_at, :at),
        snoozed_until = NULL, updated_at = greatest(updated_at, :at)
    WHERE workspace_id = :workspace AND id = :id
    """
)


async def _keep(
    db: AsyncSession,
    caller: Caller,
    visitor: Visitor,
    session: VisitorSession,
    conversation: Conversation,
    said: Said,
    *,
    is_open: bool,
) -> ConversationMessage:
    at = now()
    row = ConversationMessage(
        workspace_id=caller.workspace_id,
        id=new_id(),
        conversation_id=conversation.id,
        direction="inbound",
        content=said.content,
        content_type="text" if said.content.strip() else "media",
        sender_type="contact",
        sender_contact_id=visitor.contact_id,
        meta={
            "visitorId": str(visitor.id),
            "widgetId": str(caller.widget_id),
            "identityVerified": visitor.is_verified,
            **({"page": {"url": session.page_url, "title": session.page_title}} if session.page_url else {}),
            **({} if is_open else {"leftAsMessage": True, "contactPoint": visitor.phone or visitor.email}),
        },
        status="received",
        from_address=address_of(visitor.id),
        created_at=at,
        updated_at=at,
    )
    db.add(row)
    await db.flush()
    await _attach(db, row, caller, said)
    await db.execute(_COUNT, {"at": at, "workspace": caller.workspace_id, "id": conversation.id})
    if conversation.status != "spam":
        query = select(ConversationMessage).where(ConversationMessage.id == row.id)
        query = query.options(selectinload(ConversationMessage.attachments))
        row = (await db.scalars(query.execution_options(populate_existing=True))).one()
        view = msgspec.convert(row, ConversationMessageView, from_attributes=True)
        events.record(db, "message.received", row, view, at=at)
    else:
        metrics.CHAT_REFUSED.labels("spam").inc()
    return row


async def _attach(db: AsyncSession, row: ConversationMessage, caller: Caller, said: Said) -> None:
    """The files are the message's, of those that this visitor has brought."""
    if not said.upload_ids:
        return
    found = {
        upload.id: upload
        for upload in await db.scalars(
            select(Upload)
            .where(Upload.visitor_id == caller.visitor_id, Upload.id.in_(said.upload_ids))
            .with_for_update(read=True, key_share=True)
        )
    }
    if len(found) < len(set(said.upload_ids)):
        raise Invalid({"uploadIds": "must be files that were uploaded in this chat"})
    db.add_all(
        MessageAttachment(
            workspace_id=caller.workspace_id,
            id=new_id(),
            message_id=row.id,
            position=position,
            source_url="",
            file_name=found[upload_id].file_name,
            content_type=found[upload_id].content_type,
            size=found[upload_id].size,
            sha256=found[upload_id].sha256,
            storage_key=found[upload_id].storage_key,
            state="stored",
            created_at=row.created_at,
            updated_at=row.created_at,
        )
        for position, upload_id in enumerate(dict.fromkeys(said.upload_ids))
    )
    await db.flush()


def address_of(visitor_id: uuid.UUID) -> str:
    """Whom a message of a chat is from, or for."""
    return f"visitor:{visitor_id}"


def _shown(conversation: Conversation) -> ConversationView:
    return msgspec.convert(conversation, ConversationView, from_attributes=True)


# How far they have read


async def has_read(database: Database, caller: Caller, place: int, *, status: str) -> int:
    """What was answered up to that place is ``delivered``, or ``read``, and told; never back. How many that changed."""
    earlier = ("sent",) if status == "delivered" else ("sent", "delivered")
    at = now()
    async with database.workspace(caller.workspace_id, Actor("contact")) as db:
        query = (
            select(ConversationMessage)
            .join(
                ChatMessage,
                (ChatMessage.workspace_id == ConversationMessage.workspace_id)
                & (ChatMessage.message_id == ConversationMessage.id),
            )
            .where(
                ChatMessage.visitor_id == caller.visitor_id,
                ChatMessage.place <= place,
                ConversationMessage.direction == "outbound",
                ConversationMessage.provider.is_(None),
                ConversationMessage.status.in_(earlier),
            )
            .order_by(ConversationMessage.id)
            .limit(READ_AT_ONCE)
            .options(selectinload(ConversationMessage.attachments))
            .with_for_update(of=ConversationMessage, key_share=True)
        )
        rows = (await db.scalars(query)).all()
        before = {row.id: _message(row) for row in rows}
        for row in rows:
            row.status, row.updated_at = status, at
            row.delivered_at = row.delivered_at or at
            if status == "read":
                row.is_read, row.read_at = True, at
        await db.flush()
        these = select(ConversationMessage).where(ConversationMessage.id.in_(list(before)))
        these = these.order_by(ConversationMessage.id).options(selectinload(ConversationMessage.attachments))
        for row in await db.scalars(these.execution_options(populate_existing=True)):
            events.record(db, "message.status_changed", row, _message(row), before=before[row.id])
        await visitors.touch(db, caller)
    return len(rows)


def _message(row: ConversationMessage) -> ConversationMessageView:
    return msgspec.convert(row, ConversationMessageView, from_attributes=True)


async def newest_place(db: AsyncSession, visitor_id: uuid.UUID) -> int:
    """The place of the newest message that the visitor sees; 0 when there is none."""
    return int(await db.scalar(select(func.max(ChatMessage.place)).where(ChatMessage.visitor_id == visitor_id)) or 0)
