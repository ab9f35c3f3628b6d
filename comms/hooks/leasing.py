"""The right to deliver what waits in a line, for a while; and which endpoints have lines that may be taken.

A lease that runs out says that whoever had it is gone, perhaps with a delivery made: the next one makes it once more,
under the same ``webhook-id``.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from comms.audience import Listener
from comms.hooks import hearing

DOWN_AFTER = 5
"""An endpoint that has failed so many times in a row is down: it is asked now and then, by one delivery alone."""


class Waiting(msgspec.Struct, frozen=True):
    """An endpoint with lines, the first of which may be taken in ``seconds``."""

    workspace_id: uuid.UUID
    endpoint_id: uuid.UUID
    seconds: float
    is_down: bool


class Due(msgspec.Struct, frozen=True):
    """A delivery that is next in its line; ``event`` is the log's entry, None when that is gone."""

    id: uuid.UUID
    seq: int
    event: Mapping[str, Any] | None


class Lease(msgspec.Struct, frozen=True):
    """A line that is ours to deliver, its first deliveries in order. ``taken`` tells this lease from others.

    ``attempts`` are those of the first that have failed already while the endpoint answered others; ``until`` is when
    the lease runs out, by the loop's clock; ``listener`` is who stands behind the endpoint now.
    """

    workspace_id: uuid.UUID
    endpoint_id: uuid.UUID
    line_id: uuid.UUID
    taken: int
    attempts: int
    failures: int
    url: str
    listener: Listener
    until: float
    secrets: tuple[Mapping[str, Any], ...]
    due: tuple[Due, ...]


# From endpoint to endpoint by the index, whatever the number of lines each has.
_WAITING = f"""
WITH RECURSIVE there AS (
    (SELECT l.workspace_id, l.endpoint_id, l.next_attempt_at FROM webhook_lines l
        ORDER BY l.workspace_id, l.endpoint_id, l.next_attempt_at LIMIT 1)
    UNION ALL
    SELECT following.* FROM there CROSS JOIN LATERAL (
        SELECT l.workspace_id, l.endpoint_id, l.next_attempt_at FROM webhook_lines l
        WHERE (l.workspace_id, l.endpoint_id) > (there.workspace_id, there.endpoint_id)
        ORDER BY l.workspace_id, l.endpoint_id, l.next_attempt_at LIMIT 1
    ) following
)
SELECT t.workspace_id, t.endpoint_id, e.failures >= {DOWN_AFTER} AS is_down,
    extract(epoch FROM greatest(t.next_attempt_at, e.paused_until) - now())::float8 AS seconds
FROM there t
JOIN webhook_endpoints e ON e.workspace_id = t.workspace_id AND e.id = t.endpoint_id AND e.is_active
JOIN workspaces w ON w.id = t.workspace_id AND w.is_active
JOIN workspace_members m ON m.workspace_id = t.workspace_id AND m.user_id = e.on_behalf_of AND m.is_active
ORDER BY 4
"""

_LEASE = """
WITH due AS MATERIALIZED (
    SELECT l.* FROM unnest($1::uuid[], $2::uuid[], $3::int[]) AS share (workspace_id, endpoint_id, most)
    CROSS JOIN LATERAL (
        SELECT l.workspace_id, l.endpoint_id, l.line_id FROM webhook_lines l
        WHERE l.workspace_id = share.workspace_id AND l.endpoint_id = share.endpoint_id AND l.next_attempt_at <= now()
        ORDER BY l.next_attempt_at LIMIT share.most
        FOR NO KEY UPDATE OF l SKIP LOCKED
    ) l
)
UPDATE webhook_lines l SET taken = l.taken + 1, is_taken = true, next_attempt_at = now() + make_interval(secs => $4)
FROM due
WHERE l.workspace_id = due.workspace_id AND l.endpoint_id = due.endpoint_id AND l.line_id = due.line_id
RETURNING l.workspace_id, l.endpoint_id, l.line_id, l.taken, l.attempts
"""

# A statement of its own, after the lease: it sees everything that whoever had the line before has delivered.
_DUE = """
SELECT t.place AS line, d.id, d.seq, v.event, v.subject_type, v.subject_id, v.conversation_id, v.actor_type,
    v.actor_id, v.at, v.data::text AS data, v.changes::text AS changes
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) WITH ORDINALITY AS t (workspace_id, endpoint_id, line_id, place)
CROSS JOIN LATERAL (
    SELECT d.id, d.seq, d.place FROM webhook_deliveries d
    WHERE d.workspace_id = t.workspace_id AND d.endpoint_id = t.endpoint_id AND d.line_id = t.line_id
        AND d.state = 'waiting'
    ORDER BY d.place LIMIT $4
) d
LEFT JOIN events v ON v.workspace_id = t.workspace_id AND v.seq = d.seq
ORDER BY t.place, d.place
"""
_ENDPOINTS = """
SELECT e.workspace_id, e.id, e.url, e.failures, e.on_behalf_of, m.role, m.permissions
FROM unnest($1::uuid[], $2::uuid[]) AS t (workspace_id, id)
JOIN webhook_endpoints e ON e.workspace_id = t.workspace_id AND e.id = t.id
JOIN workspace_members m ON m.workspace_id = t.workspace_id AND m.user_id = e.on_behalf_of
"""
_SECRETS = """
SELECT s.workspace_id, s.endpoint_id, s.id, s.encryption_key_id, s.iv, s.encrypted_key, s.auth_tag
FROM unnest($1::uuid[], $2::uuid[]) AS t (workspace_id, id)
JOIN webhook_signing_secrets s ON s.workspace_id = t.workspace_id AND s.endpoint_id = t.id
ORDER BY s.created_at DESC, s.id
"""


async def waiting(db: Any) -> list[Waiting]:
    """The endpoints for which something waits, and in how many seconds it may be taken; longest first.

    ``db`` is an asyncpg connection.
    """
    return [msgspec.convert(dict(row), Waiting) for row in await db.fetch(_WAITING)]


async def lease(
    db: Any, shares: Mapping[tuple[uuid.UUID, uuid.UUID], int], seconds: float, clock: float, most: int
) -> list[Lease]:
    """At most so many lines of each endpoint are the caller's for ``seconds``, with ``most`` deliveries of each.

    ``clock`` is the loop's time before it asked; ``db`` is an asyncpg connection, and each statement a transaction.
    """
    workspaces, endpoints = zip(*shares, strict=True)
    rows = await db.fetch(_LEASE, workspaces, endpoints, list(shares.values()), seconds)
    if not rows:
        return []
    found: dict[int, list[Due]] = {}
    columns = [[row[name] for row in rows] for name in ("workspace_id", "endpoint_id", "line_id")]
    for row in await db.fetch(_DUE, *columns, most):
        event = None if row["event"] is None else row
        found.setdefault(row["line"], []).append(Due(row["id"], row["seq"], event))
    about = {(row["workspace_id"], row["id"]): row for row in await db.fetch(_ENDPOINTS, workspaces, endpoints)}
    secrets: dict[Any, list[Any]] = {}
    for row in await db.fetch(_SECRETS, workspaces, endpoints):
        secrets.setdefault((row["workspace_id"], row["endpoint_id"]), []).append(row)
    return [
        _lease(row, about[key], secrets.get(key, ()), found.get(place, ()), clock + seconds)
        for place, row in enumerate(rows, start=1)
        if (key := (row["workspace_id"], row["endpoint_id"])) in about
    ]


def _lease(row: Any, endpoint: Any, secrets: Sequence[Any], due: Sequence[Due], until: float) -> Lease:
    return Lease(
        workspace_id=row["workspace_id"],
        endpoint_id=row["endpoint_id"],
        line_id=row["line_id"],
        taken=row["taken"],
        attempts=row["attempts"],
        failures=endpoint["failures"],
        url=endpoint["url"],
        listener=hearing.nobody_of(
            endpoint["on_behalf_of"], endpoint["role"], msgspec.json.decode(endpoint["permissions"])
        ),
        until=until,
        secrets=tuple(secrets),
        due=tuple(due),
    )
