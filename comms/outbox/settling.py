"""What came of each message is kept, in groups, one transaction each; and whoever was behind it may leave.

A result counts only while its lease is the current one: done again, or too late, it changes nothing.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from comms import consent, delivery, metrics
from comms.events import Fact, Told, changes, encode, tell
from comms.message_views import views_of
from comms.outbox import lines
from comms.outbox.intents import Route
from comms.outbox.leasing import Lease
from comms.providers import codes
from models.base import now
from models.communications import ConversationMessageView
from models.communications.consent import EVERYWHERE, ConsentSource

NAME = "sends"

Outcome = Literal["sent", "failed", "canceled", "later", "unclear", "again", "elsewhere"]
"""``sent``, ``failed`` and ``canceled`` end it; ``later``, ``elsewhere`` and ``again`` send it (again); ``unclear``
looks first."""
ENDS = ("sent", "failed", "canceled")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a lease. ``seconds`` is how long it waits now; ``words`` say why, and ``code`` for programs.

    ``note`` is added to the message's metadata: what was decided about it, and why.
    """

    lease: Lease
    outcome: Outcome
    provider_message_id: str | None = None
    status: str | None = None
    segments: int | None = None
    code: str | None = None
    words: str | None = None
    seconds: float = 0.0
    until: datetime | None = None
    route: Route | None = None
    note: Mapping[str, Any] = {}
    kind: str = NAME


class Settled(msgspec.Struct, frozen=True):
    """Whether the result counted, and how many lines have a new head by its group."""

    counted: bool
    promoted: int = 0


# A report that names our own id, as SendGrid's do, may be quicker than the answer to the request.
_TOLD_BEFORE = (
    f"mine.outcome = 'sent' AND mine.code IS NULL AND {delivery.rank('m.status')} >= {delivery.RANK['undelivered']}"
)

_ENDED = f"mine.outcome IN {ENDS}"

_WAS = ("status", "sent_at", "error_code", "error_message", "provider", "provider_message_id", "segments")
"""What a result that ends it changes of a message: a whole row more of each would be read for nothing."""

_SETTLE = f"""
WITH r AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::text[], $7::int[], $8::text[],
                         $9::text[], $10::float8[], $11::text[], $12::uuid[], $13::uuid[], $14::text[], $15::text[],
                         $16::timestamptz[])
        AS r (workspace_id, id, attempt, outcome, provider_message_id, status, segments, code, words, seconds,
            provider, connection_id, number_id, from_address, note, until)
),
mine AS MATERIALIZED (
    SELECT r.*, o.conversation_id, CASE WHEN r.outcome NOT IN {ENDS} THEN m END AS before,
        {", ".join(f"m.{name} AS was_{name}" for name in _WAS)},
        CASE WHEN r.note <> '{{}}' THEN m.metadata END AS was_metadata
    FROM r
    JOIN outgoing_messages o ON o.workspace_id = r.workspace_id AND o.id = r.id AND o.attempts = r.attempt
        AND o.state IN ('sending', 'unclear')
    JOIN conversation_messages m ON m.workspace_id = r.workspace_id AND m.id = r.id
    ORDER BY m.workspace_id, m.id
    FOR NO KEY UPDATE OF o, m
),
gone AS (
    DELETE FROM outgoing_messages o USING mine
    WHERE o.workspace_id = mine.workspace_id AND o.id = mine.id AND {_ENDED}
),
waits AS (
    UPDATE outgoing_messages o SET
        -- What has to wait for its time gives way to what is said meanwhile.
        state = CASE WHEN mine.until IS NOT NULL THEN 'scheduled' WHEN mine.outcome = 'unclear' THEN 'unclear'
            ELSE 'queued' END,
        next_attempt_at = greatest(now() + make_interval(secs => mine.seconds), mine.until),
        line_at = greatest(o.line_at, mine.until),
        slot_at = NULL,
        is_head = o.is_head AND mine.until IS NULL,
        error = mine.words,
        provider = coalesce(mine.provider, o.provider),
        connection_id = CASE mine.outcome WHEN 'elsewhere' THEN mine.connection_id ELSE o.connection_id END,
        phone_number_id = CASE mine.outcome WHEN 'elsewhere' THEN mine.number_id ELSE o.phone_number_id END,
        details = CASE mine.outcome WHEN 'elsewhere' THEN o.details || '{{"fellOver": true}}' ELSE o.details END,
        updated_at = now()
    FROM mine
    WHERE o.workspace_id = mine.workspace_id AND o.id = mine.id AND NOT {_ENDED}
),
moved AS (
    UPDATE conversation_messages m SET
        status = CASE WHEN mine.outcome IN ('failed', 'canceled') THEN mine.outcome
            WHEN mine.outcome = 'sent' AND {delivery.rank("mine.status")} > {delivery.rank("m.status")} THEN mine.status
            ELSE m.status END,
        provider_message_id = coalesce(mine.provider_message_id, m.provider_message_id),
        segments = coalesce(mine.segments, m.segments),
        error_code = CASE WHEN {_TOLD_BEFORE} THEN m.error_code ELSE mine.code END,
        error_message = CASE WHEN {_TOLD_BEFORE} THEN m.error_message ELSE mine.words END,
        sent_at = CASE WHEN mine.outcome = 'sent' AND {delivery.rank("mine.status")} >= {delivery.RANK["sent"]}
            AND mine.status <> 'failed' THEN coalesce(m.sent_at, now()) ELSE m.sent_at END,
        provider = coalesce(mine.provider, m.provider),
        connection_id = CASE mine.outcome WHEN 'elsewhere' THEN mine.connection_id ELSE m.connection_id END,
        phone_number_id = CASE mine.outcome WHEN 'elsewhere' THEN mine.number_id ELSE m.phone_number_id END,
        from_address = CASE mine.outcome WHEN 'elsewhere' THEN mine.from_address ELSE m.from_address END,
        metadata = m.metadata || mine.note::jsonb,
        updated_at = now()
    FROM mine
    WHERE m.workspace_id = mine.workspace_id AND m.id = mine.id
        AND ({_ENDED} OR mine.outcome = 'elsewhere' OR mine.note <> '{{}}')
    RETURNING m AS message, mine.outcome, EXISTS (
        SELECT FROM message_attachments a WHERE a.workspace_id = m.workspace_id AND a.message_id = m.id
    ) AS has_attachments
)
SELECT mine.workspace_id, mine.id, mine.conversation_id, mine.before, mine.was_metadata,
    {", ".join(f"mine.was_{name}" for name in _WAS)}, moved.message, moved.outcome,
    coalesce(moved.has_attachments, false) AS has_attachments
FROM mine LEFT JOIN moved ON (moved.message).id = mine.id
"""


async def settle(db: Any, results: Sequence[Result]) -> tuple[list[Settled], Told]:
    """Each result is kept, the next in line may leave, early reports are joined, and it is told."""
    leases = [result.lease for result in results]
    ended = [
        (lease.workspace_id, lease.conversation_id)
        for result, lease in zip(results, leases, strict=True)
        if result.outcome in ENDS or result.until is not None
    ]
    if ended:
        await lines.hold(db, ended)
    routes = [result.route for result in results]
    rows = await db.fetch(
        _SETTLE,
        [lease.workspace_id for lease in leases],
        [lease.id for lease in leases],
        [lease.attempt for lease in leases],
        [result.outcome for result in results],
        [result.provider_message_id for result in results],
        [_reached(result) for result in results],
        [result.segments for result in results],
        [result.code for result in results],
        [result.words for result in results],
        [result.seconds for result in results],
        [None if route is None else route.provider for route in routes],
        [None if route is None else route.connection_id for route in routes],
        [None if route is None else route.number_id for route in routes],
        [None if route is None else route.from_address for route in routes],
        [msgspec.json.encode(result.note).decode() for result in results],
        [result.until for result in results],
    )
    counted = {row["id"] for row in rows}
    promoted = await lines.promote(db, ended) if ended else 0
    facts = await _facts(db, [row for row in rows if row["message"] is not None])
    _, more = await consent.note_on(db, _opt_outs(results, counted))
    facts += more
    left = [(row["workspace_id"], row["id"]) for row in rows if row["outcome"] == "sent"]
    if left:
        facts += await delivery.join_parked_of(db, left)
    for result in results:
        if result.lease.id in counted:
            metrics.SENDS.labels((result.route or result.lease.route).provider, result.outcome).inc()
    return [Settled(lease.id in counted, promoted) for lease in leases], await tell(db, facts)


async def spoil(db: Any, result: Result, error: Exception) -> tuple[list[Settled], Told]:
    """A result that cannot be kept: what it says is looked up again, after a while."""
    words = f"its outcome could not be kept ({type(error).__name__})"
    (settled,), told = await settle(db, [Result(lease=result.lease, outcome="unclear", words=words, seconds=30.0)])
    return [settled], told


def _opt_outs(results: Sequence[Result], counted: Collection[uuid.UUID]) -> list[consent.Word]:
    """What providers say, by refusing to send, of people who do not want to hear from us, or cannot."""
    return [
        _word(result)
        for result in results
        if result.outcome == "failed"
        and (result.code == delivery.OPTED_OUT or codes.is_no_mailbox(result.code))
        and result.lease.id in counted
    ]


def _word(result: Result) -> consent.Word:
    lease, is_bounce = result.lease, codes.is_no_mailbox(result.code)
    source: ConsentSource = "bounce" if is_bounce else "carrier"
    return consent.Word(
        workspace_id=lease.workspace_id,
        address=lease.route.to_address,
        sender=EVERYWHERE if is_bounce else lease.route.from_address,
        says="stop",
        source=source,
        channel=lease.channel,
        at=now(),
        proof=f"{source}:{lease.route.provider}:{lease.id}",
        words=result.code,
        reason=result.words if is_bounce else None,
        message_id=lease.id if is_bounce else None,
    )


def _reached(result: Result) -> str | None:
    """The status of a message that the provider has: at least on its way."""
    if result.outcome != "sent":
        return None
    is_further = delivery.RANK.get(result.status or "", 0) > delivery.RANK["sending"]
    return result.status if is_further else "sending"


def _told(outcome: Outcome, status: str) -> str:
    if outcome == "canceled":
        return "message.canceled"
    if outcome not in ENDS:  # it waits for the morning, or leaves by another number
        return "message.updated"
    return "message.failed" if status in ("failed", "undelivered", "canceled") else "message.sent"


async def _facts(db: Any, rows: Sequence[Any]) -> list[Fact]:
    views = await views_of(db, rows)
    changed = [row for row in rows if row["before"] is not None]
    were = await views_of(
        db, [{"message": row["before"], "has_attachments": row["has_attachments"]} for row in changed]
    )
    before = {view.id: view for view in were}
    return [
        Fact(
            workspace_id=row["workspace_id"],
            event=_told(row["outcome"], view.status),
            subject_type="message",
            subject_id=row["id"],
            conversation_id=view.conversation_id,
            at=now(),
            data=encode(view),
            changes=changes(before.get(view.id) or _as_it_was(row, view), view),
        )
        for row, view in zip(rows, views, strict=True)
    ]


def _as_it_was(row: Any, view: ConversationMessageView) -> ConversationMessageView:
    """The message of a result that ends it, before that."""
    was = {name: row[f"was_{name}"] for name in _WAS}
    if row["was_metadata"] is not None:
        was["meta"] = msgspec.json.decode(row["was_metadata"])
    return msgspec.structs.replace(view, **was)
