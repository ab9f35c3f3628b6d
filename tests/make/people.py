"""Workspaces and their people, each there in one statement: most tests begin so, and the story takes ten.

The rows are those that ``workspaces.found``, ``workspaces.enter`` and ``credentials.issue`` leave, which have tests of
their own.
"""

import secrets
import uuid
from typing import Any

from comms.credentials import PREFIX
from comms.identity import hash_of
from models.base import new_id, now

_FOUND = """
WITH workspace AS (
    INSERT INTO workspaces (id, name, slug, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)
),
counter AS (INSERT INTO event_counters (workspace_id) VALUES ($1)),
person AS (INSERT INTO users (id, email, created_at, updated_at) VALUES ($5, $6, $4, $4))
INSERT INTO workspace_members (workspace_id, id, user_id, role, joined_at, created_at, updated_at)
VALUES ($1, $7, $5, 'owner', $4, $4, $4)
"""
_ENTER = """
WITH known AS (SELECT id FROM users WHERE lower(email) = $3),
made AS (
    INSERT INTO users (id, email, created_at, updated_at)
    SELECT $4, $3, $5, $5 WHERE NOT EXISTS (SELECT FROM known) RETURNING id
),
person AS (SELECT id FROM known UNION ALL SELECT id FROM made),
seat AS (
    INSERT INTO workspace_members (workspace_id, id, user_id, role, joined_at, created_at, updated_at)
    SELECT $1, $6, id, $2, $5, $5, $5 FROM person ON CONFLICT (workspace_id, user_id) DO NOTHING
)
-- It has just been used: to note that would be one more unit of work in every test.
INSERT INTO access_tokens (workspace_id, id, user_id, name, token_hash, last_four, last_used_at, created_at, updated_at)
SELECT $1, $7, id, 'token', $8, $9, $5, $5, $5 FROM person RETURNING user_id
"""


async def workspace(connection: Any, slug: str) -> uuid.UUID:
    """The id of a workspace that ``owner@<slug>.example`` owns."""
    workspace_id = new_id()
    await connection.execute(
        _FOUND, workspace_id, slug.title(), slug, now(), new_id(), f"owner@{slug}.example", new_id()
    )
    return workspace_id


async def member(connection: Any, workspace_id: uuid.UUID, role: str, email: str) -> tuple[uuid.UUID, str]:
    """Whoever has that address is a member, in that role unless they were one before: their id, and a token."""
    plain = PREFIX + secrets.token_urlsafe(32)
    user_id = await connection.fetchval(
        _ENTER, workspace_id, role, email, new_id(), now(), new_id(), new_id(), hash_of(plain), plain[-4:]
    )
    return user_id, plain
