"""The log is read, workspace by workspace, and what it speaks of is taken in; so are rows older than the index."""

import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from comms.database import Database
from comms.readers import Reader
from comms.search.keeping import follow_moves, index
from comms.search.kinds import ABOUT, KINDS, MOVES
from models.search import BUCKET

AT_ONCE = 200  # rows: their words are taken apart on the event loop, a millisecond or two


async def keep_up(database: Database, workspaces: Sequence[uuid.UUID] | None = None, most: int = AT_ONCE) -> None:
    """Everything told so far is found by its words: in these workspaces, or in whichever are behind."""
    await reader(database, most).keep_up(workspaces)


def reader(database: Database, most: int = AT_ONCE) -> Reader:
    """Takes in what is told, so many rows at once."""
    return Reader(database, "search", behind, partial(catch_up, most=most))


async def behind(db: AsyncSession) -> Sequence[uuid.UUID]:
    """Workspaces whose log, or whose older rows, have not been taken in."""
    return (await db.scalars(_BEHIND)).all()


async def catch_up(db: AsyncSession, workspace_id: uuid.UUID, most: int = 500) -> bool:
    """The next few rows of the workspace are taken in; False when there is nothing left to do, or another does it."""
    await db.execute(_BEGIN, {"here": workspace_id, "kind": next(iter(KINDS))})
    progress = (await db.execute(_PROGRESS, {"here": workspace_id})).one_or_none()
    if progress is None:
        return False
    if progress.backfill is not None:
        await _take_older(db, workspace_id, progress, most)
        return True
    told = (
        await db.execute(
            _TOLD, {"here": workspace_id, "after": progress.seq, "most": most, "about": list({*KINDS, *ABOUT, MOVES})}
        )
    ).one()
    if told.last is None:
        return False
    changed: dict[str, list[uuid.UUID]] = {}
    for kind, subject in zip(told.kinds, told.subjects, strict=True):
        changed.setdefault(kind, []).append(subject)
    if moves := changed.pop(MOVES, None):
        await follow_moves(db, workspace_id, moves)
    for kind, ids in sorted(changed.items()):
        await index(db, workspace_id, kind, ids, progress.bucket)
    await db.execute(_ADVANCE, {"here": workspace_id, "seq": told.last, "new": told.new, "full": BUCKET})
    return bool(told.read == most)


async def _take_older(db: AsyncSession, workspace_id: uuid.UUID, progress: Any, most: int) -> None:
    """The next rows that are older than the index; ids are in order of time."""
    kind = progress.backfill
    ids = (
        await db.scalars(
            _OLDER[kind],
            {"here": workspace_id, "after": progress.backfill_after or uuid.UUID(int=0), "most": most},
        )
    ).all()
    new = await index(db, workspace_id, kind, ids, progress.bucket)
    names = list(KINDS)
    others = names[names.index(kind) + 1 :]
    to_do = {"kind": kind, "after": ids[-1]} if len(ids) == most else {"kind": next(iter(others), None), "after": None}
    await db.execute(_BACK, {"here": workspace_id, "new": new, "full": BUCKET, **to_do})


_OLDER = {
    kind.name: text(f"SELECT id FROM {kind.rows} WHERE workspace_id = :here AND id > :after ORDER BY id LIMIT :most")
    for kind in KINDS.values()
}
_ARE_BEHIND = (
    "event_counters c LEFT JOIN search_progress p ON p.workspace_id = c.workspace_id"
    " WHERE p.workspace_id IS NULL OR p.seq < c.seq OR p.backfill IS NOT NULL"
)
IS_BEHIND = f"EXISTS (SELECT FROM {_ARE_BEHIND})"
"""When there is something to do, as PostgreSQL says it."""
_BEHIND = text(f"SELECT c.workspace_id FROM {_ARE_BEHIND}")
# The log is followed from where it stands before the first older row is read: nothing falls between the two.
_BEGIN = text(
    "INSERT INTO search_progress (workspace_id, seq, backfill)"
    " SELECT workspace_id, seq, :kind FROM event_counters WHERE workspace_id = :here"
    " ON CONFLICT (workspace_id) DO NOTHING"
)
_PROGRESS = text("SELECT * FROM search_progress WHERE workspace_id = :here FOR UPDATE SKIP LOCKED")
_ABOUT = {
    "kind": " ".join(f"WHEN '{name}' THEN '{kind}'" for name, (kind, _) in ABOUT.items()),
    "id": " ".join(f"WHEN '{name}' THEN (data->>'{field}')::uuid" for name, (_, field) in ABOUT.items()),
}
_TOLD = text(
    f"""
    WITH told AS (
        SELECT seq, event, subject_type, subject_id, data FROM events WHERE workspace_id = :here AND seq > :after
        ORDER BY seq LIMIT :most
    ),
    subject AS (
        SELECT CASE subject_type {_ABOUT["kind"]} ELSE subject_type END AS kind,
            CASE subject_type {_ABOUT["id"]} ELSE subject_id END AS id,
            bool_or(event ~ '[.](created|received|sent)$') AS is_new
        FROM told WHERE subject_type = ANY(CAST(:about AS text[])) AND event <> 'message.status_changed'
        GROUP BY 1, 2
    )
    SELECT (SELECT max(seq) FROM told) AS last, (SELECT count(*) FROM told) AS read,
        coalesce(array_agg(kind), '{{}}') AS kinds, coalesce(array_agg(id), '{{}}') AS subjects,
        count(*) FILTER (WHERE is_new) AS new
    FROM subject
    """
)
_FILLED = (
    "bucket = bucket + ((filled + :new) >= :full)::int,"
    " filled = CASE WHEN filled + :new >= :full THEN 0 ELSE filled + :new END"
)
_ADVANCE = text(f"UPDATE search_progress SET seq = :seq, {_FILLED} WHERE workspace_id = :here")
_BACK = text(
    f"UPDATE search_progress SET backfill = :kind, backfill_after = :after, {_FILLED} WHERE workspace_id = :here"
)
