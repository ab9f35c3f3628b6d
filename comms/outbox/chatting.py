"""What is said in a chat: to the visitor's screen while they are there, else by text or mail, if they agreed.

It goes where they last wrote from; and whoever names an address or a number of ours means that one.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from comms.chat import showing
from comms.errors import Unsendable
from comms.events import Fact, changes, encode
from comms.outbox.intents import Intent
from comms.outbox.rows import fetch
from models.communications import ConversationView


class Way(msgspec.Struct, frozen=True):
    """How a message of a chat travels: ``by`` chat, sms or email. ``row`` has the number of ours, as in addressing.

    ``is_continued`` says that the chat goes on that way, the visitor having left.
    """

    visitor_id: uuid.UUID
    widget_id: uuid.UUID
    by: str
    to: str | None
    row: Mapping[str, Any]
    mail_address: str | None
    is_continued: bool


_LOOK = """
SELECT i.ord, v.id AS visitor_id, k.id AS widget_id, v.continues_by, v.continues_to, v.email, v.phone,
    said.provider AS said_by, said.from_address AS said_from,
    coalesce(here.until + make_interval(secs => k.grace_seconds) >= $4::timestamptz, false) AS is_here,
    n.id AS number_id, n.phone_number, n.provider, n.status, n.capabilities->>'sms' AS sms,
    n.capabilities->>'mms' AS mms, coalesce(n.connection_id, (
        SELECT c.id FROM workspace_api_keys c
        WHERE c.workspace_id = n.workspace_id AND c.provider = n.provider AND c.is_active
        ORDER BY c.created_at, c.id LIMIT 1
    )) AS connection_id,
    a.address AS mail_address
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) WITH ORDINALITY AS i (workspace_id, conversation_id, number_id, ord)
CROSS JOIN LATERAL (
    SELECT * FROM visitors v WHERE v.workspace_id = i.workspace_id AND v.conversation_id = i.conversation_id
    ORDER BY v.said_at DESC NULLS LAST, v.id DESC LIMIT 1
) v
JOIN chat_widgets k ON k.workspace_id = v.workspace_id AND k.id = v.widget_id
LEFT JOIN LATERAL (
    SELECT max(s.present_until) AS until FROM visitor_sessions s
    WHERE s.workspace_id = v.workspace_id AND s.visitor_id = v.id AND s.revoked_at IS NULL
) here ON true
LEFT JOIN LATERAL (
    SELECT m.provider, m.from_address FROM conversation_messages m
    WHERE m.workspace_id = i.workspace_id AND m.conversation_id = i.conversation_id AND m.direction = 'inbound'
    ORDER BY m.created_at DESC, m.id DESC LIMIT 1
) said ON true
LEFT JOIN workspace_phone_numbers n ON n.workspace_id = v.workspace_id
    AND n.id = coalesce(i.number_id, k.phone_number_id)
LEFT JOIN workspace_mail_addresses a ON a.workspace_id = v.workspace_id AND a.id = k.mail_address_id
"""


async def ways_of(db: Any, intents: Sequence[Intent], at: datetime) -> list["Way | Unsendable"]:
    """How each of these travels, in their order; or that nobody is there whom it could reach."""
    if not intents:
        return []
    rows = await fetch(
        db,
        _LOOK,
        [intent.workspace_id for intent in intents],
        [intent.conversation_id for intent in intents],
        [intent.number_id for intent in intents],
        at,
    )
    found = {row["ord"]: row for row in rows}
    return [_way(intent, found.get(ord_)) for ord_, intent in enumerate(intents, start=1)]


def _way(intent: Intent, row: Mapping[str, Any] | None) -> Way | Unsendable:
    if row is None:
        return Unsendable("channel", "nobody chats in this conversation of channel live_chat", field="channel")
    by, to, is_continued = "chat", None, False
    wanted = intent.details.get("mail", {}).get("from")
    if intent.to is not None or intent.number_id is not None or wanted:
        by = "email" if wanted or "@" in (intent.to or "") else "sms"
        to = intent.to or (row["email"] if by == "email" else row["phone"])
    elif row["said_by"] is not None:  # they have answered elsewhere
        by, to, is_continued = ("email" if "@" in row["said_from"] else "sms"), row["said_from"], True
    elif row["continues_to"] is not None and not row["is_here"]:
        by, to, is_continued = row["continues_by"], row["continues_to"], True
    if by != "chat" and to is None:
        return Unsendable("address", "the visitor has given no address that this could be sent to")
    return Way(row["visitor_id"], row["widget_id"], by, to, row, row["mail_address"], is_continued)


def mailed(intent: Intent, way: Way) -> Intent:
    """The intent as a mail: from the widget's address, unless another is named."""
    said = dict(intent.details.get("mail", {}))
    if way.mail_address is not None:
        said.setdefault("from", way.mail_address)
    return msgspec.structs.replace(intent, to=way.to, details={**intent.details, "mail": said})


_CONTINUE = """
WITH before AS MATERIALIZED (
    SELECT c.* FROM conversations c
    JOIN unnest($1::uuid[], $2::uuid[], $3::text[]) AS i (workspace_id, id, by)
        ON i.workspace_id = c.workspace_id AND i.id = c.id
    WHERE c.continued_by IS DISTINCT FROM i.by
)
UPDATE conversations c SET continued_by = i.by, updated_at = $4
FROM (
    SELECT DISTINCT ON (workspace_id, id) workspace_id, id, by
    FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS i (workspace_id, id, by)
) i
JOIN before b ON b.workspace_id = i.workspace_id AND b.id = i.id
WHERE c.workspace_id = i.workspace_id AND c.id = i.id
RETURNING c.*, b.continued_by AS continued_before
"""


async def go_on(db: Any, chats: Sequence[tuple[uuid.UUID, uuid.UUID, str]], at: datetime) -> list[Fact]:
    """These conversations, which are held, go on by text or mail: their answers come back into them."""
    if not chats:
        return []
    rows = await fetch(
        db, _CONTINUE, [chat[0] for chat in chats], [chat[1] for chat in chats], [chat[2] for chat in chats], at
    )
    facts = []
    for row in rows:
        after = ConversationView(**{name: row[name] for name in ConversationView.__struct_fields__})
        before = msgspec.structs.replace(after, continued_by=row["continued_before"])
        facts.append(
            Fact(
                workspace_id=row["workspace_id"],
                event="conversation.updated",
                subject_type="conversation",
                subject_id=row["id"],
                conversation_id=row["id"],
                at=at,
                data=encode(after),
                changes=changes(before, after),
            )
        )
    return facts


async def show(db: Any, said: Sequence[tuple[uuid.UUID, uuid.UUID, uuid.UUID]], at: datetime) -> None:
    """These (workspace, visitor, message) are on the visitors' screens once it is committed."""
    if said:
        await showing.enter(db, [(*one, None) for one in said], at)
