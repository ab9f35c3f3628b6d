"""The log is read, workspace by workspace, and put in line for whoever listens.

How far it was read is kept by the same transaction that puts the deliveries in line: killed anywhere, neither is there
or both. Places in line are given out under the same lock, so they follow the log.
"""

import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.database import Database
from comms.hooks.hearing import Ear, ear_of
from comms.readers import Reader
from models.base import new_id

AT_ONCE = 500
MOST_UNREAD = 10_000
"""So many events are read where an endpoint goes off: a worker that is alive is behind by a second of them."""

Due = tuple[uuid.UUID, Any]
"""An endpoint, and a row of the log that it is told."""


async def keep_up(database: Database, workspaces: Sequence[uuid.UUID] | None = None, most: int = AT_ONCE) -> None:
    """Everything told so far is in line: of these workspaces, or of whichever are behind."""
    await reader(database, most).keep_up(workspaces)


def reader(database: Database, most: int = AT_ONCE) -> Reader:
    """Puts what is told in line, so many events at once."""
    return Reader(database, "webhooks", behind, partial(catch_up, most=most))


async def behind(db: AsyncSession) -> Sequence[uuid.UUID]:
    """Workspaces with endpoints whose log goes on."""
    return (await db.scalars(_BEHIND)).all()


async def catch_up(db: AsyncSession, workspace_id: uuid.UUID, most: int = AT_ONCE) -> bool:
    """The next few events are in line; whether there may be more. False too while another process reads them."""
    progress = (await db.execute(_PROGRESS, {"here": workspace_id})).one_or_none()
    if progress is None:
        return False
    rows = (await db.execute(_TOLD, {"here": workspace_id, "after": progress.seq, "most": most})).all()
    if not rows:
        return False
    ears = await _ears(db, workspace_id)
    due = [
        (ear.endpoint_id, row)
        for row in rows
        for ear in ears
        if ear.listens_at(row.seq) and not row.is_for_some and ear.hears(row.event, row.subject_type)
    ]
    await put_in_line(db, workspace_id, progress.placed, due)
    await db.execute(_ADVANCE, {"here": workspace_id, "seq": rows[-1].seq, "placed": progress.placed + len(due)})
    return len(rows) == most


async def hold(db: AsyncSession, workspace_id: uuid.UUID) -> None:
    """Nobody puts anything in line in this workspace until the commit."""
    await db.execute(_HELD, {"here": workspace_id})


async def hear_out(db: AsyncSession, workspace_id: uuid.UUID) -> None:
    """What has happened so far is in line, but for what is behind ``MOST_UNREAD``; the caller has called ``hold``."""
    for _ in range(MOST_UNREAD // AT_ONCE):
        if not await catch_up(db, workspace_id):
            return


async def listening(db: AsyncSession, workspace_id: uuid.UUID, endpoint_id: uuid.UUID) -> list[Ear]:
    """The endpoint, if it hears something now."""
    return [ear for ear in await _ears(db, workspace_id, endpoint_id) if ear.until_seq is None]


async def put_in_line(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    placed: int,
    due: Sequence[Due],
    *,
    is_replay: bool = False,
    replay_id: uuid.UUID | None = None,
) -> None:
    """Each of these waits behind what waits already; the caller holds the workspace's progress, and ``placed`` of it.

    Lines there are held until the commit, so that nobody finds one empty meanwhile and takes it away.
    """
    if not due:
        return
    endpoints = [endpoint_id for endpoint_id, _ in due]
    lines = [row.conversation_id or row.subject_id for _, row in due]
    known = {"here": workspace_id, "endpoints": endpoints, "lines": lines}
    await db.execute(_HOLD, known)
    await db.execute(_LINES, known)
    await db.execute(
        _DELIVERIES,
        known
        | {
            "ids": [new_id() for _ in due],
            "seqs": [row.seq for _, row in due],
            "events": [row.event for _, row in due],
            "placed": placed,
            "is_replay": is_replay,
            "replay_id": replay_id,
        },
    )


async def _ears(db: AsyncSession, workspace_id: uuid.UUID, endpoint_id: uuid.UUID | None = None) -> list[Ear]:
    """The endpoints that are on, or the one that is meant; whose member has left hears what happened until then."""
    found = await db.execute(_EARS, {"here": workspace_id, "id": endpoint_id})
    return [ear_of(row) for row in found]


_BEHIND = text(
    "SELECT p.workspace_id FROM webhook_progress p JOIN event_counters c ON c.workspace_id = p.workspace_id"
    " WHERE p.seq < c.seq"
)
_PROGRESS = text("SELECT seq, placed FROM webhook_progress WHERE workspace_id = :here FOR UPDATE SKIP LOCKED")
_HELD = text("SELECT seq FROM webhook_progress WHERE workspace_id = :here FOR UPDATE")
_TOLD = text(
    """
    SELECT seq, event, subject_type, subject_id, conversation_id, audience IS NOT NULL AS is_for_some
    FROM events WHERE workspace_id = :here AND seq > :after ORDER BY seq LIMIT :most
    """
)
_ADVANCE = text("UPDATE webhook_progress SET seq = :seq, placed = :placed WHERE workspace_id = :here")
_EARS = text(
    """
    SELECT e.id, e.events, e.after_seq, e.on_behalf_of, m.role, m.permissions,
        CASE WHEN NOT m.is_active THEN coalesce((
            SELECT max(left_at.seq) FROM events left_at
            WHERE left_at.workspace_id = m.workspace_id AND left_at.subject_id = m.id
                AND left_at.event = 'workspace_member.deactivated'
        ), 0) END AS until_seq
    FROM webhook_endpoints e
    JOIN workspaces w ON w.id = e.workspace_id AND w.is_active
    JOIN workspace_members m ON m.workspace_id = e.workspace_id AND m.user_id = e.on_behalf_of
    WHERE e.workspace_id = :here AND e.is_active AND e.id = coalesce(CAST(:id AS uuid), e.id)
    """
)
_WAITING = "unnest(CAST(:endpoints AS uuid[]), CAST(:lines AS uuid[])) AS d (endpoint_id, line_id)"
_HOLD = text(
    f"""
    SELECT FROM webhook_lines l WHERE l.workspace_id = :here
        AND (l.endpoint_id, l.line_id) IN (SELECT d.endpoint_id, d.line_id FROM {_WAITING})
    ORDER BY l.workspace_id, l.endpoint_id, l.line_id FOR NO KEY UPDATE
    """
)
_LINES = text(
    f"""
    INSERT INTO webhook_lines (workspace_id, endpoint_id, line_id, next_attempt_at)
    SELECT DISTINCT CAST(:here AS uuid), d.endpoint_id, d.line_id, now() FROM {_WAITING}
    ORDER BY d.endpoint_id, d.line_id
    ON CONFLICT DO NOTHING
    """
)
_DELIVERIES = text(
    """
    INSERT INTO webhook_deliveries
        (workspace_id, id, endpoint_id, seq, event, line_id, place, is_replay, replay_id, created_at,
            updated_at)
    SELECT CAST(:here AS uuid), d.id, d.endpoint_id, d.seq, d.event, d.line_id, CAST(:placed AS bigint) + d.place,
        CAST(:is_replay AS boolean), CAST(:replay_id AS uuid), now(), now()
    FROM unnest(CAST(:ids AS uuid[]), CAST(:endpoints AS uuid[]), CAST(:seqs AS bigint[]), CAST(:events AS text[]),
        CAST(:lines AS uuid[])) WITH ORDINALITY AS d (id, endpoint_id, seq, event, line_id, place)
    ON CONFLICT DO NOTHING
    """
)
