"""The ledger: what was said about consent is kept once, and where an address stands follows from it."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from comms.consent.addresses import whom, whose
from comms.events import Actor, Fact, encode
from models.base import new_id, now
from models.communications import ConsentSays, ConsentSource, ConsentView
from models.communications.conversations import ConversationChannel


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was said about hearing from us: who said what about whom, when, and how we know.

    ``proof`` is what makes it itself, such as ``twilio:SM…:21610`` or ``sendgrid:<sg_event_id>``: said again, it is
    kept once. ``sender`` is a number of ours, a messaging service, a mail address of ours, or ``*`` for all of them.
    """

    workspace_id: uuid.UUID
    address: str
    sender: str
    says: ConsentSays
    source: ConsentSource
    channel: ConversationChannel
    at: datetime
    proof: str
    words: str | None = None
    reason: str | None = None
    message_id: uuid.UUID | None = None
    conversation_id: uuid.UUID | None = None
    provider_answered: bool = False
    only_if_stopped: bool = False  # a word that means "start" to nobody who has not said "stop" before
    recorded_by: uuid.UUID | None = None
    actor: Actor = Actor()


class Noted(msgspec.Struct, frozen=True):
    """What came of a word: its entry, None if we had it already; and whether the address stands elsewhere now."""

    entry_id: uuid.UUID | None
    moved: bool


# Entries first: what a provider repeats has said nothing, whatever was said in between. Both in the order of their
# keys, so that two groups cannot deadlock. A word that comes late (found by a sweep) does not undo a newer one, which
# ``heard_at`` knows also where that has changed nothing: who says stop twice means it since the first time.
_NOTE = """
WITH i AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                         $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::uuid[], $13::boolean[],
                         $14::uuid[], $15::boolean[], $17::uuid[]) WITH ORDINALITY
        AS i (workspace_id, id, address, sender, says, source, channel, at, proof, words, reason, message_id,
              provider_answered, recorded_by, only_if_stopped, consent_id, ord)
),
entered AS (
    INSERT INTO consent_entries (workspace_id, id, address, sender, says, source, channel, said_at, words, reason,
        proof, message_id, provider_answered, recorded_by, created_at, updated_at)
    SELECT workspace_id, id, address, sender, says, source, channel, at, words, reason, proof,
        message_id, provider_answered, recorded_by, $16, $16
    FROM i
    WHERE NOT only_if_stopped OR 'opted_out' = (
        SELECT c.state FROM consents c WHERE c.workspace_id = i.workspace_id AND c.address = i.address
            AND c.sender IN (i.sender, '*')
        ORDER BY c.heard_at DESC, c.state DESC LIMIT 1)
    ORDER BY workspace_id, proof
    ON CONFLICT (workspace_id, proof) DO NOTHING
    RETURNING *
),
newest AS (
    SELECT DISTINCT ON (e.workspace_id, e.address, e.sender) e.*, i.consent_id
    FROM entered e JOIN i ON i.workspace_id = e.workspace_id AND i.id = e.id
    WHERE e.says <> 'help'
    ORDER BY e.workspace_id, e.address, e.sender, e.said_at DESC, i.ord DESC
),
moved AS (
    INSERT INTO consents AS c (workspace_id, id, address, sender, state, source, channel, since, heard_at, entry_id,
        created_at, updated_at)
    SELECT workspace_id, consent_id, address, sender,
        CASE says WHEN 'stop' THEN 'opted_out' ELSE 'opted_in' END, source, channel, said_at, said_at, id, $16, $16
    FROM newest ORDER BY workspace_id, address, sender
    ON CONFLICT (workspace_id, address, sender) DO UPDATE SET
        source = CASE WHEN c.state = excluded.state THEN c.source ELSE excluded.source END,
        channel = CASE WHEN c.state = excluded.state THEN c.channel ELSE excluded.channel END,
        since = CASE WHEN c.state = excluded.state THEN c.since ELSE excluded.since END,
        entry_id = CASE WHEN c.state = excluded.state THEN c.entry_id ELSE excluded.entry_id END,
        updated_at = CASE WHEN c.state = excluded.state THEN c.updated_at ELSE excluded.updated_at END,
        state = excluded.state,
        heard_at = excluded.heard_at
    WHERE c.heard_at <= excluded.heard_at
    RETURNING c.*
)
SELECT e.id AS entered, m.*
FROM entered e LEFT JOIN moved m ON m.workspace_id = e.workspace_id AND m.entry_id = e.id
"""

_SHOWN = ConsentView.__struct_fields__


async def note(db: AsyncSession, words: Sequence[Word]) -> list[Noted]:
    """What was said is in the ledger, and told, if the transaction of ``db`` commits."""
    noted, facts = await note_on(db, words)
    db.info.setdefault("facts", []).extend(facts)
    return noted


async def note_on(db: Any, words: Sequence[Word]) -> tuple[list[Noted], list[Fact]]:
    """The same on an asyncpg connection, for stories that groups run: what is to be told is returned."""
    if not words:
        return [], []
    ids = [new_id() for _ in words]
    rows = await fetch(
        db,
        _NOTE,
        [word.workspace_id for word in words],
        ids,
        [whom(word.address) for word in words],
        [whose(word.sender) for word in words],
        [word.says for word in words],
        [word.source for word in words],
        [word.channel for word in words],
        [word.at for word in words],
        [word.proof for word in words],
        [word.words for word in words],
        [word.reason for word in words],
        [word.message_id for word in words],
        [word.provider_answered for word in words],
        [word.recorded_by for word in words],
        [word.only_if_stopped for word in words],
        now(),
        [new_id() for _ in words],
    )
    entered = {row["entered"]: row for row in rows}
    noted, facts = [], []
    for word, id_ in zip(words, ids, strict=True):
        row = entered.get(id_)
        moved = row is not None and row["id"] is not None
        noted.append(Noted(None if row is None else id_, moved))
        if row is not None and moved:
            facts.append(_fact(word, row))
    return noted, facts


def _fact(word: Word, row: Any) -> Fact:
    view = ConsentView(**{name: row[name] for name in _SHOWN})
    return Fact(
        workspace_id=word.workspace_id,
        event="consent.withdrawn" if view.state == "opted_out" else "consent.given",
        subject_type="consent",
        subject_id=view.id,
        conversation_id=word.conversation_id,
        actor_type=word.actor.type,
        actor_id=word.actor.id,
        at=view.updated_at,
        data=encode(view),
    )


async def fetch(db: Any, statement: str, *arguments: Any) -> Sequence[Any]:
    """The rows of a statement, on a session or on an asyncpg connection."""
    if isinstance(db, AsyncSession):
        await db.flush()
        connection = await db.connection()
        return list((await connection.exec_driver_sql(statement, arguments)).mappings())
    rows: Sequence[Any] = await db.fetch(statement, *arguments)
    return rows
