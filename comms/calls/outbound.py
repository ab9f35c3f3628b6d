"""Calls that members make: their own phone rings first, then the contact's."""

import uuid
from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.calls import callbacks, rows
from comms.calls import flow as flows
from comms.calls import verbs as v
from comms.calls.accepting import YES, who
from comms.calls.progress import Report, end, move
from comms.calls.twiml import Line, written
from comms.providers.voice import Told
from models.base import new_id, now
from models.communications import Call, CallLeg

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
    flow = flows.recall(call.flow)
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
    rung = v.Rung(contact.id, call.to_address or "", detects_machines=bool(call.meta.get("detectMachines", True)))
    verbs: list[v.Verb] = [v.Say(flow.recording_notice)] if records else []
    then = v.place("voice-done", leg=leg.id)
    verbs.append(v.Dial((rung,), then, RING_SECONDS, caller_id=call.from_address, records=records))
    return written(line, verbs)


async def finish(db: AsyncSession, line: Line, told: Told, query: Mapping[str, str]) -> str:
    """What the member's phone was put through to is over, and so is their line."""
    call, leg = await _line(db, told, query)
    if call is not None and leg is not None and call.direction == "outbound":
        await _over(db, call, told)
    return written(line, [v.Hangup()])


async def _over(db: AsyncSession, call: Call, told: Told) -> None:
    """The contact's line ends with the <Dial>, should nobody have told of it."""
    contact = await db.scalar(select(CallLeg).where(CallLeg.call_id == call.id, CallLeg.role == "contact"))
    if contact is None or told.dial_status is None:
        return
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
    call = await rows.held(db, leg.call_id)
    if call is not None:
        await callbacks.know(db, call, leg, told.call_id)
        if told.status is not None:
            await move(db, call, leg, Report(told.status, duration_seconds=told.duration_seconds))
    return call, leg


def _speaking(line: Line, call: Call) -> Line:
    flow = flows.recall(call.flow)
    return Line(line.provider, line.base_url, flow.language, flow.voice, call.turn)
