"""A call has come in: whose number was called, who calls, and the conversation it belongs to."""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import arrivals
from comms.calls import flow as flows
from comms.calls import rows
from comms.directory import Connection
from comms.providers.base import Channel, InboundMessage, Request
from comms.providers.voice import Told
from models.base import new_id
from models.communications import Call, CallLeg, WorkspacePhoneNumber


async def begin(db: AsyncSession, connection: Connection, request: Request, told: Told, at: datetime) -> Call | None:
    """The call is kept once, as a message of its conversation and a row of its own; None if no number of ours is meant.

    Who calls becomes a contact unless they withhold who they are. Two of the same webhook at once make one: the second
    fails on a unique key, to be done again.
    """
    call_id = new_id()
    arrival = arrivals.Arrival(connection, request, _message(told, str(call_id)), at)
    passages, facts = await arrivals.enter(await rows.driver_of(db), [arrival])
    passage = passages[0]
    if passage.number_id is None:
        return None
    rows.add_facts(db, facts)
    number = await db.get_one(WorkspacePhoneNumber, (connection.workspace_id, passage.number_id))
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
        created_at=at,
    )
    await rows.told_new(db, call)
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
    await rows.told_new(db, leg, call=call)
    return call


async def number_at(db: AsyncSession, told: Told) -> WorkspacePhoneNumber | None:
    """The number of ours that was called."""
    found: WorkspacePhoneNumber | None = await db.scalar(
        select(WorkspacePhoneNumber).where(
            WorkspacePhoneNumber.phone_number == told.called.value, WorkspacePhoneNumber.status != "released"
        )
    )
    return found


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
