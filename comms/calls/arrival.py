"""A call has come in: whose number was called, who calls, and the conversation it belongs to."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import arrivals
from comms.calls import flow as flows
from comms.calls import rows
from comms.database import driver_of
from comms.directory import Connection
from comms.providers.base import Channel, InboundMessage, Request
from comms.providers.voice import Told
from models.base import new_id
from models.communications import ENDED, Call, CallLeg, CallReport, WorkspacePhoneNumber


class Begun(msgspec.Struct, frozen=True):
    """A call and the caller's line, not in the database yet. ``is_spoken_of``: reports of the line came before it."""

    call: Call
    leg: CallLeg
    is_spoken_of: bool


async def begin(db: AsyncSession, connection: Connection, request: Request, told: Told, at: datetime) -> Begun | None:
    """The call that has come in, with the message of its conversation kept; None if no number of ours is meant.

    Who calls becomes a contact unless they withhold who they are. Whoever waits for the answer hears nothing: what is
    decided now is written with the call, by ``keep``.
    """
    at = _began(told, at)
    call_id = new_id()
    arrival = arrivals.Arrival(connection, request, _message(told, str(call_id)), at)
    passages, facts = await arrivals.enter(await driver_of(db), [arrival])
    passage = passages[0]
    if passage.number_id is None:
        return None
    rows.add_facts(db, facts)
    parked = exists().where(
        CallReport.provider == told.provider,
        CallReport.provider_call_id == told.call_id,
        CallReport.leg_id.is_(None),
    )
    query = select(WorkspacePhoneNumber, parked).where(WorkspacePhoneNumber.id == passage.number_id)
    number, is_spoken_of = (await db.execute(query)).one()
    caller, provider = told.caller, told.provider
    call = Call(
        workspace_id=connection.workspace_id,
        id=call_id,
        conversation_id=passage.conversation_id,
        contact_id=passage.contact_id,
        phone_number_id=passage.number_id,
        connection_id=connection.id,
        provider=provider,
        direction="inbound",
        status="ringing",
        from_address=caller.value if caller.is_identity else caller.raw,
        to_address=number.phone_number,
        caller_name=told.caller_name,
        forwarded_from=told.forwarded_from,
        meta=told.details,
        flow=number.voice_flow or flows.kept(flows.DEFAULT),
        state={},
        turn=0,
        created_at=at,
    )
    leg = CallLeg(
        workspace_id=connection.workspace_id,
        call_id=call.id,
        role="caller",
        provider=provider,
        provider_call_id=told.call_id,
        to_address=number.phone_number,
        status=call.status,
        created_at=at,
    )
    return Begun(call, leg, is_spoken_of)


async def keep(db: AsyncSession, begun: Begun) -> None:
    """The call is there once: of the same webhook twice at once one fails on a unique key, to be done again."""
    await rows.told_new(db, begun.call)
    await rows.told_new(db, begun.leg, call=begun.call)


def _began(told: Told, heard_at: datetime) -> datetime:
    """When it came in: when it was heard of, unless the first that is heard is that it is over."""
    if told.status not in ENDED or told.at is None:
        return heard_at
    return min(heard_at, told.at - timedelta(seconds=told.duration_seconds or 0))


def _message(told: Told, call_id: str) -> InboundMessage:
    details: dict[str, Any] = {**told.details, "callId": call_id}
    return InboundMessage(
        provider=told.provider,
        provider_message_id=told.call_id,
        account=told.account,
        channel=Channel.CALL,
        sender=told.caller,
        recipient=told.called,
        content="Incoming call",
        sender_name=told.caller_name,
        details=details,
    )
