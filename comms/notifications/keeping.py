"""Notices become rows: each once, grouped while they are unread, and counted."""

import uuid
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import func, or_, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from models.base import new_id, now
from models.communications import (
    Notification,
    NotificationKind,
    NotificationReadState,
    NotificationReadStateView,
    NotificationType,
    NotificationView,
)

TYPES: Mapping[NotificationKind, NotificationType] = {
    "assignment": "assignment",
    "mention": "mention",
    "message": "info",
    "handoff": "warning",
    "approval": "warning",
    "missed_call": "warning",
    "failed_send": "error",
    "reminder": "reminder",
}
PUSHED_AGAIN_SECONDS = 30.0
"""A notice that grows is pushed again after so long at the soonest: a phone need not buzz for every line."""


class Notice(msgspec.Struct, kw_only=True):
    """Something one member is to be told; ``seq`` is the last event behind it, ``count`` how many there were."""

    user_id: uuid.UUID
    kind: NotificationKind
    group_key: str
    seq: int
    at: datetime
    title: str
    message: str | None = None
    link: str | None = None
    subject_type: str | None = None
    subject_id: uuid.UUID | None = None
    data: dict[str, Any] = {}
    count: int = 1
    in_app: bool = True
    email_due_at: datetime | None = None
    push_due_at: datetime | None = None


async def keep(db: AsyncSession, workspace_id: uuid.UUID, notices: Sequence[Notice]) -> None:
    """Each of them is told: as more of an unread one of its group, or as a new one; nothing when it was told before.

    There is one notice at most for a member and a group among ``notices``.
    """
    if not notices:
        return
    async with counting(db, workspace_id, {notice.user_id for notice in notices}):
        there = await _there(db, workspace_id, notices)
        kept: list[tuple[Notification, Notice]] = []
        made = []
        were_shown: set[uuid.UUID] = set()
        for notice in notices:
            earlier = there.get((notice.user_id, notice.group_key), [])
            if any(row.seq >= notice.seq for row in earlier):
                continue
            row = next((row for row in earlier if not row.is_read), None)
            if row is None:
                row = _made(workspace_id, notice)
                made.append(row)
            else:
                were_shown |= {row.id} if row.in_app else set()
                _grown(row, notice)
            kept.append((row, notice))
        db.add_all(made)
        await db.flush()
        for row, _ in kept:
            if row.in_app:
                tell(db, "updated" if row.id in were_shown else "created", row)
            elif row.id in were_shown:  # they want no more of it there, and see it no more
                events.record(db, "notification.deleted", row, shown(row))
        await _have_pushed(db, workspace_id, kept)


@asynccontextmanager
async def counting(db: AsyncSession, workspace_id: uuid.UUID, user_ids: Collection[uuid.UUID]) -> AsyncIterator[None]:
    """Nobody else changes the notifications of these members until the commit, and their counts are right then.

    Whoever changes notifications comes through here, before they hold any of them.
    """
    users = sorted(user_ids)
    at = now()
    await db.execute(
        insert(NotificationReadState)
        .values([{"workspace_id": workspace_id, "id": id_, "created_at": at, "updated_at": at} for id_ in users])
        .on_conflict_do_nothing()
    )
    held = select(NotificationReadState).where(
        NotificationReadState.workspace_id == workspace_id, NotificationReadState.id.in_(users)
    )
    held = held.order_by(NotificationReadState.id).with_for_update().execution_options(populate_existing=True)
    states = (await db.scalars(held)).all()
    yield
    await db.flush()
    unread = (
        select(Notification.user_id, func.count())
        .where(
            Notification.workspace_id == workspace_id,
            Notification.user_id.in_(users),
            ~Notification.is_read,
            Notification.in_app,
        )
        .group_by(Notification.user_id)
    )
    counts = {row[0]: row[1] for row in await db.execute(unread)}
    for state in states:
        if state.unread_count != counts.get(state.id, 0):
            before = _counted(state)
            state.unread_count = counts.get(state.id, 0)
            events.record(db, "notification_read_state.updated", state, _counted(state), before=before)
    await db.flush()


def tell(db: AsyncSession, what: str, row: Notification) -> None:
    """Their user hears of it; of one that is not shown in the app nobody does."""
    if row.in_app:
        events.record(db, f"notification.{what}", row, shown(row))


def shown(row: Notification) -> NotificationView:
    """The notification as its user sees it."""
    return msgspec.convert(row, NotificationView, from_attributes=True)


def _counted(state: NotificationReadState) -> NotificationReadStateView:
    return NotificationReadStateView(user_id=state.id, unread_count=state.unread_count)


async def _there(
    db: AsyncSession, workspace_id: uuid.UUID, notices: Sequence[Notice]
) -> dict[tuple[uuid.UUID, str], list[Notification]]:
    """What these members have of these groups: what is unread, and what was told since."""
    found = await db.scalars(
        select(Notification)
        .where(
            Notification.workspace_id == workspace_id,
            tuple_(Notification.user_id, Notification.group_key).in_(
                [(notice.user_id, notice.group_key) for notice in notices]
            ),
            or_(~Notification.is_read, Notification.seq >= min(notice.seq for notice in notices)),
        )
        .execution_options(populate_existing=True)
    )
    there: dict[tuple[uuid.UUID, str], list[Notification]] = {}
    for row in found:
        there.setdefault((row.user_id, row.group_key), []).append(row)
    return there


def _made(workspace_id: uuid.UUID, notice: Notice) -> Notification:
    return Notification(
        workspace_id=workspace_id,
        id=new_id(),
        user_id=notice.user_id,
        type=TYPES[notice.kind],
        kind=notice.kind,
        group_key=notice.group_key,
        seq=notice.seq,
        happened_at=notice.at,
        title=notice.title,
        message=notice.message,
        link=notice.link,
        subject_type=notice.subject_type,
        subject_id=notice.subject_id,
        data=notice.data,
        count=notice.count,
        in_app=notice.in_app,
        email_due_at=notice.email_due_at,
    )


def _grown(row: Notification, notice: Notice) -> None:
    row.count += notice.count
    row.seq, row.happened_at = notice.seq, max(row.happened_at, notice.at)
    row.title, row.message, row.link = notice.title, notice.message, notice.link
    row.data = further(row.data, notice.data)
    row.subject_type, row.subject_id = notice.subject_type, notice.subject_id
    row.in_app = notice.in_app
    row.email_due_at = row.email_due_at or notice.email_due_at


def further(before: Mapping[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What is said of the newest, which stands as far down in a channel as the furthest: an edit is of any place."""
    places = [place for place in (before.get("position"), after.get("position")) if place is not None]
    return after | {"position": max(places)} if len(places) == 2 else after


_PUSH = text(
    """
    INSERT INTO push_messages AS p
        (workspace_id, id, notification_id, subscription_id, due_at, attempts, created_at, updated_at)
    SELECT :here, gen_random_uuid(), n.id, s.id,
        greatest(n.due_at, r.pushed_at + make_interval(secs => :again)), 0, now(), now()
    FROM unnest(CAST(:ids AS uuid[]), CAST(:due AS timestamptz[])) AS n (id, due_at)
    JOIN notifications r ON r.workspace_id = :here AND r.id = n.id
    JOIN push_subscriptions s ON s.workspace_id = :here AND s.user_id = r.user_id
    ON CONFLICT (workspace_id, notification_id, subscription_id)
        DO UPDATE SET due_at = least(p.due_at, excluded.due_at), attempts = 0, updated_at = now()
    """
)


async def _have_pushed(db: AsyncSession, workspace_id: uuid.UUID, kept: Sequence[tuple[Notification, Notice]]) -> None:
    due = [(row.id, notice.push_due_at) for row, notice in kept if notice.push_due_at is not None]
    if due:
        ids, times = zip(*due, strict=True)
        await db.execute(
            _PUSH, {"here": workspace_id, "ids": list(ids), "due": list(times), "again": PUSHED_AGAIN_SECONDS}
        )
