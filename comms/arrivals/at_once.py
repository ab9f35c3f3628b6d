"""The common case in one statement, and so one round trip and one commit: somebody we know writes again.

The number, the contact and an active conversation exist, there are no attachments, the message is new. Whatever is not
so is left to the story. Both lock conversations first, in the order of their ids, then come messages, and counters in
the order of theirs.
"""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from comms import receipts
from comms.arrivals.facts import shown
from comms.arrivals.keeping import COUNTED
from comms.arrivals.passage import KIND, Arrival, Passage, Received
from comms.events import NUMBERS, Told, encode
from models.base import new_id

# ``held`` carries everything on, and the kept are looked up by a hashed subplan (that is what IS TRUE is for): joins
# between the parts of a statement are planned for one row and would be quadratic.
_RECEIVE = f"""
WITH held AS MATERIALIZED (
    SELECT i.*, n.id AS number_id, c.contact_id, c.id AS conversation_id
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::timestamptz[],
                $15::uuid[], $16::text[], $17::text[], $18::text[], $19::bytea[],
                $20::text[], $21::text[], $22::text[], $23::text[])
        WITH ORDINALITY AS i (workspace_id, id, connection_id, line, kind, address, channel, content,
            content_type, metadata, provider, identity, from_address, at,
            receipt_id, method, url, headers, body,
            told_1, told_2, told_3, told_4, ord)
    JOIN workspace_phone_numbers n
        ON n.workspace_id = i.workspace_id AND n.phone_number = i.line AND n.status <> 'released'
    JOIN contact_points p ON p.workspace_id = i.workspace_id AND p.kind = i.kind AND p.value = i.address
    JOIN conversations c ON c.workspace_id = i.workspace_id AND c.contact_id = p.contact_id
        AND c.channel = i.channel AND c.status = 'active'
    ORDER BY c.workspace_id, c.id, i.ord
    FOR NO KEY UPDATE OF c
),
kept AS (
    INSERT INTO conversation_messages (workspace_id, id, conversation_id, direction, content, content_type, sender_type,
        sender_contact_id, metadata, status, provider, provider_message_id, connection_id, phone_number_id,
        from_address, to_address, created_at, updated_at)
    SELECT workspace_id, id, conversation_id, 'inbound', content, content_type, 'contact',
        contact_id, metadata::jsonb, 'received', provider, identity, connection_id, number_id,
        from_address, line, at, at
    FROM held ORDER BY workspace_id, provider, identity
    ON CONFLICT (workspace_id, provider, provider_message_id) WHERE provider_message_id IS NOT NULL DO NOTHING
    RETURNING workspace_id, id, conversation_id, phone_number_id, created_at
),
{COUNTED},
noted AS (
    INSERT INTO webhook_receipts AS kept (workspace_id, id, connection_id, provider, kind, identity, method, url,
        headers, body, state, message_id, created_at, updated_at)
    SELECT workspace_id, receipt_id, connection_id, provider, '{KIND}', identity, method, url, headers::jsonb,
        body, 'processed', id, at, at
    FROM held WHERE (id IN (SELECT id FROM kept)) IS TRUE
    ORDER BY workspace_id, connection_id, identity
    {receipts.ONCE}
),
due AS (SELECT workspace_id, count(*) AS facts FROM kept GROUP BY workspace_id),
{NUMBERS},
told AS (
    INSERT INTO events
        (workspace_id, seq, event, subject_type, subject_id, data, at, conversation_id, actor_type, actor_id)
    SELECT held.workspace_id, numbers.base + row_number() OVER (PARTITION BY held.workspace_id ORDER BY held.ord),
        'message.received', 'message', id,
        (told_1 || conversation_id || told_2 || contact_id || told_3 || number_id || told_4)::json,
        at, conversation_id, 'contact', contact_id
    FROM held JOIN numbers ON numbers.workspace_id = held.workspace_id
    WHERE (id IN (SELECT id FROM kept)) IS TRUE
    RETURNING workspace_id, seq
)
SELECT id, NULL::uuid AS workspace_id, NULL::bigint AS seq FROM kept
UNION ALL
SELECT NULL, workspace_id, max(seq) FROM told GROUP BY workspace_id
"""

# What the statement puts into the fact's JSON: ids that nobody can have written into a message.
_CONVERSATION, _CONTACT, _NUMBER = uuid4(), uuid4(), uuid4()


async def receive_at_once(db: Any, arrivals: Sequence[Arrival]) -> tuple[list[Received | None], Told]:
    """What is the common case is kept, committed and told; None stands for what the story has to take."""
    passages = [Passage(arrival) for arrival in arrivals]
    common = [
        (passage, new_id())
        for passage in passages
        if not passage.arrival.message.media and passage.arrival.retried is None and passage.is_of_somebody
    ]
    if not common:
        return [None] * len(arrivals), []
    told = [_told(passage, message_id) for passage, message_id in common]
    coming = [passage.arrival for passage, _ in common]
    messages = [arrival.message for arrival in coming]
    rows = await db.fetch(
        _RECEIVE,
        [passage.workspace_id for passage, _ in common],
        [message_id for _, message_id in common],
        [arrival.connection.id for arrival in coming],
        [passage.line for passage, _ in common],
        [message.sender.kind for message in messages],
        [message.sender.value for message in messages],
        [message.channel for message in messages],
        [message.content for message in messages],
        [passage.content_type for passage, _ in common],
        [encode(passage.metadata).decode() for passage, _ in common],
        [message.provider for message in messages],
        [message.provider_message_id for message in messages],
        [passage.said_by for passage, _ in common],
        [arrival.at for arrival in coming],
        [new_id() for _ in coming],
        [arrival.request.method for arrival in coming],
        [receipts.url_of(arrival.request) for arrival in coming],
        [receipts.headers_of(arrival.request) for arrival in coming],
        [arrival.request.body for arrival in coming],
        *([parts[place] for parts in told] for place in range(4)),
    )
    kept = {row["id"] for row in rows}
    for passage, message_id in common:
        if message_id in kept:
            passage.message_id = message_id
    outcomes = [
        None if passage.message_id is None else Received(passage.message_id, is_new=True) for passage in passages
    ]
    return outcomes, [(row["workspace_id"], row["seq"]) for row in rows if row["seq"] is not None]


def _told(passage: Passage, message_id: Any) -> list[str]:
    """The message as GET shows it, cut where the ids go that only the statement knows."""
    passage.message_id, passage.conversation_id = message_id, _CONVERSATION
    passage.contact_id, passage.number_id = _CONTACT, _NUMBER
    text = encode(shown(passage, [])).decode()
    passage.message_id = None
    parts = []
    for gap in (_CONVERSATION, _CONTACT, _NUMBER):
        part, _, text = text.partition(str(gap))
        parts.append(part)
    return [*parts, text]
