"""What people write about hearing from us is taken down in the commit that keeps their message."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec
from sqlalchemy.dialects.postgresql import JSONB

from comms import jobs
from comms.consent.addresses import whom, whose
from comms.consent.keywords import Said, is_answered, means_something
from comms.consent.ledger import Word, note_on
from comms.events import Actor, Fact, encode
from models.base import new_id, now
from models.communications import OptOutReviewView, WorkspacePhoneNumber, WorkspacePhoneNumberView

ANSWER = "consent.answer"
"""The job that answers an entry of the ledger, once."""


class Heard(Protocol):
    """A message that was kept, and what it says about hearing from us."""

    arrival: Any
    said: Said | None
    message_id: UUID | None
    conversation_id: UUID | None
    contact_id: UUID | None
    number_id: UUID | None

    @property
    def workspace_id(self) -> UUID: ...
    @property
    def line(self) -> str: ...


async def hear(db: Any, kept: Sequence[Heard]) -> list[Fact]:
    """What these messages say is in the ledger, or waits for a person; answering is a job of the same commit."""
    speaking = [one for one in kept if one.said is not None and means_something(one.arrival.message, one.said)]
    if not speaking:
        return []
    facts = await _learn_services(db, speaking)
    services = await _services_of(db, speaking)
    plain = [one for one in speaking if one.said is not None and one.said.plainly]
    if plain:
        reviews = [
            Plain(
                workspace_id=one.workspace_id,
                message_id=one.message_id,
                conversation_id=one.conversation_id,
                address=one.arrival.message.sender.value,
                sender=_sender(one, services),
                channel=one.arrival.message.channel,
                words=one.said.words,
                at=one.arrival.at,
            )
            for one in plain
            if one.said is not None
        ]
        facts += await ask_for_review(db, reviews)
    words = [_word(one, one.said, services) for one in speaking if one.said is not None and not one.said.plainly]
    noted, told = await note_on(db, words)
    due = [
        {"workspaceId": word.workspace_id, "entryId": one.entry_id}
        for word, one in zip(words, noted, strict=True)
        if one.entry_id is not None and not word.provider_answered and (one.moved or word.says == "help")
    ]
    await jobs.enqueue(db, ANSWER, due)
    return facts + told


Services = Mapping[tuple[UUID, UUID | None], str]
"""By workspace and number: the messaging service that the number is in."""


def _word(one: Heard, said: Said, services: Services) -> Word:
    message = one.arrival.message
    return Word(
        workspace_id=one.workspace_id,
        address=message.sender.value,
        sender=_sender(one, services),
        says=said.says,
        source="provider" if said.by_provider else "keyword",
        channel=message.channel,
        at=one.arrival.at,
        proof=f"message:{message.provider}:{message.provider_message_id}",
        words=said.words,
        message_id=one.message_id,
        conversation_id=one.conversation_id,
        provider_answered=is_answered(message, said),
        only_if_stopped=said.words == "YES",
        actor=Actor("contact", one.contact_id),
    )


def _sender(one: Heard, services: Services) -> str:
    """Whom it was said to: a messaging service as a whole, where the number is in one."""
    named = one.arrival.message.details.get("messagingServiceSid")
    return named or services.get((one.workspace_id, one.number_id)) or one.line


async def _services_of(db: Any, speaking: Sequence[Heard]) -> Services:
    """The services of numbers whose messages a sweep has found: the provider's log does not name them, webhooks do."""
    found = [one for one in speaking if one.arrival.message.details.get("backFilled")]
    if not found:
        return {}
    rows = await db.fetch(
        "SELECT workspace_id, id, messaging_service_sid FROM workspace_phone_numbers"
        " WHERE (workspace_id, id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))"
        " AND messaging_service_sid IS NOT NULL",
        [one.workspace_id for one in found],
        [one.number_id for one in found],
    )
    return {(row["workspace_id"], row["id"]): row["messaging_service_sid"] for row in rows}


_LEARN = """
WITH held AS MATERIALIZED (
    SELECT n.workspace_id, n.id, n.messaging_service_sid AS service_before, i.service
    FROM (
        SELECT DISTINCT ON (workspace_id, id) *
        FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS i (workspace_id, id, service)
    ) AS i
    JOIN workspace_phone_numbers n ON n.workspace_id = i.workspace_id AND n.id = i.id
        AND n.messaging_service_sid IS DISTINCT FROM i.service
    ORDER BY n.workspace_id, n.id
    FOR NO KEY UPDATE OF n
)
UPDATE workspace_phone_numbers n SET messaging_service_sid = held.service, updated_at = $4
FROM held WHERE n.workspace_id = held.workspace_id AND n.id = held.id
RETURNING n.*, held.service_before
"""


async def _learn_services(db: Any, speaking: Sequence[Heard]) -> list[Fact]:
    """A number is in the messaging service that its messages name: the ledger's words about that are about it too."""
    named = [one for one in speaking if one.arrival.message.details.get("messagingServiceSid")]
    if not named:
        return []
    rows = await db.fetch(
        _LEARN,
        [one.workspace_id for one in named],
        [one.number_id for one in named],
        [one.arrival.message.details["messagingServiceSid"] for one in named],
        now(),
    )
    return [
        Fact(
            workspace_id=row["workspace_id"],
            event="workspace_phone_number.updated",
            subject_type="workspace_phone_number",
            subject_id=row["id"],
            at=row["updated_at"],
            data=encode(_number(row)),
            changes=encode(
                {"messagingServiceSid": {"before": row["service_before"], "after": row["messaging_service_sid"]}}
            ),
        )
        for row in rows
    ]


def _number(row: Any) -> WorkspacePhoneNumberView:
    columns = WorkspacePhoneNumber.__table__.c
    return WorkspacePhoneNumberView(
        **{
            name: msgspec.json.decode(row[name]) if isinstance(columns[name].type, JSONB) and row[name] else row[name]
            for name in WorkspacePhoneNumberView.__struct_fields__
        }
    )


_REVIEW = """
INSERT INTO opt_out_reviews (workspace_id, id, message_id, conversation_id, address, sender, channel, words,
    created_at, updated_at)
SELECT workspace_id, id, message_id, conversation_id, address, sender, channel, words, at, at
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::timestamptz[])
    AS i (workspace_id, id, message_id, conversation_id, address, sender, channel, words, at)
WHERE (
    SELECT c.state FROM consents c WHERE c.workspace_id = i.workspace_id AND c.address = i.address
        AND c.sender IN (i.sender, '*')
    ORDER BY c.heard_at DESC, c.state DESC LIMIT 1
) IS DISTINCT FROM 'opted_out'
ORDER BY workspace_id, message_id
ON CONFLICT (workspace_id, message_id) DO NOTHING
RETURNING *
"""


class Plain(msgspec.Struct, frozen=True, kw_only=True):
    """Words of somebody's own that seem to ask for silence."""

    workspace_id: UUID
    message_id: UUID | None
    conversation_id: UUID | None
    address: str
    sender: str
    channel: str
    words: str
    at: datetime


async def ask_for_review(db: Any, plain: Sequence[Plain]) -> list[Fact]:
    """A member has to say what was meant; nothing that is no answer is sent meanwhile."""
    rows = await db.fetch(
        _REVIEW,
        [one.workspace_id for one in plain],
        [new_id() for _ in plain],
        [one.message_id for one in plain],
        [one.conversation_id for one in plain],
        [whom(one.address) for one in plain],
        [whose(one.sender) for one in plain],
        [one.channel for one in plain],
        [one.words for one in plain],
        [one.at for one in plain],
    )
    return [
        Fact(
            workspace_id=row["workspace_id"],
            event="opt_out_review.created",
            subject_type="opt_out_review",
            subject_id=row["id"],
            conversation_id=row["conversation_id"],
            at=row["created_at"],
            data=encode(OptOutReviewView(**{name: row[name] for name in OptOutReviewView.__struct_fields__})),
        )
        for row in rows
    ]
