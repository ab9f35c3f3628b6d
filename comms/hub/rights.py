"""Whether those who listen still may."""

from collections.abc import Iterable, Sequence
from typing import Any

from comms.credentials import Identity

_VALID = """
SELECT s.place FROM unnest($1::uuid[], $2::uuid[], $3::uuid[])
    WITH ORDINALITY AS s (workspace_id, user_id, token_id, place)
WHERE EXISTS (
    SELECT FROM workspace_members m JOIN workspaces w ON w.id = m.workspace_id
    WHERE m.workspace_id = s.workspace_id AND m.user_id = s.user_id AND m.is_active AND w.is_active
) AND (s.token_id IS NULL OR EXISTS (
    SELECT FROM access_tokens t
    WHERE t.workspace_id = s.workspace_id AND t.id = s.token_id
        AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
))
"""

Key = tuple[Any, Any, Any]


def key_of(member: Identity) -> Key:
    """What a right to listen hangs on: the membership, and the token it was proved with."""
    return (member.workspace_id, member.user_id, member.token_id)


async def valid(connection: Any, members: Iterable[Identity]) -> set[Key]:
    """The keys of those who still may listen, by one query for all."""
    asked: Sequence[Key] = list({key_of(member) for member in members})
    rows = await connection.fetch(_VALID, *(list(column) for column in zip(*asked, strict=True)))
    return {asked[row["place"] - 1] for row in rows}
