"""To whom somebody writes first: the contact behind an address, and the conversation that the threading rule gives."""

import uuid

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from comms import senders, threads
from comms.arrivals.facts import contact_created, conversation_created, conversation_reopened
from comms.errors import Conflict, Invalid, Missing, Unsendable
from comms.events import Actor, Fact
from comms.mail.addresses import email_address
from comms.outbox.rows import Rows, fetch
from comms.providers.addresses import channel_of, may_exist, read_address
from comms.providers.base import Address, AddressKind
from models.base import now
from models.communications import ConversationMessageView
from models.communications.conversations import ConversationChannel
from models.types import address_key

_KINDS = {
    "sms": (AddressKind.PHONE, AddressKind.SHORT_CODE),
    "whatsapp": (AddressKind.PHONE,),
    "social": (AddressKind.MESSENGER, AddressKind.RCS),
    "email": (AddressKind.EMAIL,),
}

_EXAMPLES = {"social": "messenger:1234567890", "email": "jane@example.com"}

# A mail address is the same whatever its letters' case; the index of match keys is for all ways to write one.
_FIND = f"""
SELECT p.contact_id, c.id, c.status
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
    AS i (workspace_id, kind, address, channel, at)
LEFT JOIN LATERAL (
    SELECT q.contact_id FROM contact_points q
    WHERE q.workspace_id = i.workspace_id AND q.kind = i.kind AND CASE i.kind WHEN 'email' THEN
        lower(q.value) = lower(i.address)
        AND q.match_key = lower(replace(split_part(split_part(i.address, '@', 1), '+', 1), '.', ''))
        ELSE q.value = i.address END
    ORDER BY q.created_at, q.id LIMIT 1
) p ON true
LEFT JOIN LATERAL ({threads.TAKES_THE_MESSAGE}) c ON true
"""

_NUMBER_AT = "SELECT id FROM workspace_phone_numbers WHERE workspace_id = $1 AND phone_number = ANY($2::text[])"

# Of its contact; of whoever has written in it, where it is nobody's; given by the visitor who chats in it.
_IS_THEIRS = """
SELECT EXISTS (SELECT FROM conversations c JOIN contact_points p
        ON p.workspace_id = c.workspace_id AND p.contact_id = c.contact_id
    WHERE c.workspace_id = $1 AND c.id = $2 AND p.value_key = ANY($3::text[]))
OR EXISTS (SELECT FROM conversation_messages m
    WHERE m.workspace_id = $1 AND m.conversation_id = $2 AND m.direction = 'inbound'
        AND lower(m.from_address) = ANY($3::text[]))
OR EXISTS (SELECT FROM visitors v
    WHERE v.workspace_id = $1 AND v.conversation_id = $2
        AND (lower(v.email) = ANY($3::text[]) OR v.phone = ANY($3::text[]) OR lower(v.continues_to) = ANY($3::text[])))
AS is_theirs
"""

_CHANNEL_OF = "SELECT channel FROM conversations WHERE workspace_id = $1 AND id = $2"

_CONTACT_OF = "SELECT contact_id, channel FROM conversations WHERE workspace_id = $1 AND id = $2"

_WITH = f"""
SELECT p.contact_id, c.id, c.status
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[]) AS i (workspace_id, contact_id, channel, at)
CROSS JOIN LATERAL (SELECT i.contact_id) p
LEFT JOIN LATERAL ({threads.TAKES_THE_MESSAGE}) c ON true
"""

_REOPEN = """
UPDATE conversations SET status = 'active', snoozed_until = NULL, updated_at = $3::timestamptz,
    waiting_since = CASE WHEN waiting_since IS NOT NULL THEN $3::timestamptz END
WHERE workspace_id = $1 AND id = $2 AND status IN ('closed', 'archived') RETURNING *
"""


async def conversation_with(
    db: AsyncSession, workspace_id: uuid.UUID, channel: ConversationChannel, to: str, subject: str | None = None
) -> uuid.UUID:
    """The conversation with whoever has this address: the one the threading rule gives, of a new contact if need be.

    Raises ``Unsendable`` for what is no address of this channel, ``Conflict`` when the contact is marked as spam.
    """
    address = _address(channel, to)
    at = now()
    (found,) = await fetch(db, _FIND, [workspace_id], [address.kind], [address.value], [channel], [at])
    contact_id = found["contact_id"]
    if contact_id is None:
        stranger = senders.Stranger(workspace_id, address, None, f"outbound_{channel}", at)
        (met,) = await senders.meet(Rows(db), [stranger])
        contact_id = met.contact_id
        if met.is_new:
            _tell(db, contact_created(stranger, contact_id))
    return await _opened(db, workspace_id, contact_id, channel, found["id"], found["status"], subject)


async def number_at(db: AsyncSession, workspace_id: uuid.UUID, address: str) -> uuid.UUID:
    """Our number of this address, however it is written; ``Unsendable`` when it is none of the workspace's."""
    rows = await fetch(db, _NUMBER_AT, workspace_id, [address.strip(), read_address(address.strip()).value])
    if not rows:
        raise Unsendable("number", f"{address} is no number of this workspace", field="from")
    number_id: uuid.UUID = rows[0]["id"]
    return number_id


async def is_mail(db: AsyncSession, workspace_id: uuid.UUID, conversation_id: uuid.UUID) -> bool:
    """Whether what is said in this conversation leaves by mail."""
    rows = await fetch(db, _CHANNEL_OF, workspace_id, conversation_id)
    return bool(rows) and rows[0]["channel"] == "email"


async def expect_theirs(db: AsyncSession, workspace_id: uuid.UUID, message: ConversationMessageView) -> None:
    """``Invalid`` where the message would go to somebody else than whom its conversation is with."""
    to = message.to_address or ""
    keys = [to, address_key("email", to)]
    (row,) = await fetch(db, _IS_THEIRS, workspace_id, message.conversation_id, keys)
    if not row["is_theirs"]:
        raise Invalid({"to": f"{to} is no address of this conversation's contact: POST /messages writes to anybody"})


async def beside(
    db: AsyncSession, workspace_id: uuid.UUID, conversation_id: uuid.UUID, channel: ConversationChannel
) -> uuid.UUID:
    """The same contact's conversation on that channel: this one, or the one that the threading rule gives."""
    rows = await fetch(db, _CONTACT_OF, workspace_id, conversation_id)
    if not rows:
        raise Missing("There is no such conversation in this workspace.")
    contact_id = rows[0]["contact_id"]
    if rows[0]["channel"] == channel:
        return conversation_id
    if contact_id is None:
        raise Unsendable("address", "nobody is known in this conversation: nothing can be sent on another channel")
    (found,) = await fetch(db, _WITH, [workspace_id], [contact_id], [channel], [now()])
    return await _opened(db, workspace_id, contact_id, channel, found["id"], found["status"])


async def _opened(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    contact_id: uuid.UUID,
    channel: ConversationChannel,
    conversation_id: uuid.UUID | None,
    status: str | None,
    subject: str | None = None,
) -> uuid.UUID:
    at = now()
    if status == "spam":
        raise Conflict("this contact's conversation is marked as spam: unmark it first", conflicting_id=conversation_id)
    if conversation_id is None:
        opening = threads.Opening(workspace_id, contact_id, channel, None, at, subject)
        (opened,) = await threads.open_for(Rows(db), [opening])
        if opened.is_new:
            _tell(db, conversation_created(opening, opened.id))
        return opened.id
    if status in ("closed", "archived"):
        for row in await fetch(db, _REOPEN, workspace_id, conversation_id, at):
            _tell(db, conversation_reopened(row, status))
    return conversation_id


def expect_address(channel: ConversationChannel, to: str) -> None:
    """``Unsendable`` for what is no address of this channel."""
    _address(channel, to)


def _address(channel: ConversationChannel, to: str) -> Address:
    address = email_address(to) if channel == "email" else read_address(to.strip())
    wanted = _KINDS.get(channel)
    if wanted is None:
        raise Unsendable("channel", f"nothing can be sent by {channel} to an address", field="channel")
    is_elsewhere = channel != "email" and channel_of(to) not in (None, channel)
    if address.kind not in wanted or is_elsewhere or not may_exist(address):
        example = _EXAMPLES.get(channel, "+14155550123")
        raise Unsendable("address", f"{to} is no address that {channel} reaches, such as {example}")
    return address


def _tell(db: AsyncSession, fact: Fact) -> None:
    """The fact is told when the unit of work commits, by whoever does it."""
    actor: Actor = db.info.get("actor", Actor())
    db.info.setdefault("facts", []).append(msgspec.structs.replace(fact, actor_type=actor.type, actor_id=actor.id))
