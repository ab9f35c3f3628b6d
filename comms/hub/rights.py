"""Whether those who listen still may, and what they may hear."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from comms.audience import Listener, listener_of
from comms.identity import Identity

_VALID = """
SELECT s.place, m.role, m.permissions::text
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[])
    WITH ORDINALITY AS s (workspace_id, user_id, token_id, session_id, place)
JOIN workspace_members m ON m.workspace_id = s.workspace_id AND m.user_id = s.user_id AND m.is_active
JOIN workspaces w ON w.id = s.workspace_id AND w.is_active
WHERE (s.token_id IS NULL OR EXISTS (
    SELECT FROM access_tokens t
    WHERE t.workspace_id = s.workspace_id AND t.id = s.token_id
        AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
)) AND (s.session_id IS NULL OR EXISTS (
    SELECT FROM sessions n WHERE n.workspace_id = s.workspace_id AND n.id = s.session_id AND n.expires_at > now()
))
"""

Key = tuple[Any, Any, Any, Any]


def key_of(member: Identity) -> Key:
    """What a right to listen hangs on: the membership, and the token or session it was proved with."""
    return (member.workspace_id, member.user_id, member.token_id, member.session_id)


async def valid(connection: Any, members: Iterable[Identity]) -> dict[Key, Listener]:
    """Those who still may listen, by their keys, with what they may hear; one query for all."""
    asked: Sequence[Key] = list({key_of(member) for member in members})
    rows = await connection.fetch(_VALID, *(list(column) for column in zip(*asked, strict=True)))
    heard = {}
    for row in rows:
        key = asked[row["place"] - 1]
        heard[key] = listener_of(key[1], row["role"], msgspec.json.decode(row["permissions"]))
    return heard
