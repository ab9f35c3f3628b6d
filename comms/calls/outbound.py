"""Calls that members make: their own phone rings first, then the contact's."""

import uuid
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import jobs, senders
from comms.arrivals.facts import contact_created
from comms.calls import callbacks, notes, offers, queueing, recordings, rows, texts, transfers
from comms.calls import flow as flows
from comms.calls import verbs as v
from comms.calls.accepting import YES, who
from comms.calls.progress import DIAL, END_LEG, Report, end, move
from comms.calls.twiml import Line, written
from comms.consent import Question, decide
from comms.credentials import Identity
from comms.database import driver_of
from comms.errors import Conflict, Invalid, Unsendable
from comms.providers.addresses import read_address
from comms.providers.base import Channel
from comms.providers.voice import Told
from models.base import new_id, now
from models.communications import EVERYWHERE, Call, CallLeg, WorkspacePhoneNumber
from models.core import WorkspaceApiKey

RING_SECONDS = 30


async def screen(db: AsyncSession, line: Line, told: Told, query: Mapping[str, str]) -> str:
    """Whoever wants to call has picked up, and presses the key before anybody else's phone rings."""
    call, leg = await _line(db, told, query)
    if call is None or leg is None or call.ended_at is not None:
        return written(line, [v.Hangup()])
    line = _speaking(line, call)
    prompt = v.Say(f"To call {await who(db, call)}, press {YES}.")
    then = v.place("voice-dialled", leg=leg.id)
    return written(line, [v.Gather((prompt, prompt), then, seconds=5), v.Hangup()])


async def dial(db: AsyncSession, line: Line, told: Told, query: Mapping[str, str]) -> str:
    """The contact's phone rings, and shows our number; asked twice, it rings once."""
    call, leg = await _line(db, told, query)
    if call is None or leg is None or call.ended_at is not None or told.digits != YES:
        return written(line, [v.Hangup()])
    line = _speaking(line, call)
    contact = await db.scalar(select(CallLeg).where(CallLeg.call_id == call.id, CallLeg.role == "contact"))
    if contact is None:
        contact = CallLeg(
            workspace_id=call.workspace_id,
            id=new_id(),
            call_id=call.id,
            role="contact",
            provider=call.provider,
            to_address=call.to_address,
            dialled_at=now(),
        )
        await rows.told_new(db, contact, call=call)
    records = bool(call.meta.get("record"))
    rung = v.Rung(
        contact.id,
        call.to_address or "",
        v.place("voice-notice", leg=contact.id) if records else None,
        detects_machines=bool(call.meta.get("detectMachines", True)),
    )
    then = v.place("voice-done", leg=leg.id)
    return written(line, [v.Dial((rung,), then, RING_SECONDS, caller_id=call.from_address, records=records)])


async def notify(db: AsyncSession, line: Line, told: Told, query: Mapping[str, str]) -> str:
    """Whoever is called is told that it is recorded before they are put through, and nothing is recorded."""
    call, leg = await _line(db, told, query)
    if call is None or leg is None:
        return written(line, [v.Hangup()])
    return written(_speaking(line, call), [v.Say(flows.recall(call.flow).recording_notice)])


async def finish(db: AsyncSession, line: Line, told: Told, query: Mapping[str, str]) -> str:
    """What the member's phone was put through to is over, and so is their line."""
    call, leg = await _line(db, told, query)
    if call is None or leg is None:
        return written(line, [v.Hangup()])
    if told.recording is not None and told.recording.url:
        await recordings.take_recording(db, call, "call", told.recording, line=told.call_id)
    is_on = leg.ended_at is None and call.ended_at is None
    if is_on and transfers.has(call, leg):
        transfer = await transfers.parted_for(db, call, was_in=query.get("room", ""))
        if transfer is not None:
            return written(_speaking(line, call), await transfers.meeting(db, call, transfer, leg))
    if call.direction == "outbound" and leg.role == "agent":
        await _over(db, call, told)
    elif told.dial_status not in (None, "completed", "in_progress"):
        await queueing.put_back(db, call, leg)
    return written(line, [v.Hangup()])


async def meet(db: AsyncSession, line: Line, told: Told, query: Mapping[str, str]) -> str:
    """The member's line is where whoever they consult will come."""
    call, leg = await _line(db, told, query)
    transfer = None if call is None else await transfers.parted_for(db, call, was_in="")
    if call is None or leg is None or transfer is None:
        return written(line, [v.Hangup()])
    return written(_speaking(line, call), await transfers.meeting(db, call, transfer, leg))


async def place(
    db: AsyncSession,
    caller: Identity,
    to: str,
    *,
    phone_number_id: uuid.UUID | None = None,
    record: bool = False,
    detect_machines: bool = True,
) -> Call:
    """The member's phone is about to ring, and then the contact's.

    Raises ``Invalid``, ``Conflict``, and ``Unsendable`` for whoever wants to hear from us by no way.
    """
    phone = (await offers.phones_of(db, [caller.user_id])).get(caller.user_id)
    if phone is None:
        raise Conflict(
            "There is no phone of yours to ring first, or it is a number of this workspace: PUT /api/v1/me/phone."
        )
    number, connection_id = await _ours(db, phone_number_id)
    if await offers.ours_among(db, [to]):
        raise Invalid({"to": "is a number of this workspace itself"})
    if to == phone:
        raise Invalid({"to": "is a phone of this call already"})
    at = now()
    await _expect_wanted(db, caller, to, at)
    contact_id = await _contact(db, caller.workspace_id, to, at)
    call = Call(
        workspace_id=caller.workspace_id,
        id=new_id(),
        contact_id=contact_id,
        phone_number_id=number.id,
        connection_id=connection_id,
        provider=number.provider,
        direction="outbound",
        from_address=number.phone_number,
        to_address=to,
        placed_by=caller.user_id,
        meta={"record": record, "detectMachines": detect_machines},
        flow=number.voice_flow or {},
        created_at=at,
    )
    call.conversation_id = await texts.conversation_of(db, call, Channel.CALL)
    await rows.told_new(db, call)
    leg = CallLeg(
        workspace_id=caller.workspace_id,
        id=new_id(),
        call_id=call.id,
        user_id=caller.user_id,
        role="agent",
        provider=number.provider,
        to_address=phone,
    )
    await rows.told_new(db, leg, call=call)
    await notes.note(db, call, f"{call.id}/begin", "Outgoing call", at=at)
    await jobs.enqueue(db, DIAL, [{"workspaceId": call.workspace_id, "legId": leg.id}])
    return call


async def _ours(db: AsyncSession, phone_number_id: uuid.UUID | None) -> tuple[WorkspacePhoneNumber, uuid.UUID]:
    """The number that is shown, and the connection it is dialled by."""
    query = select(WorkspacePhoneNumber).where(
        WorkspacePhoneNumber.status == "active", WorkspacePhoneNumber.capabilities["voice"].as_boolean()
    )
    if phone_number_id is not None:
        query = query.where(WorkspacePhoneNumber.id == phone_number_id)
    number = await db.scalar(query.order_by(WorkspacePhoneNumber.created_at).limit(1))
    if number is None:
        raise Invalid({"phoneNumberId": "is no active number of this workspace that can call"})
    connection_id = number.connection_id or await db.scalar(
        select(WorkspaceApiKey.id)
        .where(WorkspaceApiKey.provider == number.provider, WorkspaceApiKey.is_active)
        .order_by(WorkspaceApiKey.created_at)
        .limit(1)
    )
    if connection_id is None:
        raise Conflict(f"There is no connection to {number.provider} that this number could call by.")
    return number, connection_id


async def _expect_wanted(db: AsyncSession, caller: Identity, to: str, at: datetime) -> None:
    """``Unsendable`` when they do not want to hear from us at all; who texts STOP to a number is not texted by it."""
    question = Question(
        workspace_id=caller.workspace_id, channel="call", address=to, sender=EVERYWHERE, is_reply=True, at=at
    )
    (decision,) = await decide(db, [question])
    if decision.refused:
        raise Unsendable(decision.code, f"nobody at {to} may be called: {decision.words}")


async def _contact(db: AsyncSession, workspace_id: uuid.UUID, to: str, at: datetime) -> uuid.UUID:
    """Whose number it is; somebody new if it is nobody's yet."""
    stranger = senders.Stranger(workspace_id, read_address(to), None, "outbound_call", at)
    (met,) = await senders.meet(await driver_of(db), [stranger])
    if met.is_new:
        rows.add_facts(db, [contact_created(stranger, met.contact_id)])
    return met.contact_id


async def _over(db: AsyncSession, call: Call, told: Told) -> None:
    """The contact's line ends with the <Dial>, should nobody have told of it."""
    contact = await db.scalar(select(CallLeg).where(CallLeg.call_id == call.id, CallLeg.role == "contact"))
    if contact is None or told.dial_status is None:
        return
    if await transfers.latest(db, call) is not None:
        return  # the contact was taken elsewhere, and what becomes of them is told of their own line
    if told.dial_call_id is not None:
        await callbacks.know(db, call, contact, told.dial_call_id)
    status = "completed" if told.dial_status == "in_progress" else told.dial_status
    await move(db, call, contact, Report(status, duration_seconds=told.dial_seconds))
    if call.ended_at is None and contact.ended_at is not None:
        await end(db, call, contact.status, contact.ended_at, contact.duration_seconds)


async def _line(db: AsyncSession, told: Told, query: Mapping[str, str]) -> tuple[Call | None, CallLeg | None]:
    try:
        leg_id = uuid.UUID(query.get("leg", ""))
    except ValueError:
        return None, None
    leg = await rows.leg_of(db, leg_id)
    if leg is None or leg.provider_call_id not in (None, told.call_id):
        return None, None
    call = await rows.held_by(db, leg)
    if call is not None:
        await callbacks.know(db, call, leg, told.call_id)
        if told.status is not None:
            await move(db, call, leg, Report(told.status, duration_seconds=told.duration_seconds))
    return call, leg


def _speaking(line: Line, call: Call) -> Line:
    flow = flows.recall(call.flow)
    return Line(line.provider, line.base_url, flow.language, flow.voice, call.turn)


async def hang_up(db: AsyncSession, call: Call) -> None:
    """Every line of the call that goes on is about to end. ``call`` is held."""
    if call.ended_at is not None:
        return
    there = [leg for leg in await rows.legs_of(db, call.id) if leg.ended_at is None]
    dialled = [leg.id for leg in there if leg.provider_call_id is not None]
    await jobs.enqueue(db, END_LEG, [{"workspaceId": call.workspace_id, "legId": leg_id} for leg_id in dialled])
    if not dialled:  # nobody was dialled yet, and nobody will be
        await end(db, call, "canceled", now(), 0)
