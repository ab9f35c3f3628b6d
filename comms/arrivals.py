"""Inbound messages: each finds its place, is kept once and is told to all, in one transaction for all that wait."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from comms import media, receipts, senders, threads
from comms.directory import Connection
from comms.events import Fact, Told, encode, tell
from comms.providers.base import AddressKind, Channel, InboundMessage, Request
from models.base import new_id
from models.communications import ConversationMessageView, ConversationView, MessageAttachmentView
from models.crm import ContactView

KIND = "messages"


class Arrival(msgspec.Struct, gc=False):
    """A genuine inbound message as it came."""

    connection: Connection
    request: Request
    message: InboundMessage
    at: datetime
    retried: receipts.Retried | None = None

    @property
    def kind(self) -> str:
        return KIND

    @property
    def identity(self) -> str:
        return self.retried.identity if self.retried else self.message.provider_message_id


class Received(msgspec.Struct, frozen=True):
    """What came of an arrival: the message it became, or the reason it became none."""

    message_id: uuid.UUID | None = None
    is_new: bool = False
    reason: str | None = None


class _Passage(msgspec.Struct, gc=False):
    """An arrival on its way: what is known of its place so far, and whether it was kept."""

    arrival: Arrival
    number_id: uuid.UUID | None
    contact_id: uuid.UUID | None
    conversation_id: uuid.UUID | None
    message_id: uuid.UUID | None
    twin: "_Passage | None" = None
    kept: bool = False


async def receive(db: Any, arrivals: Sequence[Arrival]) -> tuple[list[Received], Told]:
    """Messages have reached our numbers: their place is found, each is kept once, and it is said."""
    passages = await _find(db, arrivals)
    coming = _to_keep(passages)
    facts: list[Fact] = []
    if coming:
        facts += await _meet(db, coming)
        facts += await _open(db, coming)
        facts += await _keep(db, coming)
    await receipts.keep(db, [_receipt(passage) for passage in passages])
    return [_outcome(passage) for passage in passages], await tell(db, facts)


async def spoil(db: Any, arrival: Arrival, error: Exception) -> tuple[list[Received], Told]:
    """A message whose story fails is kept as it came, to be tried again by the worker."""
    await receipts.keep_failed(db, arrival, error)
    return [Received(reason=receipts.describe(error))], []


_FIND = f"""
SELECT n.id AS number_id, p.contact_id, c.id AS conversation_id, m.id AS message_id
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[])
    WITH ORDINALITY AS i (workspace_id, line, kind, address, channel, provider, identity, at, ord)
LEFT JOIN workspace_phone_numbers n
    ON n.workspace_id = i.workspace_id AND n.phone_number = i.line AND n.status <> 'released'
LEFT JOIN contact_points p ON p.workspace_id = i.workspace_id AND p.kind = i.kind AND p.value = i.address
LEFT JOIN conversation_messages m
    ON m.workspace_id = i.workspace_id AND m.provider = i.provider AND m.provider_message_id = i.identity
LEFT JOIN LATERAL ({threads.TAKES_THE_MESSAGE}) c ON true
ORDER BY i.ord
"""


async def _find(db: Any, arrivals: Sequence[Arrival]) -> list[_Passage]:
    messages = [arrival.message for arrival in arrivals]
    rows = await db.fetch(
        _FIND,
        [arrival.connection.workspace_id for arrival in arrivals],
        [_line(message) for message in messages],
        [message.sender.kind if message.sender.is_identity else None for message in messages],
        [message.sender.value for message in messages],
        [message.channel for message in messages],
        [message.provider for message in messages],
        [message.provider_message_id for message in messages],
        [arrival.at for arrival in arrivals],
    )
    return [_Passage(arrival, *row) for arrival, row in zip(arrivals, rows, strict=True)]


def _line(message: InboundMessage) -> str:
    """The number of ours it was sent to, as ``workspace_phone_numbers`` writes it."""
    recipient = message.recipient
    return f"{recipient.kind}:{recipient.value}" if recipient.kind in ("messenger", "rcs") else recipient.value


def _to_keep(passages: Sequence[_Passage]) -> list[_Passage]:
    """The messages we have a number for and have not kept yet, each once."""
    first: dict[tuple[uuid.UUID, str, str], _Passage] = {}
    for passage in passages:
        if passage.number_id is None or passage.message_id is not None:
            continue
        message = passage.arrival.message
        key = (passage.arrival.connection.workspace_id, message.provider, message.provider_message_id)
        passage.twin = first.setdefault(key, passage)
    return list(first.values())


async def _meet(db: Any, coming: Sequence[_Passage]) -> list[Fact]:
    """Every sender who can be known is a contact."""
    strangers: dict[tuple[uuid.UUID, AddressKind, str], senders.Stranger] = {}
    theirs: list[tuple[_Passage, tuple[uuid.UUID, AddressKind, str]]] = []
    for passage in coming:
        sender = passage.arrival.message.sender
        if passage.contact_id is not None or not sender.is_identity:
            continue
        key = (passage.arrival.connection.workspace_id, sender.kind, sender.value)
        theirs.append((passage, key))
        strangers.setdefault(
            key,
            senders.Stranger(
                workspace_id=key[0],
                address=sender,
                name=passage.arrival.message.sender_name,
                source=f"inbound_{passage.arrival.message.channel}",
                at=passage.arrival.at,
            ),
        )
    if not strangers:
        return []
    met = dict(zip(strangers, await senders.meet(db, list(strangers.values())), strict=True))
    for passage, key in theirs:
        passage.contact_id = met[key].contact_id
    return [_contact_created(strangers[key], met[key].contact_id) for key in strangers if met[key].is_new]


async def _open(db: Any, coming: Sequence[_Passage]) -> list[Fact]:
    """Every message has a conversation that takes it."""
    openings: dict[tuple[uuid.UUID, uuid.UUID, Channel], threads.Opening] = {}
    theirs: list[tuple[_Passage, tuple[uuid.UUID, uuid.UUID, Channel]]] = []
    for passage in coming:
        if passage.conversation_id is not None:
            continue
        arrival = passage.arrival
        # Somebody withheld is nobody twice: the message's own key, and so a conversation of its own.
        key = (arrival.connection.workspace_id, passage.contact_id or new_id(), arrival.message.channel)
        theirs.append((passage, key))
        assert passage.number_id is not None
        openings.setdefault(
            key,
            threads.Opening(
                workspace_id=key[0],
                contact_id=passage.contact_id,
                channel=arrival.message.channel,
                phone_number_id=passage.number_id,
                at=arrival.at,
            ),
        )
    if not openings:
        return []
    opened = dict(zip(openings, await threads.open_for(db, list(openings.values())), strict=True))
    for passage, key in theirs:
        passage.conversation_id = opened[key].id
    return [_conversation_created(openings[key], opened[key].id) for key in openings if opened[key].is_new]


# One statement: the conversations are locked in the order of their ids, the messages inserted in the order of theirs,
# and a conversation counts only what was really kept.
_KEEP = """
WITH i AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[],
                         $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::timestamptz[])
        AS i (workspace_id, id, conversation_id, contact_id, number_id, connection_id, content, content_type, metadata,
              provider, identity, from_address, to_address, at)
),
held AS MATERIALIZED (
    SELECT c.workspace_id, c.id, c.status FROM conversations c
    JOIN (SELECT DISTINCT workspace_id, conversation_id FROM i) AS w
        ON w.workspace_id = c.workspace_id AND w.conversation_id = c.id
    ORDER BY c.workspace_id, c.id
    FOR NO KEY UPDATE OF c
),
kept AS (
    INSERT INTO conversation_messages (workspace_id, id, conversation_id, direction, content, content_type, sender_type,
        sender_contact_id, metadata, status, provider, provider_message_id, connection_id, phone_number_id,
        from_address, to_address, created_at, updated_at)
    SELECT i.workspace_id, i.id, i.conversation_id, 'inbound', i.content, i.content_type, 'contact',
        i.contact_id, i.metadata::jsonb, 'received', i.provider, i.identity, i.connection_id, i.number_id,
        i.from_address, i.to_address, i.at, i.at
    FROM i JOIN held ON held.workspace_id = i.workspace_id AND held.id = i.conversation_id
    ORDER BY i.workspace_id, i.provider, i.identity
    ON CONFLICT (workspace_id, provider, provider_message_id) WHERE provider_message_id IS NOT NULL DO NOTHING
    RETURNING workspace_id, id, conversation_id, phone_number_id, created_at
),
moved AS (
    UPDATE conversations c SET
        message_count = c.message_count + k.messages,
        last_message_at = greatest(c.last_message_at, k.at),
        phone_number_id = k.number_id,
        status = CASE WHEN c.status IN ('closed', 'archived') THEN 'active' ELSE c.status END,
        updated_at = k.at
    FROM (
        SELECT workspace_id, conversation_id, count(*) AS messages, max(created_at) AS at,
            (array_agg(phone_number_id ORDER BY created_at DESC, id DESC))[1] AS number_id
        FROM kept GROUP BY workspace_id, conversation_id
    ) AS k
    WHERE c.workspace_id = k.workspace_id AND c.id = k.conversation_id
)
SELECT kept.id, held.status FROM kept
JOIN held ON held.workspace_id = kept.workspace_id AND held.id = kept.conversation_id
"""


async def _keep(db: Any, coming: Sequence[_Passage]) -> list[Fact]:
    """Each message is a row, once; what a provider repeats at the same instant is found in its twin's place."""
    ids = [new_id() for _ in coming]
    rows = await db.fetch(
        _KEEP,
        [passage.arrival.connection.workspace_id for passage in coming],
        ids,
        [passage.conversation_id for passage in coming],
        [passage.contact_id for passage in coming],
        [passage.number_id for passage in coming],
        [passage.arrival.connection.id for passage in coming],
        [passage.arrival.message.content for passage in coming],
        [_content_type(passage.arrival.message) for passage in coming],
        [encode(_metadata(passage.arrival.message)).decode() for passage in coming],
        [passage.arrival.message.provider for passage in coming],
        [passage.arrival.message.provider_message_id for passage in coming],
        [_from(passage.arrival.message) for passage in coming],
        [_line(passage.arrival.message) for passage in coming],
        [passage.arrival.at for passage in coming],
    )
    status_before = {row["id"]: row["status"] for row in rows}
    kept = []
    for passage, id_ in zip(coming, ids, strict=True):
        if id_ in status_before:
            passage.message_id, passage.kept = id_, True
            kept.append(passage)
    if len(kept) < len(coming):
        await _find_twins(db, [passage for passage in coming if not passage.kept])
    attachments = await _attach(db, kept)
    heard = [passage for passage in kept if status_before[passage.message_id] != "spam"]
    reopened = {
        passage.conversation_id: 0 for passage in heard if status_before[passage.message_id] in ("closed", "archived")
    }
    facts = await _conversations_reopened(db, reopened, kept) if reopened else []
    return facts + [_message_received(passage, attachments.get(passage.message_id, [])) for passage in heard]


_TWINS = """
SELECT i.ord, m.id FROM unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY
    AS i (workspace_id, provider, identity, ord)
JOIN conversation_messages m
    ON m.workspace_id = i.workspace_id AND m.provider = i.provider AND m.provider_message_id = i.identity
"""


async def _find_twins(db: Any, passages: Sequence[_Passage]) -> None:
    """Who was not kept was kept by somebody else in the same instant, or else its conversation has just gone."""
    rows = await db.fetch(
        _TWINS,
        [passage.arrival.connection.workspace_id for passage in passages],
        [passage.arrival.message.provider for passage in passages],
        [passage.arrival.message.provider_message_id for passage in passages],
    )
    if len(rows) < len(passages):
        raise threads.Contended
    for row in rows:
        passages[row["ord"] - 1].message_id = row["id"]


async def _attach(db: Any, kept: Sequence[_Passage]) -> dict[uuid.UUID | None, list[MessageAttachmentView]]:
    """Every item of every message is a row at once; fetching it is a job, in the same commit."""
    items = [
        media.Announced(
            workspace_id=passage.arrival.connection.workspace_id,
            message_id=passage.message_id,
            connection_id=passage.arrival.connection.id,
            position=position,
            source_url=item.url,
            declared_type=item.content_type,
            at=passage.arrival.at,
        )
        for passage in kept
        if passage.message_id is not None
        for position, item in enumerate(passage.arrival.message.media)
    ]
    attachments: dict[uuid.UUID | None, list[MessageAttachmentView]] = {}
    for view in await media.announce(db, items) if items else []:
        attachments.setdefault(view.message_id, []).append(view)
    return attachments


_REOPENED = "SELECT * FROM conversations WHERE id = ANY($1::uuid[]) ORDER BY id"


async def _conversations_reopened(db: Any, reopened: dict[Any, int], kept: Sequence[_Passage]) -> list[Fact]:
    """Told as they stood before the messages that follow in the log are counted."""
    for passage in kept:
        if passage.conversation_id in reopened:
            reopened[passage.conversation_id] += 1
    return [
        Fact(
            workspace_id=row["workspace_id"],
            event="conversation.reopened",
            subject_type="conversation",
            subject_id=row["id"],
            conversation_id=row["id"],
            at=row["updated_at"],
            data=encode(
                ConversationView(
                    **{name: row[name] for name in ConversationView.__struct_fields__ if name != "message_count"},
                    message_count=row["message_count"] - reopened[row["id"]],
                )
            ),
        )
        for row in await db.fetch(_REOPENED, list(reopened))
    ]


def _message_received(passage: _Passage, attachments: list[MessageAttachmentView]) -> Fact:
    arrival, message = passage.arrival, passage.arrival.message
    assert passage.message_id is not None
    assert passage.conversation_id is not None
    provider: Any = message.provider
    return Fact(
        workspace_id=arrival.connection.workspace_id,
        event="message.received",
        subject_type="message",
        subject_id=passage.message_id,
        conversation_id=passage.conversation_id,
        actor_type="contact",
        actor_id=passage.contact_id,
        at=arrival.at,
        data=encode(
            ConversationMessageView(
                id=passage.message_id,
                conversation_id=passage.conversation_id,
                direction="inbound",
                content=message.content,
                content_type=_content_type(message),
                sender_type="contact",
                sender_id=passage.contact_id,
                meta=_metadata(message),
                status="received",
                provider=provider,
                provider_message_id=message.provider_message_id,
                phone_number_id=passage.number_id,
                from_address=_from(message),
                to_address=_line(message),
                attachments=attachments,
                created_at=arrival.at,
                updated_at=arrival.at,
            )
        ),
    )


def _contact_created(stranger: senders.Stranger, contact_id: uuid.UUID) -> Fact:
    address = stranger.address
    return Fact(
        workspace_id=stranger.workspace_id,
        event="contact.created",
        subject_type="contact",
        subject_id=contact_id,
        at=stranger.at,
        data=encode(
            ContactView(
                id=contact_id,
                phone=address.value if address.kind == "phone" else None,
                first_name=stranger.name,
                source=stranger.source,
                created_at=stranger.at,
                updated_at=stranger.at,
            )
        ),
    )


def _conversation_created(opening: threads.Opening, conversation_id: uuid.UUID) -> Fact:
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
                phone_number_id=opening.phone_number_id,
                created_at=opening.at,
                updated_at=opening.at,
            )
        ),
    )


def _content_type(message: InboundMessage) -> Any:
    return "media" if message.media and not message.content.strip() else "text"


def _from(message: InboundMessage) -> str:
    return message.sender.value if message.sender.is_identity else message.sender.raw


def _metadata(message: InboundMessage) -> dict[str, Any]:
    """The provider's further facts; ``mediaMissing`` when it announced more items than it sent."""
    metadata = {**message.details, "account": message.account, "segments": message.segments}
    if message.media_announced > len(message.media):
        metadata["mediaMissing"] = message.media_announced - len(message.media)
    return metadata


def _receipt(passage: _Passage) -> receipts.Receipt:
    if passage.number_id is None and passage.message_id is None:
        return receipts.Receipt(passage.arrival, state="unmapped", reason=_unmapped(passage.arrival.message))
    twin = passage.twin or passage
    return receipts.Receipt(passage.arrival, message_id=twin.message_id)


def _outcome(passage: _Passage) -> Received:
    if passage.number_id is None and passage.message_id is None:
        return Received(reason=_unmapped(passage.arrival.message))
    twin = passage.twin or passage
    return Received(message_id=twin.message_id, is_new=passage.kept)


def _unmapped(message: InboundMessage) -> str:
    return f"{_line(message)} is not a number of this workspace: add it, then replay this webhook"
