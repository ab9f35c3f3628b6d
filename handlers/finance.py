"""Invoices and expenses."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, post
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms import expenses as spending
from comms import invoices as billing
from comms.credentials import Identity
from handlers import shapes
from handlers.given import Asker, Db, RowId
from handlers.guards import reads, writer, writes
from handlers.resource import crud
from models.finance import Expense, ExpenseView, Invoice, InvoiceView

Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class InvoiceDraftView(InvoiceView, kw_only=True):
    """An invoice as one begins it: what can be added up may be left out."""

    amount: Decimal | None = None  # type: ignore[assignment]  # what is sent may lack what is always shown
    tax: Decimal | None = None  # type: ignore[assignment]  # likewise


class Payment(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """That an invoice was paid, now unless ``paidAt`` says since when."""

    paid_at: datetime | None = None


class Cancellation(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Why an invoice need not be paid."""

    reason: Reason


class ExpenseRejection(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Why an expense is not given back."""

    reason: Reason


async def create_invoice(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> Invoice:
    """A draft, added up."""
    return await billing.draft(db, identity.workspace_id, values)


async def change_invoice(db: AsyncSession, identity: Identity, row: Invoice, values: dict[str, Any]) -> None:
    """A draft, added up again."""
    await billing.change(db, row, values)


invoices = crud(
    "/invoices",
    Invoice,
    InvoiceView,
    search=("invoice_number", "notes"),
    filters=("status", "customer_id", "project_id", "invoice_number", "currency", "due_date"),
    verbs=("list", "get", "create", "change"),
    who_reads=reads("billing"),
    who_writes=writes("billing"),
    create=create_invoice,
    change=change_invoice,
)
invoices.new = shapes.create_shape(Invoice, InvoiceDraftView, name="NewInvoice")
expenses = crud(
    "/expenses",
    Expense,
    ExpenseView,
    search=("description", "vendor"),
    filters=("status", "category", "submitted_by", "project_id", "approved_by", "currency"),
    verbs=("list", "get", "create", "change"),
    whose=spending.seen_by,
    create=spending.submit,
    change=spending.change,
)


@delete("/{row_id:uuid}", operation_id="delete_invoice", guards=[writes("billing")])
async def delete_invoice(db: Db, identity: Asker, row_id: RowId) -> None:
    """A draft is gone. An invoice that was sent can only be cancelled."""
    billing.expect_draft(await invoices.find(db, identity, row_id, to_change=True))
    await invoices.remove(db, identity, row_id)


@post("/{row_id:uuid}/sent", operation_id="send_invoice", guards=[writes("billing")])
async def send_invoice(db: Db, identity: Asker, row_id: RowId) -> InvoiceView:
    """The draft has the workspace's next number, without gaps, and can no longer be changed.

    Numbers begin with the workspace's `settings.invoicePrefix` (`INV-` unless set).
    """
    row = await invoices.find(db, identity, row_id, to_change=True)
    await billing.send(db, row)
    view: InvoiceView = await invoices.tell(db, identity, "sent", row)
    return view


@post("/{row_id:uuid}/payment", operation_id="pay_invoice", guards=[writes("billing")])
async def pay_invoice(db: Db, identity: Asker, row_id: RowId, data: JSONBody[Payment]) -> InvoiceView:
    """The sent or overdue invoice is paid."""
    row = await invoices.find(db, identity, row_id, to_change=True)
    await billing.pay(db, row, data.paid_at)
    view: InvoiceView = await invoices.tell(db, identity, "paid", row)
    return view


@delete("/{row_id:uuid}/payment", operation_id="undo_invoice_payment", status_code=200, guards=[writes("billing")])
async def undo_payment(db: Db, identity: Asker, row_id: RowId) -> InvoiceView:
    """The invoice was not paid after all: it is `sent` again, and soon `overdue` if it is."""
    row = await invoices.find(db, identity, row_id, to_change=True)
    await billing.undo_payment(db, row)
    view: InvoiceView = await invoices.tell(db, identity, "payment_undone", row)
    return view


@post("/{row_id:uuid}/cancellation", operation_id="cancel_invoice", guards=[writes("billing")])
async def cancel_invoice(db: Db, identity: Asker, row_id: RowId, data: JSONBody[Cancellation]) -> InvoiceView:
    """The sent or overdue invoice need not be paid; its number stays taken. A paid one cannot be cancelled."""
    row = await invoices.find(db, identity, row_id, to_change=True)
    await billing.cancel(db, row, data.reason)
    view: InvoiceView = await invoices.tell(db, identity, "cancelled", row)
    return view


@delete("/{row_id:uuid}", operation_id="delete_expense", guards=[writer])
async def delete_expense(db: Db, identity: Asker, row_id: RowId) -> None:
    """The member takes their own expense back, before anybody has decided."""
    spending.expect_own(identity, await expenses.find(db, identity, row_id, to_change=True), "deleted")
    await expenses.remove(db, identity, row_id)


@post("/{row_id:uuid}/approval", operation_id="approve_expense", guards=[writes("billing")])
async def approve_expense(db: Db, identity: Asker, row_id: RowId) -> ExpenseView:
    """The pending expense is to be given back. Nobody approves their own."""
    row = await expenses.find(db, identity, row_id, to_change=True)
    await spending.approve(db, identity, row)
    view: ExpenseView = await expenses.tell(db, identity, "approved", row)
    return view


@post("/{row_id:uuid}/rejection", operation_id="reject_expense", guards=[writes("billing")])
async def reject_expense(db: Db, identity: Asker, row_id: RowId, data: JSONBody[ExpenseRejection]) -> ExpenseView:
    """The pending expense is not given back. Nobody rejects their own."""
    row = await expenses.find(db, identity, row_id, to_change=True)
    await spending.reject(db, identity, row, data.reason)
    view: ExpenseView = await expenses.tell(db, identity, "rejected", row)
    return view


@post("/{row_id:uuid}/reimbursement", operation_id="reimburse_expense", guards=[writes("billing")])
async def reimburse_expense(db: Db, identity: Asker, row_id: RowId) -> ExpenseView:
    """The approved expense has been given back. Nobody reimburses themselves."""
    row = await expenses.find(db, identity, row_id, to_change=True)
    await spending.reimburse(db, identity, row)
    view: ExpenseView = await expenses.tell(db, identity, "reimbursed", row)
    return view


routes = Router(
    "/",
    tags=["finance"],
    route_handlers=[
        invoices.router(delete_invoice, send_invoice, pay_invoice, undo_payment, cancel_invoice),
        expenses.router(delete_expense, approve_expense, reject_expense, reimburse_expense),
    ],
)
