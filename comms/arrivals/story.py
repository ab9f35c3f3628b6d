"""The story: each message finds its place, is kept once, and is told to all."""

import uuid
from collections.abc import Sequence
from typing import Any

from comms import receipts, senders, threads
from comms.arrivals.facts import contact_created, conversation_created
from comms.arrivals.keeping import keep
from comms.arrivals.passage import Arrival, Passage, Received
from comms.consent.hearing import hear
from comms.consent.keywords import said_in
from comms.events import Fact, Told, tell
from comms.providers.base import AddressKind, Channel
from models.base import new_id
from models.types import address_key_sql


async def receive(db: Any, arrivals: Sequence[Arrival]) -> tuple[list[Received], Told]:
    """Messages have reached our numbers: their place is found, each is kept once, heeded, and it is said."""
    passages, facts = await enter(db, arrivals)
    await receipts.keep(db, [_receipt(passage) for passage in passages])
    return [_outcome(passage) for passage in passages], await tell(db, facts)


async def enter(db: Any, arrivals: Sequence[Arrival]) -> tuple[list[Passage], list[Fact]]:
    """Each message has its place, is kept once and heeded; the facts are the caller's to tell, no receipt is kept."""
    passages = await _find(db, arrivals)
    coming = _to_keep(passages)
    facts: list[Fact] = []
    if coming:
        facts += await _meet(db, coming)
        facts += await _open(db, coming)
        facts += await keep(db, coming)
        facts += await hear(db, [passage for passage in coming if passage.kept])
    return passages, facts


async def spoil(db: Any, arrival: Arrival, error: Exception) -> tuple[list[Received], Told]:
    """A message whose story fails is kept as it came, to be tried again by the worker."""
    await receipts.keep_failed(db, arrival, error)
    return [Received(reason=receipts.describe(error))], []


# Each look-up stands alone, so that it can only be a probe of its key: joined, it would be planned while the tables are
# empty as a walk through all their rows.
_FIND = f"""
SELECT
    (SELECT n.id FROM workspace_phone_numbers n
        WHERE n.workspace_id = i.workspace_id AND n.phone_number = i.line AND n.status <> 'released') AS number_id,
    p.contact_id, c.id AS conversation_id,
    (SELECT m.id FROM conversation_messages m
        WHERE m.workspace_id = i.workspace_id AND m.provider = i.provider AND m.provider_message_id = i.identity
    ) AS message_id
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[])
    WITH ORDINALITY AS i (workspace_id, line, kind, address, channel, provider, identity, at, ord)
LEFT JOIN LATERAL (
    SELECT q.contact_id FROM contact_points q
    WHERE q.workspace_id = i.workspace_id AND q.kind = i.kind
            AND q.value_key = {address_key_sql("i.kind", "i.address")} LIMIT 1
) p ON true
LEFT JOIN LATERAL ({threads.TAKES_THE_MESSAGE}) c ON true
ORDER BY i.ord
"""


async def _find(db: Any, arrivals: Sequence[Arrival]) -> list[Passage]:
    passages = [Passage(arrival) for arrival in arrivals]
    messages = [arrival.message for arrival in arrivals]
    rows = await db.fetch(
        _FIND,
        [arrival.connection.workspace_id for arrival in arrivals],
        [passage.line for passage in passages],
        [message.sender.kind if message.sender.is_identity else None for message in messages],
        [message.sender.value for message in messages],
        [message.channel for message in messages],
        [message.provider for message in messages],
        [message.provider_message_id for message in messages],
        [arrival.at for arrival in arrivals],
    )
    for passage, row in zip(passages, rows, strict=True):
        passage.number_id, passage.contact_id, passage.conversation_id, passage.message_id = row
        if passage.is_of_somebody:
            passage.said = said_in(passage.arrival.message.content, passage.arrival.message.details)
    return passages


def _to_keep(passages: Sequence[Passage]) -> list[Passage]:
    """The messages we have a number for and have not kept yet, each once."""
    first: dict[tuple[uuid.UUID, str, str], Passage] = {}
    for passage in passages:
        if passage.number_id is None or passage.message_id is not None:
            continue
        message = passage.arrival.message
        key = (passage.workspace_id, message.provider, message.provider_message_id)
        passage.twin = first.setdefault(key, passage)
    return list(first.values())


async def _meet(db: Any, coming: Sequence[Passage]) -> list[Fact]:
    """Every sender who can be known is a contact."""
    strangers: dict[tuple[uuid.UUID, AddressKind, str], senders.Stranger] = {}
    theirs: list[tuple[Passage, tuple[uuid.UUID, AddressKind, str]]] = []
    for passage in coming:
        sender = passage.arrival.message.sender
        if passage.contact_id is not None or not sender.is_identity:
            continue
        key = (passage.workspace_id, sender.kind, sender.value)
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
    return [contact_created(strangers[key], met[key].contact_id) for key in strangers if met[key].is_new]


async def _open(db: Any, coming: Sequence[Passage]) -> list[Fact]:
    """Every message has a conversation that takes it."""
    openings: dict[tuple[uuid.UUID, uuid.UUID, Channel], threads.Opening] = {}
    theirs: list[tuple[Passage, tuple[uuid.UUID, uuid.UUID, Channel]]] = []
    for passage in coming:
        if passage.conversation_id is not None:
            continue
        arrival = passage.arrival
        # Somebody withheld is nobody twice: the message's own key, and so a conversation of its own.
        key = (passage.workspace_id, passage.contact_id or new_id(), arrival.message.channel)
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
        passage.opened = passage.contact_id is None
    return [conversation_created(openings[key], opened[key].id) for key in openings if opened[key].is_new]


def _receipt(passage: Passage) -> receipts.Receipt:
    if passage.is_unmapped:
        return receipts.Receipt(passage.arrival, state="unmapped", reason=_unmapped(passage))
    twin = passage.twin or passage
    return receipts.Receipt(passage.arrival, message_id=twin.message_id)


def _outcome(passage: Passage) -> Received:
    if passage.is_unmapped:
        return Received(reason=_unmapped(passage))
    twin = passage.twin or passage
    return Received(message_id=twin.message_id, is_new=passage.kept)


def _unmapped(passage: Passage) -> str:
    return f"{passage.line} is not a number of this workspace: add it, then replay this webhook"
