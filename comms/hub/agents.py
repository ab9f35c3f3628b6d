"""What agents hear: what is theirs, and what waits for them, as it is when it is told.

Members hear by their rights, which are known before; whose a conversation is changes with every event. So where an
agent listens, the page is looked at once more before it is told, and a conversation that a person has taken meanwhile
is silent for the agent it was with.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from comms.agents.sight import REACH, SEES
from comms.hub.fanout import Shares
from comms.hub.frames import Told, joined
from comms.hub.rooms import Room

Hearers = Mapping[int, frozenset[uuid.UUID]]
"""The agents that hear an event, by its number."""

NOUNS = (
    "agent",
    "agent_execution",
    "agent_message",
    "agent_pending_action",
    "conversation",
    "conversation_handoff",
    "message",
)
"""What agents hear of at all."""

HEARD = f"""
SELECT e.seq, array_agg(a.id) AS agents
FROM events e
JOIN agents a ON a.workspace_id = e.workspace_id AND a.status = 'active'
CROSS JOIN LATERAL (SELECT {REACH} AS reach) w
LEFT JOIN conversations c ON c.workspace_id = e.workspace_id AND c.id = e.conversation_id
LEFT JOIN conversation_handoffs h
    ON h.workspace_id = c.workspace_id AND h.conversation_id = c.id AND h.status = 'open'
WHERE e.workspace_id = $1 AND e.seq = ANY($2::bigint[]) AND CASE
    WHEN e.subject_type = 'agent' THEN e.subject_id = a.id
    WHEN e.subject_type = 'agent_message' THEN a.id::text IN (e.data->>'toAgentId', e.data->>'fromAgentId')
        OR (e.data->>'toAgentId' IS NULL AND EXISTS (SELECT FROM agent_team_members m
            WHERE m.workspace_id = a.workspace_id AND m.team_id = (e.data->>'teamId')::uuid AND m.agent_id = a.id))
    WHEN e.subject_type IN ('agent_execution', 'agent_pending_action') THEN e.data->>'agentId' = a.id::text
    WHEN e.data->>'agentId' = a.id::text OR e.changes->'agentId'->>'before' = a.id::text THEN true
    WHEN e.subject_type = 'conversation_handoff'
        AND a.id::text IN (e.data->>'targetAgentId', e.data->>'fromAgentId') THEN true
    ELSE {SEES}
END
GROUP BY e.seq
"""


async def hearers(connection: Any, workspace_id: uuid.UUID, page: Sequence[Told]) -> Hearers:
    """Which agents hear the events of a page, by one query; raises one of ``GONE``."""
    asked = [event.seq for event in page if event.noun in NOUNS]
    rows = await connection.fetch(HEARD, workspace_id, asked) if asked else []
    return {row["seq"]: frozenset(row["agents"]) for row in rows}


def for_agents(page: Sequence[Told], heard: Hearers) -> list[Told]:
    """The page as agents are told it."""
    return [
        msgspec.structs.replace(
            event, audience=msgspec.structs.replace(event.audience, agents=heard.get(event.seq, frozenset()))
        )
        for event in page
    ]


def shares(room: Room, page: Sequence[Told], heard: Hearers) -> Shares:
    """Who of the agents in a room gets which bytes."""
    told = for_agents(page, heard)
    live = [socket for socket in room.agents if socket.is_live]
    due = [([socket.wire], joined(told, socket.topics, socket.listener)) for socket in live]
    return [(wires, data) for wires, data in due if data]
