"""What a member does with what they are told: reads it, or has done with it; on all of their devices at once."""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Conflict
from comms.notifications.keeping import counting, tell
from models.base import now
from models.communications import Notification, NotificationReadState, NotificationReadStateView


async def read_state(db: AsyncSession, workspace_id: uuid.UUID, user_id: uuid.UUID) -> NotificationReadStateView:
    """How many notifications the member has not read."""
    count = await db.scalar(
        select(NotificationReadState.unread_count).where(
            NotificationReadState.workspace_id == workspace_id, NotificationReadState.id == user_id
        )
    )
    return NotificationReadStateView(user_id=user_id, unread_count=count or 0)


async def mark(db: AsyncSession, row: Notification, is_read: bool) -> bool:
    """The notification is read, or unread again; whether that is news. ``Conflict`` where a newer one says the same."""
    if row.is_read == is_read:
        return False
    if not is_read and (newer := await _followed_by(db, row)) is not None:
        raise Conflict("a newer notification of the same is unread already", conflicting_id=newer)
    row.is_read, row.read_at = is_read, now() if is_read else None
    return True


async def _followed_by(db: AsyncSession, row: Notification) -> uuid.UUID | None:
    newer = select(Notification.id).where(
        Notification.workspace_id == row.workspace_id,
        Notification.user_id == row.user_id,
        Notification.group_key == row.group_key,
        ~Notification.is_read,
    )
    found: uuid.UUID | None = await db.scalar(newer)
    return found


async def read_all(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    user_id: uuid.UUID,
    *,
    until: datetime | None,
    subject_ids: Collection[uuid.UUID] | None = None,
) -> None:
    """The member has read all that had happened by then, or all there is; or of that, what is about these."""
    about = [] if subject_ids is None else [Notification.subject_id.in_(subject_ids)]
    by_then = [] if until is None else [Notification.happened_at <= until]
    theirs = (Notification.user_id == user_id, *by_then, *about)
    async with counting(db, workspace_id, [user_id]):
        await read_those(db, workspace_id, *theirs)


async def read_those(db: AsyncSession, workspace_id: uuid.UUID, *conditions: ColumnElement[bool]) -> None:
    """These are read, whosever they are; the caller is ``counting`` them."""
    rows = await _found(db, workspace_id, ~Notification.is_read, *conditions)
    for row in rows:
        row.is_read, row.read_at = True, now()
    await db.flush()
    for row in rows:
        tell(db, "updated", row)


async def remove_those(db: AsyncSession, workspace_id: uuid.UUID, *conditions: ColumnElement[bool]) -> None:
    """These are gone; the caller is ``counting`` them."""
    for row in await _found(db, workspace_id, *conditions):
        await db.delete(row)
        tell(db, "deleted", row)


async def reword_those(
    db: AsyncSession, workspace_id: uuid.UUID, words: str | None, *conditions: ColumnElement[bool]
) -> None:
    """These quote ``words``; the caller is ``counting`` them."""
    rows = await _found(db, workspace_id, Notification.message.is_distinct_from(words), *conditions)
    for row in rows:
        row.message = words
    await db.flush()
    for row in rows:
        tell(db, "updated", row)


async def _found(db: AsyncSession, workspace_id: uuid.UUID, *conditions: ColumnElement[bool]) -> Sequence[Notification]:
    query = select(Notification).where(Notification.workspace_id == workspace_id, *conditions).order_by(Notification.id)
    return (await db.scalars(query.execution_options(populate_existing=True))).all()
