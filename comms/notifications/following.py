"""The log is read, workspace by workspace, and members are told what concerns them.

How far it was read is kept by the same transaction that keeps the notices: killed anywhere, neither is there or both.
"""

import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.database import Database
from comms.notifications.circles import around
from comms.notifications.keeping import counting, keep
from comms.notifications.occasions import End, Occasion, Told
from comms.notifications.reading import read_those, remove_those, reword_those
from comms.notifications.rules import RULES, of
from comms.readers import Reader
from models.communications import Notification

AT_ONCE = 200


async def keep_up(database: Database, workspaces: Sequence[uuid.UUID] | None = None, most: int = AT_ONCE) -> None:
    """Members have been told everything that concerns them: in these workspaces, or in whichever are behind."""
    await reader(database, most).keep_up(workspaces)


def reader(database: Database, most: int = AT_ONCE) -> Reader:
    """Tells members what concerns them, so many events at once."""
    return Reader(database, "notifications", behind, partial(catch_up, most=most))


async def behind(db: AsyncSession) -> Sequence[uuid.UUID]:
    """Workspaces whose members have not been told everything."""
    return (await db.scalars(_BEHIND)).all()


async def catch_up(db: AsyncSession, workspace_id: uuid.UUID, most: int = AT_ONCE) -> bool:
    """The next few events of the workspace are told; whether there may be more. False too while another does it."""
    await db.execute(_BEGIN, {"here": workspace_id})
    after = await db.scalar(_PROGRESS, {"here": workspace_id})
    if after is None:
        return False
    rows = (await db.execute(_TOLD, {"here": workspace_id, "after": after, "most": most, "known": list(RULES)})).all()
    if not rows:
        return False
    found = [(row.seq, one) for row in rows if row.data is not None for one in of(_read(row))]
    occasions = [one for _, one in found if isinstance(one, Occasion)]
    if occasions:
        circles = await around(db, workspace_id, occasions)
        await keep(db, workspace_id, circles.notices(occasions))
    await _end(db, workspace_id, [(seq, one) for seq, one in found if isinstance(one, End)])
    await db.execute(_ADVANCE, {"here": workspace_id, "seq": rows[-1].seq})
    return len(rows) == most


def _read(row: Any) -> Told:
    return Told(
        seq=row.seq,
        event=row.event,
        noun=row.subject_type,
        id=row.subject_id,
        conversation_id=row.conversation_id,
        by=row.actor_id if row.actor_type == "user" else None,
        at=row.at,
        audience=None if row.audience is None else frozenset(row.audience),
        data=msgspec.json.decode(row.data),
        changes=msgspec.json.decode(row.changes or "{}") or {},
    )


async def _end(db: AsyncSession, workspace_id: uuid.UUID, ends: Sequence[tuple[int, End]]) -> None:
    """What is settled is read, what is no longer true is gone; those whom it concerns are counted anew.

    Each is of the event of that number: what was told of later ones stays.
    """
    if not ends:
        return
    about = {end.subject_id for _, end in ends if end.subject_id is not None}
    spoken_of = set(
        await db.scalars(
            select(Notification.subject_id).where(
                Notification.workspace_id == workspace_id, Notification.subject_id.in_(about)
            )
        )
    )
    for seq, end in ends:
        conditions: list[ColumnElement[bool]]
        if end.of_agents:
            conditions = [Notification.subject_type.like("agent%")]
        elif end.subject_id in spoken_of:
            conditions = [Notification.subject_id == end.subject_id]
        else:
            continue
        if end.group_key is not None:
            conditions.append(Notification.group_key == end.group_key)
        if end.message_id is not None:
            conditions.append(Notification.data["messageId"].astext == str(end.message_id))
        if end.user_id is not None:
            conditions.append(Notification.user_id == end.user_id)
        if end.but:
            conditions.append(Notification.user_id.not_in(end.but))
        if end.until is not None:
            conditions.append(Notification.happened_at <= end.until)
        if end.position is not None:
            conditions.append(Notification.data["position"].as_integer() <= end.position)
        if end.what == "read":
            conditions.append(~Notification.is_read)
        elif end.what == "gone" and end.message_id is None:
            conditions.append(Notification.seq <= seq)
        whose = select(Notification.user_id).where(Notification.workspace_id == workspace_id, *conditions).distinct()
        users = (await db.scalars(whose)).all()
        if not users:
            continue
        async with counting(db, workspace_id, users):
            if end.what == "read":
                await read_those(db, workspace_id, *conditions)
            elif end.what == "reworded":
                await reword_those(db, workspace_id, end.text, *conditions)
            else:
                if end.message_id is not None:  # of several messages, the others are still there
                    await reword_those(db, workspace_id, None, *conditions, Notification.count > 1)
                    conditions.append(Notification.count == 1)
                await remove_those(db, workspace_id, *conditions)


_ARE_BEHIND = (
    "event_counters c LEFT JOIN notification_progress p ON p.workspace_id = c.workspace_id"
    " WHERE coalesce(p.seq, 0) < c.seq"
)
IS_BEHIND = f"EXISTS (SELECT FROM {_ARE_BEHIND})"
"""When there is something to do, as PostgreSQL says it."""
_BEHIND = text(f"SELECT c.workspace_id FROM {_ARE_BEHIND}")
_BEGIN = text(
    "INSERT INTO notification_progress (workspace_id, seq) VALUES (:here, 0) ON CONFLICT (workspace_id) DO NOTHING"
)
_PROGRESS = text("SELECT seq FROM notification_progress WHERE workspace_id = :here FOR UPDATE SKIP LOCKED")
_TOLD = text(
    """
    SELECT seq, event, subject_type, subject_id, conversation_id, actor_type, actor_id, at, audience,
        CASE WHEN event = ANY(CAST(:known AS text[])) THEN data::text END AS data,
        CASE WHEN event = ANY(CAST(:known AS text[])) THEN changes::text END AS changes
    FROM events WHERE workspace_id = :here AND seq > :after ORDER BY seq LIMIT :most
    """
)
_ADVANCE = text("UPDATE notification_progress SET seq = :seq WHERE workspace_id = :here")
