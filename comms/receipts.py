"""Webhooks kept byte for byte, and done again when they could not be understood the first time."""

import hashlib
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import asyncpg
import msgspec

from comms import jobs
from comms.directory import Connection
from comms.providers.base import Request
from models.base import new_id, now

RETRY = "receipts.retry"

KEPT_HEADERS = (
    "content-type",
    "user-agent",
    "i-twilio-idempotency-token",
    "x-twilio-signature",
    "x-twilio-webhooks-signature-settings",
    "x-signalwire-signature",
    "x-signalwire-sha256-signature",
    "x-twilio-email-event-webhook-signature",
    "x-twilio-email-event-webhook-timestamp",
)

ONCE = """
ON CONFLICT (workspace_id, connection_id, kind, identity) DO UPDATE SET
    state = excluded.state, reason = excluded.reason, next_attempt_at = excluded.next_attempt_at,
    message_id = coalesce(excluded.message_id, kept.message_id),
    attempts = kept.attempts + 1, updated_at = now()
WHERE kept.state <> 'processed'
"""
"""A repeated webhook changes its receipt, known as ``kept``, only as long as nothing had come of it."""

# In the order of identities, so that two groups with the same webhooks cannot deadlock.
_KEEP = f"""
INSERT INTO webhook_receipts AS kept (workspace_id, id, connection_id, provider, kind, identity, method, url, headers,
    body, storage_key, state, reason, message_id, next_attempt_at, created_at, updated_at)
SELECT workspace_id, id, connection_id, provider, kind, identity, method, url, headers::jsonb,
    body, storage_key, state, reason, message_id, next_attempt_at, at, at
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::bytea[], $11::text[], $12::text[], $13::uuid[], $14::timestamptz[], $15::timestamptz[],
            $16::text[])
    AS n (workspace_id, id, connection_id, provider, kind, identity, method, url, headers,
          body, state, reason, message_id, next_attempt_at, at, storage_key)
ORDER BY workspace_id, connection_id, kind, identity
{ONCE}
"""


class Retried(msgspec.Struct, frozen=True):
    """Which receipt a webhook is done again for, and for which time."""

    identity: str
    attempt: int


class Webhook(Protocol):
    """A genuine webhook that a receipt is kept of."""

    @property
    def connection(self) -> Connection: ...
    @property
    def request(self) -> Request: ...
    @property
    def at(self) -> datetime: ...
    @property
    def kind(self) -> str: ...
    @property
    def identity(self) -> str: ...
    @property
    def retried(self) -> Retried | None: ...


class Unread(msgspec.Struct, frozen=True):
    """A genuine webhook that nobody here could read: known by its bytes."""

    connection: Connection
    request: Request
    at: datetime
    kind: str
    retried: Retried | None = None

    @property
    def identity(self) -> str:
        if self.retried:
            return self.retried.identity
        return hashlib.sha256(self.request.url.encode() + b"\0" + self.request.body).hexdigest()


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What is to be kept of a webhook, and what came of it."""

    webhook: Webhook
    state: str = "processed"
    reason: str | None = None
    message_id: uuid.UUID | None = None
    next_attempt_at: datetime | None = None


async def keep(db: Any, receipts: Sequence[Receipt]) -> None:
    """Each webhook has one receipt; a repeated one changes it only as long as nothing had come of it."""
    once: dict[tuple[uuid.UUID, str, str], Receipt] = {}
    for receipt in receipts:
        once.setdefault((receipt.webhook.connection.id, receipt.webhook.kind, receipt.webhook.identity), receipt)
    kept = list(once.values())
    webhooks = [receipt.webhook for receipt in kept]
    await db.execute(
        _KEEP,
        [webhook.connection.workspace_id for webhook in webhooks],
        [new_id() for _ in webhooks],
        [webhook.connection.id for webhook in webhooks],
        [webhook.connection.provider for webhook in webhooks],
        [webhook.kind for webhook in webhooks],
        [webhook.identity for webhook in webhooks],
        [webhook.request.method for webhook in webhooks],
        [url_of(webhook.request) for webhook in webhooks],
        [headers_of(webhook.request) for webhook in webhooks],
        [webhook.request.body for webhook in webhooks],
        [receipt.state for receipt in kept],
        [receipt.reason for receipt in kept],
        [receipt.message_id for receipt in kept],
        [receipt.next_attempt_at for receipt in kept],
        [webhook.at for webhook in webhooks],
        [getattr(webhook, "storage_key", None) for webhook in webhooks],  # only a mail has one
    )


async def keep_failed(db: Any, webhook: Webhook, error: Exception) -> None:
    """A webhook whose story failed is kept with the reason, and the worker rings again after a while."""
    attempt = webhook.retried.attempt if webhook.retried else 1
    delay = back_off_seconds(attempt)
    due = now() + timedelta(seconds=delay)
    await keep(db, [Receipt(webhook, state="failed", reason=describe(error), next_attempt_at=due)])
    receipt_id = await db.fetchval(
        "SELECT id FROM webhook_receipts"
        " WHERE workspace_id = $1 AND connection_id = $2 AND kind = $3 AND identity = $4 AND state = 'failed'",
        webhook.connection.workspace_id,
        webhook.connection.id,
        webhook.kind,
        webhook.identity,
    )
    if receipt_id is not None:
        payload = {"workspaceId": webhook.connection.workspace_id, "receiptId": receipt_id}
        await jobs.enqueue(db, RETRY, [payload], delay_seconds=delay)


def back_off_seconds(attempt: int) -> int:
    """5 s, 10 s, 20 s … and at most an hour between tries."""
    return int(min(5 * 2 ** min(attempt - 1, 12), 3600))


def describe(error: Exception) -> str:
    """What went wrong, as far as it can be said without quoting what people wrote."""
    if isinstance(error, asyncpg.PostgresError):
        constraint = getattr(error, "constraint_name", None)
        return f"{type(error).__name__} ({error.sqlstate})" + (f" on {constraint}" if constraint else "")
    return type(error).__name__


def url_of(request: Request) -> str:
    """The address it was posted to, as text that can be stored."""
    return request.url.replace("\x00", "")


def headers_of(request: Request) -> str:
    """The headers worth keeping, as JSON."""
    kept = {name: request.headers[name].replace("\x00", "") for name in KEPT_HEADERS if name in request.headers}
    return msgspec.json.encode(kept).decode()
