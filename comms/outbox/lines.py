"""A conversation's messages leave one after the other: who is first in line, and how one gets there.

Whoever changes a line holds its conversation, so that no message is put behind one that is just leaving unseen.
"""

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from comms.database import Database
from comms.outbox import fencing
from comms.outbox.rows import fetch

MOST_RELEASED = 500

_HOLD = """
SELECT c.id FROM conversations c
JOIN (SELECT DISTINCT workspace_id, id FROM unnest($1::uuid[], $2::uuid[]) AS w (workspace_id, id)) w
    USING (workspace_id, id)
ORDER BY c.workspace_id, c.id
FOR NO KEY UPDATE OF c
"""

_PROMOTE = """
UPDATE outgoing_messages o SET is_head = true
FROM (SELECT DISTINCT workspace_id, id FROM unnest($1::uuid[], $2::uuid[]) AS w (workspace_id, id)) w
CROSS JOIN LATERAL (
    SELECT q.id FROM outgoing_messages q
    WHERE q.workspace_id = w.workspace_id AND q.conversation_id = w.id AND q.state <> 'scheduled'
    ORDER BY q.line_at, q.id LIMIT 1
) first
WHERE o.workspace_id = w.workspace_id AND o.id = first.id AND NOT o.is_head AND NOT EXISTS (
    SELECT FROM outgoing_messages h WHERE h.workspace_id = w.workspace_id AND h.conversation_id = w.id AND h.is_head
)
RETURNING o.id
"""

Line = tuple[uuid.UUID, uuid.UUID]
"""A workspace and a conversation of it."""


async def hold(db: Any, lines: Sequence[Line]) -> None:
    """Nobody else puts anything into these conversations, or takes anything out, until the commit."""
    await fetch(db, _HOLD, [line[0] for line in lines], [line[1] for line in lines])


async def promote(db: Any, lines: Sequence[Line]) -> int:
    """Each of these lines, which are held, has a head if there is anybody in it; how many new ones that were."""
    return len(await fetch(db, _PROMOTE, [line[0] for line in lines], [line[1] for line in lines]))


_THOSE_DUE = "outgoing_messages o WHERE o.state = 'scheduled' AND o.line_at <= now()"
IS_DUE = f"EXISTS (SELECT FROM {_THOSE_DUE})"
"""When there is something to release, as PostgreSQL says it."""
_DUE = f"SELECT o.workspace_id, o.conversation_id FROM {_THOSE_DUE} ORDER BY o.line_at LIMIT $1"

_RELEASE = """
WITH released AS (
    UPDATE outgoing_messages o SET state = 'queued', updated_at = now()
    FROM (SELECT DISTINCT workspace_id, id FROM unnest($1::uuid[], $2::uuid[]) AS w (workspace_id, id)) w
    WHERE o.workspace_id = w.workspace_id AND o.conversation_id = w.id AND o.state = 'scheduled' AND o.line_at <= now()
    RETURNING o.workspace_id, o.conversation_id, o.id, o.phone_number_id
),
said AS (
    UPDATE conversations c SET
        last_message_at = greatest(c.last_message_at, now()),
        phone_number_id = coalesce(r.phone_number_id, c.phone_number_id),
        updated_at = greatest(c.updated_at, now())
    FROM (SELECT DISTINCT ON (workspace_id, conversation_id) * FROM released
        ORDER BY workspace_id, conversation_id, id DESC) r
    WHERE c.workspace_id = r.workspace_id AND c.id = r.conversation_id
)
UPDATE conversation_messages m SET status = 'queued', updated_at = now() FROM released r
WHERE m.workspace_id = r.workspace_id AND m.id = r.id AND m.status = 'scheduled'
RETURNING m.id
"""


async def release(database: Database) -> int:
    """What was scheduled for now is in its conversation's line; how many messages that were."""
    gone = 0
    while True:
        async with database.everywhere() as db:
            rows = await fetch(db, _DUE, MOST_RELEASED)
            lines = [(row["workspace_id"], row["conversation_id"]) for row in rows]
            if not lines:
                return gone
            await hold(db, lines)
            await fencing.call_back(db, lines)
            released = await fetch(db, _RELEASE, [line[0] for line in lines], [line[1] for line in lines])
            await promote(db, lines)
        gone += len(released)
        if len(rows) < MOST_RELEASED:
            return gone


_HEADLESS = """
SELECT DISTINCT o.workspace_id, o.conversation_id FROM outgoing_messages o
WHERE o.state <> 'scheduled' AND NOT o.is_head AND NOT EXISTS (
    SELECT FROM outgoing_messages h
    WHERE h.workspace_id = o.workspace_id AND h.conversation_id = o.conversation_id AND h.is_head
)
LIMIT 500
"""


async def mend(database: Database) -> int:
    """No line waits without a head, whose message was deleted or moved with its contact; how many had none."""
    async with database.everywhere() as db:
        rows = await fetch(db, _HEADLESS)
        lines = [(row["workspace_id"], row["conversation_id"]) for row in rows]
        if not lines:
            return 0
        await hold(db, lines)
        return await promote(db, lines)


async def step_out(
    db: AsyncSession, workspace_id: uuid.UUID, message_id: uuid.UUID, conversation_id: uuid.UUID
) -> None:
    """The message is in no line any more, and whoever was behind it may leave; its conversation is held."""
    await fetch(
        db,
        "DELETE FROM outgoing_messages WHERE workspace_id = $1 AND id = $2 RETURNING id",
        workspace_id,
        message_id,
    )
    await promote(db, [(workspace_id, conversation_id)])


class Waiting(msgspec.Struct, frozen=True):
    """What should have left and has not: how many messages, and since when the first of them waits."""

    messages: int
    age_seconds: float


_WAITING = """
SELECT count(*) AS messages, coalesce(greatest(extract(epoch FROM now() - min(line_at)), 0), 0)::float8 AS age_seconds
FROM outgoing_messages WHERE state <> 'scheduled' AND line_at <= now()
"""


async def waiting(database: Database) -> Waiting:
    """What waits in all workspaces; a number's own pace is a reason to wait too."""
    async with database.everywhere() as db:
        (row,) = await fetch(db, _WAITING)
    return Waiting(row["messages"], row["age_seconds"])
