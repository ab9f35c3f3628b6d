"""How visitors stand, and that they are here: asked and said for many at once, on a connection of the desk's own."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from comms.chat.visitors import Caller
from models.base import now

LEASE = timedelta(seconds=30)

_LOOK = """
SELECT i.ord, v.seq, v.conversation_id, k.allowed_origins, (
        SELECT max(e.place) FROM chat_messages e
        JOIN conversation_messages m ON m.workspace_id = e.workspace_id AND m.id = e.message_id
        WHERE e.workspace_id = v.workspace_id AND e.visitor_id = v.id AND m.direction = 'inbound'
            AND m.created_at <= (
                SELECT max(p.last_read_at) FROM conversation_participants p
                WHERE p.workspace_id = v.workspace_id AND p.conversation_id = v.conversation_id)
    ) AS read_place
FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS i (workspace_id, session_id, ord)
JOIN visitor_sessions s ON s.workspace_id = i.workspace_id AND s.id = i.session_id
    AND s.revoked_at IS NULL AND s.expires_at > now()
JOIN visitors v ON v.workspace_id = s.workspace_id AND v.id = s.visitor_id
JOIN chat_widgets k ON k.workspace_id = v.workspace_id AND k.id = v.widget_id AND k.is_active
JOIN workspaces w ON w.id = v.workspace_id AND w.is_active
"""

_RENEW = """
UPDATE visitor_sessions s SET present_until = greatest(present_until, $3)
FROM unnest($1::uuid[], $2::uuid[]) AS i (workspace_id, id)
WHERE s.workspace_id = i.workspace_id AND s.id = i.id
"""
_LEAVE = "UPDATE visitor_sessions SET present_until = now() WHERE workspace_id = $1 AND id = $2"

_NAMES = """
SELECT i.ord, u.first_name FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) WITH ORDINALITY
    AS i (workspace_id, widget_id, user_id, ord)
JOIN chat_widgets k ON k.workspace_id = i.workspace_id AND k.id = i.widget_id AND k.shows_names
JOIN users u ON u.id = i.user_id
"""


async def standing_of(connection: Any, callers: Sequence[Caller]) -> list[Any]:
    """How each caller's visitor stands now; None for one whose session has ended."""
    rows = await connection.fetch(_LOOK, *_ids(callers))
    found = {row["ord"]: row for row in rows}
    return [found.get(ord_) for ord_ in range(1, len(callers) + 1)]


async def stay(connection: Any, callers: Sequence[Caller]) -> None:
    """They are here for another while."""
    await connection.execute(_RENEW, *_ids(callers), now() + LEASE)


async def part(connection: Any, caller: Caller) -> None:
    """They are here no longer."""
    await connection.execute(_LEAVE, caller.workspace_id, caller.session_id)


async def names_of(connection: Any, columns: Sequence[Sequence[Any]]) -> list[str | None]:
    """The first name of each of these (workspace, widget, user), where the widget shows it."""
    rows = await connection.fetch(_NAMES, *columns)
    names = {row["ord"]: row["first_name"] for row in rows}
    return [names.get(ord_) for ord_ in range(1, len(columns[0]) + 1)]


def _ids(callers: Sequence[Caller]) -> tuple[list[Any], list[Any]]:
    return [caller.workspace_id for caller in callers], [caller.session_id for caller in callers]
