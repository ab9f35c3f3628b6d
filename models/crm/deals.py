"""Deals: business that is hoped for, won or lost, and how it got there."""

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, refers_to_member, tenant_table
from models.types import Currency, is_currency

OpenDealStage = Literal["qualification", "discovery", "proposal", "negotiation"]
DealStage = Literal["qualification", "discovery", "proposal", "negotiation", "closed_won", "closed_lost"]
DealPriority = Literal["low", "medium", "high", "critical"]


class Deal(TenantRow, Base):
    """Business that may be done with a contact."""

    __tablename__ = "deals"
    __table_args__ = tenant_table(
        refers("contact_id", "contacts", on_delete="SET NULL"),
        refers_to_member("owner_id", assigns=True),
        one_of("stage", DealStage),
        one_of("priority", DealPriority),
        CheckConstraint("value >= 0", name="value_range"),
        is_currency("currency"),
        CheckConstraint("probability BETWEEN 0 AND 100", name="probability_range"),
        CheckConstraint(
            "CASE stage WHEN 'closed_won' THEN probability = 100 WHEN 'closed_lost' THEN probability = 0 ELSE true END",
            name="probability_certain",
        ),
        CheckConstraint(
            "(stage IN ('closed_won', 'closed_lost')) = (actual_close_date IS NOT NULL)",
            name="actual_close_date_closed",
        ),
        CheckConstraint("(stage = 'closed_lost') = (lost_reason IS NOT NULL)", name="lost_reason_lost"),
        Index("ix_deals_created", "workspace_id", "created_at", "id"),
        Index("ix_deals_contact", "workspace_id", "contact_id", "created_at", "id"),
        Index("ix_deals_stage", "workspace_id", "stage", "created_at", "id"),
        Index("ix_deals_owner", "workspace_id", "owner_id", "created_at", "id"),
        Index("ix_deals_expected_close", "workspace_id", "expected_close_date", "id"),
    )

    contact_id: Mapped[uuid.UUID | None]
    name: Mapped[str]
    value: Mapped[Decimal | None]
    currency: Mapped[str] = mapped_column(Currency, default="USD", server_default="USD")
    stage: Mapped[str] = mapped_column(default="qualification", server_default="qualification")
    priority: Mapped[str] = mapped_column(default="medium", server_default="medium")
    probability: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    expected_close_date: Mapped[date | None]
    actual_close_date: Mapped[date | None]
    owner_id: Mapped[uuid.UUID | None]
    source: Mapped[str | None]
    notes: Mapped[str | None]
    lost_reason: Mapped[str | None]
    custom_fields: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))


class DealView(View, kw_only=True):
    """A deal. Its ``probability`` is its stage's unless given; ``PUT …/stage`` moves it, ``POST …/closure`` ends it."""

    id: ReadOnly[uuid.UUID]
    contact_id: uuid.UUID | None = None
    name: str
    value: Decimal | None = None
    currency: str = "USD"
    stage: DealStage = "qualification"
    priority: DealPriority = "medium"
    probability: int | None = None
    expected_close_date: date | None = None
    actual_close_date: ReadOnly[date | None] = None
    owner_id: uuid.UUID | None = None
    source: str | None = None
    notes: str | None = None
    lost_reason: ReadOnly[str | None] = None
    custom_fields: dict[str, Any] = {}
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class DealStageChange(TenantRow, Base):
    """A deal went from one stage to another: who moved it, and when."""

    __tablename__ = "deal_stage_changes"
    __table_args__ = tenant_table(
        refers("deal_id", "deals", on_delete="CASCADE"),
        refers_to_member("changed_by"),
        one_of("from_stage", DealStage),
        one_of("to_stage", DealStage),
        Index("ix_deal_stage_changes_deal", "workspace_id", "deal_id", "created_at", "id"),
        Index("ix_deal_stage_changes_created", "workspace_id", "created_at", "id"),
    )

    deal_id: Mapped[uuid.UUID]
    from_stage: Mapped[str]
    to_stage: Mapped[str]
    from_probability: Mapped[int]
    to_probability: Mapped[int]
    changed_by: Mapped[uuid.UUID | None]


class DealStageChangeView(View, kw_only=True):
    """A deal's step from one stage to another; ``createdAt`` is when."""

    id: ReadOnly[uuid.UUID]
    deal_id: ReadOnly[uuid.UUID]
    from_stage: ReadOnly[DealStage]
    to_stage: ReadOnly[DealStage]
    from_probability: ReadOnly[int]
    to_probability: ReadOnly[int]
    changed_by: ReadOnly[uuid.UUID | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
