"""Whenever the log says that a conversation waits, or that something is different about it, it is queued anew.

And whoever waits is given to who is free: at every round, because somebody frees up or comes online without a word.
How far the log was read is kept by the transaction that queues and gives: killed anywhere, it loses nothing and doubles
nothing.
"""

import uuid
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import CursorResult, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.assignment.giving import AT_ONCE, Reached, give_next
from comms.assignment.queueing import overlooked, queue, zone_of
from comms.assignment.rules import is_open_at
from comms.database import Database
from comms.readers import Reader
from models.base import now
from models.routing import RoutingRule

READ_AT_ONCE = 500

OpenRules = dict[uuid.UUID, frozenset[uuid.UUID]]
"""Of each workspace: which of the rules that leave it to others while they are closed were open when it was looked."""


async def keep_up(database: Database, workspaces: Sequence[uuid.UUID] | None = None, at_once: int = AT_ONCE) -> int:
    """All that waits in these workspaces, or wherever anything does, is queued and given; how many were."""
    given: Counter[uuid.UUID] = Counter()
    await reader(database, given, at_once).keep_up(workspaces)
    return given.total()


def reader(database: Database, given: Counter[uuid.UUID] | None = None, at_once: int = AT_ONCE) -> Reader:
    """Queues and gives, and counts how many it ``given`` in each workspace."""
    return Reader(
        database, "routing", behind, partial(catch_up, at_once=at_once, given=given, were_open={}, reached={})
    )


async def behind(db: AsyncSession) -> Sequence[uuid.UUID]:
    """Workspaces whose log goes on, or where somebody waits."""
    await db.execute(_BEGIN_WITH_THEM)
    return (await db.scalars(_DUE)).all()


async def catch_up(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    most: int = READ_AT_ONCE,
    *,
    at_once: int = AT_ONCE,
    given: Counter[uuid.UUID] | None = None,
    were_open: OpenRules | None = None,
    reached: Reached | None = None,
) -> bool:
    """What the next few events are about is queued anew, or else those who wait are given; whether there may be more.

    Nobody else decides for the workspace until the commit; where somebody does, nothing happens. ``were_open``
    and ``reached`` are kept by the caller from one look to the next: a clock tells nobody that it strikes.
    """
    progress = (await db.execute(_PROGRESS, {"here": workspace_id})).one_or_none()
    if progress is None:
        return False
    if progress.minds_hours and await _has_struck(db, workspace_id, {} if were_open is None else were_open):
        return True
    if await _read_on(db, workspace_id, progress, most):
        return True
    look = await give_next(db, workspace_id, at_once, reached)
    if given is not None:
        given[workspace_id] += look.given
    return look.is_more


async def _read_on(db: AsyncSession, workspace_id: uuid.UUID, progress: Any, most: int) -> bool:
    """What the next few events are about is queued anew; whether there may be more."""
    if not progress.has_begun:
        await queue(db, workspace_id, (await db.scalars(_HANDED_OVER, {"here": workspace_id})).all())
    rows = (await db.execute(_TOLD, {"here": workspace_id, "after": progress.seq, "most": most})).all()
    is_stale, is_of_rules = progress.has_stale, any(row.is_of_rules for row in rows)
    if is_of_rules and await _queue_overlooked(db, workspace_id, most):
        return True  # these events are read again, until nobody is overlooked any more
    if rows:
        about = [row.conversation_id for row in rows if row.conversation_id is not None]
        let_go = {row.conversation_id: row.let_go_by for row in rows if row.let_go_by is not None}
        await _remember(db, workspace_id, [row for row in rows if row.contact_id and row.taken_by])
        await queue(db, workspace_id, about, let_go)
        if is_of_rules:
            await db.execute(_ALL_STALE, {"here": workspace_id})
            is_stale = True
    if rows or not progress.has_begun:
        await db.execute(_ADVANCE, {"here": workspace_id, "seq": rows[-1].seq if rows else progress.seq})
    if len(rows) == most:
        return True
    return is_stale and await _queue_stale(db, workspace_id, most)


async def _has_struck(db: AsyncSession, workspace_id: uuid.UUID, were_open: OpenRules) -> bool:
    """Whether a rule that skips what comes in when it is closed has opened or closed; all who wait are to be looked at.

    It is remembered when nobody is left to be told so: what a lost commit has undone is done again.
    """
    minding = select(RoutingRule).where(
        RoutingRule.workspace_id == workspace_id,
        RoutingRule.is_active,
        RoutingRule.when_closed == "skip",
        RoutingRule.hours.is_not(None),
    )
    rules = (await db.scalars(minding.execution_options(populate_existing=True))).all()
    zone, at = await zone_of(db, workspace_id), now()
    are_open = frozenset(rule.id for rule in rules if is_open_at(rule.hours, zone, at))
    if were_open.get(workspace_id) == are_open:
        return False
    marked = await db.execute(_ALL_STALE, {"here": workspace_id})
    assert isinstance(marked, CursorResult)
    if marked.rowcount:
        return True
    were_open[workspace_id] = are_open
    return False


async def _queue_overlooked(db: AsyncSession, workspace_id: uuid.UUID, most: int) -> bool:
    """Some of those that wait without a place, though a rule is true of them, have theirs; whether there may be more.

    So it is after a rule was off, or narrower, for a while.
    """
    ids = await overlooked(db, workspace_id, most)
    await queue(db, workspace_id, ids)
    return len(ids) == most


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
(SELECT workspace_id FROM teams UNION SELECT workspace_id FROM routing_profiles WHERE skills <> '{}') t
WHERE NOT EXISTS (SELECT FROM routing_progress p WHERE p.workspace_id = t.workspace_id)
"""
_ARE_DUE = """
routing_progress p JOIN event_counters c ON c.workspace_id = p.workspace_id
WHERE (p.seq < c.seq OR NOT p.has_begun
    OR EXISTS (SELECT FROM routing_places w WHERE w.workspace_id = p.workspace_id))
"""
IS_DUE = f"EXISTS (SELECT FROM {_WITHOUT_PROGRESS}) OR EXISTS (SELECT FROM {_ARE_DUE})"
"""When there is something to do, as PostgreSQL says it."""
# A team or a skill is enough: conversations are handed over to it without any rule.
_BEGIN_WITH_THEM = text(
    f"""
    INSERT INTO routing_progress (workspace_id, seq)
    SELECT c.workspace_id, c.seq FROM event_counters c
    WHERE c.workspace_id IN (SELECT t.workspace_id FROM {_WITHOUT_PROGRESS})
    ON CONFLICT (workspace_id) DO NOTHING
    """
)
_HANDED_OVER = text("SELECT conversation_id FROM conversation_handoffs WHERE workspace_id = :here AND status = 'open'")
_DUE = text(f"SELECT p.workspace_id FROM {_ARE_DUE}")
_PROGRESS = text(
    """
    SELECT seq, has_begun,
        EXISTS (SELECT FROM routing_places s WHERE s.workspace_id = :here AND s.is_stale) AS has_stale,
        EXISTS (
            SELECT FROM routing_rules r WHERE r.workspace_id = :here AND r.is_active AND r.when_closed = 'skip'
                AND r.hours IS NOT NULL
        ) AS minds_hours
    FROM routing_progress WHERE workspace_id = :here FOR UPDATE SKIP LOCKED
    """
)
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
    FROM events e WHERE e.workspace_id = :here AND e.seq > :after
    ORDER BY e.seq LIMIT :most
    """
)
_ADVANCE = text("UPDATE routing_progress SET seq = :seq, has_begun = true WHERE workspace_id = :here")
_ALL_STALE = text("UPDATE routing_places SET is_stale = true WHERE workspace_id = :here AND NOT is_stale")
_STALE = text(
    "SELECT conversation_id FROM routing_places WHERE workspace_id = :here AND is_stale ORDER BY id LIMIT :most"
)
# A contact that somebody is deleting meanwhile is waited for, as the foreign key would, and is then none.
_KNOW = text(
    """
    WITH held AS (
        SELECT c.id FROM contacts c WHERE c.workspace_id = :here AND c.id = ANY(CAST(:contacts AS uuid[]))
        ORDER BY c.id FOR KEY SHARE
    )
    INSERT INTO routing_bonds (workspace_id, contact_id, user_id, since)
    SELECT :here, k.contact_id, k.user_id, k.at
    FROM unnest(CAST(:contacts AS uuid[]), CAST(:users AS uuid[]), CAST(:times AS timestamptz[]))
        AS k (contact_id, user_id, at)
    JOIN held ON held.id = k.contact_id
    ON CONFLICT (workspace_id, contact_id) DO UPDATE SET user_id = excluded.user_id, since = excluded.since
    """
)
