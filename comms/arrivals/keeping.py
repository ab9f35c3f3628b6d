"""Each message is a row once, in the commit that counts it; its attachments are rows at once."""

import uuid
from collections.abc import Sequence
from typing import Any

from comms import media, threads
from comms.arrivals.facts import conversations_reopened, message_received
from comms.arrivals.passage import Passage
from comms.events import Fact, encode
from models.base import new_id
from models.communications import MessageAttachmentView

COUNTED = """
moved AS (
    UPDATE conversations c SET
        message_count = c.message_count + k.messages,
        last_message_at = greatest(c.last_message_at, k.at),
        phone_number_id = CASE WHEN c.last_message_at > k.at THEN c.phone_number_id ELSE k.number_id END,
        status = CASE WHEN c.status IN ('closed', 'archived') THEN 'active' ELSE c.status END,
        waiting_since = CASE WHEN c.status IN ('closed', 'archived') AND c.waiting_since IS NOT NULL THEN k.at
            ELSE c.waiting_since END,
        snoozed_until = NULL,
        updated_at = greatest(c.updated_at, k.at)
    FROM (
        SELECT workspace_id, conversation_id, count(*) AS messages, max(created_at) AS at,
            (array_agg(phone_number_id ORDER BY created_at DESC, id DESC))[1] AS number_id
        FROM kept GROUP BY workspace_id, conversation_id
    ) AS k
    WHERE c.workspace_id = k.workspace_id AND c.id = k.conversation_id
    RETURNING c.id
)"""
"""From ``kept`` to ``moved``: a conversation counts what was kept, reopens or wakes for it, replies by the newest's
number."""


def messages_of(rows: str) -> str:
    """SQL that makes inbound messages of ``rows``, in the order in which all groups take their unique keys."""
    return f"""
    INSERT INTO conversation_messages (workspace_id, id, conversation_id, direction, content, content_type, sender_type,
        sender_contact_id, metadata, status, provider, provider_message_id, connection_id, phone_number_id,
        from_address, to_address, created_at, updated_at)
    SELECT workspace_id, id, conversation_id, 'inbound', content, content_type, 'contact',
        contact_id, metadata::jsonb, 'received', provider, identity, connection_id, number_id,
        from_address, line, at, at
    FROM {rows}
    ORDER BY workspace_id, provider, identity"""


# One statement: the conversations are locked in the order of their ids, the messages inserted in the order of theirs,
# and a conversation counts only what was really kept.
_KEEP = f"""
WITH i AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[],
                         $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::timestamptz[])
        AS i (workspace_id, id, conversation_id, contact_id, number_id, connection_id, content, content_type, metadata,
              provider, identity, from_address, line, at)
),
held AS MATERIALIZED (
    SELECT c.workspace_id, c.id, c.status FROM conversations c
    JOIN (SELECT DISTINCT workspace_id, conversation_id FROM i) AS w
        ON w.workspace_id = c.workspace_id AND w.conversation_id = c.id
    ORDER BY c.workspace_id, c.id
    FOR NO KEY UPDATE OF c
),
kept AS (
    {messages_of("i WHERE (conversation_id IN (SELECT id FROM held)) IS TRUE")}
    ON CONFLICT (workspace_id, provider, provider_message_id) WHERE provider_message_id IS NOT NULL DO NOTHING
    RETURNING workspace_id, id, conversation_id, phone_number_id, created_at
),
{COUNTED}
SELECT id, NULL AS status FROM kept -- the messages, then the conversations that were not active
UNION ALL
SELECT id, status FROM held WHERE status <> 'active'
"""


async def keep(db: Any, coming: Sequence[Passage]) -> list[Fact]:
    """Each message is a row, once; what a provider repeats at the same instant is found in its twin's place."""
    ids = [new_id() for _ in coming]
    rows = await db.fetch(
        _KEEP,
        [passage.workspace_id for passage in coming],
        ids,
        [passage.conversation_id for passage in coming],
        [passage.contact_id for passage in coming],
        [passage.number_id for passage in coming],
        [passage.arrival.connection.id for passage in coming],
        [passage.arrival.message.content for passage in coming],
        [passage.content_type for passage in coming],
        [encode(passage.metadata).decode() for passage in coming],
        [passage.arrival.message.provider for passage in coming],
        [passage.arrival.message.provider_message_id for passage in coming],
        [passage.said_by for passage in coming],
        [passage.line for passage in coming],
        [passage.arrival.at for passage in coming],
    )
    made = {row["id"] for row in rows if row["status"] is None}
    status_before = {row["id"]: row["status"] for row in rows if row["status"] is not None}
    kept = []
    for passage, id_ in zip(coming, ids, strict=True):
        if id_ in made:
            passage.message_id, passage.kept = id_, True
            kept.append(passage)
    if any(passage.opened and not passage.kept for passage in coming):
        raise threads.Contended  # else its twin's conversation would have an empty one beside it
    if len(kept) < len(coming):
        await _find_twins(db, [passage for passage in coming if not passage.kept])
    attachments = await _attach(db, kept)
    heard = [passage for passage in kept if status_before.get(passage.conversation_id) != "spam"]
    reopened = {
        passage.conversation_id: status
        for passage in heard
        if (status := status_before.get(passage.conversation_id)) in ("closed", "archived")
    }
    facts = await conversations_reopened(db, reopened, kept) if reopened else []
    return facts + [message_received(passage, attachments.get(passage.message_id, [])) for passage in heard]


_TWINS = """
SELECT i.ord, m.id FROM unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY
    AS i (workspace_id, provider, identity, ord)
JOIN conversation_messages m
    ON m.workspace_id = i.workspace_id AND m.provider = i.provider AND m.provider_message_id = i.identity
"""


async def _find_twins(db: Any, passages: Sequence[Passage]) -> None:
    """Who was not kept was kept by somebody else in the same instant, or else its conversation has just gone."""
    rows = await db.fetch(
        _TWINS,
        [passage.workspace_id for passage in passages],
        [passage.arrival.message.provider for passage in passages],
        [passage.arrival.message.provider_message_id for passage in passages],
    )
    if len(rows) < len(passages):
        raise threads.Contended
    for row in rows:
        passages[row["ord"] - 1].message_id = row["id"]


async def _attach(db: Any, kept: Sequence[Passage]) -> dict[uuid.UUID | None, list[MessageAttachmentView]]:
    """Every item of every message is a row at once; fetching it is a job, in the same commit."""
    items = [
        media.Announced(
            workspace_id=passage.workspace_id,
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
