"""Whether members may still see what they are about to be told outside of the app."""

import uuid
from collections.abc import Collection

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from comms import permissions


async def still_seen(db: AsyncSession, workspace_id: uuid.UUID, ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of these notifications whose user may see what they are about, now."""
    rows = await db.execute(_SEEN, {"here": workspace_id, "ids": list(ids)})
    return {
        row.id
        for row in rows
        if not row.is_of_agents or permissions.allows(row.role, row.permissions, "agents", "read")
    }


_SEEN = text(
    """
    SELECT n.id, m.role, m.permissions, coalesce(n.subject_type, '') LIKE 'agent%' AS is_of_agents
    FROM notifications n
    JOIN workspaces w ON w.id = n.workspace_id AND w.is_active
    JOIN workspace_members m ON m.workspace_id = n.workspace_id AND m.user_id = n.user_id AND m.is_active
    WHERE n.workspace_id = :here AND n.id = ANY(CAST(:ids AS uuid[]))
    AND (n.subject_type IS DISTINCT FROM 'conversation' OR EXISTS (
        SELECT FROM conversations c
        WHERE c.workspace_id = n.workspace_id AND c.id = n.subject_id AND c.status <> 'spam'
    ))
    AND (n.subject_type IS DISTINCT FROM 'team_channel' OR EXISTS (
        SELECT FROM team_channels c WHERE c.workspace_id = n.workspace_id AND c.id = n.subject_id
            AND (NOT (c.is_private OR c.type = 'direct') OR EXISTS (
                SELECT FROM team_channel_members b
                WHERE b.workspace_id = c.workspace_id AND b.channel_id = c.id AND b.user_id = n.user_id
            ))
    ))
    """
)
