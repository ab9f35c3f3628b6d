"""The workspace's agents."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from comms.credentials import Identity
from handlers.guards import reads, writes
from handlers.resource import crud
from models.agents import Agent, AgentView


async def create_agent(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> Agent:
    """A draft of the member who asks for it."""
    row = Agent(workspace_id=identity.workspace_id, created_by=identity.user_id, **values)
    db.add(row)
    return row


agents = crud(
    "/agents",
    Agent,
    AgentView,
    search=("name", "description"),
    filters=("status", "type", "is_custom", "created_by", "source_pack_id", "source_template_id"),
    who_reads=reads("agents"),
    who_writes=writes("agents"),
    create=create_agent,
)

routes = [agents.router()]
