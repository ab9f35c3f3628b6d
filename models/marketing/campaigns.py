"""Where a business makes itself known, and what it sends to many at once."""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, tenant_table
from models.types import Currency, is_currency

MarketingChannelType = Literal["email", "social", "ads", "content", "seo", "affiliate"]
MarketingChannelStatus = Literal["active", "paused", "archived"]
CampaignType = Literal["email", "sms", "whatsapp", "voice", "social", "ads", "content"]
CampaignStatus = Literal["draft", "scheduled", "active", "paused", "completed"]
RecipientStatus = Literal[
    "pending", "sent", "delivered", "opened", "clicked", "bounced", "failed", "complained", "unsubscribed"
]


class MarketingChannel(TenantRow, Base):
    """A way to reach people, such as a newsletter or an advertising account; its credentials are sealed."""

    __tablename__ = "marketing_channels"
    __table_args__ = tenant_table(
        one_of("type", MarketingChannelType),
        one_of("status", MarketingChannelStatus),
        is_currency("currency"),
        CheckConstraint("budget >= 0", name="budget_positive"),
        CheckConstraint("spent >= 0", name="spent_positive"),
        CheckConstraint("NOT config ? 'credentials'", name="config_without_credentials"),
        Index("ix_marketing_channels_created", "workspace_id", "created_at", "id"),
        Index("ix_marketing_channels_status", "workspace_id", "status", "created_at", "id"),
    )

    name: Mapped[str]
    type: Mapped[str]
    status: Mapped[str] = mapped_column(default="active", server_default="active")
    config: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    credential_names: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    encrypted_key: Mapped[bytes | None]
    iv: Mapped[bytes | None]
    auth_tag: Mapped[bytes | None]
    encryption_key_id: Mapped[str | None]
    budget: Mapped[Decimal | None]
    spent: Mapped[Decimal] = mapped_column(default=Decimal(0), server_default=text("0"))
    currency: Mapped[str] = mapped_column(Currency, default="USD", server_default="USD")
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))


class MarketingChannelView(View, kw_only=True):
    """A marketing channel. ``config.credentials`` go in, sealed, and never come out: ``credentialNames`` tells which.

    A new ``config`` without ``credentials`` keeps those that are there; null forgets them.
    """

    id: ReadOnly[uuid.UUID]
    name: str
    type: MarketingChannelType
    status: MarketingChannelStatus = "active"
    config: dict[str, Any] = {}
    credential_names: ReadOnly[list[str]] = []
    budget: Decimal | None = None
    spent: Decimal = Decimal(0)
    currency: str = "USD"
    metrics: dict[str, Any] = {}
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class Campaign(TenantRow, Base):
    """One thing that is said to many contacts, and how far it has got."""

    __tablename__ = "campaigns"
    __table_args__ = tenant_table(
        refers("channel_id", "marketing_channels"),
        refers("segment_id", "segments"),
        one_of("type", CampaignType),
        one_of("status", CampaignStatus),
        is_currency("currency"),
        CheckConstraint("budget >= 0", name="budget_positive"),
        CheckConstraint("spent >= 0", name="spent_positive"),
        CheckConstraint("status <> 'scheduled' OR scheduled_at IS NOT NULL", name="scheduled_at_when_scheduled"),
        CheckConstraint("status NOT IN ('active', 'paused', 'completed') OR sent_at IS NOT NULL", name="sent_at_known"),
        CheckConstraint("(status = 'completed') = (completed_at IS NOT NULL)", name="completed_at_when_completed"),
        Index("ix_campaigns_created", "workspace_id", "created_at", "id"),
        Index("ix_campaigns_status", "workspace_id", "status", "created_at", "id"),
        Index("ix_campaigns_channel", "workspace_id", "channel_id"),
        Index("ix_campaigns_segment", "workspace_id", "segment_id"),
    )

    channel_id: Mapped[uuid.UUID | None]
    segment_id: Mapped[uuid.UUID | None]
    name: Mapped[str]
    type: Mapped[str] = mapped_column(default="email", server_default="email")
    subject: Mapped[str | None]
    content: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    status: Mapped[str] = mapped_column(default="draft", server_default="draft")
    scheduled_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    budget: Mapped[Decimal | None]
    spent: Mapped[Decimal] = mapped_column(default=Decimal(0), server_default=text("0"))
    currency: Mapped[str] = mapped_column(Currency, default="USD", server_default="USD")
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    recipient_count: Mapped[int] = mapped_column(default=0, server_default=text("0"))


class CampaignView(View, kw_only=True):
    """A campaign. Its status is changed by schedule, start, pause and completion; ``sentAt`` is when it started."""

    id: ReadOnly[uuid.UUID]
    channel_id: uuid.UUID | None = None
    segment_id: uuid.UUID | None = None
    name: str
    type: CampaignType = "email"
    subject: str | None = None
    content: dict[str, Any] = {}
    status: ReadOnly[CampaignStatus] = "draft"
    scheduled_at: ReadOnly[datetime | None] = None
    sent_at: ReadOnly[datetime | None] = None
    completed_at: ReadOnly[datetime | None] = None
    budget: Decimal | None = None
    spent: Decimal = Decimal(0)
    currency: str = "USD"
    metrics: ReadOnly[dict[str, Any]] = {}
    recipient_count: ReadOnly[int] = 0
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class CampaignRecipient(TenantRow, Base):
    """A contact a campaign is meant for, once each, and what became of it there."""

    __tablename__ = "campaign_recipients"
    __table_args__ = tenant_table(
        refers("campaign_id", "campaigns", on_delete="CASCADE"),
        refers("contact_id", "contacts", on_delete="CASCADE"),
        one_of("status", RecipientStatus),
        UniqueConstraint("workspace_id", "campaign_id", "contact_id"),
        Index("ix_campaign_recipients_created", "workspace_id", "created_at", "id"),
        Index("ix_campaign_recipients_campaign", "workspace_id", "campaign_id", "created_at", "id"),
        Index("ix_campaign_recipients_contact", "workspace_id", "contact_id"),
    )

    campaign_id: Mapped[uuid.UUID]
    contact_id: Mapped[uuid.UUID]
    status: Mapped[str] = mapped_column(default="pending", server_default="pending")
    sent_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    opened_at: Mapped[datetime | None]
    clicked_at: Mapped[datetime | None]
    error_message: Mapped[str | None]


class CampaignRecipientView(View, kw_only=True):
    """A contact a campaign is meant for; ``status`` is the furthest it has come there."""

    id: ReadOnly[uuid.UUID]
    campaign_id: ReadOnly[uuid.UUID]
    contact_id: ReadOnly[uuid.UUID]
    status: ReadOnly[RecipientStatus]
    sent_at: ReadOnly[datetime | None] = None
    delivered_at: ReadOnly[datetime | None] = None
    opened_at: ReadOnly[datetime | None] = None
    clicked_at: ReadOnly[datetime | None] = None
    error_message: ReadOnly[str | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
