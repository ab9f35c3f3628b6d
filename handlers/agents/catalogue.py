"""Templates and packs of agents, which all workspaces share."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from comms.credentials import Identity
from handlers.guards import reads, writes
from handlers.resource import crud
from models.agents import AgentPack, AgentPackView, AgentTemplate, AgentTemplateView


async def create_template(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> AgentTemplate:
    """A template of the asker's workspace, unpublished."""
    row = AgentTemplate(author_workspace_id=identity.workspace_id, **values)
    db.add(row)
    return row


async def create_pack(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> AgentPack:
    """A pack of the asker's workspace, unpublished."""
    row = AgentPack(author_workspace_id=identity.workspace_id, author_id=identity.user_id, **values)
    db.add(row)
    return row


templates = crud(
    "/agent-templates",
    AgentTemplate,
    AgentTemplateView,
    search=("name", "short_description", "description"),
    filters=("slug", "category", "type", "is_published", "is_featured", "author_workspace_id"),
    who_reads=reads("packs"),
    who_writes=writes("packs"),
    create=create_template,
)
packs = crud(
    "/agent-packs",
    AgentPack,
    AgentPackView,
    search=("name", "description"),
    filters=("slug", "category", "pricing_type", "is_published", "author_workspace_id", "tags"),
    who_reads=reads("packs"),
    who_writes=writes("packs"),
    create=create_pack,
)

routes = [templates.router(), packs.router()]
