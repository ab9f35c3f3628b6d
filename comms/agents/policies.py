"""What agents may do without asking: decided by the workspace, one policy for all of them or one for each."""

import uuid
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Invalid
from models.orchestration import AgentPolicy, Reach, RiskLevel

ANY = "*"
LONGEST_TYPE = 200
ALWAYS_ASKED = {
    "draft_message": "always takes a person: it is for them to send",
    "place_call": "always takes a person: it is their phone that rings first",
}
"""Action types that no policy lets pass, and why."""


class Policy(msgspec.Struct, frozen=True):
    """What is decided for one agent."""

    pass_alone: tuple[str, ...] = ()
    answer_within_seconds: int = 86_400
    reach: Reach = "waiting"

    def passes(self, action_type: str, risk: RiskLevel) -> bool:
        """Whether such an action needs no person: only what risks little ever does."""
        if risk != "low" or action_type in ALWAYS_ASKED:
            return False
        return ANY in self.pass_alone or action_type in self.pass_alone


async def policy_of(db: AsyncSession, workspace_id: uuid.UUID, agent_id: uuid.UUID) -> Policy:
    """The agent's own policy, else the workspace's, else the one that lets nothing pass."""
    return (await policies_of(db, workspace_id, [agent_id]))[agent_id]


async def policies_of(
    db: AsyncSession, workspace_id: uuid.UUID, agent_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, Policy]:
    """The same of many agents."""
    rows = await db.scalars(
        select(AgentPolicy).where(
            AgentPolicy.workspace_id == workspace_id,
            or_(AgentPolicy.agent_id.in_(agent_ids), AgentPolicy.agent_id.is_(None)),
        )
    )
    found = {
        row.agent_id: Policy(tuple(row.pass_alone), row.answer_within_seconds, msgspec.convert(row.reach, Reach))
        for row in rows
    }
    default = found.get(None, Policy())
    return {agent_id: found.get(agent_id, default) for agent_id in agent_ids}


def checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """The policy as it is kept; ``Invalid`` names what in it could never have an effect."""
    kept = dict(values)
    if "pass_alone" not in kept:
        return kept
    errors: dict[str, str] = {}
    types = [str(name).strip() for name in kept["pass_alone"]]
    for place, name in enumerate(types):
        where = f"passAlone[{place}]"
        if not name or len(name) > LONGEST_TYPE:
            errors[where] = f"must be 1 to {LONGEST_TYPE} characters"
        elif name in types[:place]:
            errors[where] = f"says {name!r} again"
        elif name in ALWAYS_ASKED:
            errors[where] = ALWAYS_ASKED[name]
        elif name != ANY and ANY in types:
            errors[where] = f"says nothing beside {ANY!r}, which is all of them"
    if errors:
        raise Invalid(errors)
    return kept | {"pass_alone": types}
