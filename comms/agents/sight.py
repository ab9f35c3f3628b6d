"""What an agent sees of conversations, as SQL: for what it asks, and for what its socket tells it."""

from comms.ownership.refusing import REFUSED

REACH = """
coalesce((
    SELECT p.reach FROM agent_policies p
    WHERE p.workspace_id = a.workspace_id AND (p.agent_id = a.id OR p.agent_id IS NULL)
    ORDER BY p.agent_id NULLS LAST LIMIT 1
), 'waiting')"""
"""How much an agent ``a`` sees, by the policy that is in force for it."""

_HAS_REFUSED = f"{REFUSED} @> jsonb_build_array(jsonb_build_object('agentId', a.id))"

WAITS = f"""
c.status = 'active' AND (c.snoozed_until IS NULL OR c.snoozed_until <= now())
    AND (c.waiting_since IS NOT NULL OR c.lease_expires_at <= now())
    AND CASE WHEN h.id IS NULL THEN w.reach <> 'handed' AND NOT {_HAS_REFUSED} ELSE h.target_agent_id = a.id END"""
"""Whether a conversation ``c``, with its open handoff ``h`` if it has one, waits for an agent ``a`` that sees ``w``."""

SEES = f"c.agent_id = a.id OR w.reach = 'workspace' OR ({WAITS})"
"""Whether an agent may look at a conversation."""
