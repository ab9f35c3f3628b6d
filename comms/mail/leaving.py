"""A mail that is to leave: from which address of ours, to whom, in answer to what, and whether a program may.

It leaves from the address last written to, else from the workspace's oldest; replies come back to that one. It goes
to where whoever wrote last wants answers: to their ``Reply-To``, unless that is ours, or nothing proves that
they wrote.
"""

import html
import re
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from comms.errors import Unsendable
from comms.mail.markup import cleaned, text_of
from comms.mail.texts import is_address
from comms.outbox.intents import Intent, Route
from comms.outbox.rows import fetch
from comms.providers import smtp
from comms.providers.outgoing import Refused
from comms.providers.parse_form import domain_of
from models.base import new_id
from models.types import spelt

AUTOMATIC_REPLIES = 5
"""So many an hour in one thread, unless a workspace's ``automaticRepliesPerHour`` says otherwise: a loop ends there."""

MOST_REFERENCES = 20

MOST_BYTES = 20 * 1024 * 1024
"""Of all files of a mail together: encoded they are a third more, and SendGrid takes 30 MB."""


class Leaving(msgspec.Struct, frozen=True):
    """How a mail leaves: its ``route``, and its headers as ``comms.mail.carrying`` reads them."""

    route: Route
    address_id: uuid.UUID
    headers: Mapping[str, Any]


_LOOK = """
SELECT i.ord, coalesce(nullif(newest.subject, ''), c.subject) AS subject,
    coalesce(said.reply_to, said.from_address) AS last_address, newest.rfc_message_id, newest.reference_ids,
    heard.automatic, a.id AS address_id, a.address, coalesce(a.inbound_address, a.address) AS reply_address,
    a.friendly_name, a.connection_id, a.provider, p.value AS point,
    sent.automatic + beside.automatic AS automatic_replies,
    coalesce(w.settings->>'automaticRepliesPerHour', '') AS most_automatic, w.name AS workspace
FROM unnest($1::uuid[], $2::uuid[], $4::text[]) WITH ORDINALITY AS i (workspace_id, conversation_id, wanted, ord)
JOIN conversations c ON c.workspace_id = i.workspace_id AND c.id = i.conversation_id
JOIN workspaces w ON w.id = i.workspace_id
LEFT JOIN LATERAL (
    SELECT m.from_address, l.mail_address_id,
        CASE WHEN (l.is_verified OR c.contact_id IS NULL) AND NOT EXISTS (
            SELECT FROM workspace_mail_addresses o WHERE o.workspace_id = c.workspace_id
                AND (lower(o.address) = lower(l.reply_to) OR o.route_key = lower(l.reply_to)))
            THEN l.reply_to END AS reply_to
    FROM conversation_messages m
    JOIN mails l ON l.workspace_id = m.workspace_id AND l.message_id = m.id
    WHERE m.workspace_id = c.workspace_id AND m.conversation_id = c.id AND m.direction = 'inbound'
        AND m.sender_type = 'contact'
    ORDER BY m.created_at DESC, m.id DESC LIMIT 1
) said ON true
LEFT JOIN LATERAL (
    SELECT l.rfc_message_id, l.reference_ids, l.subject FROM conversation_messages m
    JOIN mails l ON l.workspace_id = m.workspace_id AND l.message_id = m.id
    WHERE m.workspace_id = c.workspace_id AND m.conversation_id = c.id AND l.rfc_message_id IS NOT NULL
        AND (m.direction = 'outbound' OR m.sender_type = 'contact')
    ORDER BY m.direction = 'inbound' DESC, m.created_at DESC, m.id DESC LIMIT 1
) newest ON true
LEFT JOIN LATERAL (
    SELECT l.automatic FROM conversation_messages m
    JOIN mails l ON l.workspace_id = m.workspace_id AND l.message_id = m.id
    WHERE m.workspace_id = c.workspace_id AND m.conversation_id = c.id AND m.direction = 'inbound'
    ORDER BY m.created_at DESC, m.id DESC LIMIT 1
) heard ON true
LEFT JOIN LATERAL (
    SELECT a.*, k.provider FROM (
        SELECT b.id, b.address, b.inbound_address, b.friendly_name, b.created_at, coalesce(b.connection_id, (
            SELECT k.id FROM workspace_api_keys k
            WHERE k.workspace_id = b.workspace_id AND k.provider IN ('sendgrid', 'smtp') AND k.is_active
            ORDER BY k.created_at, k.id LIMIT 1)) AS connection_id
        FROM workspace_mail_addresses b WHERE b.workspace_id = c.workspace_id AND b.status = 'active'
            AND (i.wanted IS NULL OR lower(b.address) = lower(i.wanted))
    ) a
    LEFT JOIN workspace_api_keys k ON k.workspace_id = c.workspace_id AND k.id = a.connection_id AND k.is_active
    ORDER BY a.id IS NOT DISTINCT FROM said.mail_address_id DESC, a.created_at, a.id LIMIT 1
) a ON true
LEFT JOIN LATERAL (
    SELECT p.value FROM contact_points p
    WHERE p.workspace_id = c.workspace_id AND p.contact_id = c.contact_id AND p.kind = 'email'
    ORDER BY p.is_primary DESC, p.created_at, p.id LIMIT 1
) p ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS automatic FROM conversation_messages m
    WHERE m.workspace_id = c.workspace_id AND m.conversation_id = c.id AND m.direction = 'outbound'
        AND m.sender_type IN ('agent', 'system') AND m.created_at > $3::timestamptz - interval '1 hour'
) sent ON true
-- Each mail of a stranger who proves nothing may have begun a conversation: they are one thread to the program there.
LEFT JOIN LATERAL (
    SELECT count(*) AS automatic FROM conversation_messages m
    WHERE c.contact_id IS NULL AND m.workspace_id = c.workspace_id AND m.conversation_id <> c.id
        AND m.direction = 'outbound' AND m.sender_type IN ('agent', 'system')
        AND m.created_at > $3::timestamptz - interval '1 hour'
        AND lower(m.to_address) = lower(coalesce(said.reply_to, said.from_address))
) beside ON true
ORDER BY i.ord
"""


async def routes_of(
    db: Any, intents: Sequence[Intent], answers: Sequence[bool], at: datetime
) -> list["Leaving | Unsendable"]:
    """How each of these mails leaves, in their order; or why it cannot. ``answers`` says which of them are replies."""
    if not intents:
        return []
    rows = await fetch(
        db,
        _LOOK,
        [intent.workspace_id for intent in intents],
        [intent.conversation_id for intent in intents],
        at,
        [_wanted(intent) for intent in intents],
    )
    found = {row["ord"]: row for row in rows}
    leavings: list[Leaving | Unsendable] = []
    beside: Counter[tuple[uuid.UUID, uuid.UUID]] = Counter()  # automatic ones before it in this very list
    for ord_, (intent, is_reply) in enumerate(zip(intents, answers, strict=True), start=1):
        thread = (intent.workspace_id, intent.conversation_id)
        try:
            leavings.append(_leaving(intent, found[ord_], beside[thread], is_reply=is_reply))
            beside[thread] += _is_automatic(intent)
        except Unsendable as error:
            leavings.append(error)
    return leavings


def _is_automatic(intent: Intent) -> bool:
    return intent.sender_type in ("agent", "system")


def _wanted(intent: Intent) -> str | None:
    """The address of ours that it is to leave from, where somebody has said so."""
    said: str | None = intent.details.get("mail", {}).get("from")
    return None if said is None else spelt(said)


def _leaving(intent: Intent, row: Mapping[str, Any], beside: int, *, is_reply: bool) -> Leaving:
    if row["address_id"] is None and _wanted(intent):
        words = f"{_wanted(intent)} is no active mail address of this workspace"
        raise Unsendable("mail_address", words, field="from")
    if row["address_id"] is None:
        raise Unsendable("mail_address", "there is no active mail address of this workspace to send from", field="from")
    if row["provider"] is None:
        raise Unsendable("connection", f"no active connection carries the mail of {row['address']}", field="from")
    to = intent.to or row["last_address"] or row["point"]
    if not to:
        raise Unsendable("address", "the contact has no e-mail address")
    if not is_address(to):
        raise Unsendable("address", f"{to} is no e-mail address", field="to")
    to = spelt(to)
    _expect_writable(to)
    is_automatic = _is_automatic(intent)
    if is_automatic:
        _expect_person(row, beside)
    said = dict(intent.details.get("mail", {}))
    subject = str(said.get("subject") or _subject(row))
    answered = row["rfc_message_id"]
    headers = {
        "workspaceId": intent.workspace_id,
        "conversationId": intent.conversation_id,
        "replyAddress": row["reply_address"],
        "subject": subject,
        "senderName": row["friendly_name"] or row["workspace"],
        "inReplyTo": answered,
        "references": _references(row["reference_ids"] or (), answered),
        "isAutomatic": is_automatic,
        # What a program writes to whoever has not written to us a short while ago.
        "isBulk": is_automatic and not is_reply,
        **parts_of(intent.content, intent.content_type),
    }
    route = Route(
        provider=row["provider"], connection_id=row["connection_id"], from_address=row["address"], to_address=to
    )
    return Leaving(route, row["address_id"], headers)


def _expect_writable(to: str) -> None:
    """Raises ``Unsendable`` for an address that no mail server takes, whoever carries the mail.

    SendGrid accepts such a mail and drops it: https://github.com/sendgrid/sendgrid-csharp/issues/656
    """
    try:
        smtp.written(to)
    except Refused as error:
        raise Unsendable("address", error.words, field="to") from None


def _expect_person(row: Mapping[str, Any], beside: int) -> None:
    """A program answers no program, and no person without end."""
    if row["automatic"] is not None:
        raise Unsendable("automatic", "the mail it would answer was written by a program: none of ours answers it")
    said = row["most_automatic"]
    most = int(said) if said.isdigit() and len(said) < 6 else AUTOMATIC_REPLIES
    if row["automatic_replies"] + beside >= most:
        raise Unsendable("automatic_limit", f"{most} automatic mails have left in this conversation within an hour")


# As mail programs of many languages begin an answer: a chain of them helps nobody.
_ANSWERS = re.compile(r"^\s*(?:(?:re|aw|antw|antwort|sv|vs|odp|ynt)\s*(?:\[\d+\])?\s*:\s*)+", re.IGNORECASE)


def _subject(row: Mapping[str, Any]) -> str:
    """The subject of the mail it answers: one conversation may have had several."""
    subject = row["subject"] or f"A message from {row['workspace']}"
    return str(subject) if row["rfc_message_id"] is None else f"Re: {_ANSWERS.sub('', str(subject), count=1)}"


def _references(before: Sequence[str], answered: str | None) -> list[str]:
    """The thread so far: its beginning and its newest, where it is too long (RFC 5322, 3.6.4)."""
    chain = list(dict.fromkeys([*before, *([answered] if answered else [])]))
    return chain if len(chain) <= MOST_REFERENCES else [chain[0], *chain[-MOST_REFERENCES + 1 :]]


def parts_of(content: str, content_type: str | None) -> dict[str, str]:
    """What a mail shows as HTML, and what it says as text where that is not the content itself."""
    if content_type == "html":
        return {"html": cleaned(content, load_remote=True).html or "", "text": text_of(content)}
    return {"html": marked_up(content)}


_REWORD = "UPDATE mails SET html = $3, updated_at = now() WHERE workspace_id = $1 AND message_id = $2 RETURNING id"


async def reword(
    db: Any, message_id: uuid.UUID, headers: Mapping[str, Any], content: str, content_type: str
) -> Mapping[str, Any]:
    """The headers of a mail that says this now, whose own row does too."""
    said = {**headers, **parts_of(content, content_type)}
    await fetch(db, _REWORD, uuid.UUID(str(headers["workspaceId"])), message_id, said["html"])
    return said


def marked_up(text: str) -> str:
    """Plain text as the simplest HTML that looks the same."""
    paragraphs = [html.escape(part).replace("\n", "<br>\n") for part in text.strip().split("\n\n")]
    return "".join(f"<p>{part}</p>\n" for part in paragraphs)


def message_id_of(message_id: uuid.UUID, address: str) -> str:
    """The Message-ID that a message leaves under, the same however often it is tried."""
    return f"{message_id}@{domain_of(address)}"


_KEEP = """
INSERT INTO mails (workspace_id, id, message_id, mail_address_id, rfc_message_id, in_reply_to, reference_ids, subject,
    sender_name, sender_address, to_addresses, html, created_at, updated_at)
SELECT workspace_id, id, message_id, address_id, rfc_message_id, in_reply_to, string_to_array(reference_ids, ' '),
    subject, sender_name, sender_address, ARRAY[to_address], html, $12, $12
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
            $10::text[], $11::text[], $13::text[])
    AS i (workspace_id, id, message_id, address_id, rfc_message_id, in_reply_to, reference_ids, subject, sender_name,
          sender_address, to_address, html)
RETURNING id
"""


async def keep(db: Any, leavings: Sequence[tuple[uuid.UUID, uuid.UUID, Leaving]], at: datetime) -> None:
    """Each of these (workspace, message, how it leaves) is a mail: answers to it are known by its Message-ID."""
    if not leavings:
        return
    mails = [leaving for _, _, leaving in leavings]
    await fetch(
        db,
        _KEEP,
        [workspace_id for workspace_id, _, _ in leavings],
        [new_id() for _ in leavings],
        [message_id for _, message_id, _ in leavings],
        [mail.address_id for mail in mails],
        [message_id_of(message_id, mail.route.from_address) for _, message_id, mail in leavings],
        [mail.headers["inReplyTo"] for mail in mails],
        [" ".join(mail.headers["references"]) for mail in mails],
        [mail.headers["subject"] for mail in mails],
        [mail.headers["senderName"] for mail in mails],
        [mail.route.from_address for mail in mails],
        [mail.route.to_address for mail in mails],
        at,
        [mail.headers["html"] for mail in mails],
    )
