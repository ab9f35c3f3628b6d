"""How each number stands against its provider's log; which are due to be compared, each by one worker."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import case, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.errors import Conflict, Missing
from models.base import new_id, now
from models.communications import NumberSweep, NumberSweepView, WorkspacePhoneNumber

EVERY = timedelta(minutes=15)
FIRST = timedelta(minutes=2)
AT_ONCE = 20


class Task(msgspec.Struct, frozen=True):
    """A number that is to be compared, from when on."""

    workspace_id: uuid.UUID
    number_id: uuid.UUID
    number: str
    provider: str
    connection_id: uuid.UUID | None
    swept_until: datetime
    has_voice: bool


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep has found; with an ``error`` it has not come to its end."""

    until: datetime
    compared: int = 0
    missing: int = 0
    back_filled: int = 0
    error: str | None = None


async def take_up(db: AsyncSession, *, most: int = AT_ONCE) -> list[Task]:
    """Numbers that are due, which no other worker takes up before the next time."""
    await _begin(db, WorkspacePhoneNumber.status == "active")
    due = (
        select(NumberSweep)
        .where(NumberSweep.next_sweep_at <= now())
        .order_by(NumberSweep.next_sweep_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    rows = list(await db.scalars(due))
    for row in rows:
        row.next_sweep_at = now() + EVERY
    await db.flush()
    return [task for row in rows if (task := await _task(db, row)) is not None]


async def take_up_one(db: AsyncSession, workspace_id: uuid.UUID, number_id: uuid.UUID) -> Task:
    """That number, now; raises ``Missing``, and ``Conflict`` when nothing comes in by it."""
    this = (WorkspacePhoneNumber.workspace_id == workspace_id, WorkspacePhoneNumber.id == number_id)
    status = await db.scalar(select(WorkspacePhoneNumber.status).where(*this))
    if status is None:
        raise Missing(f"There is no workspace phone number {number_id} in this workspace.")
    if status != "active":
        raise Conflict(f"The number is {status}: only an active one is compared with its provider's log.")
    await _begin(db, *this)
    row = (await db.scalars(select(NumberSweep).where(*_of(workspace_id, number_id)))).one()
    task = await _task(db, row)
    assert task is not None
    return task


async def settle(db: AsyncSession, task: Task, result: Result) -> None:
    """The number stands as the sweep has found; told when something was filled in or has changed."""
    row = await db.scalar(select(NumberSweep).where(*_of(task.workspace_id, task.number_id)).with_for_update())
    if row is None:  # the number is gone
        return
    before = msgspec.convert(row, NumberSweepView, from_attributes=True)
    row.error = result.error
    row.back_filled += result.back_filled
    if result.back_filled:
        row.last_back_filled_at = now()
    if result.error is None:
        row.checked_at, row.compared, row.missing = now(), result.compared, result.missing
        if not result.missing:
            row.swept_until = max(row.swept_until, result.until)
    await db.flush()
    view = msgspec.convert(row, NumberSweepView, from_attributes=True)
    if result.back_filled or (before.missing, before.error) != (view.missing, view.error):
        events.record(db, "number_sweep.completed", row, view, before=before)


async def standing(db: AsyncSession) -> Sequence[Any]:
    """Of each active number: its id, what it lacks, and when it was last compared; None for never."""
    is_its_own = (WorkspacePhoneNumber.workspace_id == NumberSweep.workspace_id) & (
        WorkspacePhoneNumber.id == NumberSweep.phone_number_id
    )
    missing = case((NumberSweep.checked_at.is_not(None), NumberSweep.missing)).label("missing")
    return (
        await db.execute(
            select(WorkspacePhoneNumber.id.label("phone_number_id"), missing, NumberSweep.checked_at)
            .outerjoin(NumberSweep, is_its_own)
            .where(WorkspacePhoneNumber.status == "active")
        )
    ).all()


def _of(workspace_id: uuid.UUID, number_id: uuid.UUID) -> tuple[Any, Any]:
    return NumberSweep.workspace_id == workspace_id, NumberSweep.phone_number_id == number_id


async def _begin(db: AsyncSession, *which: Any) -> None:
    """Every such number has its record; from when it was ours on, its log is ours too."""
    has_one = (
        select(NumberSweep.id)
        .where(
            NumberSweep.workspace_id == WorkspacePhoneNumber.workspace_id,
            NumberSweep.phone_number_id == WorkspacePhoneNumber.id,
        )
        .exists()
    )
    new = (await db.scalars(select(WorkspacePhoneNumber).where(*which, ~has_one))).all()
    if not new:
        return
    at = now()
    rows = [
        {
            "workspace_id": number.workspace_id,
            "id": new_id(),
            "phone_number_id": number.id,
            "swept_until": number.created_at,
            "next_sweep_at": at + FIRST,
            "created_at": at,
            "updated_at": at,
        }
        for number in new
    ]
    await db.execute(insert(NumberSweep).values(rows).on_conflict_do_nothing())


async def _task(db: AsyncSession, row: NumberSweep) -> Task | None:
    number = await db.get(WorkspacePhoneNumber, (row.workspace_id, row.phone_number_id))
    if number is None or number.status != "active":
        return None
    return Task(
        workspace_id=row.workspace_id,
        number_id=number.id,
        number=number.phone_number,
        provider=number.provider,
        connection_id=number.connection_id,
        swept_until=row.swept_until,
        has_voice=number.phone_number.startswith("+") and number.capabilities.get("voice") is not False,
    )
