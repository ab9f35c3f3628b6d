"""Somebody we know writes again: by far the most frequent case, in one statement.

The number, the contact and an active conversation exist, the message is new. Whatever is not so is left to others.
"""

import uuid
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from comms.arrivals.at_once import after, columns, cut, incoming, is_plain, noted
from comms.arrivals.facts import shown
from comms.arrivals.keeping import COUNTED, messages_of
from comms.arrivals.passage import Arrival, Passage, Received
from comms.events import NUMBERS, Told, encode
from models.base import new_id
from models.types import address_key_sql

# ``held`` carries everything on, and the kept are looked up by a hashed subplan (that is what IS TRUE is for): joins
# between the parts of a statement are planned for one row and would be quadratic.
_RECEIVE = f"""
WITH held AS MATERIALIZED (
    SELECT i.*, n.id AS number_id, c.contact_id, c.id AS conversation_id
    FROM {incoming(told_1="text", told_2="text", told_3="text", told_4="text")}
    JOIN workspace_phone_numbers n
        ON n.workspace_id = i.workspace_id AND n.phone_number = i.line AND n.status <> 'released'
    JOIN contact_points p ON p.workspace_id = i.workspace_id AND p.kind = i.kind
        AND p.value_key = {address_key_sql("i.kind", "i.address")}
    JOIN conversations c ON c.workspace_id = i.workspace_id AND c.contact_id = p.contact_id
        AND c.channel = i.channel AND c.status = 'active' AND NOT c.is_unproven
    WHERE NOT EXISTS (SELECT FROM conversations k
        WHERE k.workspace_id = i.workspace_id AND k.contact_id = p.contact_id AND k.continued_by IS NOT NULL)
    ORDER BY c.workspace_id, c.id, i.ord
    FOR NO KEY UPDATE OF c
),
kept AS (
    {messages_of("held")}
    ON CONFLICT (workspace_id, provider, provider_message_id) WHERE provider_message_id IS NOT NULL DO NOTHING
    RETURNING workspace_id, id, conversation_id, phone_number_id, created_at
),
{COUNTED},
noted AS ({noted("held WHERE (id IN (SELECT id FROM kept)) IS TRUE")}),
due AS (SELECT workspace_id, count(*) AS facts FROM kept WHERE {after("moved", "noted")} GROUP BY workspace_id),
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


async def receive_from_known(db: Any, arrivals: Sequence[Arrival]) -> tuple[list[Received | None], Told]:
    """What people we know have written is kept, committed and told; None stands for what others have to take."""
    outcomes: list[Received | None] = [None] * len(arrivals)
    passages = [Passage(arrival) for arrival in arrivals]
    plain = [(place, passage, new_id()) for place, passage in enumerate(passages) if is_plain(passage)]
    if not plain:
        return outcomes, []
    told = [_told(passage, message_id) for _, passage, message_id in plain]
    rows = await db.fetch(
        _RECEIVE,
        *columns([passage for _, passage, _ in plain], [message_id for _, _, message_id in plain]),
        *([parts[part] for parts in told] for part in range(4)),
    )
    kept = {row["id"] for row in rows}
    for place, _, message_id in plain:
        if message_id in kept:
            outcomes[place] = Received(message_id, is_new=True)
    return outcomes, [(row["workspace_id"], row["seq"]) for row in rows if row["seq"] is not None]


def _told(passage: Passage, message_id: uuid.UUID) -> list[str]:
    """The message as GET shows it, cut where the ids go that only the statement knows."""
    passage.message_id, passage.conversation_id = message_id, _CONVERSATION
    passage.contact_id, passage.number_id = _CONTACT, _NUMBER
    return cut(encode(shown(passage, [])), _CONVERSATION, _CONTACT, _NUMBER)
