"""The right to send the first message of a conversation, for a while; and how fast a number may.

A lease that runs out says that whoever had it is gone, perhaps with the message on the wire: the next one looks first.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from comms.outbox.fencing import STALE
from comms.outbox.intents import Route
from models.communications.conversations import ConversationChannel

LEASE_SECONDS = 45.0
LONG_WAIT_SECONDS = 5

# Segments a second, https://help.twilio.com/articles/115002943027 and SignalWire's platform limits.
RATES: Mapping[str, Mapping[str, int]] = {
    "twilio": {"short_code": 100, "toll_free": 3, "long_code": 1, "other": 20},
    "signalwire": {"short_code": 10, "toll_free": 3, "long_code": 4, "other": 4},
}

KIND = r"""
CASE WHEN n.phone_number ~ '^\d{3,8}$' THEN 'short_code'
    WHEN n.phone_number ~ '^\+1(800|888|877|866|855|844|833)\d{7}$' THEN 'toll_free'
    WHEN n.phone_number ~ '^\+' THEN 'long_code' ELSE 'other' END"""
"""SQL for the type of the number ``n``."""

_RATE = (
    "CASE "
    + " ".join(
        f"WHEN n.provider = '{provider}' AND {KIND} = '{kind}' THEN {rate}"
        for provider, rates in RATES.items()
        for kind, rate in rates.items()
    )
    + " ELSE 1 END"
)


class Attached(msgspec.Struct, frozen=True):
    """A stored attachment that goes with the message."""

    id: uuid.UUID
    content_type: str | None
    size: int | None
    storage_key: str
    file_name: str | None = None


class Lease(msgspec.Struct, frozen=True):
    """A message that is ours to send. ``attempt`` tells this lease from others; ``until`` is when it runs out, by the
    loop's clock. ``is_unclear`` says that somebody may have sent it already, ``is_stale`` that it must not leave, since
    its conversation is no longer its agent's; ``number_status`` is how its number stands now, None when it leaves by no
    number of ours.
    """

    workspace_id: uuid.UUID
    id: uuid.UUID
    conversation_id: uuid.UUID
    attempt: int
    attempted_at: datetime
    line_at: datetime
    until: float
    is_unclear: bool
    is_stale: bool
    is_reply: bool
    channel: ConversationChannel
    contact_id: uuid.UUID | None
    sender_type: str
    content: str
    subject: str | None
    route: Route
    fallback: Route | None
    number_status: str | None
    segments: int
    details: Mapping[str, Any]
    attachments: tuple[Attached, ...]


# What is due is taken where nobody else is at it, of each workspace at most its share. A slot of its number is reserved
# for each; whose slot is not now comes back at that time. What is unclear is looked up, which takes no slot.
#
# A reply does not queue behind a campaign: where that has the number for long, replies are paced among themselves, and
# what has no slot yet leaves that much later.
_LEASE = f"""
WITH due AS MATERIALIZED (
    SELECT o.* FROM unnest($1::uuid[], $2::int[]) AS share (workspace_id, most)
    CROSS JOIN LATERAL (
        SELECT o.workspace_id, o.id, o.state, o.phone_number_id, o.segments, o.is_reply, o.next_attempt_at,
            o.state = 'queued' AND o.slot_at IS NULL AND o.phone_number_id IS NOT NULL AS wants_slot
        FROM outgoing_messages o
        WHERE o.workspace_id = share.workspace_id AND o.is_head AND o.next_attempt_at <= now()
        ORDER BY o.next_attempt_at LIMIT share.most
        FOR NO KEY UPDATE OF o SKIP LOCKED
    ) o
),
numbers AS MATERIALIZED (
    SELECT n.workspace_id, n.id, greatest(n.paced_until, now()) AS free_at,
        greatest(CASE WHEN n.paced_until > now() + interval '{LONG_WAIT_SECONDS} seconds' THEN n.replies_until
            ELSE n.paced_until END, now()) AS replies_at,
        1.0 / coalesce(n.segments_per_second, {_RATE}) AS seconds
    FROM workspace_phone_numbers n
    WHERE (n.workspace_id, n.id) IN (SELECT workspace_id, phone_number_id FROM due WHERE wants_slot)
    ORDER BY n.workspace_id, n.id
    FOR NO KEY UPDATE OF n
),
slots AS (
    SELECT workspace_id, id, phone_number_id, is_reply, free_at, segments * seconds AS takes,
        CASE WHEN is_reply THEN replies_at ELSE free_at END
            + make_interval(secs => (seconds * (upto - segments))::float8) AS slot_at
    FROM (
        SELECT due.*, numbers.free_at, numbers.replies_at, numbers.seconds, sum(due.segments) OVER (
            PARTITION BY due.workspace_id, due.phone_number_id ORDER BY NOT due.is_reply, due.next_attempt_at, due.id
        ) AS upto
        FROM due JOIN numbers ON numbers.workspace_id = due.workspace_id AND numbers.id = due.phone_number_id
        WHERE due.wants_slot
    ) one
),
paced AS (
    UPDATE workspace_phone_numbers n SET paced_until = taken.until,
        replies_until = coalesce(taken.replies_until, n.replies_until)
    FROM (
        SELECT workspace_id, phone_number_id, max(free_at) + make_interval(secs => sum(takes)::float8) AS until,
            max(slot_at + make_interval(secs => takes::float8)) FILTER (WHERE is_reply) AS replies_until
        FROM slots GROUP BY 1, 2
    ) taken
    WHERE n.workspace_id = taken.workspace_id AND n.id = taken.phone_number_id
),
taken AS (
    UPDATE outgoing_messages o SET
        slot_at = coalesce(slots.slot_at, o.slot_at),
        state = CASE WHEN is_now AND o.state = 'queued' THEN 'sending' WHEN is_now THEN 'unclear' ELSE o.state END,
        attempts = CASE WHEN is_now THEN o.attempts + 1 ELSE o.attempts END,
        attempted_at = CASE WHEN is_now AND o.state = 'queued' THEN clock_timestamp() ELSE o.attempted_at END,
        next_attempt_at = CASE WHEN is_now THEN now() + make_interval(secs => $3) ELSE slots.slot_at END
    FROM due LEFT JOIN slots ON slots.workspace_id = due.workspace_id AND slots.id = due.id
        CROSS JOIN LATERAL (
            SELECT coalesce(slots.slot_at <= now() + interval '20 milliseconds', true) AS is_now
        ) pace
    WHERE o.workspace_id = due.workspace_id AND o.id = due.id
    RETURNING o.*, is_now, is_now AND o.state = 'sending' AND {STALE} AS is_stale
)
SELECT t.workspace_id, t.id, t.conversation_id, t.attempts AS attempt, t.attempted_at, t.line_at,
    t.state = 'unclear' AS is_unclear, t.is_stale, t.is_reply, t.segments, t.details::text AS details,
    t.provider, t.connection_id, t.phone_number_id AS number_id,
    n.status AS number_status, c.channel, c.contact_id, c.subject,
    m.sender_type, m.content, m.from_address, m.to_address,
    f.id AS other_id, f.phone_number AS other_number, f.provider AS other_provider, f.connection_id AS other_connection,
    (
        SELECT json_agg(json_build_object('id', a.id, 'content_type', a.content_type, 'size', a.size,
            'storage_key', a.storage_key, 'file_name', a.file_name) ORDER BY a.position)::text
        FROM message_attachments a
        WHERE a.workspace_id = t.workspace_id AND a.message_id = t.id AND a.storage_key IS NOT NULL
    ) AS attachments
FROM taken t
JOIN conversation_messages m ON m.workspace_id = t.workspace_id AND m.id = t.id
JOIN conversations c ON c.workspace_id = t.workspace_id AND c.id = t.conversation_id
LEFT JOIN workspace_phone_numbers n ON n.workspace_id = t.workspace_id AND n.id = t.phone_number_id
LEFT JOIN LATERAL (
    SELECT f.id, f.phone_number, f.provider, coalesce(f.connection_id, (
        SELECT k.id FROM workspace_api_keys k
        WHERE k.workspace_id = f.workspace_id AND k.provider = f.provider AND k.is_active
        ORDER BY k.created_at, k.id LIMIT 1
    )) AS connection_id
    FROM workspace_phone_numbers f
    WHERE f.workspace_id = t.workspace_id AND f.id = n.fallback_number_id AND f.status = 'active'
        AND NOT t.details ? 'fellOver'
) f ON true
WHERE t.is_now
ORDER BY t.line_at, t.id
"""

# From workspace to workspace by the index, whatever the number of messages each has.
_WAITING = """
WITH RECURSIVE there AS (
    (SELECT o.workspace_id, o.next_attempt_at FROM outgoing_messages o WHERE o.is_head
        ORDER BY o.workspace_id, o.next_attempt_at LIMIT 1)
    UNION ALL
    SELECT following.* FROM there CROSS JOIN LATERAL (
        SELECT o.workspace_id, o.next_attempt_at FROM outgoing_messages o
        WHERE o.is_head AND o.workspace_id > there.workspace_id
        ORDER BY o.workspace_id, o.next_attempt_at LIMIT 1
    ) following
)
SELECT workspace_id, extract(epoch FROM next_attempt_at - now())::float8 AS seconds FROM there ORDER BY next_attempt_at
"""


async def waiting(db: Any) -> list[tuple[uuid.UUID, float]]:
    """The workspaces that have something to send, and in how many seconds the first of it may be taken; longest first.

    ``db`` is an asyncpg connection.
    """
    return [(row["workspace_id"], row["seconds"]) for row in await db.fetch(_WAITING)]


async def lease(db: Any, shares: Mapping[uuid.UUID, int], seconds: float, clock: float) -> list[Lease]:
    """At most so many messages of each workspace are the caller's to send for ``seconds``.

    ``clock`` is the loop's time before it asked; ``db`` is an asyncpg connection, and each call is a transaction.
    """
    rows = await db.fetch(_LEASE, list(shares), list(shares.values()), seconds)
    return [_lease(row, clock + seconds) for row in rows]


def _lease(row: Mapping[str, Any], until: float) -> Lease:
    fallback, details = None, msgspec.json.decode(row["details"])
    if row["other_id"] is not None and row["other_connection"] is not None:
        fallback = Route(
            provider=row["other_provider"],
            connection_id=row["other_connection"],
            number_id=row["other_id"],
            from_address=row["other_number"],
            to_address=row["to_address"],
        )
    return Lease(
        workspace_id=row["workspace_id"],
        id=row["id"],
        conversation_id=row["conversation_id"],
        attempt=row["attempt"],
        attempted_at=row["attempted_at"],
        line_at=row["line_at"],
        until=until,
        is_unclear=row["is_unclear"],
        is_stale=row["is_stale"],
        is_reply=row["is_reply"],
        channel=details.get("by", row["channel"]),
        contact_id=row["contact_id"],
        sender_type=row["sender_type"],
        content=details.get("content", row["content"]),
        subject=row["subject"],
        route=Route(
            provider=row["provider"],
            connection_id=row["connection_id"],
            number_id=row["number_id"],
            from_address=row["from_address"] or "",
            to_address=row["to_address"] or "",
        ),
        fallback=fallback,
        number_status=row["number_status"],
        segments=row["segments"],
        details=details,
        attachments=()
        if row["attachments"] is None
        else msgspec.json.decode(row["attachments"], type=tuple[Attached, ...]),
    )
