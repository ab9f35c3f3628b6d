"""What members were told is not kept for ever: what is read for three months, what nobody reads for a year."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.database import Database
from comms.notifications import subscriptions
from comms.notifications.keeping import counting
from comms.notifications.reading import remove_those
from models.communications import Notification, PushSubscription

READ_DAYS = 90
UNREAD_DAYS = 365
DIGEST_DAYS = 90
AT_ONCE = 500


async def sweep(database: Database) -> int:
    """What is too old is gone and told so, and with it devices whose subscription has ended; how much that was."""
    async with database.everywhere() as db:
        await db.execute(_DIGESTS, {"days": DIGEST_DAYS})
    swept = 0
    days = {"read": READ_DAYS, "unread": UNREAD_DAYS}
    for find, limits, forget in ((_OLD, days, _forget_notices), (_ENDED, {}, _forget_devices)):
        while True:
            async with database.everywhere() as db:
                rows = (await db.execute(find, limits | {"most": AT_ONCE})).all()
            for workspace_id in sorted({row.workspace_id for row in rows}):
                async with database.everywhere() as db:
                    await forget(db, workspace_id, [row for row in rows if row.workspace_id == workspace_id])
            swept += len(rows)
            if len(rows) < AT_ONCE:
                break
    return swept


async def _forget_notices(db: AsyncSession, workspace_id: uuid.UUID, rows: Sequence[Any]) -> None:
    # Whoever reads the log holds this too, and so many members after it: in turn, not across each other.
    await db.execute(_IN_TURN, {"here": workspace_id})
    async with counting(db, workspace_id, {row.user_id for row in rows}):
        await remove_those(db, workspace_id, Notification.id.in_([row.id for row in rows]))


async def _forget_devices(db: AsyncSession, workspace_id: uuid.UUID, rows: Sequence[Any]) -> None:
    for row in rows:
        device = await db.get(PushSubscription, (workspace_id, row.id), with_for_update=True)
        if device is not None:
            await subscriptions.forget(db, device)


_OLD = text(
    """
    SELECT workspace_id, id, user_id FROM notifications
    WHERE created_at < now() - make_interval(days => :read)
        AND (is_read OR created_at < now() - make_interval(days => :unread))
        AND happened_at < now() - make_interval(days => :read)
    ORDER BY created_at LIMIT :most
    """
)
_ENDED = text(
    "SELECT workspace_id, id FROM push_subscriptions WHERE expires_at < now() ORDER BY workspace_id, id LIMIT :most"
)
_DIGESTS = text("DELETE FROM notification_digests WHERE created_at < now() - make_interval(days => :days)")
_IN_TURN = text("SELECT seq FROM notification_progress WHERE workspace_id = :here FOR UPDATE")
