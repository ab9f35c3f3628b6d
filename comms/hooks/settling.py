"""What came of deliveries is kept, in groups, one transaction each: the tries, and when each line may be taken again.

A line that was lost to somebody else stays theirs; what was delivered is delivered all the same. What the endpoint has
said at another address than it has now counts for nothing else.
"""

import uuid
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from comms.events import Told
from comms.hooks.asking import Answer
from comms.hooks.leasing import DOWN_AFTER, Lease
from models.base import new_id

NAME = "webhooks"

BACK_OFF_SECONDS = (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, *(43200,) * 5)
"""Between fifteen tries of what an endpoint does not take while it takes other things: three days in all."""
PAUSE_SECONDS = (5, 900)
"""An endpoint that is down is asked again after a quarter of the time that it has been, but within these bounds."""

Key = tuple[uuid.UUID, uuid.UUID]


class Try(msgspec.Struct, frozen=True):
    """One try to make a delivery."""

    delivery_id: uuid.UUID
    answer: Answer


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a lease: its deliveries as far as they were tried, of which the last one may have failed.

    ``rest`` is after how many seconds the line may be taken again, if we are why it came no further.
    """

    lease: Lease
    tries: tuple[Try, ...]
    rest: float = 0.0
    kind: str = NAME

    @property
    def endpoint(self) -> Key:
        return self.lease.workspace_id, self.lease.endpoint_id

    @property
    def line(self) -> tuple[uuid.UUID, uuid.UUID, uuid.UUID]:
        return self.lease.workspace_id, self.lease.endpoint_id, self.lease.line_id

    @property
    def failure(self) -> Try | None:
        last = self.tries[-1].answer if self.tries else None
        return None if last is None or last.error is None or last.is_final else self.tries[-1]

    def still_waits(self, kept: Collection[uuid.UUID]) -> bool:
        """Whether what has failed, if something has, is among those: else it was called off meanwhile."""
        return self.failure is None or self.failure.delivery_id in kept

    @property
    def attempts(self) -> int:
        """How often what comes first now had failed before."""
        is_first = not self.tries or self.failure is self.tries[0]
        return self.lease.attempts if is_first else 0

    @property
    def is_given_up(self) -> bool:
        """Whether what has failed was tried often enough."""
        return self.failure is not None and self.attempts >= len(BACK_OFF_SECONDS)


async def settle(db: Any, results: Sequence[Result]) -> tuple[list[bool], Told]:
    """What came of these leases is kept; whether each was still ours. ``db`` is an asyncpg connection."""
    down = await _note_endpoints(db, results)
    lines = [result.line for result in results]
    held = {
        (row["workspace_id"], row["endpoint_id"], row["line_id"]): (row["taken"], row["url"])
        for row in await db.fetch(_HOLD, *_columns(sorted(set(lines)), 3))
    }
    ours = [result.line in held and held[result.line][0] == result.lease.taken for result in results]
    there = [result.line in held and held[result.line][1] == result.lease.url for result in results]
    tried = [
        (result.lease.workspace_id, one, result.is_given_up and is_ours and is_there and one is result.failure)
        for result, is_ours, is_there in zip(results, ours, there, strict=True)
        for one in result.tries
    ]
    kept: set[uuid.UUID] = set()
    if tried:
        rows = await db.fetch(
            _DELIVERIES,
            *_columns(
                [
                    (
                        workspace_id,
                        one.delivery_id,
                        _state(one.answer, is_over),
                        one.answer.status,
                        one.answer.error,
                    )
                    for workspace_id, one, is_over in tried
                ],
                5,
            ),
        )
        kept = {row["id"] for row in rows}
        await db.execute(_ATTEMPTS, *_columns([_attempt(workspace_id, one) for workspace_id, one, _ in tried], 9))
    free = [
        (*result.line, *(_again(result, down) if is_there and result.still_waits(kept) else (0.0, 0)))
        for result, is_ours, is_there in zip(results, ours, there, strict=True)
        if is_ours
    ]
    if free:
        await db.execute(_EMPTY, *_columns(free, 5)[:3])
        await db.execute(_FREE, *_columns(free, 5))
    return ours, []


async def spoil(db: Any, result: Result, error: Exception) -> tuple[list[bool], Told]:
    """What cannot be kept: its lease runs out, and it is tried again."""
    return [False], []


async def _note_endpoints(db: Any, results: Sequence[Result]) -> set[Key]:
    """Endpoints that have answered are well, others are worse than before; those that are down."""
    found: dict[tuple[uuid.UUID, uuid.UUID, str], tuple[bool, int, str | None, float]] = {}
    for result in results:
        if all(one.answer.is_final for one in result.tries):  # it was not asked
            continue
        asked = (*result.endpoint, result.lease.url)
        is_well, failed, error, wait = found.get(asked, (False, 0, None, 0.0))
        is_well = is_well or any(one.answer.error is None for one in result.tries)
        if result.failure is not None:
            answer = result.failure.answer
            failed, error, wait = failed + 1, answer.error, max(wait, answer.wait)
        found[asked] = (is_well, failed, error, wait)
    if not found:
        return set()
    rows = [(*key, *said) for key, said in sorted(found.items(), key=lambda item: item[0])]
    down = await db.fetch(_ENDPOINTS, *_columns(rows, 7))
    return {(row["workspace_id"], row["id"]) for row in down if row["failures"] >= DOWN_AFTER}


def _again(result: Result, down: set[Key]) -> tuple[float, int]:
    """After how many seconds the line may be taken again, and how often what is first in it has failed."""
    if result.is_given_up:
        return 0.0, 0
    if result.failure is None:
        return result.rest, result.attempts
    if result.endpoint in down:  # when it is asked again is the endpoint's affair, and no delivery's fault
        return 0.0, result.attempts
    return float(BACK_OFF_SECONDS[result.attempts]), result.attempts + 1


def _state(answer: Answer, is_over: bool) -> str:
    if answer.error is None:
        return "delivered"
    return "failed" if is_over or answer.is_final else "waiting"


def _attempt(workspace_id: uuid.UUID, one: Try) -> tuple[Any, ...]:
    answer = one.answer
    return (
        workspace_id,
        new_id(),
        one.delivery_id,
        answer.url,
        answer.status,
        msgspec.json.encode(answer.headers).decode(),
        answer.body,
        answer.error,
        answer.milliseconds,
    )


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[list[Any]]:
    return [[row[place] for row in rows] for place in range(count)]


# Endpoints first, then lines, each in the order of their ids: so does whoever switches one off and on.
_ENDPOINTS = f"""
WITH said AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bool[], $5::int[], $6::text[], $7::float8[])
        AS said (workspace_id, id, url, is_well, failed, error, wait)
),
held AS MATERIALIZED (
    SELECT e.workspace_id, e.id, said.is_well, said.error, said.wait, e.failures + said.failed AS failures,
        least({PAUSE_SECONDS[1]}, greatest({PAUSE_SECONDS[0]}, extract(epoch FROM now() - e.failing_since) / 4))
            AS pause
    FROM said JOIN webhook_endpoints e ON (e.workspace_id, e.id, e.url) = (said.workspace_id, said.id, said.url)
    WHERE NOT said.is_well OR e.failures > 0 OR e.paused_until IS NOT NULL
    ORDER BY e.workspace_id, e.id FOR NO KEY UPDATE OF e
)
UPDATE webhook_endpoints e SET
    failures = CASE WHEN held.is_well THEN 0 ELSE held.failures END,
    failing_since = CASE WHEN held.is_well THEN NULL ELSE coalesce(e.failing_since, now()) END,
    last_error = CASE WHEN held.is_well THEN NULL ELSE held.error END,
    paused_until = CASE WHEN held.is_well THEN NULL
        WHEN held.failures >= {DOWN_AFTER} THEN now() + make_interval(secs => greatest(held.pause, held.wait)::float8)
        WHEN held.wait > 0 THEN now() + make_interval(secs => held.wait) ELSE e.paused_until END
FROM held WHERE e.workspace_id = held.workspace_id AND e.id = held.id
RETURNING e.workspace_id, e.id, e.failures
"""
_HOLD = """
SELECT l.workspace_id, l.endpoint_id, l.line_id, l.taken, e.url
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS t (workspace_id, endpoint_id, line_id)
JOIN webhook_lines l ON l.workspace_id = t.workspace_id AND l.endpoint_id = t.endpoint_id AND l.line_id = t.line_id
JOIN webhook_endpoints e ON e.workspace_id = l.workspace_id AND e.id = l.endpoint_id
ORDER BY l.workspace_id, l.endpoint_id, l.line_id FOR NO KEY UPDATE OF l
"""
_DELIVERIES = """
UPDATE webhook_deliveries d SET state = r.state, attempts = d.attempts + 1, last_status = r.status,
    last_error = r.error, settled_at = CASE WHEN r.state <> 'waiting' THEN now() END, updated_at = now()
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::text[]) AS r (workspace_id, id, state, status, error)
WHERE d.workspace_id = r.workspace_id AND d.id = r.id
    AND (d.state = 'waiting' OR (d.state = 'failed' AND r.state = 'delivered'))
RETURNING d.id
"""
_ATTEMPTS = """
INSERT INTO webhook_attempts (workspace_id, id, delivery_id, url, status, headers, body, error, milliseconds,
    created_at, updated_at)
SELECT r.workspace_id, r.id, r.delivery_id, r.url, r.status, r.headers::jsonb, r.body, r.error, r.milliseconds,
    now(), now()
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::int[], $6::text[], $7::text[], $8::text[], $9::int[])
    AS r (workspace_id, id, delivery_id, url, status, headers, body, error, milliseconds)
JOIN webhook_deliveries d ON d.workspace_id = r.workspace_id AND d.id = r.delivery_id
"""
_OURS = "l.workspace_id = r.workspace_id AND l.endpoint_id = r.endpoint_id AND l.line_id = r.line_id"
_EMPTY = f"""
DELETE FROM webhook_lines l USING unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS r (workspace_id, endpoint_id, line_id)
WHERE {_OURS} AND NOT EXISTS (
    SELECT FROM webhook_deliveries d WHERE d.workspace_id = l.workspace_id AND d.endpoint_id = l.endpoint_id
        AND d.line_id = l.line_id AND d.state = 'waiting'
)
"""
_FREE = f"""
UPDATE webhook_lines l SET is_taken = false, attempts = r.attempts,
    next_attempt_at = now() + make_interval(secs => r.seconds)
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::float8[], $5::int[])
    AS r (workspace_id, endpoint_id, line_id, seconds, attempts)
WHERE {_OURS}
"""
