"""Prospects: people who may become a deal or a customer."""

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, refers_to_member, tenant_table
from models.types import Currency, is_currency

ProspectStage = Literal["new", "contacted", "qualified", "proposal", "negotiation", "won", "lost"]


class Prospect(TenantRow, Base):
    """A chance of business with a contact, before it is a deal or the contact a customer."""

    __tablename__ = "prospects"
    __table_args__ = tenant_table(
        refers("contact_id", "contacts", on_delete="SET NULL"),
        refers("deal_id", "deals", on_delete="SET NULL"),
        refers("customer_id", "customers", on_delete="SET NULL"),
        refers_to_member("owner_id", assigns=True),
        one_of("stage", ProspectStage),
        CheckConstraint("value >= 0", name="value_range"),
        is_currency("currency"),
        CheckConstraint("probability BETWEEN 0 AND 100", name="probability_range"),
        CheckConstraint(
            "CASE stage WHEN 'won' THEN probability = 100 WHEN 'lost' THEN probability = 0 ELSE true END",
            name="probability_certain",
        ),
        Index("ix_prospects_created", "workspace_id", "created_at", "id"),
        Index("ix_prospects_contact", "workspace_id", "contact_id", "created_at", "id"),
        Index("ix_prospects_stage", "workspace_id", "stage", "created_at", "id"),
        Index("ix_prospects_owner", "workspace_id", "owner_id", "created_at", "id"),
        Index("ix_prospects_deal", "workspace_id", "deal_id", postgresql_where=text("deal_id IS NOT NULL")),
        Index("ix_prospects_customer", "workspace_id", "customer_id", postgresql_where=text("customer_id IS NOT NULL")),
    )

    contact_id: Mapped[uuid.UUID | None]
    stage: Mapped[str] = mapped_column(default="new", server_default="new")
    value: Mapped[Decimal | None]
    currency: Mapped[str] = mapped_column(Currency, default="USD", server_default="USD")
    probability: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    expected_close_date: Mapped[date | None]
    owner_id: Mapped[uuid.UUID | None]
    source: Mapped[str | None]
    notes: Mapped[str | None]
    deal_id: Mapped[uuid.UUID | None]
    customer_id: Mapped[uuid.UUID | None]
    converted_at: Mapped[datetime | None]


class ProspectView(View, kw_only=True):
    """A prospect. ``PUT …/stage`` moves it; ``POST …/conversion`` makes the deal or the customer it then names."""

    id: ReadOnly[uuid.UUID]
    contact_id: uuid.UUID | None = None
    stage: ProspectStage = "new"
    value: Decimal | None = None
    currency: str = "USD"
    probability: int | None = None
    expected_close_date: date | None = None
    owner_id: uuid.UUID | None = None
    source: str | None = None
    notes: str | None = None
    deal_id: ReadOnly[uuid.UUID | None] = None
    customer_id: ReadOnly[uuid.UUID | None] = None
    converted_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
