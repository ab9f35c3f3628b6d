"""The rows of a call: found by what a provider calls its lines, held while it is decided on, and told of."""

import uuid
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.calls.core import State
from models.base import Base, View, noun_of
from models.communications import (
    Call,
    CallLeg,
    CallLegView,
    CallOffer,
    CallOfferView,
    CallTransfer,
    CallTransferView,
    CallView,
    Recording,
    RecordingView,
)

VIEWS: dict[type[Base], type[View]] = {
    Call: CallView,
    CallLeg: CallLegView,
    CallOffer: CallOfferView,
    CallTransfer: CallTransferView,
    Recording: RecordingView,
}


def view_of(row: Any) -> Any:
    """The row as everyone sees it."""
    return msgspec.convert(row, VIEWS[type(row)], from_attributes=True)


async def told_new(db: AsyncSession, row: Any, *, call: Call | None = None) -> None:
    """The row is made, and that is told."""
    db.add(row)
    await db.flush()
    _record(db, row, "created", None, call)


async def tell(db: AsyncSession, row: Any, before: Any, what: str = "updated", *, call: Call | None = None) -> bool:
    """``what`` is told of a row that looks different than ``before``; whether it does."""
    await db.flush()
    after = view_of(row)
    if msgspec.structs.replace(after, updated_at=before.updated_at) == before:
        return False
    _record(db, row, what, before, call)
    return True


def _record(db: AsyncSession, row: Any, what: str, before: Any, call: Call | None) -> None:
    conversation_id = (call or row).conversation_id if call is not None or isinstance(row, Call) else None
    events.record(db, f"{noun_of(type(row))}.{what}", row, view_of(row), before=before, conversation_id=conversation_id)


async def held(db: AsyncSession, call_id: uuid.UUID) -> Call | None:
    """The call, which nobody else changes until the commit."""
    query = select(Call).where(Call.id == call_id).with_for_update(key_share=True)
    found: Call | None = await db.scalar(query.execution_options(populate_existing=True))
    return found


async def held_by(db: AsyncSession, leg: CallLeg) -> Call | None:
    """The call of a line, held; and the line as it is by now: others may have moved it on while we waited."""
    call = await held(db, leg.call_id)
    await db.flush()
    await db.refresh(leg)
    return call


async def leg_called(db: AsyncSession, provider: str, provider_call_id: str) -> CallLeg | None:
    """The line of that name."""
    found: CallLeg | None = await db.scalar(
        select(CallLeg).where(CallLeg.provider == provider, CallLeg.provider_call_id == provider_call_id)
    )
    return found


async def leg_of(db: AsyncSession, leg_id: uuid.UUID) -> CallLeg | None:
    """The line of that id of ours."""
    found: CallLeg | None = await db.scalar(select(CallLeg).where(CallLeg.id == leg_id))
    return found


async def legs_of(db: AsyncSession, call_id: uuid.UUID) -> list[CallLeg]:
    """All lines of a call, the first first."""
    return list(await db.scalars(select(CallLeg).where(CallLeg.call_id == call_id).order_by(CallLeg.created_at)))


def state_of(call: Call) -> State:
    """Where the call is in its flow."""
    return msgspec.convert(call.state, State)


def keep_state(call: Call, state: State) -> None:
    """The call is there from now on."""
    call.state = msgspec.to_builtins(state)


def add_facts(db: AsyncSession, facts: list[events.Fact]) -> None:
    """These are told when the transaction commits."""
    db.info.setdefault("facts", []).extend(facts)
