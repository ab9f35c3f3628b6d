"""Expenses: submitted by the member who spent the money, decided by somebody else who may."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, true
from sqlalchemy.ext.asyncio import AsyncSession

from comms import permissions, states
from comms.credentials import Identity
from comms.errors import Forbidden, Invalid
from models.base import now
from models.finance import Expense

ALLOWED: states.Allowed = {
    "changed": ("pending",),
    "deleted": ("pending",),
    "approved": ("pending",),
    "rejected": ("pending",),
    "reimbursed": ("approved",),
}


def seen_by(identity: Identity) -> ColumnElement[bool]:
    """Members see their own expenses, and those who decide see everybody's."""
    if permissions.allows(identity.role, identity.permissions, "billing", "write"):
        return true()
    return Expense.submitted_by == identity.user_id


async def submit(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> Expense:
    """The member asks for the money back."""
    _expect_address(values)
    expense = Expense(workspace_id=identity.workspace_id, submitted_by=identity.user_id, **values)
    db.add(expense)
    return expense


async def change(db: AsyncSession, identity: Identity, expense: Expense, values: dict[str, Any]) -> None:
    """The member has put their expense differently, before anybody has decided."""
    expect_own(identity, expense, "changed")
    _expect_address(values)
    for name, value in values.items():
        setattr(expense, name, value)


def expect_own(identity: Identity, expense: Expense, done: str) -> None:
    """``Forbidden`` when it is somebody else's, ``Conflict`` when somebody has decided."""
    if expense.submitted_by != identity.user_id:
        raise Forbidden(f"An expense is {done} only by the member who submitted it.")
    states.expect("expense", expense.status, done, ALLOWED)


async def approve(db: AsyncSession, identity: Identity, expense: Expense) -> None:
    """The money is owed to the member. The caller holds the row."""
    _expect_another(identity, expense, "approved")
    expense.status, expense.approved_by, expense.approved_at = "approved", identity.user_id, now()


async def reject(db: AsyncSession, identity: Identity, expense: Expense, reason: str) -> None:
    """The money is not given back, and the member reads why."""
    _expect_another(identity, expense, "rejected")
    expense.status, expense.rejected_by, expense.rejected_at = "rejected", identity.user_id, now()
    expense.rejection_reason = reason


async def reimburse(db: AsyncSession, identity: Identity, expense: Expense) -> None:
    """The member has the money."""
    _expect_another(identity, expense, "reimbursed")
    expense.status, expense.reimbursed_by, expense.reimbursed_at = "reimbursed", identity.user_id, now()


def _expect_another(identity: Identity, expense: Expense, done: str) -> None:
    if expense.submitted_by == identity.user_id:
        raise Forbidden(f"Your own expense is {done} by somebody else with the permission billing: write.")
    states.expect("expense", expense.status, done, ALLOWED)


def _expect_address(values: Mapping[str, Any]) -> None:
    receipt = values.get("receipt")
    if receipt is None:
        return
    try:
        parts = urlsplit(receipt)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_address = False
    if not is_address:
        raise Invalid({"receipt": "must be an http:// or https:// address"})
