"""What holds whatever anybody does: no reply under a stale fence, and nobody without an owner, a place or a deadline.

The log is the judge of the first, since it is in the order of the commits: whoever replays it knows whose a
conversation was, and under which fence, when each reply was kept.
"""

from typing import Any

import msgspec

from tests.comms.ownership.world import World

HANDS = ("claimed", "assigned", "taken_over", "released", "unassigned", "lease_expired", "handed_on")
"""What is told when a conversation changes hands; when contacts become one, or two again, it is ``updated``."""


async def hold(world: World, admin: Any) -> None:
    """Between any two commits: who is out of work has nothing for long, and nothing stale waits for its time."""
    ids = [talk.id for talk in world.talks]
    for row in await admin.fetch(_OWNED, ids):
        owners = [row["assigned_to"], row["agent_id"], row["waiting_since"]]
        assert sum(one is not None for one in owners) == 1
        assert row["is_at_work"] or row["is_let_go_soon"], "who is out of work has it"
        if row["handoff_id"] is not None:
            assert row["waiting_since"] is not None
            assert row["deadline_at"] is not None
    assert await admin.fetchval(_STALE, ids) == 0, "what is stale waits for its time to leave"


async def rest(world: World, admin: Any) -> None:
    """Once all is done that was left for later: whoever waits has a place in a queue, or is asked until a deadline.

    What is put off waits for its time, and what no rule is true of for whoever takes it by hand.
    """
    for row in await admin.fetch(_OWNED, [talk.id for talk in world.talks]):
        assert row["is_at_work"], "who is out of work has it"
        assert row["agent_id"] is None or row["status"] == "active", "an agent has what is not active"
        is_asked = row["handoff_id"] is not None and row["team_id"] is None
        is_routed = row["team_id"] is not None or (row["is_ruled"] and not is_asked)
        waits = row["status"] == "active" and row["waiting_since"] is not None and row["snoozed_until"] is None
        assert row["places"] == (waits and is_routed), "nobody's, and nowhere" if waits else "a place for nothing"


async def judge(world: World, admin: Any) -> None:
    """The log, replayed: every change of hands is one more fence, every reply was its owner's under its fence.

    And nobody is given by the rules what they have refused, since nobody else has had it.
    """
    kept = set()
    for talk in world.talks:
        whose, fence = (None, None), 0
        refused_under: tuple[int, set[str]] = (0, set())
        for event in await admin.fetch(_TOLD, talk.id):
            what, data = event["event"], msgspec.json.decode(event["data"])
            noun, _, verb = what.partition(".")
            if noun == "conversation":
                now_whose = (data["assignedTo"], data["agentId"])
                grown = data["fence"] - fence
                is_fenced = grown == 1 if verb in HANDS else grown >= 0 if verb == "updated" else grown == 0
                assert is_fenced, f"{what} makes the fence {grown} more"
                assert grown or whose == now_whose, f"{what} changes hands under one fence"
                is_given = verb == "assigned" and data["ownershipReason"].startswith("routed: ")
                assert not is_given or refused_under[0] != fence or data["assignedTo"] not in refused_under[1], (
                    "given to who refused it"
                )
                whose, fence = now_whose, data["fence"]
            elif noun == "conversation_handoff":
                refused_under = data["fence"], {one.get("userId") for one in data["refused"]}
            elif what in ("message.queued", "message.scheduled") and data["senderType"] == "agent":
                agent, said = world.said[event["subject_id"]]
                assert (whose[1], fence) == (str(agent), said), "a reply was kept under a stale fence"
                kept.add(event["subject_id"])
        assert fence == await admin.fetchval("SELECT fence FROM conversations WHERE id = $1", talk.id)
    rows = await admin.fetch(_SAID, [talk.id for talk in world.talks])
    assert {row["id"] for row in rows} == kept


_OWNED = """
SELECT c.status, c.assigned_to, c.agent_id, c.waiting_since, c.snoozed_until, h.id AS handoff_id, h.deadline_at,
    h.target_team_id AS team_id,
    EXISTS (SELECT FROM routing_rules r WHERE r.workspace_id = c.workspace_id AND r.is_active) AS is_ruled,
    (SELECT count(*) FROM routing_places p WHERE p.conversation_id = c.id) AS places,
    CASE WHEN c.agent_id IS NOT NULL THEN (SELECT status = 'active' FROM agents a WHERE a.id = c.agent_id)
        WHEN c.assigned_to IS NOT NULL THEN (
            SELECT m.is_active FROM workspace_members m
            WHERE m.workspace_id = c.workspace_id AND m.user_id = c.assigned_to)
        ELSE true END AS is_at_work,
    EXISTS (
        SELECT FROM jobs.pgqueuer j WHERE j.entrypoint = 'ownership.let_go' AND convert_from(j.payload, 'utf8')
            LIKE '%' || coalesce(c.agent_id, c.assigned_to) || '%'
    ) AS is_let_go_soon
FROM conversations c
LEFT JOIN conversation_handoffs h
    ON h.workspace_id = c.workspace_id AND h.conversation_id = c.id AND h.status = 'open'
WHERE c.id = ANY($1)
"""
_STALE = """
SELECT count(*) FROM outgoing_messages o
JOIN conversations c ON c.workspace_id = o.workspace_id AND c.id = o.conversation_id
JOIN conversation_messages m ON m.workspace_id = o.workspace_id AND m.id = o.id
WHERE o.conversation_id = ANY($1) AND o.state = 'scheduled' AND m.sender_type = 'agent'
    AND (c.fence <> o.fence OR c.agent_id IS DISTINCT FROM m.sender_agent_id)
"""
_TOLD = "SELECT event, subject_id, data::text FROM events WHERE conversation_id = $1 ORDER BY seq"
_SAID = "SELECT id FROM conversation_messages WHERE conversation_id = ANY($1) AND sender_type = 'agent'"
