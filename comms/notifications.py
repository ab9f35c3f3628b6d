"""What single members are told about: a row of their own each, and an event that only they hear."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.identity import Identity
from models.base import new_id
from models.communications import Notification, NotificationView
from models.communications.team import NotificationType


async def notify(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    user_ids: Iterable[uuid.UUID],
    *,
    kind: NotificationType,
    title: str,
    message: str | None = None,
    link: str | None = None,
    data: Mapping[str, Any],
) -> None:
    """Each of these members has a notification, and hears of it."""
    rows = [
        Notification(
            workspace_id=workspace_id,
            id=new_id(),
            user_id=user_id,
            type=kind,
            title=title,
            message=message,
            link=link,
            data=dict(data),
        )
        for user_id in user_ids
    ]
    db.add_all(rows)
    await db.flush()
    for row in rows:
        events.record(db, "notification.created", row, msgspec.convert(row, NotificationView, from_attributes=True))


async def tell_mentioned(
    db: AsyncSession,
    by: Identity,
    user_ids: Iterable[uuid.UUID],
    *,
    where: str,
    text: str,
    link: str,
    data: Mapping[str, Any],
) -> None:
    """These members know that somebody else has mentioned them, and how the text begins."""
    await notify(
        db,
        by.workspace_id,
        [user_id for user_id in user_ids if user_id != by.user_id],
        kind="mention",
        title=f"You were mentioned in {where}",
        message=text[:200],
        link=link,
        data={**data, "mentionedBy": str(by.user_id)},
    )
