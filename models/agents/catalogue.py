"""Templates and packs of agents: a catalogue that all workspaces share.

``author_workspace_id`` says who may write a row (null is the operator); it is not called ``workspace_id`` because a
published row is everybody's to read.
"""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from models.agents.agents import AgentType
from models.base import Base, ReadOnly, Stamped, View, new_id, one_of
from models.types import Slug

PricingType = Literal["free", "one-time", "subscription"]


def _of_author(table: str) -> tuple[Any, ...]:
    """What both tables of the catalogue have: their author, counters that do not go below zero, and their orders."""
    return (
        ForeignKeyConstraint(["author_workspace_id"], ["workspaces.id"], ondelete="SET NULL"),
        CheckConstraint("slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'", name="slug_spelling"),
        CheckConstraint("rating BETWEEN 0 AND 5", name="rating_range"),
        CheckConstraint("review_count >= 0", name="review_count_range"),
        CheckConstraint("install_count >= 0", name="install_count_range"),
        Index(f"ix_{table}_created", "created_at", "id"),
        Index(f"ix_{table}_author", "author_workspace_id", "created_at", "id"),
    )


class Offered(Stamped):
    """What everything in the catalogue has; ``author_workspace_id`` is null for the operator's own."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    author_workspace_id: Mapped[uuid.UUID | None]
    name: Mapped[str]
    slug: Mapped[str] = mapped_column(Slug, unique=True)
    description: Mapped[str | None]
    category: Mapped[str | None]
    icon_url: Mapped[str | None]
    cover_image_url: Mapped[str | None]
    install_count: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    rating: Mapped[Decimal | None] = mapped_column(Numeric(3, 2))
    review_count: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    is_published: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    published_at: Mapped[datetime | None]


class AgentTemplate(Offered, Base):
    """What an agent is made from."""

    __tablename__ = "agent_templates"
    __table_args__ = (*_of_author("agent_templates"), one_of("type", AgentType))

    short_description: Mapped[str | None]
    type: Mapped[str] = mapped_column(default="custom", server_default="custom")
    badge_text: Mapped[str | None]
    config: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    kpis: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    installs24h: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    installs7d: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    installs30d: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    trending_score: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    is_featured: Mapped[bool] = mapped_column(default=False, server_default=text("false"))


class AgentTemplateView(View, kw_only=True):
    """A template in the catalogue; ``authorWorkspaceId`` is null for the operator's own."""

    id: ReadOnly[uuid.UUID]
    author_workspace_id: ReadOnly[uuid.UUID | None] = None
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
    install_count: ReadOnly[int] = 0
    rating: ReadOnly[Decimal | None] = None
    review_count: ReadOnly[int] = 0
    installs24h: ReadOnly[int] = 0
    installs7d: ReadOnly[int] = 0
    installs30d: ReadOnly[int] = 0
    trending_score: ReadOnly[int] = 0
    is_published: ReadOnly[bool] = False
    is_featured: ReadOnly[bool] = False
    published_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class AgentPack(Offered, Base):
    """Several agents that are installed together."""

    __tablename__ = "agent_packs"
    __table_args__ = (
        *_of_author("agent_packs"),
        ForeignKeyConstraint(
            ["author_workspace_id", "author_id"],
            ["workspace_members.workspace_id", "workspace_members.user_id"],
            ondelete="SET NULL (author_id)",
        ),
        one_of("pricing_type", PricingType),
        CheckConstraint("price >= 0 AND (pricing_type <> 'free' OR price = 0)", name="price_range"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_code"),
    )

    agent_templates: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))
    author_id: Mapped[uuid.UUID | None]
    author_name: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    pricing_type: Mapped[str] = mapped_column(default="free", server_default="free")
    price: Mapped[Decimal] = mapped_column(default=Decimal(0), server_default=text("0"))
    currency: Mapped[str] = mapped_column(default="USD", server_default="USD")


class AgentPackView(View, kw_only=True):
    """A pack in the catalogue; ``agentTemplates`` lists its agents: ``name``, ``description``, ``type``, ``config``."""

    id: ReadOnly[uuid.UUID]
    author_workspace_id: ReadOnly[uuid.UUID | None] = None
    name: str
    slug: str
    description: str | None = None
    category: str | None = None
    agent_templates: list[Any] = []
    author_id: ReadOnly[uuid.UUID | None] = None
    author_name: str | None = None
    icon_url: str | None = None
    cover_image_url: str | None = None
    tags: list[str] = []
    pricing_type: Annotated[PricingType, msgspec.Meta(examples=["one-time"])] = "free"
    price: Decimal = Decimal(0)
    currency: str = "USD"
    install_count: ReadOnly[int] = 0
    rating: ReadOnly[Decimal | None] = None
    review_count: ReadOnly[int] = 0
    is_published: ReadOnly[bool] = False
    published_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
