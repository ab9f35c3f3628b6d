"""Somebody writes for the first time: contact, conversation, message and their three facts, in one statement.

Whoever has an address first wins it; a message that comes second, or that we have already, is left to the story.
"""

import uuid
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import msgspec

from comms import senders, threads
from comms.arrivals.at_once import after, columns, cut, incoming, is_plain, noted
from comms.arrivals.facts import contact_created, conversation_created, message_received
from comms.arrivals.keeping import messages_of
from comms.arrivals.passage import Arrival, Passage, Received
from comms.events import NUMBERS, Told
from models.base import new_id
from models.types import address_key_sql

_FURTHER = {
    "contact_id": "uuid",
    "point_id": "uuid",
    "conversation_id": "uuid",
    "phone": "text",
    "name": "text",
    "source": "text",
    "contact": "text",
    "conversation_1": "text",
    "conversation_2": "text",
    "message_1": "text",
    "message_2": "text",
}

_KEY = address_key_sql("i.kind", "i.address")

# Messages are inserted without ON CONFLICT, after the points have been won: should there be one with the same id after
# all, nothing of the group is kept, and the story takes it.
_RECEIVE = f"""
WITH new AS MATERIALIZED (
    SELECT DISTINCT ON (i.workspace_id, i.kind, {_KEY}) i.*, n.id AS number_id
    FROM {incoming(**_FURTHER)}
    JOIN workspace_phone_numbers n
        ON n.workspace_id = i.workspace_id AND n.phone_number = i.line AND n.status <> 'released'
    WHERE NOT EXISTS (SELECT FROM conversation_messages m WHERE m.workspace_id = i.workspace_id
        AND m.provider = i.provider AND m.provider_message_id = i.identity)
    ORDER BY i.workspace_id, i.kind, {_KEY}, i.ord
),
won AS (
    INSERT INTO contact_points (workspace_id, id, contact_id, kind, value, is_primary, created_at, updated_at)
    SELECT workspace_id, point_id, contact_id, kind, address, true, at, at
    FROM new i ORDER BY workspace_id, kind, {_KEY}
    ON CONFLICT (workspace_id, kind, value_key) DO NOTHING
    RETURNING contact_id
),
met AS MATERIALIZED (SELECT * FROM new WHERE (contact_id IN (SELECT contact_id FROM won)) IS TRUE),
made AS (
    INSERT INTO contacts (workspace_id, id, phone, first_name, source, created_at, updated_at)
    SELECT workspace_id, contact_id, phone, name, source, at, at FROM met
    RETURNING id
),
opened AS (
    INSERT INTO conversations (workspace_id, id, contact_id, channel, status, phone_number_id, message_count,
        last_message_at, waiting_since, created_at, updated_at)
    SELECT workspace_id, conversation_id, contact_id, channel, 'active', number_id, 1, at, at, at, at FROM met
    RETURNING id
),
kept AS ({messages_of("met")} RETURNING workspace_id, id),
noted AS ({noted("met")}),
due AS (
    SELECT workspace_id, 3 * count(*) AS facts FROM kept WHERE {after("made", "opened", "noted")} GROUP BY workspace_id
),
{NUMBERS},
told AS (
    INSERT INTO events
        (workspace_id, seq, event, subject_type, subject_id, data, at, conversation_id, actor_type, actor_id)
    SELECT met.workspace_id,
        numbers.base + row_number() OVER (PARTITION BY met.workspace_id ORDER BY met.ord, fact.place),
        fact.event, fact.subject_type, fact.subject_id, fact.data::json, met.at, fact.conversation_id,
        fact.actor_type, fact.actor_id
    FROM met JOIN numbers ON numbers.workspace_id = met.workspace_id
    CROSS JOIN LATERAL (VALUES
        (1, 'contact.created', 'contact', contact_id, contact, NULL, 'system', NULL),
        (2, 'conversation.created', 'conversation', conversation_id,
            conversation_1 || number_id || conversation_2, conversation_id, 'system', NULL),
        (3, 'message.received', 'message', id, message_1 || number_id || message_2, conversation_id,
            'contact', contact_id)
    ) AS fact (place, event, subject_type, subject_id, data, conversation_id, actor_type, actor_id)
    RETURNING workspace_id, seq
)
SELECT id, NULL::uuid AS workspace_id, NULL::bigint AS seq FROM kept
UNION ALL
SELECT NULL, workspace_id, max(seq) FROM told GROUP BY workspace_id
"""

# Where the facts' JSON is cut: only the statement knows the number's id.
_NUMBER = uuid4()


class _Stranger(msgspec.Struct, gc=False):
    """A passage with what a stranger brings: their ids, and the facts in parts."""

    passage: Passage
    further: tuple[Any, ...]

    @property
    def message_id(self) -> uuid.UUID:
        assert self.passage.message_id is not None
        return self.passage.message_id


async def receive_from_strangers(db: Any, arrivals: Sequence[Arrival]) -> tuple[list[Received | None], Told]:
    """What strangers have written is kept, committed and told; None stands for what the story has to take."""
    outcomes: list[Received | None] = [None] * len(arrivals)
    passages = [Passage(arrival) for arrival in arrivals]
    coming = {place: _stranger(passage) for place, passage in enumerate(passages) if is_plain(passage)}
    if not coming:
        return outcomes, []
    strangers = list(coming.values())
    rows = await db.fetch(
        _RECEIVE,
        *columns([stranger.passage for stranger in strangers], [stranger.message_id for stranger in strangers]),
        *(list(column) for column in zip(*(stranger.further for stranger in strangers), strict=True)),
    )
    kept = {row["id"] for row in rows}
    for place, stranger in coming.items():
        if stranger.message_id in kept:
            outcomes[place] = Received(stranger.message_id, is_new=True)
    return outcomes, [(row["workspace_id"], row["seq"]) for row in rows if row["seq"] is not None]


def _stranger(passage: Passage) -> _Stranger:
    """Everything that will be theirs, should they really be new."""
    arrival, message = passage.arrival, passage.arrival.message
    passage.contact_id, passage.conversation_id, passage.message_id = new_id(), new_id(), new_id()
    passage.number_id = _NUMBER
    stranger = senders.Stranger(
        workspace_id=passage.workspace_id,
        address=message.sender,
        name=message.sender_name,
        source=f"inbound_{message.channel}",
        at=arrival.at,
    )
    opening = threads.Opening(
        workspace_id=passage.workspace_id,
        contact_id=passage.contact_id,
        channel=message.channel,
        phone_number_id=_NUMBER,
        at=arrival.at,
    )
    return _Stranger(
        passage,
        (
            passage.contact_id,
            new_id(),
            passage.conversation_id,
            stranger.phone,
            stranger.name,
            stranger.source,
            contact_created(stranger, passage.contact_id).data.decode(),
            *cut(conversation_created(opening, passage.conversation_id).data, _NUMBER),
            *cut(message_received(passage, []).data, _NUMBER),
        ),
    )
