"""The line of a member whose phone rings: they hear who it is, and press a key to have the call."""

import uuid
from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.calls import callbacks, notes, offers, progress, rows, transfers
from comms.calls import flow as flows
from comms.calls import verbs as v
from comms.calls.twiml import Line, written
from comms.providers.voice import Told
from models.communications import Call, CallLeg
from models.crm import Contact

YES = "1"


async def screen(db: AsyncSession, line: Line, told: Told, query: Mapping[str, str]) -> str:
    """Whoever has picked up hears who calls, and is asked for the key: a mailbox presses none."""
    call, leg = await _line(db, told, query)
    if call is None or leg is None:
        return written(line, [v.Hangup()])
    await offers.give_time(db, call, leg)
    line = _speaking(line, call)
    then = v.place("voice-accepted", leg=leg.id, token=query.get("token", ""))
    prompt = v.Say(f"Call from {await who(db, call)}. To accept, press {YES}.")
    return written(line, [v.Gather((prompt, prompt), then, seconds=5), v.Hangup()])


async def accept(db: AsyncSession, line: Line, told: Told, query: Mapping[str, str]) -> str:
    """The call is theirs who pressed the key first; others are told that somebody else has it."""
    call, leg = await _line(db, told, query)
    if call is None or leg is None or told.digits != YES:
        return written(line, [v.Hangup()])
    line = _speaking(line, call)
    offer = await offers.accept(db, call, leg, query.get("token", ""))
    if offer is None:
        return written(line, [v.Say("Somebody else has taken this call, or the caller is gone."), v.Hangup()])
    if offer.origin != "transfer":
        await _answer(db, call)
        said = f"{await notes.name_of(db, leg.user_id) or leg.to_address} has taken the call"
        await notes.note(db, call, f"{offer.id}/accepted", said)
    if offer.origin == "queue":
        step = flows.recall(call.flow).steps.get(rows.state_of(call).step)
        records = isinstance(step, flows.Queue) and step.record
        then = v.place("voice-done", leg=leg.id)
        return written(line, [v.TakeFromQueue(f"call-{call.id}", then, records=records), v.Hangup()])
    transfer = await transfers.reached(db, call)
    if transfer is not None and transfer.kind == "warm":
        return written(line, await transfers.meeting(db, call, transfer, leg))
    return written(line, [])  # when this document ends, the two are put through


async def _answer(db: AsyncSession, call: Call) -> None:
    """The caller's line talks from now on: no provider tells so of one that it has called us by."""
    caller = await db.scalar(select(CallLeg).where(CallLeg.call_id == call.id, CallLeg.role == "caller"))
    if caller is not None:
        await progress.move(db, call, caller, progress.Report("in_progress"))


async def who(db: AsyncSession, call: Call) -> str:
    """The contact's name, or as much of who calls as is known, as it is spoken."""
    if call.contact_id is not None:
        contact = await db.scalar(select(Contact).where(Contact.id == call.contact_id))
        name = " ".join(filter(None, (contact.first_name, contact.last_name))) if contact is not None else ""
        if name:
            return name
    if call.caller_name:
        return call.caller_name
    number = (call.from_address if call.direction == "inbound" else call.to_address) or ""
    return " ".join(number.removeprefix("+")) if number.startswith("+") else "a withheld number"


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
            await progress.move(db, call, leg, progress.Report(told.status, duration_seconds=told.duration_seconds))
    return call, leg


def _speaking(line: Line, call: Call) -> Line:
    flow = flows.recall(call.flow)
    return Line(line.provider, line.base_url, flow.language, flow.voice, call.turn)
