"""The catalogue of templates and packs: published by their authors, installed by everybody.

An installation counts on a row of another workspace, which ``comms_web`` may not write: these stories run across
workspaces and name the one they are for in every query.
"""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import or_, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import reading
from comms.agents.states import tell
from comms.credentials import Identity
from comms.errors import Conflict, Invalid, Missing
from models.agents import (
    Agent,
    AgentPack,
    AgentPackView,
    AgentTemplate,
    AgentTemplateView,
    AgentType,
    PricingType,
)
from models.base import new_id, now
from models.types import Slug

MOST_AGENTS = 50


class PackedAgent(msgspec.Struct, rename="camel", omit_defaults=True):
    """One agent of a pack, as ``agent_packs.agent_templates`` keeps it."""

    name: str
    description: str | None = None
    type: AgentType = "custom"
    config: dict[str, Any] = {}


class TemplateFile(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A template as the operator writes it."""

    name: str
    slug: str
    description: str | None = None
    short_description: str | None = None
    category: str | None = None
    type: AgentType = "custom"
    icon_url: str | None = None
    cover_image_url: str | None = None
    badge_text: str | None = None
    config: dict[str, Any] = {}
    kpis: dict[str, Any] = {}
    is_featured: bool = False


class PackFile(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A pack as the operator writes it."""

    name: str
    slug: str
    agent_templates: list[Any]
    description: str | None = None
    category: str | None = None
    author_name: str | None = None
    icon_url: str | None = None
    cover_image_url: str | None = None
    tags: list[str] = []
    pricing_type: PricingType = "free"
    price: Decimal = Decimal(0)
    currency: str = "USD"


async def install_template(db: AsyncSession, asker: Identity, template_id: uuid.UUID) -> Agent:
    """The asker's workspace has a draft made of the template, which counts one installation more."""
    template: AgentTemplate = await _installed(db, AgentTemplate, asker, template_id, "template")
    agent = Agent(
        workspace_id=asker.workspace_id,
        id=new_id(),
        name=template.name,
        description=template.short_description or template.description,
        type=template.type,
        config=template.config,
        source_template_id=template.id,
        is_custom=False,
        created_by=asker.user_id,
    )
    db.add(agent)
    await tell(db, "installed", template, AgentTemplateView, workspace_id=asker.workspace_id)
    return agent


async def install_pack(db: AsyncSession, asker: Identity, pack_id: uuid.UUID) -> list[Agent]:
    """The asker's workspace has a draft of every agent of the pack, which counts one installation more."""
    pack: AgentPack = await _installed(db, AgentPack, asker, pack_id, "pack")
    if pack.pricing_type != "free" and pack.author_workspace_id != asker.workspace_id:
        raise Conflict("this pack is not free, and there is no way to pay for it here yet")
    if not pack.agent_templates:
        raise Conflict("this pack holds no agents")
    agents = [
        Agent(
            workspace_id=asker.workspace_id,
            id=new_id(),
            name=item.name,
            description=item.description,
            type=item.type,
            config=item.config,
            source_pack_id=pack.id,
            is_custom=False,
            created_by=asker.user_id,
        )
        for item in reading.read_all(PackedAgent, pack.agent_templates, "agentTemplates")
    ]
    db.add_all(agents)
    await tell(db, "installed", pack, AgentPackView, workspace_id=asker.workspace_id)
    return agents


async def _installed(db: AsyncSession, table: Any, asker: Identity, row_id: uuid.UUID, what: str) -> Any:
    """The row, counted once more, if it is published or the workspace's own."""
    row = await db.scalar(
        update(table)
        .where(table.id == row_id, or_(table.is_published, table.author_workspace_id == asker.workspace_id))
        .values(install_count=table.install_count + 1, updated_at=table.updated_at)
        .returning(table)
    )
    if row is None:
        raise Missing(f"There is no {what} {row_id} in the catalogue.")
    return row


def check_packed(values: Mapping[str, Any]) -> dict[str, Any]:
    """A pack's values with its agents as they are kept; ``Invalid`` names every mistake in them."""
    checked = dict(values)
    if "agent_templates" in values:
        sent = values["agent_templates"]
        if len(sent) > MOST_AGENTS:
            raise Invalid({"agentTemplates": f"must be {MOST_AGENTS} agents at most"})
        packed = reading.read_all(PackedAgent, sent, "agentTemplates")
        checked["agent_templates"] = [reading.written(item) for item in packed]
    return checked


def check_price(pack: AgentPack) -> None:
    """``Invalid`` when the price and the way of paying contradict each other."""
    if pack.pricing_type == "free" and pack.price != 0:
        raise Invalid({"price": "must be 0 when pricingType is free"})
    if pack.price < 0:
        raise Invalid({"price": "must not be negative"})


def publish(row: AgentTemplate | AgentPack) -> bool:
    """Every workspace may read and install it; False when they could already."""
    if isinstance(row, AgentPack) and not row.agent_templates:
        raise Conflict("a pack without agents cannot be published: add to its agentTemplates first")
    if row.is_published:
        return False
    row.is_published, row.published_at = True, now()
    return True


def withdraw(row: AgentTemplate | AgentPack) -> bool:
    """Only its author sees it; False when that was so already. What was installed stays."""
    if not row.is_published:
        return False
    row.is_published, row.published_at = False, None
    return True


async def publish_as_operator(db: AsyncSession, document: TemplateFile | PackFile) -> uuid.UUID:
    """The operator's template or pack of that slug is as the document says, and published."""
    table: Any = AgentTemplate if isinstance(document, TemplateFile) else AgentPack
    values = msgspec.structs.asdict(document)
    try:
        Slug().normalise(document.slug)
    except ValueError as error:
        raise Invalid({"slug": str(error)}) from None
    if isinstance(document, PackFile):
        values = check_packed(values)
        if not values["agent_templates"]:
            raise Invalid({"agentTemplates": "must hold an agent"})
    at = now()
    kept = values | {"is_published": True, "published_at": at, "updated_at": at}
    row_id: uuid.UUID | None = await db.scalar(
        insert(table)
        .values(id=new_id(), created_at=at, **kept)
        .on_conflict_do_update(
            index_elements=["slug"],
            set_=kept | {"published_at": text(f"coalesce({table.__tablename__}.published_at, excluded.published_at)")},
            where=table.author_workspace_id.is_(None),
        )
        .returning(table.id)
    )
    if row_id is None:
        raise Conflict(f"the slug {document.slug} is a workspace's: choose another")
    return row_id


async def withdraw_as_operator(db: AsyncSession, slug: str) -> list[str]:
    """Nothing of that slug is published any more, whoever wrote it; returns what was."""
    tables: list[tuple[str, Any]] = [("template", AgentTemplate), ("pack", AgentPack)]
    withdrawn = []
    for what, table in tables:
        done = await db.execute(
            update(table)
            .where(table.slug == slug, table.is_published)
            .values(is_published=False, published_at=None)
            .returning(table.id)
            .execution_options(synchronize_session=False)
        )
        withdrawn += [what for _ in done]
    return withdrawn


_TRENDS = text(
    """
    UPDATE agent_templates t
    SET installs24h = c.day, installs7d = c.week, installs30d = c.month,
        trending_score = 10 * c.day + 3 * c.week + c.month
    FROM (
        SELECT t.id, count(a.id) FILTER (WHERE a.created_at > :day) AS day,
            count(a.id) FILTER (WHERE a.created_at > :week) AS week, count(a.id) AS month
        FROM agent_templates t LEFT JOIN agents a ON a.source_template_id = t.id AND a.created_at > :month
        GROUP BY t.id
    ) c
    WHERE c.id = t.id
        AND (t.installs24h, t.installs7d, t.installs30d) IS DISTINCT FROM (c.day, c.week, c.month)
    """
)


async def count_trends(db: AsyncSession) -> None:
    """Every template knows how often it was installed in the last day, week and month."""
    at = now()
    await db.execute(
        _TRENDS, {"day": at - timedelta(days=1), "week": at - timedelta(weeks=1), "month": at - timedelta(days=30)}
    )
