"""Who comes to chat: a session on a device, a visitor who says or proves who they are, and whom they turn out to be."""

import uuid
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import consent, events, senders
from comms.arrivals.facts import contact_created
from comms.chat import tokens, widgets
from comms.chat.protocol import Page
from comms.consent.ledger import Word
from comms.database import Database
from comms.errors import Conflict, Forbidden, Invalid, Unauthenticated
from comms.mail.addresses import email_address
from comms.outbox.rows import Rows
from comms.providers.addresses import read_address
from comms.vault import Vault
from models.base import new_id, now
from models.communications import (
    ChatWidget,
    Conversation,
    ConversationView,
    Visitor,
    VisitorSession,
    VisitorSessionView,
    VisitorView,
    WorkspaceMailAddress,
    WorkspacePhoneNumber,
)
from models.types import Email, Phone

LIFE = timedelta(days=30)
MOST_ANSWERS = 40

Short = Annotated[str, Meta(max_length=200)]


class Proof(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Whom the website knows: one of ``userId`` and ``email``, and its HMAC-SHA256 under the widget's secret."""

    hmac: Annotated[
        str,
        Meta(
            max_length=64,
            description="The HMAC-SHA256, in hexadecimal; the page's server makes it, never the page.",
            examples=["5a4e7f9c1d2e3f4a5b6c7d3f8e2c6d0b5a4e7f9c1d2e3f4a5b6c7d3f8e2c6d0b"],
        ),
    ]
    user_id: Annotated[Short | None, Meta(description="The website's id of the person.", examples=["4711"])] = None
    email: Short | None = None

    @property
    def said(self) -> str:
        """What the HMAC is of."""
        if (self.user_id is None) == (self.email is None):
            raise Invalid({"identity": "names either userId or email"})
        return self.user_id if self.user_id is not None else str(self.email)


class Told(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What a visitor says of themselves."""

    name: Short | None = None
    email: Short | None = None
    phone: Short | None = None
    fields: Annotated[
        dict[Annotated[str, Meta(max_length=100)], Annotated[str, Meta(max_length=1_000)]],
        Meta(max_length=20, description="Answers to the widget's other questions.", examples=[{"order": "A-17"}]),
    ] = {}
    agrees: Annotated[
        bool,
        Meta(description="Whether the chat may go on as the widget's `continuesBy` says, once they have left."),
    ] = False


class Caller(msgspec.Struct, frozen=True):
    """A visitor whom a token has proved."""

    workspace_id: uuid.UUID
    session_id: uuid.UUID
    visitor_id: uuid.UUID
    widget_id: uuid.UUID
    widget_key: str
    origins: tuple[str, ...]


_WHO = text(
    """
    SELECT v.id AS visitor_id, k.id AS widget_id, k.key, k.allowed_origins FROM visitor_sessions s
    JOIN visitors v ON v.workspace_id = s.workspace_id AND v.id = s.visitor_id
    JOIN chat_widgets k ON k.workspace_id = v.workspace_id AND k.id = v.widget_id AND k.is_active
    JOIN workspaces w ON w.id = s.workspace_id AND w.is_active
    WHERE s.workspace_id = :workspace AND s.id = :session AND s.revoked_at IS NULL AND s.expires_at > now()
    """
)


async def identify(database: Database, signer: tokens.Tokens, token: str) -> Caller:
    """Whose token this is; ``Forged`` before any row is looked at, ``Unauthenticated`` for one that has ended."""
    named = signer.session_of(token)
    if named is None:
        raise Forged
    workspace_id, session_id = named
    async with database.workspace(workspace_id) as db:
        row = (await db.execute(_WHO, {"workspace": workspace_id, "session": session_id})).one_or_none()
    if row is None:
        raise Unauthenticated("This session has ended: begin another.")
    return Caller(workspace_id, session_id, row.visitor_id, row.widget_id, row.key, tuple(row.allowed_origins))


class Forged(Unauthenticated):
    """This is no token of a visitor."""


async def begin(
    db: AsyncSession,
    vault: Vault,
    widget: ChatWidget,
    told: Told,
    page: Page,
    proof: Proof | None = None,
    user_agent: str | None = None,
) -> VisitorSession:
    """A session for a new visitor, or for one whom the website proves to be who was here before."""
    visitor = await _proved(db, vault, widget, proof) if proof is not None else _new(widget)
    if proof is None:
        db.add(visitor)
        await db.flush()
        events.record(db, "visitor.created", visitor, shown(visitor))
    row = VisitorSession(
        workspace_id=widget.workspace_id,
        id=new_id(),
        visitor_id=visitor.id,
        page_url=page.url,
        page_title=page.title,
        referrer=page.referrer,
        user_agent=user_agent and user_agent[:500],
        expires_at=now() + LIFE,
    )
    db.add(row)
    await db.flush()
    events.record(db, "visitor_session.created", row, session_shown(row), conversation_id=visitor.conversation_id)
    await tell(db, widget, visitor, told)
    return row


def _new(widget: ChatWidget, **more: Any) -> Visitor:
    return Visitor(workspace_id=widget.workspace_id, id=new_id(), widget_id=widget.id, fields={}, **more)


async def _proved(db: AsyncSession, vault: Vault, widget: ChatWidget, proof: Proof) -> Visitor:
    """The one visitor of that identity, held, on whatever device and however many come at once."""
    if not tokens.is_proved(proof.said, proof.hmac, widgets.secrets_of(widget, vault)):
        raise Forbidden("This identity is not proved: it takes the HMAC-SHA256 under this widget's secret.")
    if proof.email is not None:
        address = _read("identity.email", proof.email, Email())
        identity = f"email:{address.lower()}"
    else:
        address, identity = None, f"id:{proof.user_id}"
    made = await db.scalar(
        insert(Visitor)
        .values(workspace_id=widget.workspace_id, id=new_id(), widget_id=widget.id, identity=identity, email=address)
        .on_conflict_do_nothing(index_elements=["workspace_id", "widget_id", "identity"])
        .returning(Visitor.id)
    )
    visitor_id: Any = made or await db.scalar(
        select(Visitor.id).where(
            Visitor.workspace_id == widget.workspace_id, Visitor.widget_id == widget.id, Visitor.identity == identity
        )
    )
    visitor = await held(db, widget.workspace_id, visitor_id)
    before = shown(visitor)
    if visitor.contact_id is None and proof.email is not None:  # whose chat this is, is known before a word is said
        await join(db, widget, visitor)
        await db.flush()
    if made is not None:
        events.record(db, "visitor.created", visitor, shown(visitor))
    else:
        await tell_of(db, visitor, before)
    return visitor


async def held(db: AsyncSession, workspace_id: uuid.UUID, visitor_id: uuid.UUID) -> Visitor:
    """The visitor, whom nobody else changes until the commit; their conversation is held before."""
    conversation_id = await db.scalar(select(Visitor.conversation_id).where(Visitor.id == visitor_id))
    if conversation_id is not None:
        await db.execute(
            select(Conversation.id).where(Conversation.id == conversation_id).with_for_update(key_share=True)
        )
    query = select(Visitor).where(Visitor.workspace_id == workspace_id, Visitor.id == visitor_id)
    return (await db.scalars(query.with_for_update(key_share=True).execution_options(populate_existing=True))).one()


async def tell(db: AsyncSession, widget: ChatWidget, visitor: Visitor, told: Told) -> None:
    """The visitor, who is held, is who they say, as far as nothing else is proved; and may have agreed to go on."""
    before = shown(visitor)
    if told.name is not None:
        visitor.name = told.name.strip() or None
    if told.email is not None and not (visitor.identity or "").startswith("email:"):
        visitor.email = _read("email", told.email, Email())
    if told.phone is not None:
        visitor.phone = _read("phone", told.phone, Phone())
    if told.fields:
        fields = {**visitor.fields, **told.fields}
        if len(fields) > MOST_ANSWERS:
            raise Invalid({"fields": f"are more than {MOST_ANSWERS}, with those that were answered before"})
        visitor.fields = fields
    if told.agrees:
        await _agree(db, widget, visitor)
    if visitor.conversation_id is not None and visitor.contact_id is None:
        await join(db, widget, visitor)
        await _name_contact(db, visitor)
    await tell_of(db, visitor, before)


async def tell_of(db: AsyncSession, visitor: Visitor, before: VisitorView) -> None:
    """``visitor.updated`` is told, if they are otherwise than before."""
    await db.flush()
    after = shown(visitor)
    if after != before:
        events.record(db, "visitor.updated", visitor, after, before=before)


def _read(field: str, said: str, kind: Email | Phone) -> str:
    try:
        return kind.normalise(said.strip())
    except ValueError as error:
        raise Invalid({field: str(error)}) from None


async def _agree(db: AsyncSession, widget: ChatWidget, visitor: Visitor) -> None:
    """The chat may go on without them: their word is in the ledger, unless that address has said stop before.

    Nor is it while plain words from there, which may have meant stop, wait for a member.
    """
    by: Any = widget.continues_by
    if by is None:
        raise Conflict("chats of this widget do not go on elsewhere")
    address = visitor.phone if by == "sms" else visitor.email
    if address is None:
        raise Invalid({"phone" if by == "sms" else "email": "is required where the chat is to go on"})
    if (visitor.continues_by, visitor.continues_to) == (by, address):
        return
    at = now()
    visitor.continues_by, visitor.continues_to, visitor.agreed_at = by, address, at
    ours: Any = (
        await db.scalar(
            select(WorkspacePhoneNumber.phone_number).where(WorkspacePhoneNumber.id == widget.phone_number_id)
        )
        if by == "sms"
        else await db.scalar(
            select(WorkspaceMailAddress.address).where(WorkspaceMailAddress.id == widget.mail_address_id)
        )
    )
    if ours is None:
        return
    asked = consent.Question(
        workspace_id=visitor.workspace_id, channel=by, address=address, sender=ours, is_reply=False, at=at
    )
    (decision,) = await consent.decide(db, [asked])
    if decision.refused:
        return  # what came from that very address stands: here anybody may have typed it
    await consent.note(
        db,
        [
            Word(
                workspace_id=visitor.workspace_id,
                address=address,
                sender=ours,
                says="start",
                source="chat",
                channel=by,
                at=at,
                proof=f"chat:{visitor.id}:{by}:{address}",
                words="agreed that the chat goes on",
                conversation_id=visitor.conversation_id,
            )
        ],
    )


async def join(db: AsyncSession, widget: ChatWidget, visitor: Visitor) -> None:
    """The visitor is the contact who has the address they gave, a new one if nobody has; they are not shown which.

    Where the chat may go on is looked for first: whoever answers from there is that contact. Another address they gave
    stays theirs alone, for it is proved by nothing.
    """
    given = {"phone": visitor.phone, "email": visitor.email}
    order = ("phone", "email") if widget.continues_by == "sms" else ("email", "phone")
    if (visitor.identity or "").startswith("email:"):
        order = ("email", "phone")
    for kind in order:
        address = given[kind]
        if address is None:
            continue
        read = read_address(address) if kind == "phone" else email_address(address)
        stranger = senders.Stranger(visitor.workspace_id, read, visitor.name, "live_chat", now())
        (met,) = await senders.meet(Rows(db), [stranger])
        visitor.contact_id = met.contact_id
        if met.is_new:
            db.info.setdefault("facts", []).append(contact_created(stranger, met.contact_id))
        return


async def _name_contact(db: AsyncSession, visitor: Visitor) -> None:
    """The visitor's conversation, which is held, is with the contact."""
    if visitor.contact_id is None:
        return
    conversation = await db.get(Conversation, (visitor.workspace_id, visitor.conversation_id), populate_existing=True)
    if conversation is None or conversation.contact_id is not None:
        return
    before = msgspec.convert(conversation, ConversationView, from_attributes=True)
    conversation.contact_id = visitor.contact_id
    await db.flush()
    after = msgspec.convert(conversation, ConversationView, from_attributes=True)
    events.record(db, "conversation.updated", conversation, after, before=before)


async def look_at(db: AsyncSession, session: VisitorSession, page: Page) -> None:
    """The session's visitor looks at that page."""
    before = session_shown(session)
    session.page_url, session.page_title = page.url, page.title
    session.referrer = page.referrer if page.referrer is not None else session.referrer
    await db.flush()
    after = session_shown(session)
    if after != before:
        conversation_id = await db.scalar(select(Visitor.conversation_id).where(Visitor.id == session.visitor_id))
        events.record(db, "visitor_session.updated", session, after, before=before, conversation_id=conversation_id)


async def revoke(db: AsyncSession, session: VisitorSession) -> None:
    """The session's token is good for nothing any more, and its sockets close; 409 if it had been revoked."""
    if session.revoked_at is not None:
        raise Conflict("This session has been revoked.")
    session.revoked_at = now()
    await db.flush()
    events.record(db, "visitor_session.revoked", session, session_shown(session))


_PRESENT = text(
    """
    UPDATE visitor_sessions SET present_until = greatest(present_until, :until)
    WHERE workspace_id = :workspace AND id = :session
    """
)


async def touch(db: AsyncSession, caller: Caller, until: datetime | None = None) -> None:
    """The visitor is here, at this moment or until then."""
    values = {"workspace": caller.workspace_id, "session": caller.session_id, "until": until or now()}
    await db.execute(_PRESENT, values)


def shown(visitor: Visitor) -> VisitorView:
    """The visitor as members see them."""
    return msgspec.convert(visitor, VisitorView, from_attributes=True)


def session_shown(row: VisitorSession) -> VisitorSessionView:
    """The session as members see it."""
    return msgspec.convert(row, VisitorSessionView, from_attributes=True)
