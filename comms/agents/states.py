"""Which state may follow which: one table a kind of row, and one way to move."""

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.errors import Conflict
from models.base import Base, View, noun_of

Transitions = Mapping[str, tuple[str, ...]]

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


async def tell(db: AsyncSession, what: str, row: Base, view: type[View], *, workspace_id: Any = None) -> None:
    """``<noun>.<what>`` is recorded about the row as it now stands in the database."""
    await db.flush()
    await db.refresh(row)
    shown = msgspec.convert(row, view, from_attributes=True)
    events.record(db, f"{noun_of(type(row))}.{what}", row, shown, workspace_id=workspace_id)
