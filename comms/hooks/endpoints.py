"""Endpoints: how one is made, changed, switched off and on, and how its secrets are rotated."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Conflict, Invalid
from comms.hooks import following, hearing, places, signing
from comms.identity import Identity
from comms.settings import WebhookSettings
from comms.vault import Vault
from models.base import new_id
from models.hooks import WebhookEndpoint, WebhookSigningSecret

MOST = 20
"""So many endpoints a workspace has at most."""
MOST_SECRETS = 4
"""So many secrets an endpoint has at most: the old, the new, and those of who has lost count."""


async def make(
    db: AsyncSession, vault: Vault, settings: WebhookSettings, identity: Identity, values: Mapping[str, Any]
) -> tuple[WebhookEndpoint, WebhookSigningSecret, str]:
    """An endpoint that hears whatever happens from now on, with its first secret, which is seen here and never again.

    ``Invalid`` names what about it cannot work.
    """
    check(values, settings)
    hearing.check(values.get("events", ()), identity)
    await _begin_to_read(db, identity.workspace_id)
    there = await db.scalar(
        select(func.count()).select_from(WebhookEndpoint).where(WebhookEndpoint.workspace_id == identity.workspace_id)
    )
    if (there or 0) >= MOST:
        raise Conflict(f"A workspace has {MOST} webhook endpoints at most: delete one first.")
    row = WebhookEndpoint(
        workspace_id=identity.workspace_id,
        id=new_id(),
        on_behalf_of=identity.user_id,
        after_seq=await _head(db, identity.workspace_id),
        **values,
    )
    db.add(row)
    await db.flush()
    secret, plain = await _keep_secret(db, vault, row)
    return row, secret, plain


async def change(
    db: AsyncSession, settings: WebhookSettings, identity: Identity, row: WebhookEndpoint, values: Mapping[str, Any]
) -> None:
    """The endpoint, held, has these values; whoever switches it off has called ``following.hold`` before.

    Whoever says where it is, what it is told, or that it is on, is who it hears as from now on. Switched on, what still
    waits for it is tried at once, with what happened until it went off; what happened while it was off is not told
    unless it is replayed.
    """
    check(values, settings)
    is_on_again = values.get("is_active", row.is_active) and not row.is_active
    if is_on_again or any(
        values.get(name, there) != there for name, there in (("url", row.url), ("events", row.events))
    ):
        hearing.check(values.get("events", row.events), identity)
        row.on_behalf_of = identity.user_id
    if row.is_active and not values.get("is_active", True):
        await following.hear_out(db, row.workspace_id)
    for name, value in values.items():
        setattr(row, name, value)
    if is_on_again:
        row.after_seq = await _head(db, row.workspace_id)
        row.disabled_at = row.disabled_reason = None
    if is_on_again or "url" in values:
        await forgive(db, row)


async def forgive(db: AsyncSession, row: WebhookEndpoint) -> None:
    """What was wrong with the endpoint is forgotten, and what waits for it is tried at once."""
    row.failures, row.failing_since, row.last_error, row.paused_until = 0, None, None, None
    await db.flush()
    await db.execute(_HURRY, {"here": row.workspace_id, "id": row.id})


async def add_secret(db: AsyncSession, vault: Vault, row: WebhookEndpoint) -> tuple[WebhookSigningSecret, str]:
    """One more secret, which deliveries are signed with from now on, beside those there are; ``row`` is held."""
    there = await _secrets_of(db, row)
    if there >= MOST_SECRETS:
        raise Conflict(f"An endpoint has {MOST_SECRETS} secrets at most: delete those that nobody verifies with.")
    return await _keep_secret(db, vault, row)


async def expect_another_secret(db: AsyncSession, row: WebhookEndpoint) -> None:
    """The endpoint, held, keeps a secret when it loses one; else ``Conflict``."""
    if await _secrets_of(db, row) < 2:
        raise Conflict("This is the endpoint's only secret: make another first, and have it verified with both.")


def check(values: Mapping[str, Any], settings: WebhookSettings) -> None:
    """The values can work, as far as can be seen without asking anybody."""
    errors = {}
    if "name" in values and not values["name"].strip():
        errors["name"] = "must not be empty"
    if "url" in values and (reason := places.refusal_of(values["url"], settings)) is not None:
        errors["url"] = reason
    if errors:
        raise Invalid(errors)


async def _keep_secret(db: AsyncSession, vault: Vault, row: WebhookEndpoint) -> tuple[WebhookSigningSecret, str]:
    plain = signing.new_secret()
    secret = WebhookSigningSecret(workspace_id=row.workspace_id, id=new_id(), endpoint_id=row.id)
    signing.seal(secret, vault, plain)
    db.add(secret)
    await db.flush()
    return secret, plain


async def _secrets_of(db: AsyncSession, row: WebhookEndpoint) -> int:
    query = select(func.count()).select_from(WebhookSigningSecret)
    return await db.scalar(query.where(WebhookSigningSecret.endpoint_id == row.id)) or 0


async def _begin_to_read(db: AsyncSession, workspace_id: uuid.UUID) -> None:
    """The workspace's log is read from here on, if it was not before; its endpoints are counted by one at a time."""
    await db.execute(_BEGIN, {"here": workspace_id})
    await following.hold(db, workspace_id)


async def _head(db: AsyncSession, workspace_id: uuid.UUID) -> int:
    return await db.scalar(_HEAD, {"here": workspace_id}) or 0


_BEGIN = text(
    "INSERT INTO webhook_progress (workspace_id, seq) SELECT workspace_id, seq FROM event_counters"
    " WHERE workspace_id = :here ON CONFLICT (workspace_id) DO NOTHING"
)
_HEAD = text("SELECT seq FROM event_counters WHERE workspace_id = :here")
# What somebody is just delivering is theirs until their lease ends: it is not among those whose time is far.
_HURRY = text(
    """
    UPDATE webhook_lines SET next_attempt_at = now() WHERE (workspace_id, endpoint_id, line_id) IN (
        SELECT workspace_id, endpoint_id, line_id FROM webhook_lines
        WHERE workspace_id = :here AND endpoint_id = :id AND NOT is_taken AND next_attempt_at > now()
        ORDER BY line_id FOR NO KEY UPDATE
    )
    """
)
