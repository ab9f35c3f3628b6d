"""Projects: they end no earlier than they start, and what they are invoiced for is their customer's."""

import uuid
from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Conflict, Invalid
from models.business import Project
from models.finance import Invoice

MOST_NAMED = 10


async def create(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> Project:
    """The project exists; ``Invalid`` names the date that is before its start."""
    _expect_order(values)
    project = Project(workspace_id=workspace_id, **values)
    db.add(project)
    return project


async def change(db: AsyncSession, project: Project, values: Mapping[str, Any]) -> None:
    """The project has the new values; ``Invalid`` names the date that is before its start. The caller holds its row.

    ``Conflict`` when it would be another customer's than an invoice of it is.
    """
    dates = {name: getattr(project, name) for name in ("start_date", "end_date", "actual_end_date")}
    _expect_order({**dates, **values})
    if values.get("customer_id") not in (None, project.customer_id):
        await _expect_invoices_of(db, project, values["customer_id"])
    for name, value in values.items():
        setattr(project, name, value)


async def _expect_invoices_of(db: AsyncSession, project: Project, customer_id: uuid.UUID) -> None:
    query = select(Invoice.id, Invoice.invoice_number).where(
        Invoice.workspace_id == project.workspace_id,
        Invoice.project_id == project.id,
        Invoice.customer_id != customer_id,
    )
    others = (await db.execute(query.order_by(Invoice.id).limit(MOST_NAMED + 1))).all()
    if others:
        named = ", ".join(row.invoice_number or f"the draft {row.id}" for row in others[:MOST_NAMED])
        more = " and others" if len(others) > MOST_NAMED else ""
        raise Conflict(
            f"another customer has invoices for this project: {named}{more}",
            fields=["customerId"],
            conflicting_id=others[0].id,
        )


def _expect_order(values: Mapping[str, Any]) -> None:
    start: date | None = values.get("start_date")
    ends = {"endDate": values.get("end_date"), "actualEndDate": values.get("actual_end_date")}
    wrong = {
        name: f"must not be before startDate ({start})"
        for name, end in ends.items()
        if start is not None and end is not None and end < start
    }
    if wrong:
        raise Invalid(wrong)
