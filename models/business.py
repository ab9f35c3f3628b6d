"""Whom a business works for, and what on: its customers and their projects."""

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from sqlalchemy import CheckConstraint, Computed, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, ReadOnly, TenantRow, View, one_of, refers, refers_to_member, tenant_table
from models.types import Currency, Email, Phone, email_key, email_key_sql, is_currency

CustomerStatus = Literal["lead", "active", "inactive", "churned"]
ProjectStatus = Literal["planning", "in_progress", "on_hold", "completed", "cancelled"]


class Customer(TenantRow, Base):
    """A business or a person that is sold to; ``contact_id`` is the person we talk to there."""

    __tablename__ = "customers"
    __table_args__ = tenant_table(
        refers("contact_id", "contacts", on_delete="SET NULL"),
        refers_to_member("assigned_to", assigns=True),
        one_of("status", CustomerStatus),
        is_currency("currency"),
        CheckConstraint("lifetime_value >= 0", name="lifetime_value_positive"),
        Index("ix_customers_created", "workspace_id", "created_at", "id"),
        Index("ix_customers_contact", "workspace_id", "contact_id"),
        Index("ix_customers_status", "workspace_id", "status", "created_at", "id"),
        Index("ix_customers_assigned_to", "workspace_id", "assigned_to"),
        Index("ix_customers_email", "workspace_id", "email_key"),
    )

    contact_id: Mapped[uuid.UUID | None]
    name: Mapped[str]
    email: Mapped[str | None] = mapped_column(
        Email, info={"found_by": lambda value: Customer.email_key == email_key(value)}
    )
    phone: Mapped[str | None] = mapped_column(Phone)
    company: Mapped[str | None]
    status: Mapped[str] = mapped_column(default="active", server_default="active")
    assigned_to: Mapped[uuid.UUID | None]
    tags: Mapped[list[str]] = mapped_column(default=list, server_default=text("'{}'"))
    notes: Mapped[str | None]
    lifetime_value: Mapped[Decimal] = mapped_column(default=Decimal(0), server_default=text("0"))
    currency: Mapped[str] = mapped_column(Currency, default="USD", server_default="USD")
    last_order_at: Mapped[datetime | None]
    email_key: Mapped[str | None] = mapped_column(Text(collation="C"), Computed(email_key_sql("email"), persisted=True))


class CustomerView(View, kw_only=True):
    """A customer; ``contactId`` is the contact whose timeline shows the customer's invoices."""

    id: ReadOnly[uuid.UUID]
    contact_id: uuid.UUID | None = None
    name: str
    email: str | None = None
    phone: str | None = None
    company: str | None = None
    status: CustomerStatus = "active"
    assigned_to: uuid.UUID | None = None
    tags: list[str] = []
    notes: str | None = None
    lifetime_value: Decimal = Decimal(0)
    currency: str = "USD"
    last_order_at: datetime | None = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class Project(TenantRow, Base):
    """Work for a customer, or within the house when there is none."""

    __tablename__ = "projects"
    __table_args__ = tenant_table(
        refers("customer_id", "customers"),
        refers_to_member("manager_id", assigns=True),
        one_of("status", ProjectStatus),
        is_currency("currency"),
        CheckConstraint("budget >= 0", name="budget_positive"),
        CheckConstraint("end_date >= start_date", name="end_date_after_start"),
        CheckConstraint("actual_end_date >= start_date", name="actual_end_date_after_start"),
        Index("ix_projects_created", "workspace_id", "created_at", "id"),
        Index("ix_projects_customer", "workspace_id", "customer_id"),
        Index("ix_projects_status", "workspace_id", "status", "created_at", "id"),
        Index("ix_projects_manager", "workspace_id", "manager_id"),
    )

    customer_id: Mapped[uuid.UUID | None]
    name: Mapped[str]
    description: Mapped[str | None]
    status: Mapped[str] = mapped_column(default="planning", server_default="planning")
    budget: Mapped[Decimal | None]
    currency: Mapped[str] = mapped_column(Currency, default="USD", server_default="USD")
    start_date: Mapped[date | None]
    end_date: Mapped[date | None]
    actual_end_date: Mapped[date | None]
    manager_id: Mapped[uuid.UUID | None]


class ProjectView(View, kw_only=True):
    """A project; it ends, as planned and in fact, no earlier than it starts.

    An invoice for it is its customer's: `customerId` becomes no other customer than those who have one already.
    """

    id: ReadOnly[uuid.UUID]
    customer_id: uuid.UUID | None = None
    name: str
    description: str | None = None
    status: ProjectStatus = "planning"
    budget: Decimal | None = None
    currency: str = "USD"
    start_date: date | None = None
    end_date: date | None = None
    actual_end_date: date | None = None
    manager_id: uuid.UUID | None = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
