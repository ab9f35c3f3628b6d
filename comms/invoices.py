"""Invoices: what their lines come to, and how they pass from draft to paid.

A line's amount is quantity times unit price, its tax that amount times its rate, each rounded half up to cents. The
invoice's ``tax`` is the sum of the lines' taxes, its ``amount`` (what is to be paid) the sum of both.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import msgspec
from sqlalchemy import select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, states
from comms.database import Database
from comms.errors import Conflict, Invalid
from comms.shapes import decimals_of
from models.base import new_id, now
from models.business import Project
from models.core import Workspace
from models.finance import Invoice, InvoiceCounter, InvoiceView, LineItem

PREFIX, DIGITS = "INV-", 5
AT_ONCE = 500

ALLOWED: states.Allowed = {
    "sent": ("draft",),
    "changed": ("draft",),
    "deleted": ("draft",),
    "paid": ("sent", "overdue"),
    "unpaid": ("paid",),
    "cancelled": ("sent", "overdue"),
}

_CENT = Decimal("0.01")
_FINEST = Decimal("0.0001")
_LARGEST = Decimal(10) ** 12


async def draft(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> Invoice:
    """The invoice exists, as a draft without a number; ``Invalid`` names what does not add up, and the right figure."""
    invoice = Invoice(workspace_id=workspace_id, id=new_id(), amount=Decimal(0), tax=Decimal(0), line_items=[])
    await _fill(db, invoice, values)
    db.add(invoice)
    return invoice


async def change(db: AsyncSession, invoice: Invoice, values: Mapping[str, Any]) -> None:
    """The draft has the new values, added up again; ``Conflict`` once it has been sent."""
    states.expect("invoice", invoice.status, "changed", ALLOWED)
    await _fill(db, invoice, values)


def expect_draft(invoice: Invoice) -> None:
    """``Conflict`` when the invoice may not be deleted, because it has been sent."""
    states.expect("invoice", invoice.status, "deleted", ALLOWED)


async def send(db: AsyncSession, invoice: Invoice) -> None:
    """The invoice has its number and is the customer's to pay. The caller holds its row."""
    states.expect("invoice", invoice.status, "sent", ALLOWED)
    if not invoice.line_items and not invoice.amount:
        raise Conflict("this invoice asks for nothing: give it lineItems or an amount before it is sent")
    settings = await db.scalar(select(Workspace.settings).where(Workspace.id == invoice.workspace_id))
    # The counter is held from here to the commit, so nothing that may fail comes between.
    number = await _next_number(db, invoice.workspace_id)
    invoice.invoice_number = f"{(settings or {}).get('invoicePrefix', PREFIX)}{number:0{DIGITS}d}"
    invoice.status, invoice.sent_at = "sent", now()


async def pay(db: AsyncSession, invoice: Invoice, at: datetime | None = None) -> None:
    """The invoice is paid since ``at``. The caller holds its row."""
    states.expect("invoice", invoice.status, "paid", ALLOWED)
    if at is not None and at > now():
        raise Invalid({"paidAt": "is in the future: an invoice is paid once the money has come"})
    invoice.status, invoice.paid_at = "paid", at or now()


async def undo_payment(db: AsyncSession, invoice: Invoice) -> None:
    """The invoice is to be paid again; the sweep finds out whether it is overdue."""
    states.expect("invoice", invoice.status, "unpaid", ALLOWED)
    invoice.status, invoice.paid_at = "sent", None


async def cancel(db: AsyncSession, invoice: Invoice, reason: str) -> None:
    """Nobody has to pay the invoice; it keeps its number."""
    states.expect("invoice", invoice.status, "cancelled", ALLOWED)
    invoice.status, invoice.cancelled_at, invoice.cancellation_reason = "cancelled", now(), reason


async def fall_due(database: Database) -> int:
    """Every sent invoice whose due date is over (in UTC) is overdue; says how many have become so.

    The one place that makes an invoice overdue: lists, filters and events agree, and a day later is soon enough to
    be a minute late.
    """
    fallen = 0
    while True:
        async with database.everywhere() as db:
            due = (
                select(Invoice.workspace_id, Invoice.id)
                .where(Invoice.status == "sent", Invoice.due_date < now().date())
                .order_by(Invoice.due_date)
                .limit(AT_ONCE)
                .with_for_update(key_share=True, skip_locked=True)
            )
            rows = await db.scalars(
                update(Invoice)
                .where(tuple_(Invoice.workspace_id, Invoice.id).in_(due))
                .values(status="overdue")
                .returning(Invoice)
                .execution_options(synchronize_session=False)
            )
            found = 0
            for invoice in rows:
                found += 1
                view = _shown(invoice)
                seen = msgspec.structs.replace(view, status="sent")
                events.record(db, "invoice.became_overdue", invoice, view, before=seen)
        fallen += found
        if found < AT_ONCE:
            return fallen


async def _next_number(db: AsyncSession, workspace_id: uuid.UUID) -> int:
    first = insert(InvoiceCounter).values(workspace_id=workspace_id, last_number=1)
    numbered = first.on_conflict_do_update(
        index_elements=["workspace_id"], set_={"last_number": InvoiceCounter.last_number + 1}
    ).returning(InvoiceCounter.last_number)
    number: int = (await db.execute(numbered)).scalar_one()
    return number


async def _fill(db: AsyncSession, invoice: Invoice, values: Mapping[str, Any]) -> None:
    values = {**values, **_added_up(invoice, values)}
    for name, value in values.items():
        setattr(invoice, name, value)
    if invoice.project_id is not None and {"project_id", "customer_id"} & set(values):
        with db.no_autoflush:
            # Held until the commit: whoever changes the project's customer meanwhile waits, and finds this invoice.
            held = select(Project.customer_id).where(Project.id == invoice.project_id).with_for_update(read=True)
            customer = await db.scalar(held)
        if customer is not None and customer != invoice.customer_id:
            raise Invalid({"projectId": "is a project of another customer"})


def _added_up(invoice: Invoice, values: Mapping[str, Any]) -> dict[str, Any]:
    """The lines, tax and amount as they are to be kept; ``Invalid`` names what differs from what the lines come to."""
    lines = values["line_items"] if "line_items" in values else msgspec.convert(invoice.line_items, list[LineItem])
    if not lines:
        amount, tax = values.get("amount"), values.get("tax")
        amount = invoice.amount if amount is None else amount
        tax = invoice.tax if tax is None else tax
        wrong = {"amount": "must not be negative"} if amount < 0 else {}
        if not 0 <= tax <= max(amount, 0):
            wrong["tax"] = f"must be from 0 to the amount ({amount}), which includes it"
        if wrong:
            raise Invalid(wrong)
        return {"line_items": [], "amount": amount, "tax": tax}
    kept, net, tax = _of_lines(lines)
    amount = net + tax
    wrong = {}
    if not 0 <= amount < _LARGEST:
        wrong["lineItems"] = f"come to {amount}: an invoice is for 0 or more, and less than {_LARGEST}"
    elif not 0 <= tax <= amount:
        wrong["lineItems"] = f"come to a tax of {tax}, which is not from 0 to their whole amount ({amount})"
    if values.get("tax") not in (None, tax):
        wrong["tax"] = f"must be {tax}, as the lineItems come to; leave it out to have it computed"
    if values.get("amount") not in (None, amount):
        wrong["amount"] = (
            f"must be {amount}: the lineItems ({net}) and their tax ({tax}); leave it out to have it computed"
        )
    if wrong:
        raise Invalid(wrong)
    return {"line_items": kept, "amount": amount, "tax": tax}


def _of_lines(lines: Sequence[LineItem]) -> tuple[list[Any], Decimal, Decimal]:
    """The lines with their amounts, as JSON; what they come to; and the tax on that."""
    kept: list[Any] = []
    net, tax, wrong = Decimal(0), Decimal(0), dict[str, str]()
    for place, line in enumerate(lines):
        here = f"lineItems[{place}]"
        reasons = {
            "quantity": _unfit(line.quantity, Decimal(0), Decimal(10) ** 9),
            "unitPrice": _unfit(line.unit_price, -(Decimal(10) ** 10), Decimal(10) ** 10),
            "taxRate": None if line.tax_rate is None else _unfit(line.tax_rate, Decimal(0), Decimal(100)),
        }
        unfit = {f"{here}.{name}": reason for name, reason in reasons.items() if reason}
        if unfit:
            wrong |= unfit
            continue
        amount = (line.quantity * line.unit_price).quantize(_CENT, ROUND_HALF_UP)
        if line.amount is not None and (line.amount != amount or decimals_of(line.amount) > 2):
            wrong[f"{here}.amount"] = f"must be {amount}, quantity times unitPrice; leave it out to have it computed"
        net += amount
        tax += (amount * (line.tax_rate or 0) / 100).quantize(_CENT, ROUND_HALF_UP)
        kept.append(msgspec.to_builtins(_plainly(msgspec.structs.replace(line, amount=amount))))
    if wrong:
        raise Invalid(wrong)
    return kept, net, tax


def _plainly(line: LineItem) -> LineItem:
    """The line with its figures in digits, and nothing that is less than nothing by its sign alone."""
    figures = {name: getattr(line, name) for name in ("quantity", "unit_price", "tax_rate", "amount")}
    plain = {name: f"{value or value.copy_abs():f}" for name, value in figures.items() if value is not None}
    return msgspec.structs.replace(line, **{name: Decimal(digits) for name, digits in plain.items()})


def _unfit(value: Decimal, least: Decimal, most: Decimal) -> str | None:
    """Why this is no figure for a line."""
    if not value.is_finite() or not least <= value <= most:
        return f"must be from {least} to {most}"
    return "must have at most 4 decimals" if value != value.quantize(_FINEST) else None


def _shown(invoice: Invoice) -> InvoiceView:
    return msgspec.convert(invoice, InvoiceView, from_attributes=True)
