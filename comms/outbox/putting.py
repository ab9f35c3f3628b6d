"""A message to be sent is kept: one row where it was said, one in the line it leaves by, and a job, in one commit."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from comms import jobs, ownership
from comms.consent import Decision, Question, decide
from comms.errors import Invalid, Unsendable
from comms.events import Actor, Fact, encode
from comms.mail import leaving
from comms.outbox import chatting, enclosing
from comms.outbox.addressing import Place, places_of
from comms.outbox.intents import Intent
from comms.outbox.rows import fetch
from comms.providers import segments
from models.base import new_id, now
from models.communications import Conversation, ConversationMessageView, MessageAttachmentView

SEND = "outbox.send"
"""The job that wakes a worker's sender; it names no row: whatever is due is sent."""


class Coming(msgspec.Struct, frozen=True):
    """An intent that is to be kept: where it leads, and the message it becomes."""

    intent: Intent
    place: Place
    view: ConversationMessageView


async def put(db: AsyncSession, intent: Intent) -> ConversationMessageView:
    """The message is kept and leaves after the commit, or at ``scheduled_at``; told as ``message.queued``.

    A member who answers where no member has the conversation takes it over. Raises ``Stale`` when it has changed hands
    since the intent's fence, and ``Unsendable``, ``Invalid`` and ``ConversationMissing``, before anything is kept.
    """
    (view,), facts = await put_all(db, [intent], db.info.get("actor", Actor()))
    if isinstance(view, Exception):
        raise view
    db.info.setdefault("facts", []).extend(facts)
    return view


async def put_all(
    db: Any, intents: Sequence[Intent], actor: Actor | None = None
) -> tuple[list["ConversationMessageView | Exception"], list[Fact]]:
    """The same for many in a few statements; what cannot be sent stands in its place as the error it is.

    The facts are the caller's to tell, as the last statement of the transaction: ``db`` may be an asyncpg connection.
    """
    at = now()
    outcomes: list[ConversationMessageView | Exception] = []
    coming: list[Coming] = []
    places = await places_of(db, intents, at)
    decided = await _decide(db, intents, places, at)
    for intent, place, decision in zip(intents, places, decided, strict=True):
        if isinstance(place, Exception):
            outcomes.append(place)
            continue
        wrong = _wrong_with(intent, place, at)
        if wrong is None and decision is not None and decision.refused:
            wrong = Unsendable(decision.code, f"nothing may be sent to {place.route.to_address}: {decision.words}")
        if wrong is not None:
            outcomes.append(wrong)
            continue
        coming.append(Coming(intent, place, _view(intent, place, decision, at)))
        outcomes.append(coming[-1].view)
    facts: list[Fact] = []
    if coming:
        await _take_over(db, coming)
        await _keep(db, coming, at)
        mails = [(one.intent.workspace_id, one.view.id, one.place.mail) for one in coming if one.place.mail is not None]
        await leaving.keep(db, mails, at)
        facts = await _keep_chats(db, coming, at)
    return outcomes, facts + [_fact(one, actor or Actor()) for one in coming]


async def _take_over(db: Any, coming: Sequence[Coming]) -> None:
    """A member who says something has the conversation from now on, unless a member has it: nobody talks over them."""
    for one in coming:
        intent, holding = one.intent, one.place.holding
        if intent.sender_type != "user" or intent.sender_user_id is None or holding.assigned_to is not None:
            continue
        identity = (intent.workspace_id, intent.conversation_id)
        conversation = await db.get(Conversation, identity, populate_existing=True)
        await ownership.take_over(db, conversation, intent.sender_user_id, why="a member answered", tells=False)


async def _keep_chats(db: Any, coming: Sequence[Coming], at: datetime) -> list[Fact]:
    """What is said to visitors is on their screens; and what goes on without them is known to."""
    chats = [(one, one.place.chat) for one in coming if one.place.chat is not None]
    shown = [(one.intent.workspace_id, way.visitor_id, one.view.id) for one, way in chats if one.place.is_shown]
    await chatting.show(db, shown, at)
    gone = [
        (one.intent.workspace_id, one.intent.conversation_id, str(one.place.channel))
        for one, way in chats
        if way.is_continued
    ]
    return await chatting.go_on(db, gone, at)


async def _decide(
    db: Any, intents: Sequence[Intent], places: Sequence[Place | Exception], at: datetime
) -> list[Decision | None]:
    """What those who are written to want, as far as it can be said before it leaves; it is asked again then."""
    asked = [
        (
            index,
            Question(
                workspace_id=intent.workspace_id,
                channel=place.channel,
                address=place.route.to_address,
                sender=place.route.from_address,
                is_reply=place.is_reply,
                is_automatic=intent.sender_type != "user",
                at=intent.scheduled_at or at,
                message_id=intent.message_id,
            ),
        )
        for index, (intent, place) in enumerate(zip(intents, places, strict=True))
        if isinstance(place, Place) and not place.is_shown
    ]
    decisions: list[Decision | None] = [None] * len(intents)
    for (index, _), decision in zip(asked, await decide(db, [question for _, question in asked]), strict=True):
        decisions[index] = decision
    return decisions


def _wrong_with(intent: Intent, place: Place, at: datetime) -> Exception | None:
    """What makes the intent one that nobody can send, whoever it is for."""
    if not intent.content.strip() and not intent.media:
        return Invalid({"content": "must not be empty when no media is sent"})
    if place.channel != "email" and len(intent.content) > segments.LONGEST:
        return Invalid({"content": f"must be at most {segments.LONGEST} characters"})
    if intent.media > (most := enclosing.most_of(place)):
        what = "attachmentIds" if intent.attachment_ids else "mediaUrls"
        return Invalid({what: f"must be at most {most} items, as {place.route.provider} takes no more"})
    if place.channel != "email" and "mail" in intent.details:
        return Invalid({name: "is for mails" for name in ("subject", "from") if name in intent.details["mail"]})
    if place.channel == "email" and intent.number_id is not None:
        return Invalid({"phoneNumberId": "is for texts: a mail leaves by a mail address of ours, which is from"})
    if (place.channel == "email" or place.is_shown) and intent.media_urls:
        return Invalid({"mediaUrls": "mails and chats carry files that are stored here: send attachmentIds"})
    if place.is_shown and intent.scheduled_at is not None:
        return Invalid({"scheduledAt": "is not for chats: it would be shown to whoever is there by then"})
    if intent.scheduled_at is not None and intent.scheduled_at <= at:
        return Invalid({"scheduledAt": "must be in the future"})
    if place.route.from_address == place.route.to_address:
        return Unsendable("address", "this is the number it would be sent from")
    return None


def _view(intent: Intent, place: Place, decision: Decision | None, at: datetime) -> ConversationMessageView:
    provider: Any = place.route.provider or None
    status: Any = "queued" if intent.scheduled_at is None else "scheduled"
    return ConversationMessageView(
        id=intent.message_id or new_id(),
        conversation_id=intent.conversation_id,
        direction="outbound",
        content=intent.content,
        content_type=intent.content_type or ("text" if intent.content.strip() else "media"),
        sender_type=intent.sender_type,
        sender_id=intent.sender_user_id or intent.sender_agent_id,
        meta={
            **intent.metadata,
            **({"mediaUrls": list(intent.media_urls)} if intent.media_urls else {}),
            **({} if decision is None else {"consent": decision.explained(at)}),
        },
        status="sent" if place.is_shown else status,
        sent_at=at if place.is_shown else None,
        provider=provider,
        phone_number_id=place.route.number_id,
        from_address=place.route.from_address,
        to_address=place.route.to_address,
        scheduled_at=intent.scheduled_at,
        segments=None if place.channel == "email" or place.is_shown else segments.count(intent.content, intent.media),
        created_at=at,
        updated_at=at,
    )


def _fact(coming: Coming, actor: Actor) -> Fact:
    view = coming.view
    return Fact(
        workspace_id=coming.intent.workspace_id,
        event=f"message.{view.status}",
        subject_type="message",
        subject_id=view.id,
        conversation_id=view.conversation_id,
        at=view.created_at,
        data=encode(view),
        actor_type=actor.type,
        actor_id=actor.id,
    )


# ``line_at`` is taken while the conversation is locked, so a place in line is always behind those that are committed.
_KEEP = """
WITH i AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::uuid[],
                         $8::text[], $9::text[], $10::text[], $11::uuid[], $12::uuid[], $13::text[], $14::text[],
                         $15::timestamptz[], $16::int[], $17::boolean[], $18::text[], $20::uuid[],
                         $21::bigint[])
        WITH ORDINALITY AS i (workspace_id, id, conversation_id, content, content_type, sender_type, sender_user_id,
            metadata, status, provider, connection_id, number_id, from_address, to_address,
            scheduled_at, segments, is_reply, details, sender_agent_id, fence, ord)
),
kept AS (
    INSERT INTO conversation_messages (workspace_id, id, conversation_id, direction, content, content_type,
        sender_type, sender_user_id, sender_agent_id, metadata, status, provider, connection_id, phone_number_id,
        from_address, to_address, scheduled_at, segments, sent_at, created_at, updated_at)
    SELECT workspace_id, id, conversation_id, 'outbound', content, content_type, sender_type, sender_user_id,
        sender_agent_id, metadata::jsonb, status, provider, connection_id, number_id, from_address, to_address,
        scheduled_at, segments, CASE status WHEN 'sent' THEN $19::timestamptz END, $19, $19
    FROM i
),
counted AS (
    UPDATE conversations c SET
        message_count = c.message_count + k.messages,
        last_message_at = greatest(c.last_message_at, k.said_at),
        phone_number_id = coalesce(k.number_id, c.phone_number_id),
        updated_at = greatest(c.updated_at, $19)
    FROM (
        SELECT workspace_id, conversation_id, count(*) AS messages,
            max($19::timestamptz) FILTER (WHERE scheduled_at IS NULL) AS said_at,
            (array_agg(number_id ORDER BY ord DESC) FILTER (WHERE scheduled_at IS NULL))[1] AS number_id
        FROM i GROUP BY workspace_id, conversation_id
    ) AS k
    WHERE c.workspace_id = k.workspace_id AND c.id = k.conversation_id
),
placed AS (
    SELECT i.*, coalesce(i.scheduled_at, greatest(clock_timestamp(), line.last_at) + ord * interval '1 microsecond')
            AS line_at,
        i.scheduled_at IS NULL AND NOT line.has_head AND row_number() OVER (
            PARTITION BY i.workspace_id, i.conversation_id, i.scheduled_at IS NULL ORDER BY ord) = 1 AS is_head
    FROM i CROSS JOIN LATERAL (
        SELECT max(o.line_at) FILTER (WHERE o.state <> 'scheduled') AS last_at, coalesce(bool_or(o.is_head), false)
            AS has_head
        FROM outgoing_messages o WHERE o.workspace_id = i.workspace_id AND o.conversation_id = i.conversation_id
    ) line
)
INSERT INTO outgoing_messages (workspace_id, id, conversation_id, connection_id, phone_number_id, provider, state,
    is_head, line_at, next_attempt_at, is_reply, segments, details, fence, created_at, updated_at)
SELECT workspace_id, id, conversation_id, connection_id, number_id, provider, status, is_head, line_at, line_at,
    is_reply, coalesce(segments, 1), details::jsonb, fence, $19, $19
FROM placed WHERE status <> 'sent'
"""


async def _keep(db: Any, coming: Sequence[Coming], at: datetime) -> None:
    await fetch(
        db,
        _KEEP + " RETURNING id",
        [one.intent.workspace_id for one in coming],
        [one.view.id for one in coming],
        [one.view.conversation_id for one in coming],
        [one.view.content for one in coming],
        [one.view.content_type for one in coming],
        [one.view.sender_type for one in coming],
        [one.intent.sender_user_id for one in coming],
        [encode(one.view.meta).decode() for one in coming],
        [one.view.status for one in coming],
        [one.view.provider for one in coming],
        [one.place.route.connection_id for one in coming],
        [one.place.route.number_id for one in coming],
        [one.view.from_address for one in coming],
        [one.view.to_address for one in coming],
        [one.view.scheduled_at for one in coming],
        [one.view.segments for one in coming],
        [one.place.is_reply for one in coming],
        [_details(one) for one in coming],
        at,
        [one.intent.sender_agent_id for one in coming],
        [None if one.intent.sender_agent_id is None else one.intent.fence for one in coming],
    )
    if any(one.intent.attachment_ids for one in coming):
        await _attach(db, coming)
    if any(one.view.status == "queued" for one in coming):
        await jobs.enqueue(db, SEND, [{}])


def _details(coming: Coming) -> str:
    intent, mail = coming.intent, coming.place.mail
    details = {**intent.details, **({"mediaUrls": list(intent.media_urls)} if intent.media_urls else {})}
    if mail is not None:
        message_id = leaving.message_id_of(coming.view.id, mail.route.from_address)
        details["mail"] = {**mail.headers, "messageId": message_id}
    if coming.place.chat is not None:
        details["by"] = coming.place.channel
    return encode(details).decode()


# Held until the commit: whoever deletes the file it is taken from finds that it is still wanted.
_ATTACH = """
WITH i AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::uuid[], $6::uuid[])
        AS i (workspace_id, id, message_id, position, source_id, sender_id)
),
received AS MATERIALIZED (
    SELECT a.* FROM message_attachments a
    WHERE (a.workspace_id, a.id) IN (SELECT workspace_id, source_id FROM i) AND a.state = 'stored' FOR KEY SHARE
),
uploaded AS MATERIALIZED (
    SELECT u.* FROM uploads u WHERE (u.workspace_id, u.id) IN (SELECT workspace_id, source_id FROM i) FOR KEY SHARE
),
source AS (
    SELECT workspace_id, id, NULL::uuid AS only_for,
        declared_type, file_name, content_type, size, sha256, storage_key FROM received
    UNION ALL SELECT workspace_id, id, CASE WHEN is_private THEN uploaded_by END,
        NULL, file_name, content_type, size, sha256, storage_key FROM uploaded
)
INSERT INTO message_attachments (workspace_id, id, message_id, connection_id, position, source_url, declared_type,
    file_name, content_type, size, sha256, storage_key, state, attempts, created_at, updated_at)
SELECT i.workspace_id, i.id, i.message_id, NULL, i.position, '', s.declared_type, s.file_name, s.content_type, s.size,
    s.sha256, s.storage_key, 'stored', 0, $7, $7
FROM i JOIN source s ON s.workspace_id = i.workspace_id AND s.id = i.source_id
    AND (s.only_for IS NULL OR s.only_for = i.sender_id)
RETURNING workspace_id, id, message_id, position, declared_type, file_name, content_id, content_type, size, sha256,
    state, attempts, next_attempt_at, error, created_at, updated_at
"""


async def _attach(db: Any, coming: Sequence[Coming]) -> None:
    """What is sent again is an attachment of this message too, of the same file in the store."""
    items = [
        (one.intent.workspace_id, new_id(), one.view.id, position, source_id, one.intent.sender_user_id)
        for one in coming
        for position, source_id in enumerate(one.intent.attachment_ids)
    ]
    columns: list[list[uuid.UUID | int | None]] = [list(column) for column in zip(*items, strict=True)]
    rows = await fetch(db, _ATTACH, *columns, coming[0].view.created_at)
    if len(rows) < len(items):
        raise Invalid({"attachmentIds": "must be uploads, or stored attachments, of this workspace"})
    views = {one.view.id: one.view for one in coming}
    for row in sorted(rows, key=lambda row: row["position"]):
        attachment = MessageAttachmentView(**{name: row[name] for name in MessageAttachmentView.__struct_fields__})
        views[row["message_id"]].attachments.append(attachment)
    for one in coming:
        enclosing.expect_small_enough(one.place, [item.size or 0 for item in one.view.attachments])
