"""Templates and packs of agents, which all workspaces share."""

from typing import Any

import msgspec
from litestar import delete, post
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents import catalogue as stories
from comms.credentials import Identity
from handlers.agents.agents import agents
from handlers.given import ACROSS, Asker, Db, RowId
from handlers.guards import reads, writes
from handlers.resource import Resource, crud
from models.agents import AgentPack, AgentPackView, AgentTemplate, AgentTemplateView, AgentView


class InstalledAgents(msgspec.Struct, rename="camel"):
    """The agents that a pack has brought."""

    agents: list[AgentView]


async def create_template(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> AgentTemplate:
    """A template of the asker's workspace, unpublished."""
    row = AgentTemplate(author_workspace_id=identity.workspace_id, **values)
    db.add(row)
    return row


async def create_pack(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> AgentPack:
    """A pack of the asker's workspace, unpublished."""
    values = stories.check_packed(values)
    row = AgentPack(author_workspace_id=identity.workspace_id, author_id=identity.user_id, **values)
    stories.check_price(row)
    db.add(row)
    return row


async def change_pack(db: AsyncSession, identity: Identity, row: AgentPack, values: dict[str, Any]) -> None:
    """Changed for whoever installs it from now on."""
    for name, value in stories.check_packed(values).items():
        setattr(row, name, value)
    stories.check_price(row)


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
    change=change_pack,
)


@post("/{row_id:uuid}/publication", operation_id="publish_agent_template", guards=[writes("packs")])
async def publish_template(db: Db, identity: Asker, row_id: RowId) -> AgentTemplateView:
    """Offer your template to every workspace."""
    view: AgentTemplateView = await _publish(templates, db, identity, row_id)
    return view


@delete("/{row_id:uuid}/publication", operation_id="withdraw_agent_template", guards=[writes("packs")])
async def withdraw_template(db: Db, identity: Asker, row_id: RowId) -> None:
    """Only your workspace sees your template any more; agents made of it stay."""
    await _withdraw(templates, db, identity, row_id)


@post("/{row_id:uuid}/publication", operation_id="publish_agent_pack", guards=[writes("packs")])
async def publish_pack(db: Db, identity: Asker, row_id: RowId) -> AgentPackView:
    """Offer your pack to every workspace."""
    view: AgentPackView = await _publish(packs, db, identity, row_id)
    return view


@delete("/{row_id:uuid}/publication", operation_id="withdraw_agent_pack", guards=[writes("packs")])
async def withdraw_pack(db: Db, identity: Asker, row_id: RowId) -> None:
    """Only your workspace sees your pack any more; agents it brought stay."""
    await _withdraw(packs, db, identity, row_id)


async def _publish(resource: Resource, db: AsyncSession, identity: Identity, row_id: Any) -> Any:
    row = await resource.find(db, identity, row_id, to_change=True)
    return await resource.tell(db, identity, "published", row) if stories.publish(row) else resource.shown(row)


async def _withdraw(resource: Resource, db: AsyncSession, identity: Identity, row_id: Any) -> None:
    row = await resource.find(db, identity, row_id, to_change=True)
    if stories.withdraw(row):
        await resource.tell(db, identity, "withdrawn", row)


# An installation counts on a row of its author's workspace, so its unit of work is across workspaces.

INSTALLS = [reads("packs"), writes("agents")]


@post("/{row_id:uuid}/installation", operation_id="install_agent_template", guards=INSTALLS, dependencies=ACROSS)
async def install_template(db: Db, identity: Asker, row_id: RowId) -> AgentView:
    """Make a draft agent of a template. Every call makes another, unless its `Idempotency-Key` is the same."""
    agent = await stories.install_template(db, identity, row_id)
    view: AgentView = await agents.tell(db, identity, "created", agent)
    return view


@post("/{row_id:uuid}/installation", operation_id="install_agent_pack", guards=INSTALLS, dependencies=ACROSS)
async def install_pack(db: Db, identity: Asker, row_id: RowId) -> InstalledAgents:
    """Make draft agents of everything in a pack. Every call makes others, unless its `Idempotency-Key` is the same."""
    made = await stories.install_pack(db, identity, row_id)
    return InstalledAgents([await agents.tell(db, identity, "created", agent) for agent in made])


routes = [
    templates.router(publish_template, withdraw_template, install_template),
    packs.router(publish_pack, withdraw_pack, install_pack),
]
