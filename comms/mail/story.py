"""The story of a mail: it finds its place by its envelope and its thread, is kept once, and is told to all.

Which thread it belongs to:

1. The signed plus part of the address it was sent to names a conversation, and its sender takes part in that one.
2. ``In-Reply-To``, then ``References`` from the newest on, name a mail of a conversation that its sender takes part in;
   whoever has not proven who they are enters no conversation with a contact this way.
3. Its sender is a contact: the one rule for all channels (``comms.threads``).

Never by its subject. A sender who has not proven to be who they say is nobody: no contact, and without a token a
conversation of its own. What a program has written reopens and wakes nothing.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from comms import receipts, senders, threads
from comms.arrivals.facts import contact_created, conversation_created
from comms.events import Fact, Told, tell
from comms.mail import returning, tokens
from comms.mail.hearing import hear
from comms.mail.keeping import keep
from comms.mail.passage import Arrived, Place, Received
from comms.mail.tokens import Tokens
from comms.providers.base import Channel


class Story:
    """Mails find their places; ``tokens`` tells which conversation a reply is for."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def receive(self, db: Any, arrivals: Sequence[Arrived]) -> tuple[list[Received], Told]:
        """Mails have reached our addresses: each has its place, is kept once, and it is said."""
        facts: list[Fact] = []
        outcomes = [await self._receive(db, arrived, facts) for arrived in arrivals]
        await receipts.keep(
            db, [_receipt(arrived, outcome) for arrived, outcome in zip(arrivals, outcomes, strict=True)]
        )
        return outcomes, await tell(db, facts)

    async def spoil(self, db: Any, arrived: Arrived, error: Exception) -> tuple[list[Received], Told]:
        """A mail whose story fails is kept as it came, to be tried again by the worker."""
        await receipts.keep_failed(db, arrived, error)
        return [Received(reason=receipts.describe(error))], []

    async def _receive(self, db: Any, arrived: Arrived, facts: list[Fact]) -> Received:
        place = await self._address(db, arrived)
        if place is None:
            return Received(reason=_unmapped(arrived))
        await _look(db, arrived, place)
        if place.message_id is not None:
            return Received(place.message_id)
        ours = await returning.ours_in(db, arrived)
        if ours is not None and ours["conversation_id"] is not None:
            place.conversation_id, place.by = ours["conversation_id"], "reference"
        else:
            await self._thread(db, arrived, place)
        if place.conversation_id is None:
            facts += await _meet(db, arrived, place)
            facts += await _open(db, arrived, place)
        facts += await keep(db, arrived, place)
        facts += await hear(db, arrived, place)
        if ours is not None:
            facts += await returning.note(db, arrived, ours, place.message_id)
        return Received(place.message_id, is_new=True)

    async def _address(self, db: Any, arrived: Arrived) -> Place | None:
        """Which of our addresses it was sent to; one with a token of ours comes first."""
        recipients = arrived.letter.envelope.recipients
        keys = {recipient: (recipient.lower(), *tokens.split(recipient)) for recipient in recipients}
        rows = await db.fetch(_ADDRESSES, arrived.workspace_id, [key for known in keys.values() for key in known[:2]])
        ours = {row["route_key"]: row for row in rows}
        places = []
        for whole, plain, token in keys.values():
            row = ours.get(whole) or ours.get(plain)
            if row is not None:
                named = self._tokens.conversation_of(token, arrived.workspace_id) if token else None
                places.append(Place(row["id"], row["address"], named))
        return next((place for place in places if place.token), places[0] if places else None)

    async def _thread(self, db: Any, arrived: Arrived, place: Place) -> None:
        """The conversation that the mail itself names, if its sender may enter it."""
        letter = arrived.letter
        if place.token is not None:
            thread = await _conversation(db, arrived, place, place.token)
            if thread is not None:
                if thread["takes_part"] or place.automatic == "bounce":
                    place.by = "token"
                    await _enter(db, arrived, place, thread)
                    return
                place.sender_differs = True
        named = [one for one in (letter.in_reply_to, *reversed(letter.references)) if one]
        for row in await db.fetch(_REFERRED, arrived.workspace_id, list(dict.fromkeys(named))) if named else ():
            thread = await _conversation(db, arrived, place, row["conversation_id"])
            if thread is None:
                continue
            if not thread["takes_part"] and place.automatic != "bounce":
                place.sender_differs = True
            elif letter.is_verified or thread["contact_id"] is None:
                place.by = "reference"
                await _enter(db, arrived, place, thread)
                return


_ADDRESSES = """
SELECT id, route_key, address FROM workspace_mail_addresses
WHERE workspace_id = $1 AND route_key = ANY($2::text[]) AND status = 'active'
"""

# What the index of match keys is made of: whoever is found by it still has to have this very address.
_LOOK = """
SELECT
    (SELECT m.id FROM conversation_messages m
        WHERE m.workspace_id = $1 AND m.provider = $2 AND m.provider_message_id = $3) AS message_id,
    (SELECT p.contact_id FROM contact_points p
        WHERE p.workspace_id = $1 AND p.kind = 'email' AND lower(p.value) = lower($4::text)
            AND p.match_key = lower(replace(split_part(split_part($4, '@', 1), '+', 1), '.', ''))
        ORDER BY p.created_at, p.id LIMIT 1) AS contact_id,
    EXISTS (SELECT FROM workspace_mail_addresses a
        WHERE a.workspace_id = $1 AND (lower(a.address) = lower($4) OR a.route_key = lower($4))) AS is_own,
    (SELECT m.id FROM mails l JOIN conversation_messages m ON m.workspace_id = l.workspace_id AND m.id = l.message_id
        WHERE l.workspace_id = $1 AND l.rfc_message_id = $5 AND m.direction = 'outbound' LIMIT 1) AS sent_id
"""


async def _look(db: Any, arrived: Arrived, place: Place) -> None:
    """Whether we have it already, and who its sender is."""
    letter, sender = arrived.letter, arrived.sender
    row = await db.fetchrow(
        _LOOK,
        arrived.workspace_id,
        arrived.connection.provider,
        arrived.provider_message_id,
        sender.value,
        letter.message_id,
    )
    place.message_id = row["message_id"]
    place.automatic = letter.automatic
    if row["is_own"]:
        place.automatic = "own"
        place.message_id = place.message_id or row["sent_id"]  # what we have sent has come back to us
    elif letter.is_verified and sender.is_identity and letter.automatic != "bounce":
        place.contact_id = row["contact_id"]


_REFERRED = """
SELECT conversation_id FROM (
    SELECT DISTINCT ON (m.conversation_id) m.conversation_id, named.ord
    FROM unnest($2::text[]) WITH ORDINALITY AS named (id, ord)
    JOIN mails l ON l.workspace_id = $1 AND l.rfc_message_id = named.id
    JOIN conversation_messages m ON m.workspace_id = l.workspace_id AND m.id = l.message_id
    WHERE m.conversation_id IS NOT NULL
    ORDER BY m.conversation_id, named.ord
) AS found ORDER BY ord LIMIT 5
"""

# Whoever has written in it or was written to, or is its contact under another address.
_CONVERSATION = """
SELECT c.id, c.status, c.contact_id,
    EXISTS (SELECT FROM contact_points p WHERE p.workspace_id = c.workspace_id AND p.contact_id = c.contact_id
        AND p.kind = 'email' AND lower(p.value) = lower($3))
    OR EXISTS (SELECT FROM conversation_messages m WHERE m.workspace_id = c.workspace_id AND m.conversation_id = c.id
        AND NOT m.is_internal
        AND lower(CASE m.direction WHEN 'inbound' THEN m.from_address ELSE m.to_address END) = lower($3)) AS takes_part
FROM conversations c WHERE c.workspace_id = $1 AND c.id = $2 AND (c.channel = 'email' OR c.continued_by = 'email')
"""
_ACTIVE = """
SELECT id FROM conversations
WHERE workspace_id = $1 AND contact_id = $2 AND channel = 'email' AND status = 'active'
"""


async def _conversation(db: Any, arrived: Arrived, place: Place, conversation_id: uuid.UUID) -> Any:
    return await db.fetchrow(_CONVERSATION, arrived.workspace_id, conversation_id, arrived.sender.value)


async def _enter(db: Any, arrived: Arrived, place: Place, thread: Any) -> None:
    """The mail is of this conversation; of the contact's active one, if this one has ended and that began since."""
    place.conversation_id = thread["id"]
    if thread["status"] in ("closed", "archived") and thread["contact_id"] is not None:
        active = await db.fetchval(_ACTIVE, arrived.workspace_id, thread["contact_id"])
        place.conversation_id = active or place.conversation_id
    if place.automatic not in ("bounce", "own"):
        place.contact_id = thread["contact_id"]


async def _meet(db: Any, arrived: Arrived, place: Place) -> list[Fact]:
    """Whoever has proven who they are is a contact."""
    letter = arrived.letter
    is_somebody = letter.is_verified and arrived.sender.is_identity and place.automatic not in ("bounce", "own")
    if not is_somebody or place.contact_id is not None:
        return []
    stranger = senders.Stranger(
        workspace_id=arrived.workspace_id,
        address=arrived.sender,
        name=letter.sender.name or None,
        source=f"inbound_{Channel.EMAIL}",
        at=arrived.at,
    )
    met = (await senders.meet(db, [stranger]))[0]
    place.contact_id = met.contact_id
    return [contact_created(stranger, met.contact_id)] if met.is_new else []


_RULE = f"""
SELECT c.id FROM (SELECT $1::uuid AS workspace_id, '{Channel.EMAIL}'::text AS channel, $3::timestamptz AS at) AS i
CROSS JOIN (SELECT $2::uuid AS contact_id) AS p
CROSS JOIN LATERAL ({threads.TAKES_THE_MESSAGE}) AS c
"""


async def _open(db: Any, arrived: Arrived, place: Place) -> list[Fact]:
    """A conversation takes the mail: the contact's by the one rule, or a new one."""
    if place.contact_id is not None:
        place.conversation_id = await db.fetchval(_RULE, arrived.workspace_id, place.contact_id, arrived.at)
        if place.conversation_id is not None:
            place.by = "contact"
            return []
    opening = threads.Opening(
        workspace_id=arrived.workspace_id,
        contact_id=place.contact_id,
        channel=Channel.EMAIL,
        phone_number_id=None,
        at=arrived.at,
        subject=arrived.letter.subject or None,
    )
    opened = (await threads.open_for(db, [opening]))[0]
    place.conversation_id, place.opened = opened.id, place.contact_id is None
    return [conversation_created(opening, opened.id)] if opened.is_new else []


def _receipt(arrived: Arrived, outcome: Received) -> receipts.Receipt:
    if outcome.message_id is None:
        return receipts.Receipt(arrived, state="unmapped", reason=outcome.reason)
    return receipts.Receipt(arrived, message_id=outcome.message_id)


def _unmapped(arrived: Arrived) -> str:
    named = ", ".join(tokens.split(recipient)[0] for recipient in arrived.letter.envelope.recipients[:5])
    if not named:
        return "its envelope names nobody it was sent to"
    return f"{named} is not a mail address of this workspace: add it, then replay this webhook"
