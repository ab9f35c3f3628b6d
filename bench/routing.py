"""How many conversations one process gives to people in a second, and how long it takes when somebody frees up.

200 people of one team, 10,000 conversations that wait, each person with room for as many as make that come out even.
"""

import statistics
import time
import uuid

import msgspec

from bench import machine
from bench.ledger import Miscounted
from bench.stage import Stage
from comms import workspaces
from comms.assignment.following import keep_up
from comms.database import Database

TOWN = "routing"


class Plan(msgspec.Struct, frozen=True):
    """So many people and conversations; so many times somebody closes one while all the others are full."""

    people: int = 200
    waiting: int = 10_000
    closures: int = 50


class Routed(msgspec.Struct, frozen=True):
    """Explained decisions a second of a process that does nothing else; seconds to decide when somebody frees up."""

    plan: Plan
    rate: float
    cost: float
    freed_p50: float
    freed_p99: float
    stolen: float


async def measure(stage: Stage, plan: Plan) -> Routed:
    """Nobody has more than they can take, no conversation is given twice, or raises ``Miscounted``."""
    (workspace_id,) = stage.towns[TOWN].ids
    database = Database(stage.urls(), pool_size=2)
    await _prepare(stage, database, workspace_id, plan)
    freed = await _freed(stage, database, workspace_id, plan)
    room = -(-plan.waiting // plan.people)
    await stage.admin.execute(
        "UPDATE routing_profiles SET capacity = capacity + $2 WHERE workspace_id = $1", workspace_id, room
    )
    theft, before, began = machine.Theft(), time.process_time(), time.perf_counter()
    try:
        decided = await keep_up(database, [workspace_id])
        seconds, used = time.perf_counter() - began, time.process_time() - before
    finally:
        await database.close()
    await _verify(stage, workspace_id, plan)
    p99 = freed[int(len(freed) * 0.99)]
    return Routed(plan, decided / seconds, used / decided, statistics.median(freed), p99, theft.share)


async def _prepare(stage: Stage, database: Database, workspace_id: uuid.UUID, plan: Plan) -> None:
    """All people have one conversation and room for no other; everything else has its place in the queue."""
    async with database.everywhere() as db:
        for number in range(plan.people):
            await workspaces.enter(db, workspace_id, email=f"{number}@{TOWN}.example", role="member")
    await stage.admin.execute(_TEAM, workspace_id)
    await stage.admin.execute(_WAITING, workspace_id, plan.people + plan.waiting)
    await stage.admin.execute(_BUSY, workspace_id, plan.people)
    await stage.settle()
    await keep_up(database, [workspace_id])
    await stage.settle()


async def _freed(stage: Stage, database: Database, workspace_id: uuid.UUID, plan: Plan) -> list[float]:
    """How long it took each time to give somebody who frees up the one that has waited longest."""
    took = []
    for number in range(plan.closures):
        await stage.admin.execute(_CLOSE, workspace_id, number)
        began = time.perf_counter()
        given = await keep_up(database, [workspace_id])
        took.append(time.perf_counter() - began)
        if given != 1:
            raise Miscounted(f"one person freed up, and {given} conversations were given")
    return sorted(took)


async def _verify(stage: Stage, workspace_id: uuid.UUID, plan: Plan) -> None:
    row = await stage.admin.fetchrow(_COUNTED, workspace_id)
    if row["decisions"] != plan.waiting or row["conversations"] != plan.waiting or row["too_many"]:
        raise Miscounted(
            f"{row['decisions']} decisions about {row['conversations']} of {plan.waiting} conversations,"
            f" {row['too_many']} people have more than they can take"
        )


_TEAM = """
WITH team AS (
    INSERT INTO teams (workspace_id, id, name, created_at, updated_at) VALUES ($1, $1, 'Support', now(), now())
), members AS (
    INSERT INTO team_members (workspace_id, id, team_id, user_id, created_at, updated_at)
    SELECT $1, id, $1, user_id, now(), now() FROM workspace_members WHERE workspace_id = $1 AND role = 'member'
), profiles AS (
    INSERT INTO routing_profiles (workspace_id, id, user_id, capacity, created_at, updated_at)
    SELECT $1, id, user_id, 1, now(), now() FROM workspace_members WHERE workspace_id = $1 AND role = 'member'
), progress AS (
    INSERT INTO routing_progress (workspace_id, seq) SELECT $1, seq FROM event_counters WHERE workspace_id = $1
)
INSERT INTO routing_rules (workspace_id, id, name, team_id, created_at, updated_at)
VALUES ($1, $1, 'everything', $1, now(), now())
"""
_WAITING = """
WITH talks AS (
    INSERT INTO conversations (workspace_id, id, channel, waiting_since, created_at, updated_at)
    SELECT $1, uuidv7(), 'live_chat', now() - make_interval(secs => n), now(), now() FROM generate_series(1, $2::int) n
    RETURNING id
), counted AS (
    UPDATE event_counters SET seq = seq + $2::int WHERE workspace_id = $1 RETURNING seq
)
INSERT INTO events (workspace_id, seq, event, subject_type, subject_id, conversation_id, data, at, actor_type)
SELECT $1, counted.seq - $2::int + row_number() OVER (), 'conversation.created', 'conversation', talks.id, talks.id,
    '{}', now(), 'system'
FROM talks, counted
"""
_BUSY = """
WITH busy AS (
    SELECT id, row_number() OVER (ORDER BY id) AS n FROM conversations
    WHERE workspace_id = $1 AND channel = 'live_chat' LIMIT $2
), people AS (
    SELECT user_id, row_number() OVER (ORDER BY user_id) AS n FROM routing_profiles WHERE workspace_id = $1
)
UPDATE conversations c SET assigned_to = people.user_id, waiting_since = NULL FROM busy JOIN people USING (n)
WHERE c.workspace_id = $1 AND c.id = busy.id
"""
_CLOSE = """
UPDATE conversations c SET status = 'closed' WHERE workspace_id = $1 AND status = 'active' AND assigned_to = (
    SELECT user_id FROM routing_profiles WHERE workspace_id = $1 ORDER BY user_id OFFSET $2 LIMIT 1
)
"""
_COUNTED = """
SELECT count(*) AS decisions, count(DISTINCT conversation_id) AS conversations, (
    SELECT count(*) FROM routing_profiles p WHERE p.workspace_id = $1 AND p.capacity < (
        SELECT count(*) FROM conversations c
        WHERE c.workspace_id = $1 AND c.assigned_to = p.user_id AND c.status = 'active'
    )
) AS too_many
FROM routing_decisions WHERE workspace_id = $1
"""
