"""Which state may follow which: one table a kind of row, one way to hold it and one to move."""

import uuid
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.errors import Conflict, Missing
from models.base import Base, View, noun_of

R = TypeVar("R", bound=Base)

Transitions = Mapping[str, tuple[str, ...]]

ARCHIVED = "is archived and does nothing: make it a draft first, or name another agent"
"""Why nothing new is for an agent that is archived."""

AGENT: Transitions = {
    "draft": ("active", "archived"),
    "active": ("paused", "archived"),
    "paused": ("active", "archived"),
    "archived": ("draft",),
}
TEAM: Transitions = {
    "active": ("paused", "archived"),
    "paused": ("active", "archived"),
    "archived": ("active",),
}
WORKFLOW: Transitions = AGENT
EXECUTION: Transitions = {
    "pending": ("running", "cancelled"),
    "running": ("completed", "failed", "cancelled"),
    "completed": (),
    "failed": (),
    "cancelled": (),
}
WORKFLOW_EXECUTION: Transitions = {
    "running": ("completed", "failed", "paused", "cancelled"),
    "paused": ("running", "cancelled"),
    "completed": (),
    "failed": (),
    "cancelled": (),
}
MESSAGE: Transitions = {
    "pending": ("delivered", "read", "processed"),
    "delivered": ("read", "processed"),
    "read": ("processed",),
    "processed": (),
}


def move(row: Any, to: str, transitions: Transitions, what: str) -> bool:
    """The row's status is ``to``; False when it already was. ``Conflict`` names what is allowed instead."""
    if row.status == to:
        return False
    allowed = transitions[row.status]
    if to not in allowed:
        instead = f"it can become {' or '.join(allowed)}" if allowed else "that is final"
        raise Conflict(f"this {what} is {row.status} and cannot become {to}: {instead}")
    row.status = to
    return True


async def held(db: AsyncSession, table: type[R], workspace_id: uuid.UUID, row_id: uuid.UUID) -> R:
    """The row as it is now, which nobody else changes until the commit; raises ``Missing``."""
    row: R | None = await db.get(
        table, (workspace_id, row_id), with_for_update={"key_share": True}, populate_existing=True
    )
    if row is None:
        raise Missing(f"There is no {noun_of(table).replace('_', ' ')} {row_id} in this workspace.")
    return row


async def tell(db: AsyncSession, what: str, row: Base, view: type[View], *, workspace_id: Any = None) -> None:
    """``<noun>.<what>`` is recorded about the row as it now stands in the database."""
    await db.flush()
    await db.refresh(row)
    shown = msgspec.convert(row, view, from_attributes=True)
    events.record(db, f"{noun_of(type(row))}.{what}", row, shown, workspace_id=workspace_id)
