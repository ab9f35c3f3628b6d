"""Endpoints that we switch off: those that take nothing for days, have gone, or have lost who is behind them.

It is told, as ``webhook_endpoint.disabled``, and administrators are notified. What waits stays in line until the
endpoint is on again, with all that happened until it went off or its member left, or is too old; and what is old is not
kept.
"""

import uuid

import msgspec
import structlog
from sqlalchemy import Select, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.database import Database
from comms.hooks import following
from comms.hooks.leasing import DOWN_AFTER
from models.base import now
from models.core import WorkspaceMember
from models.hooks import WebhookEndpoint, WebhookEndpointView

log = structlog.get_logger(__name__)

DAYS = 5
KEPT_DAYS = 30
AT_ONCE = 2_000

GONE = "It answered 410: it wants to hear nothing any more."
SILENT = f"It has taken nothing for {DAYS} days."
LEFT = "Whoever switched it on is no longer an active member of the workspace."


async def end(database: Database, workspace_id: uuid.UUID, endpoint_id: uuid.UUID, url: str, reason: str) -> None:
    """The endpoint is off, and it is told why; unless it is at another address by now."""
    async with database.everywhere() as db:
        await following.hold(db, workspace_id)  # before the endpoint, as whoever switches one off does
        row = await db.get(WebhookEndpoint, (workspace_id, endpoint_id), with_for_update={"key_share": True})
        if row is not None and row.is_active and row.url == url:
            await _end(db, row, reason)


async def end_those(database: Database) -> int:
    """Whoever has been silent for too long is off, and whoever has nobody behind them; how many those were."""
    silent = (WebhookEndpoint.failures >= DOWN_AFTER) & (
        WebhookEndpoint.failing_since < text(f"now() - interval '{DAYS} days'")
    )
    query = (
        select(WebhookEndpoint, WorkspaceMember.is_active)
        .join(
            WorkspaceMember,
            (WorkspaceMember.workspace_id == WebhookEndpoint.workspace_id)
            & (WorkspaceMember.user_id == WebhookEndpoint.on_behalf_of),
        )
        .where(WebhookEndpoint.is_active, or_(silent, ~WorkspaceMember.is_active))
        .order_by(WebhookEndpoint.workspace_id, WebhookEndpoint.id)
    )
    async with database.everywhere() as db:
        workspaces = dict.fromkeys(row.workspace_id for row, _ in await db.execute(query))
    ended = 0
    for workspace_id in workspaces:
        try:
            async with database.everywhere() as db:
                ended += await _end_there(db, workspace_id, query.where(WebhookEndpoint.workspace_id == workspace_id))
        except Exception as error:  # it is tried again with the next look, and harms no other workspace
            log.error("webhook_endpoints.not_ended", workspace=str(workspace_id), error=type(error).__name__)
    return ended


async def sweep(database: Database) -> int:
    """Deliveries and replays older than a month are gone, and the tries with them; how many those were."""
    swept = 0
    while True:
        async with database.everywhere() as db:
            gone = len((await db.execute(_OLD, {"days": KEPT_DAYS, "most": AT_ONCE})).all())
            await db.execute(_OLD_REPLAYS, {"days": KEPT_DAYS})
        swept += gone
        if gone < AT_ONCE:
            return swept


async def _end_there(db: AsyncSession, workspace_id: uuid.UUID, query: Select[WebhookEndpoint, bool]) -> int:
    await following.hold(db, workspace_id)
    held = query.with_for_update(of=WebhookEndpoint, skip_locked=True, key_share=True)
    found = (await db.execute(held)).all()
    for row, is_there in found:
        await _end(db, row, SILENT if is_there else LEFT)
    return len(found)


async def _end(db: AsyncSession, row: WebhookEndpoint, reason: str) -> None:
    await following.hear_out(db, row.workspace_id)
    before = shown(row)
    row.is_active, row.disabled_at, row.disabled_reason = False, now(), reason
    events.record(db, "webhook_endpoint.disabled", row, shown(row), before=before)


def shown(row: WebhookEndpoint) -> WebhookEndpointView:
    """The endpoint as administrators see it."""
    return msgspec.convert(row, WebhookEndpointView, from_attributes=True)


_OLD = text(
    """
    DELETE FROM webhook_deliveries d USING (
        SELECT workspace_id, id FROM webhook_deliveries WHERE created_at < now() - make_interval(days => :days)
        LIMIT :most
    ) old
    WHERE d.workspace_id = old.workspace_id AND d.id = old.id RETURNING d.id
    """
)
_OLD_REPLAYS = text("DELETE FROM webhook_replays WHERE created_at < now() - make_interval(days => :days)")
