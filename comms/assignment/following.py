"""Whenever the log says that a conversation waits, or that something is different about it, it is queued anew.

And whoever waits is given to who is free: at every round, because somebody frees up or comes online without a word.
How far the log was read is kept by the transaction that queues: killed anywhere, it loses nothing and doubles nothing.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.assignment.giving import AT_ONCE, give_next
from comms.assignment.queueing import queue
from comms.database import Database

READ_AT_ONCE = 500
MOST_WORKSPACES = 100


async def keep_up(database: Database, workspaces: Sequence[uuid.UUID] | None = None) -> int:
    """All that waits in these workspaces, or wherever anything does, is queued and given; how many were given."""
    if workspaces is not None:
        return sum([await keep_up_with(database, workspace_id) for workspace_id in workspaces])
    async with database.everywhere() as db:
        await db.execute(_BEGIN_WITH_TEAMS)
    given, after = 0, uuid.UUID(int=0)
    while True:
        async with database.everywhere() as db:
            due = (await db.scalars(_DUE, {"after": after, "most": MOST_WORKSPACES})).all()
        given += await keep_up(database, due)
        if len(due) < MOST_WORKSPACES:
            return given
        after = due[-1]


async def keep_up_with(database: Database, workspace_id: uuid.UUID) -> int:
    """The same in one workspace; nothing where another process is at it."""
    more = True
    while more:
        async with database.everywhere() as db:
            more = await hold(db, workspace_id) and await catch_up(db, workspace_id)
    given, just = 0, AT_ONCE
    while just == AT_ONCE:
        async with database.everywhere() as db:
            just = await give_next(db, workspace_id) if await hold(db, workspace_id) else 0
        given += just
    return given


async def hold(db: AsyncSession, workspace_id: uuid.UUID) -> bool:
    """Nobody else decides for the workspace until the commit; False while somebody does, or where there is nothing."""
    return await db.scalar(_PROGRESS, {"here": workspace_id}) is not None


async def catch_up(db: AsyncSession, workspace_id: uuid.UUID, most: int = READ_AT_ONCE) -> bool:
    """What the next few events are about is queued anew; whether there may be more."""
    if await db.scalar(_BEGIN, {"here": workspace_id}):
        await queue(db, workspace_id, (await db.scalars(_HANDED_OVER, {"here": workspace_id})).all())
    rows = (await db.execute(_TOLD, {"here": workspace_id, "most": most})).all()
    if not rows:
        return await _queue_stale(db, workspace_id, most)
    about = [row.conversation_id for row in rows if row.conversation_id is not None]
    let_go = {row.conversation_id: row.let_go_by for row in rows if row.let_go_by is not None}
    await _remember(db, workspace_id, [row for row in rows if row.contact_id and row.taken_by])
    await queue(db, workspace_id, about, let_go)
    if any(row.is_of_rules for row in rows):
        await db.execute(_ALL_STALE, {"here": workspace_id})
    await db.execute(_ADVANCE, {"here": workspace_id, "seq": rows[-1].seq})
    return len(rows) == most or await _queue_stale(db, workspace_id, most)


async def _remember(db: AsyncSession, workspace_id: uuid.UUID, taken: Sequence[Any]) -> None:
    """Whose each contact is now is who had them last, one day; of several times within these events the latest."""
    last = {row.contact_id: row for row in taken}
    if last:
        columns = {
            "contacts": list(last),
            "users": [row.taken_by for row in last.values()],
            "times": [row.at for row in last.values()],
        }
        await db.execute(_KNOW, {"here": workspace_id, **columns})


async def _queue_stale(db: AsyncSession, workspace_id: uuid.UUID, most: int) -> bool:
    """Some of those that wait by rules that have changed are queued anew; whether there may be more."""
    ids = (await db.scalars(_STALE, {"here": workspace_id, "most": most})).all()
    await queue(db, workspace_id, ids)
    return len(ids) == most


_WITHOUT_PROGRESS = """
(SELECT DISTINCT workspace_id FROM teams) t
WHERE NOT EXISTS (SELECT FROM routing_progress p WHERE p.workspace_id = t.workspace_id)
"""
_ARE_BEHIND = """
routing_progress p JOIN event_counters c ON c.workspace_id = p.workspace_id
WHERE (p.seq < c.seq OR NOT p.has_begun
    OR EXISTS (SELECT FROM routing_places w WHERE w.workspace_id = p.workspace_id))
"""
IS_DUE = f"EXISTS (SELECT FROM {_WITHOUT_PROGRESS}) OR EXISTS (SELECT FROM {_ARE_BEHIND})"
"""When there is something to do, as PostgreSQL says it."""
# A team is enough: conversations are handed over to it without any rule.
_BEGIN_WITH_TEAMS = text(
    f"""
    INSERT INTO routing_progress (workspace_id, seq)
    SELECT c.workspace_id, c.seq FROM event_counters c
    WHERE c.workspace_id IN (SELECT t.workspace_id FROM {_WITHOUT_PROGRESS})
    ON CONFLICT (workspace_id) DO NOTHING
    """
)
_BEGIN = text(
    "UPDATE routing_progress SET has_begun = true WHERE workspace_id = :here AND NOT has_begun RETURNING has_begun"
)
_HANDED_OVER = text("SELECT conversation_id FROM conversation_handoffs WHERE workspace_id = :here AND status = 'open'")
_DUE = text(f"SELECT p.workspace_id FROM {_ARE_BEHIND} AND p.workspace_id > :after ORDER BY p.workspace_id LIMIT :most")
_PROGRESS = text("SELECT seq FROM routing_progress WHERE workspace_id = :here FOR UPDATE SKIP LOCKED")
_TOLD = text(
    """
    SELECT e.seq, e.at,
        CASE WHEN e.subject_type IN ('conversation', 'conversation_handoff') THEN e.conversation_id END
            AS conversation_id,
        CASE WHEN e.subject_type = 'conversation' AND e.changes->'assignedTo'->>'after' IS NULL
            THEN (e.changes->'assignedTo'->>'before')::uuid END AS let_go_by,
        CASE WHEN e.subject_type = 'conversation' THEN (e.changes->'assignedTo'->>'after')::uuid END AS taken_by,
        CASE WHEN e.subject_type = 'conversation' AND e.changes->'assignedTo'->>'after' IS NOT NULL
            THEN (e.data->>'contactId')::uuid END AS contact_id,
        e.subject_type = 'routing_rule' AS is_of_rules
    FROM events e WHERE e.workspace_id = :here
        AND e.seq > (SELECT seq FROM routing_progress WHERE workspace_id = :here)
    ORDER BY e.seq LIMIT :most
    """
)
_ADVANCE = text("UPDATE routing_progress SET seq = :seq WHERE workspace_id = :here")
_ALL_STALE = text("UPDATE routing_places SET is_stale = true WHERE workspace_id = :here AND NOT is_stale")
_STALE = text(
    "SELECT conversation_id FROM routing_places WHERE workspace_id = :here AND is_stale ORDER BY id LIMIT :most"
)
_KNOW = text(
    """
    INSERT INTO routing_bonds (workspace_id, contact_id, user_id, since)
    SELECT :here, k.contact_id, k.user_id, k.at
    FROM unnest(CAST(:contacts AS uuid[]), CAST(:users AS uuid[]), CAST(:times AS timestamptz[]))
        AS k (contact_id, user_id, at)
    WHERE EXISTS (SELECT FROM contacts c WHERE c.workspace_id = :here AND c.id = k.contact_id)
    ON CONFLICT (workspace_id, contact_id) DO UPDATE SET user_id = excluded.user_id, since = excluded.since
    """
)
