"""Which conversation a message belongs to: one rule for all channels.

An active conversation takes the message. Else the contact's spam conversation swallows it. Else the newest closed or
archived one is reopened, if its last message is younger than the workspace's ``reopenWithin`` (seconds, 7 days unless
set). Else a new one begins. A sender who is nobody we can know (withheld) gets a conversation of its own each time.

A chat that goes on by text or mail, its visitor having left, takes messages of that channel too: of two active ones
the one last spoken in. A visitor who only says to be a contact has a conversation apart, which takes nobody else's.

A unique partial index holds the rule's law, one open conversation per contact and channel, whatever happens at once.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from models.base import new_id
from models.communications.conversations import OF_SOMEBODY

REOPEN_WITHIN_SECONDS = 7 * 24 * 3600

CONTINUED = """c.continued_by = i.channel AND (c.is_unproven OR c.status IN ('active', 'spam') OR NOT EXISTS (
        SELECT FROM conversations o WHERE o.workspace_id = c.workspace_id AND o.contact_id = c.contact_id
            AND o.channel = c.channel AND o.status = 'active' AND NOT o.is_unproven))"""
"""Whether a chat goes on by the row's channel; one that has ended only while no other has begun since."""

TAKES_THE_MESSAGE = f"""
    SELECT c.id, c.status FROM conversations c JOIN workspaces w ON w.id = c.workspace_id
    WHERE c.workspace_id = i.workspace_id AND c.contact_id = p.contact_id
        AND (c.channel = i.channel AND NOT c.is_unproven OR {CONTINUED})
        AND (c.status IN ('active', 'spam') OR c.last_message_at >
            i.at - make_interval(secs => coalesce((w.settings->>'reopenWithin')::float8, {REOPEN_WITHIN_SECONDS})))
    ORDER BY c.status = 'active' DESC, c.status = 'spam' DESC, c.last_message_at DESC NULLS LAST, c.id DESC
    LIMIT 1
"""
"""The rule, for a row ``i`` of arrivals (workspace_id, channel, at) and its contact point ``p``."""

_OPEN = f"""
INSERT INTO conversations (workspace_id, id, contact_id, channel, status, subject, phone_number_id, is_unproven,
    waiting_since, created_at, updated_at)
SELECT workspace_id, id, contact_id, channel, 'active', subject, phone_number_id, is_unproven, at, at, at
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::timestamptz[], $7::text[], $8::boolean[])
    AS n (workspace_id, id, contact_id, channel, phone_number_id, at, subject, is_unproven)
ORDER BY workspace_id, contact_id, channel
ON CONFLICT (workspace_id, contact_id, channel) WHERE status = 'active' AND {OF_SOMEBODY} DO NOTHING
RETURNING id
"""

_ACTIVE = """
SELECT n.workspace_id, n.contact_id, n.channel, c.id
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS n (workspace_id, contact_id, channel)
JOIN conversations c ON c.workspace_id = n.workspace_id AND c.contact_id = n.contact_id AND c.channel = n.channel
    AND c.status = 'active' AND NOT c.is_unproven
"""


class Opening(msgspec.Struct, frozen=True):
    """A conversation to begin; ``contact_id`` None for who cannot be known, ``is_unproven`` if they may be another."""

    workspace_id: uuid.UUID
    contact_id: uuid.UUID | None
    channel: Any
    phone_number_id: uuid.UUID | None
    at: datetime
    subject: str | None = None
    is_unproven: bool = False


class Opened(msgspec.Struct, frozen=True):
    """The conversation an ``Opening`` led to, and whether it is ours or somebody was quicker."""

    id: uuid.UUID
    is_new: bool


class Contended(Exception):
    """The conversation somebody else had just begun was closed before we could use it: do it again."""


async def open_for(db: Any, openings: Sequence[Opening]) -> list[Opened]:
    """Each opening has its conversation: a new one, or the one that somebody else began in the same instant."""
    ids = [new_id() for _ in openings]
    made = {
        row["id"]
        for row in await db.fetch(
            _OPEN,
            [opening.workspace_id for opening in openings],
            ids,
            [opening.contact_id for opening in openings],
            [opening.channel for opening in openings],
            [opening.phone_number_id for opening in openings],
            [opening.at for opening in openings],
            [opening.subject for opening in openings],
            [opening.is_unproven for opening in openings],
        )
    }
    late = [opening for opening, id_ in zip(openings, ids, strict=True) if id_ not in made]
    if not late:
        return [Opened(id_, is_new=True) for id_ in ids]
    rows = await db.fetch(
        _ACTIVE,
        [opening.workspace_id for opening in late],
        [opening.contact_id for opening in late],
        [opening.channel for opening in late],
    )
    theirs = {(row["workspace_id"], row["contact_id"], row["channel"]): row["id"] for row in rows}
    opened = []
    for opening, id_ in zip(openings, ids, strict=True):
        if id_ in made:
            opened.append(Opened(id_, is_new=True))
            continue
        found = theirs.get((opening.workspace_id, opening.contact_id, opening.channel))
        if found is None:
            raise Contended
        opened.append(Opened(found, is_new=False))
    return opened
