"""What became of mails we sent: each event is kept once, its message moves forward, and who is not to be written to
again is in the ledger."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import text

from comms import consent, delivery, receipts
from comms.database import Database
from comms.directory import Connection
from comms.events import Told, encode, tell
from comms.providers.base import Request
from comms.providers.codes import words_of
from comms.providers.mail_events import Happened, happened
from models.base import new_id
from models.communications.consent import EVERYWHERE

KIND = "events"


class Batch(msgspec.Struct, gc=False):
    """A genuine batch of events as it came; an element may be anything."""

    connection: Connection
    request: Request
    elements: list[Any]
    at: datetime
    retried: receipts.Retried | None = None

    @property
    def kind(self) -> str:
        return KIND

    @property
    def identity(self) -> str:
        return receipts.Unread(self.connection, self.request, self.at, KIND, self.retried).identity


class Kept(msgspec.Struct, frozen=True):
    """How many events of a batch were new."""

    new: int = 0
    reason: str | None = None


class _New(msgspec.Struct, frozen=True):
    """An event that we did not have, with the message it is about, if that is known, and the address it left from."""

    workspace_id: uuid.UUID
    connection_id: uuid.UUID
    event: Happened
    at: datetime
    message_id: uuid.UUID | None
    sender: str | None
    provider_message_id: str | None


_KEEP = """
WITH found AS MATERIALIZED (
    SELECT i.*, coalesce(
        (SELECT m.id FROM conversation_messages m
            WHERE m.workspace_id = i.workspace_id AND m.id = i.our_id AND m.direction = 'outbound'),
        (SELECT m.id FROM conversation_messages m
            WHERE m.workspace_id = i.workspace_id AND m.provider = 'sendgrid' AND m.direction = 'outbound'
            AND m.provider_message_id = i.provider_message_id)
    ) AS message_id
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::text[],
                $9::timestamptz[], $10::text[], $11::text[], $12::text[], $13::timestamptz[])
        AS i (workspace_id, id, connection_id, provider_event_id, provider_message_id, our_id, kind, address,
              happened_at, reason, url, data, at)
),
kept AS (
    INSERT INTO mail_events (workspace_id, id, connection_id, provider_event_id, provider_message_id, message_id, kind,
        address, at, reason, url, data, created_at, updated_at)
    SELECT workspace_id, id, connection_id, provider_event_id, provider_message_id, message_id, kind,
        address, happened_at, reason, url, data::jsonb, at, at
    FROM found ORDER BY workspace_id, connection_id, provider_event_id
    ON CONFLICT (workspace_id, connection_id, provider_event_id) DO NOTHING
    RETURNING workspace_id, id, message_id
)
SELECT kept.id, kept.message_id, m.from_address, m.provider_message_id FROM kept
LEFT JOIN conversation_messages m ON m.workspace_id = kept.workspace_id AND m.id = kept.message_id
"""


async def note(db: Any, batches: Sequence[Batch]) -> tuple[list[Kept], Told]:
    """Events have come: each is kept once, messages move forward, the ledger knows whom to spare, and it is said."""
    new = await _keep(db, batches)
    facts = await delivery.note_without_receipts(db, [_report(one) for one in new if _is_about_one(one)])
    words = [_word(one) for one in new if one.event.address and (one.event.suppresses or one.event.welcomes)]
    _, more = await consent.note_on(db, words)
    await receipts.keep(db, [receipts.Receipt(batch) for batch in batches])
    counts = {batch.connection.id: 0 for batch in batches}
    for one in new:
        counts[one.connection_id] += 1
    return [Kept(counts[batch.connection.id]) for batch in batches], await tell(db, [*facts, *more])


async def spoil(db: Any, batch: Batch, error: Exception) -> tuple[list[Kept], Told]:
    """A batch whose story fails is kept as it came, to be tried again by the worker."""
    await receipts.keep_failed(db, batch, error)
    return [Kept(reason=receipts.describe(error))], []


async def _keep(db: Any, batches: Sequence[Batch]) -> list[_New]:
    coming: dict[tuple[uuid.UUID, str], tuple[uuid.UUID, Batch, Happened]] = {}
    for batch in batches:
        for event in happened(batch.elements, batch.at):
            coming.setdefault((batch.connection.id, event.event_id), (new_id(), batch, event))
    items = list(coming.values())
    rows = await db.fetch(
        _KEEP,
        [batch.connection.workspace_id for _, batch, _ in items],
        [id_ for id_, _, _ in items],
        [batch.connection.id for _, batch, _ in items],
        [event.event_id for _, _, event in items],
        [event.provider_message_id for _, _, event in items],
        [event.our_id for _, _, event in items],
        [event.kind for _, _, event in items],
        [event.address for _, _, event in items],
        [event.at for _, _, event in items],
        [event.reason for _, _, event in items],
        [event.url for _, _, event in items],
        [encode(event.data).decode() for _, _, event in items],
        [batch.at for _, batch, _ in items],
    )
    kept = {row["id"]: row for row in rows}
    return [
        _New(
            batch.connection.workspace_id,
            batch.connection.id,
            event,
            batch.at,
            kept[id_]["message_id"],
            kept[id_]["from_address"],
            event.provider_message_id or kept[id_]["provider_message_id"],
        )
        for id_, batch, event in items
        if id_ in kept
    ]


def _is_about_one(new: _New) -> bool:
    return new.event.status is not None and new.provider_message_id is not None


def _report(new: _New) -> delivery.Bare:
    event = new.event
    assert new.provider_message_id is not None  # of a bounce that came late SendGrid names only what we have called it
    return delivery.Bare(
        workspace_id=new.workspace_id,
        message_id=new.message_id,
        provider="sendgrid",
        provider_message_id=new.provider_message_id,
        reported=event.kind,
        status=event.status,
        error_code=event.code,
        error_message=(event.reason or words_of(event.code)) if event.code else None,
        reported_at=event.at,
        at=new.at,
        marked_id=event.our_id,
    )


def _word(new: _New) -> consent.Word:
    event = new.event
    assert event.address is not None
    # Who unsubscribes does so from a sender; a mailbox that is not there, or a complaint, is about all of them.
    is_about_sender = event.suppresses in (None, "unsubscribe") and new.sender is not None
    return consent.Word(
        workspace_id=new.workspace_id,
        address=event.address,
        sender=new.sender if is_about_sender and new.sender else EVERYWHERE,
        says="stop" if event.suppresses else "start",
        source=event.suppresses or "resubscribe",
        channel="email",
        at=event.at,
        proof=f"sendgrid:{new.connection_id}:{event.event_id}",
        reason=event.reason,
        message_id=new.message_id,
    )


_JOIN = text("""
UPDATE mail_events e SET message_id = m.id, updated_at = now()
FROM conversation_messages m
WHERE e.message_id IS NULL AND e.provider_message_id IS NOT NULL AND m.workspace_id = e.workspace_id
    AND m.provider = 'sendgrid' AND m.provider_message_id = e.provider_message_id AND m.direction = 'outbound'
    AND e.created_at > now() - interval '3 days'
""")


async def join_parked(database: Database) -> None:
    """No event waits for a mail that is known."""
    async with database.everywhere() as db:
        await db.execute(_JOIN)
