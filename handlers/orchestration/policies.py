"""What agents may do without asking a person."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents import policies as stories
from comms.credentials import Identity
from handlers.guards import administrator, reads
from handlers.resource import crud
from models.orchestration import AgentPolicy, AgentPolicyView


async def create_policy(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> AgentPolicy:
    """In force from now on."""
    row = AgentPolicy(workspace_id=identity.workspace_id, **stories.checked(values))
    db.add(row)
    return row


async def change_policy(db: AsyncSession, identity: Identity, row: AgentPolicy, values: dict[str, Any]) -> None:
    """Other rules from now on; what has passed has passed."""
    for name, value in stories.checked(values).items():
        setattr(row, name, value)


policies = crud(
    "/agent-policies",
    AgentPolicy,
    AgentPolicyView,
    filters=("agent_id", "reach"),
    who_reads=reads("agents"),
    who_writes=administrator,
    create=create_policy,
    change=change_policy,
)

routes = [policies.router()]
