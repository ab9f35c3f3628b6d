"""Delivery reports: every one is kept, a message's status only moves forward, an early report waits for its message."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import consent, receipts
from comms.directory import Connection
from comms.events import Fact, Told, changes, encode, tell
from comms.message_views import views_of
from comms.providers.base import DeliveryReport, Request
from comms.providers.codes import words_of
from comms.providers.parameters import channel_of
from models.base import new_id
from models.communications import ConversationMessage

KIND = "message-status"
MARKER = "message"
"""The parameter of a report's address that names our message: it is told even when the answer to a create was lost."""

OPTED_OUT = "21610"
"""Twilio's and SignalWire's code for a message to somebody who has said stop."""

RANK: Mapping[str, int] = {
    "receiving": 0,
    "scheduled": 0,
    "accepted": 10,
    "queued": 20,
    "sending": 30,
    "sent": 40,
    "partially_delivered": 45,
    # What ended badly ended at the same rank; who says "delivered" after all is believed.
    "canceled": 50,
    "failed": 50,
    "undelivered": 50,
    "delivered": 55,
    "received": 55,
    "read": 60,
}
"""How far along a status is; a message moves to a higher one only."""

BOUNCED = 57
"""The rank of ``undelivered`` for mail: a server that took it tells of a mailbox that is not there only later."""


def rank(column: str) -> str:
    """SQL for the rank of the status in ``column``."""
    ranks = " ".join(f"WHEN '{status}' THEN {value}" for status, value in RANK.items())
    return f"CASE {column} {ranks} ELSE -1 END"


def _rank(table: str) -> str:
    """SQL for the rank of the status in a row of ``table``, which has the provider too."""
    is_bounce = f"{table}.status = 'undelivered' AND {table}.provider IN ('sendgrid', 'smtp')"
    return f"CASE WHEN {is_bounce} THEN {BOUNCED} ELSE {rank(f'{table}.status')} END"


class Reported(msgspec.Struct, gc=False):
    """A genuine delivery report as it came."""

    connection: Connection
    request: Request
    report: DeliveryReport
    at: datetime
    retried: receipts.Retried | None = None

    @property
    def kind(self) -> str:
        return KIND

    @property
    def marked_id(self) -> uuid.UUID | None:
        """The message that the report's address names: we put it there, and the provider signed it."""
        marker = self.request.url.partition(f"?{MARKER}=")[2][:36]
        try:
            return uuid.UUID(marker) if marker else None
        except ValueError:
            return None

    @property
    def identity(self) -> str:
        return self.retried.identity if self.retried else f"{self.report.provider_message_id}:{self.report.reported}"


class Noted(msgspec.Struct, frozen=True):
    """What came of a report; without a message it is parked until its message is known."""

    message_id: uuid.UUID | None = None
    is_new: bool = False
    reason: str | None = None


_TEXTS, _TIMES = ("status", "error_code", "error_message"), ("sent_at", "delivered_at", "read_at")
_WAS = dict.fromkeys(_TEXTS, "text") | dict.fromkeys(_TIMES, "timestamptz") | {"is_read": "boolean"}
"""What a report changes of a message, and what kind of column each is."""
_SAID = "message, has_attachments, " + ", ".join(f"was_{name}" for name in _WAS)
_NOTHING = "NULL::conversation_messages AS message, false AS has_attachments, " + ", ".join(
    f"NULL::{kind} AS was_{name}" for name, kind in _WAS.items()
)

_MOVED = f"""
best AS (
    SELECT DISTINCT ON (workspace_id, message_id) workspace_id, message_id, status, error_code, error_message,
        reported_at, {_rank("news")} AS rank
    FROM news WHERE message_id IS NOT NULL AND status IS NOT NULL
    ORDER BY workspace_id, message_id, {_rank("news")} DESC, reported_at
),
held AS MATERIALIZED (
    SELECT best.*, {", ".join(f"m.{name} AS was_{name}" for name in _WAS)} FROM conversation_messages m
    JOIN best ON best.workspace_id = m.workspace_id AND best.message_id = m.id
    WHERE m.direction = 'outbound' AND m.deleted_at IS NULL
    ORDER BY m.workspace_id, m.id
    FOR NO KEY UPDATE OF m
),
moved AS (
    UPDATE conversation_messages m SET
        status = held.status,
        sent_at = CASE WHEN held.rank >= {RANK["sent"]} AND held.rank NOT IN ({RANK["failed"]}, {BOUNCED})
            THEN coalesce(m.sent_at, held.reported_at) ELSE m.sent_at END,
        delivered_at = CASE WHEN held.rank = {BOUNCED} THEN NULL WHEN held.rank >= {RANK["delivered"]}
            THEN coalesce(m.delivered_at, held.reported_at) ELSE m.delivered_at END,
        read_at = CASE WHEN held.status = 'read' THEN coalesce(m.read_at, held.reported_at) ELSE m.read_at END,
        is_read = m.is_read OR held.status = 'read',
        error_code = held.error_code,
        error_message = held.error_message,
        updated_at = now()
    FROM held
    WHERE m.workspace_id = held.workspace_id AND m.id = held.message_id AND held.rank > {_rank("m")}
    RETURNING m AS message, EXISTS (
        SELECT FROM message_attachments a WHERE a.workspace_id = m.workspace_id AND a.message_id = m.id
    ) AS has_attachments, {", ".join(f"held.was_{name}" for name in _WAS)}
)"""
"""From ``news`` (reports with their messages) to ``moved``: locked in order, forward only, once per message."""

_NOTE = f"""
WITH found AS MATERIALIZED (
    SELECT i.*, (
        SELECT m.id FROM conversation_messages m WHERE m.workspace_id = i.workspace_id AND m.provider = i.provider
            AND m.provider_message_id = i.provider_message_id
    ) AS message_id
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::timestamptz[], $10::timestamptz[],
                $11::uuid[], $12::uuid[], $13::text[], $14::text[], $15::text[], $16::text[], $17::bytea[],
                $18::uuid[])
        AS i (workspace_id, id, provider, provider_message_id, reported, status, error_code, error_message,
            reported_at, at,
            receipt_id, connection_id, identity, method, url, headers, body, marked_id)
),
news AS (
    INSERT INTO delivery_reports (workspace_id, id, message_id, provider, provider_message_id, reported, status,
        error_code, error_message, reported_at, marked_id, created_at, updated_at)
    SELECT workspace_id, id, message_id, provider, provider_message_id, reported, status,
        error_code, error_message, reported_at, CASE WHEN message_id IS NULL THEN marked_id END, at, at
    FROM found ORDER BY workspace_id, provider, provider_message_id, reported
    ON CONFLICT (workspace_id, provider, provider_message_id, reported) DO NOTHING
    RETURNING workspace_id, id AS report_id, message_id, provider, status, error_code, error_message, reported_at
),
{_MOVED},
noted AS (
    INSERT INTO webhook_receipts AS kept (workspace_id, id, connection_id, provider, kind, identity, method, url,
        headers, body, state, message_id, created_at, updated_at)
    SELECT workspace_id, receipt_id, connection_id, provider, '{KIND}', identity, method, url, headers::jsonb,
        body, 'processed', message_id, at, at
    FROM found WHERE (id IN (SELECT report_id FROM news)) IS TRUE
    ORDER BY workspace_id, connection_id, identity
    {receipts.ONCE}
)
SELECT report_id, message_id, {_NOTHING} FROM news
UNION ALL
SELECT NULL, NULL, {_SAID} FROM moved
"""


async def note(db: Any, reports: Sequence[Reported]) -> tuple[list[Noted], Told]:
    """Reports have come: each is kept once, their messages move forward, and it is said."""
    once: dict[tuple[uuid.UUID, str, str], tuple[uuid.UUID, Reported]] = {}
    for reported in reports:
        once.setdefault(_key(reported), (new_id(), reported))
    ids = [id_ for id_, _ in once.values()]
    kept = [reported for _, reported in once.values()]
    rows = await db.fetch(
        _NOTE,
        [reported.connection.workspace_id for reported in kept],
        ids,
        [reported.report.provider for reported in kept],
        [reported.report.provider_message_id for reported in kept],
        [reported.report.reported for reported in kept],
        [reported.report.status for reported in kept],
        [reported.report.error_code for reported in kept],
        [reported.report.error_message or words_of(reported.report.error_code) for reported in kept],
        [reported.report.at or reported.at for reported in kept],
        [reported.at for reported in kept],
        [new_id() for _ in kept],
        [reported.connection.id for reported in kept],
        [reported.identity for reported in kept],
        [reported.request.method for reported in kept],
        [receipts.url_of(reported.request) for reported in kept],
        [receipts.headers_of(reported.request) for reported in kept],
        [reported.request.body for reported in kept],
        [reported.marked_id for reported in kept],
    )
    messages = {row["report_id"]: row["message_id"] for row in rows if row["report_id"] is not None}
    known = [receipts.Receipt(reported) for id_, reported in once.values() if id_ not in messages]
    if known:  # told before; through another connection perhaps, whose receipt is its own
        await receipts.keep(db, known)
    outcomes = {key: Noted(messages.get(id_), is_new=id_ in messages) for key, (id_, _) in once.items()}
    new = [reported for id_, reported in once.values() if id_ in messages]
    _, heard = await consent.note_on(db, _opt_outs(new)) if any(map(_is_opt_out, new)) else ([], [])
    told = await tell(db, await _status_changed(db, rows) + heard)
    return [outcomes[_key(reported)] for reported in reports], told


def _is_opt_out(reported: Reported) -> bool:
    return reported.report.error_code == OPTED_OUT


def _opt_outs(reports: Sequence[Reported]) -> list[consent.Word]:
    """What carriers say of people who do not want to hear from us, which we may not have heard ourselves."""
    words = []
    for reported in filter(_is_opt_out, reports):
        report = reported.report
        to, sender = report.details.get("to"), report.details.get("messagingServiceSid") or report.details.get("from")
        if not to or not sender:
            continue
        words.append(
            consent.Word(
                workspace_id=reported.connection.workspace_id,
                address=to,
                sender=sender,
                says="stop",
                source="carrier",
                channel=channel_of(sender, to).value,
                at=report.at or reported.at,
                proof=f"carrier:{report.provider}:{report.provider_message_id}",
                words=OPTED_OUT,
            )
        )
    return words


def _key(reported: Reported) -> tuple[uuid.UUID, str, str]:
    return (reported.connection.workspace_id, reported.report.provider, reported.identity)


async def spoil(db: Any, reported: Reported, error: Exception) -> tuple[list[Noted], Told]:
    """A report whose story fails is kept as it came, to be tried again by the worker."""
    await receipts.keep_failed(db, reported, error)
    return [Noted(reason=receipts.describe(error))], []


def _join(which: str) -> str:
    return f"""
WITH news AS (
    UPDATE delivery_reports r SET message_id = m.id, updated_at = now()
    FROM conversation_messages m
    WHERE r.message_id IS NULL AND m.workspace_id = r.workspace_id AND m.provider = r.provider
        AND m.provider_message_id = r.provider_message_id AND {which}
        AND r.created_at > now() - interval '3 days'
    RETURNING r.workspace_id, r.id AS report_id, r.message_id, r.provider, r.status, r.error_code, r.error_message,
        r.reported_at
),
{_MOVED}
SELECT {_SAID} FROM moved
"""


_JOIN = _join("($1::uuid[] IS NULL OR m.id = ANY($1))")
_JOIN_THESE = _join(
    "(m.workspace_id, m.id) IN (SELECT workspace_id, id FROM unnest($1::uuid[], $2::uuid[]) AS i (workspace_id, id))"
)


async def join_parked(db: AsyncSession, messages: Sequence[ConversationMessage]) -> None:
    """The reports that came before these messages were known are their own now, and their status is where they say."""
    if not messages:
        return
    await db.flush()
    ids = [message.id for message in messages]
    await (await db.connection()).exec_driver_sql(_JOIN, (ids,))
    these = select(ConversationMessage).where(
        ConversationMessage.workspace_id == messages[0].workspace_id, ConversationMessage.id.in_(ids)
    )
    await db.execute(these.execution_options(populate_existing=True))


async def join_parked_of(db: Any, messages: Sequence[tuple[uuid.UUID, uuid.UUID]]) -> list[Fact]:
    """The same for many messages, by workspace and id, on an asyncpg connection; what is to be told of it."""
    rows = await db.fetch(_JOIN_THESE, [message[0] for message in messages], [message[1] for message in messages])
    return await _status_changed(db, rows)


async def join_all_parked(db: Any) -> Told:
    """No report waits for a message that exists: committed in the same instant, the two miss each other."""
    return await tell(db, await _status_changed(db, await db.fetch(_JOIN, None)))


async def _status_changed(db: Any, rows: Sequence[Any]) -> list[Fact]:
    """One fact for each message that moved, whatever the number of reports that moved it."""
    moved = [row for row in rows if row["message"] is not None]
    return [
        Fact(
            workspace_id=row["message"]["workspace_id"],
            event="message.status_changed",
            subject_type="message",
            subject_id=view.id,
            conversation_id=view.conversation_id,
            at=view.updated_at,
            data=encode(view),
            changes=changes(msgspec.structs.replace(view, **{name: row[f"was_{name}"] for name in _WAS}), view),
        )
        for row, view in zip(moved, await views_of(db, moved), strict=True)
    ]


class Bare(msgspec.Struct, frozen=True, kw_only=True):
    """A report that came with others in one webhook, whose receipt is not kept here."""

    workspace_id: uuid.UUID
    message_id: uuid.UUID | None
    provider: str
    provider_message_id: str
    reported: str
    status: str | None
    error_code: str | None
    error_message: str | None
    reported_at: datetime
    at: datetime
    marked_id: uuid.UUID | None = None


_NOTE_BARE = f"""
WITH news AS (
    INSERT INTO delivery_reports (workspace_id, id, message_id, provider, provider_message_id, reported, status,
        error_code, error_message, reported_at, marked_id, created_at, updated_at)
    SELECT workspace_id, id, message_id, provider, provider_message_id, reported, status,
        error_code, error_message, reported_at, marked_id, at, at
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::timestamptz[], $11::timestamptz[], $12::uuid[])
        AS i (workspace_id, id, message_id, provider, provider_message_id, reported, status, error_code, error_message,
              reported_at, at, marked_id)
    ORDER BY workspace_id, provider, provider_message_id, reported
    ON CONFLICT (workspace_id, provider, provider_message_id, reported) DO NOTHING
    RETURNING workspace_id, id AS report_id, message_id, provider, status, error_code, error_message, reported_at
),
{_MOVED}
SELECT {_SAID} FROM moved
"""


async def note_without_receipts(db: Any, reports: Sequence[Bare]) -> list[Fact]:
    """Each report is kept once, and their messages have moved forward; what is to be told of them is returned."""
    if not reports:
        return []
    rows = await db.fetch(
        _NOTE_BARE,
        [report.workspace_id for report in reports],
        [new_id() for _ in reports],
        [report.message_id for report in reports],
        [report.provider for report in reports],
        [report.provider_message_id for report in reports],
        [report.reported for report in reports],
        [report.status for report in reports],
        [report.error_code for report in reports],
        [report.error_message for report in reports],
        [report.reported_at for report in reports],
        [report.at for report in reports],
        [report.marked_id for report in reports],
    )
    return await _status_changed(db, rows)
