"""Money that is asked for and money that was spent: invoices and expenses."""

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import (
    Base,
    ReadOnly,
    TenantRow,
    View,
    one_of,
    refers,
    refers_to_member,
    tenant_table,
    workspace_reference,
)
from models.types import Currency, is_currency

InvoiceStatus = Literal["draft", "sent", "paid", "overdue", "cancelled"]
ExpenseStatus = Literal["pending", "approved", "rejected", "reimbursed"]
ExpenseCategory = Literal[
    "travel",
    "meals",
    "software",
    "hardware",
    "marketing",
    "office",
    "telecommunications",
    "training",
    "professional_services",
    "rent",
    "utilities",
    "insurance",
    "taxes",
    "other",
]


class LineItem(View, kw_only=True):
    """One line of an invoice. ``amount`` is ``quantity`` times ``unitPrice``, before tax, rounded half up to cents.

    ``taxRate`` is in percent. A discount is a line with a negative ``unitPrice``.
    """

    description: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    quantity: Decimal
    unit_price: Decimal
    tax_rate: Decimal | None = None
    amount: Decimal | None = None


class InvoiceCounter(Base):
    """The last invoice number given out in a workspace; its row lock is what makes the numbers gapless."""

    __tablename__ = "invoice_counters"

    workspace_id: Mapped[uuid.UUID] = workspace_reference()
    last_number: Mapped[int] = mapped_column(BigInteger, server_default=text("0"), default=0)


class Invoice(TenantRow, Base):
    """What a customer owes. It has a number from the moment it is sent, and can only be changed before."""

    __tablename__ = "invoices"
    __table_args__ = tenant_table(
        refers("customer_id", "customers"),
        refers("project_id", "projects"),
        one_of("status", InvoiceStatus),
        is_currency("currency"),
        UniqueConstraint("workspace_id", "invoice_number"),
        CheckConstraint("amount >= 0", name="amount_positive"),
        CheckConstraint("tax BETWEEN 0 AND amount", name="tax_within_amount"),
        CheckConstraint("(status = 'draft') = (invoice_number IS NULL)", name="invoice_number_once_sent"),
        CheckConstraint("(status = 'draft') = (sent_at IS NULL)", name="sent_at_once_sent"),
        CheckConstraint("(status = 'paid') = (paid_at IS NOT NULL)", name="paid_at_when_paid"),
        CheckConstraint("(status = 'cancelled') = (cancelled_at IS NOT NULL)", name="cancelled_at_when_cancelled"),
        Index("ix_invoices_created", "workspace_id", "created_at", "id"),
        Index("ix_invoices_status", "workspace_id", "status", "created_at", "id"),
        Index("ix_invoices_customer", "workspace_id", "customer_id", "created_at", "id"),
        Index("ix_invoices_project", "workspace_id", "project_id"),
        # The sweep looks at what is sent, across workspaces.
        Index("ix_invoices_due", "due_date", postgresql_where=text("status = 'sent'")),
    )

    customer_id: Mapped[uuid.UUID]
    project_id: Mapped[uuid.UUID | None]
    invoice_number: Mapped[str | None]
    amount: Mapped[Decimal]
    currency: Mapped[str] = mapped_column(Currency, default="USD", server_default="USD")
    tax: Mapped[Decimal] = mapped_column(default=Decimal(0), server_default=text("0"))
    status: Mapped[str] = mapped_column(default="draft", server_default="draft")
    due_date: Mapped[date | None]
    sent_at: Mapped[datetime | None]
    paid_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]
    cancellation_reason: Mapped[str | None]
    notes: Mapped[str | None]
    line_items: Mapped[list[Any]] = mapped_column(default=list, server_default=text("'[]'"))


class InvoiceView(View, kw_only=True):
    """An invoice. ``amount`` is what is to be paid: the sum of the lines and their ``tax``.

    Both may be left out when there are ``lineItems``. ``status`` is changed by sending, payment and cancellation, and
    becomes ``overdue`` when the ``dueDate`` has passed (in UTC).
    """

    id: ReadOnly[uuid.UUID]
    customer_id: uuid.UUID
    project_id: uuid.UUID | None = None
    invoice_number: ReadOnly[str | None] = None
    amount: Decimal
    currency: str = "USD"
    tax: Decimal = Decimal(0)
    status: ReadOnly[InvoiceStatus] = "draft"
    due_date: date | None = None
    sent_at: ReadOnly[datetime | None] = None
    paid_at: ReadOnly[datetime | None] = None
    cancelled_at: ReadOnly[datetime | None] = None
    cancellation_reason: ReadOnly[str | None] = None
    notes: str | None = None
    line_items: list[LineItem] = []
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]


class Expense(TenantRow, Base):
    """Money a member has spent for the business, and what became of asking for it back."""

    __tablename__ = "expenses"
    __table_args__ = tenant_table(
        refers("project_id", "projects"),
        refers_to_member("submitted_by"),
        refers_to_member("approved_by"),
        refers_to_member("rejected_by"),
        refers_to_member("reimbursed_by"),
        one_of("category", ExpenseCategory),
        one_of("status", ExpenseStatus),
        is_currency("currency"),
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("receipt ~ '^https?://'", name="receipt_address"),
        CheckConstraint(
            "status = 'pending' OR submitted_by NOT IN (approved_by, rejected_by, reimbursed_by)",
            name="submitted_by_is_not_the_reviewer",
        ),
        CheckConstraint(
            "(status IN ('approved', 'reimbursed')) = (approved_at IS NOT NULL)", name="approved_at_when_approved"
        ),
        CheckConstraint("(status = 'rejected') = (rejected_at IS NOT NULL)", name="rejected_at_when_rejected"),
        CheckConstraint("(status = 'reimbursed') = (reimbursed_at IS NOT NULL)", name="reimbursed_at_when_reimbursed"),
        Index("ix_expenses_created", "workspace_id", "created_at", "id"),
        Index("ix_expenses_submitted_by", "workspace_id", "submitted_by", "created_at", "id"),
        Index("ix_expenses_status", "workspace_id", "status", "created_at", "id"),
        Index("ix_expenses_project", "workspace_id", "project_id"),
    )

    project_id: Mapped[uuid.UUID | None]
    submitted_by: Mapped[uuid.UUID]
    description: Mapped[str]
    amount: Mapped[Decimal]
    currency: Mapped[str] = mapped_column(Currency, default="USD", server_default="USD")
    category: Mapped[str] = mapped_column(default="other", server_default="other")
    status: Mapped[str] = mapped_column(default="pending", server_default="pending")
    date: Mapped[date]
    receipt: Mapped[str | None]
    vendor: Mapped[str | None]
    approved_by: Mapped[uuid.UUID | None]
    approved_at: Mapped[datetime | None]
    rejected_by: Mapped[uuid.UUID | None]
    rejected_at: Mapped[datetime | None]
    rejection_reason: Mapped[str | None]
    reimbursed_by: Mapped[uuid.UUID | None]
    reimbursed_at: Mapped[datetime | None]


class ExpenseView(View, kw_only=True):
    """An expense of the member who submitted it; others see it only with the permission billing: write."""

    id: ReadOnly[uuid.UUID]
    project_id: uuid.UUID | None = None
    submitted_by: ReadOnly[uuid.UUID]
    description: str
    amount: Decimal
    currency: str = "USD"
    category: ExpenseCategory = "other"
    status: ReadOnly[ExpenseStatus] = "pending"
    date: date
    receipt: str | None = None
    vendor: str | None = None
    approved_by: ReadOnly[uuid.UUID | None] = None
    approved_at: ReadOnly[datetime | None] = None
    rejected_by: ReadOnly[uuid.UUID | None] = None
    rejected_at: ReadOnly[datetime | None] = None
    rejection_reason: ReadOnly[str | None] = None
    reimbursed_by: ReadOnly[uuid.UUID | None] = None
    reimbursed_at: ReadOnly[datetime | None] = None
    created_at: ReadOnly[datetime]
    updated_at: ReadOnly[datetime]
