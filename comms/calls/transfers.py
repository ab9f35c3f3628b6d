"""A call is handed to somebody else: at once, or after a word with them.

Blind: the contact's line is taken to the new phone, and the member's ends. Warm: the contact hears music in a room of
their own, the member and whoever is consulted meet in another. Then the contact joins them and the member leaves, or
the two who spoke before meet in a third: whoever was consulted ends the second one by leaving. A member who hangs up
meanwhile leaves the contact to whoever is consulted.
"""

import uuid

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import jobs
from comms.calls import flow as flows
from comms.calls import notes, offers, progress, rows
from comms.calls import verbs as v
from comms.calls.core import Decision, Offer, Target, World, dial
from comms.calls.progress import DIAL, REDIRECT
from comms.credentials import Identity
from comms.errors import Conflict, Invalid
from models.base import new_id, now
from models.communications import Call, CallLeg, CallTransfer

RING_SECONDS = 25
OPEN = ("ringing", "consulting")
TALK = "talk"
"""What a room is called in the addresses of those who talk there with the contact: when it ends, the call does."""


async def begin(
    db: AsyncSession, asker: Identity, call: Call, *, kind: str, user_id: uuid.UUID | None, phone: str | None
) -> CallTransfer:
    """The call is being handed over; raises ``Conflict`` and ``Invalid``. ``call`` is held."""
    if call.ended_at is not None or call.answered_at is None:
        raise Conflict("Only a call that somebody has answered, and that goes on, can be handed over.")
    if await open_one(db, call) is not None:
        raise Conflict("This call is being handed over already: complete that, or take it back.")
    to = phone
    if user_id is not None:
        to = (await offers.phones_of(db, [user_id])).get(user_id)
        if to is None:
            raise Invalid({"userId": "is no active member with a phone"})
    if to is None or (user_id is not None and phone is not None):
        raise Invalid({"userId": "or else phoneNumber says to whom: one of the two"})
    contact, member = await lines(db, call)
    if contact is None or (kind == "warm" and member is None):
        raise Conflict("The lines of this call are not known to the provider yet: try again.")
    transfer = CallTransfer(
        workspace_id=call.workspace_id,
        id=new_id(),
        call_id=call.id,
        kind=kind,
        state="ringing",
        requested_by=asker.user_id,
        to_user_id=user_id,
        to_address=to,
    )
    await rows.told_new(db, transfer, call=call)
    if kind == "blind":
        await _redirect(db, contact, "voice-transfer", transfer)
        return transfer
    assert member is not None
    offer = _offer(await offers.world_of(db, call, flows.recall(call.flow)), transfer)
    await offers.make(db, call, offer, "transfer")
    await jobs.enqueue(db, DIAL, [{"workspaceId": call.workspace_id, "legId": offer.targets[0].leg_id}])
    # Whichever line the other hangs on is taken away; the other goes on by itself, at the end of its <Dial>.
    if call.direction == "inbound":
        await _redirect(db, member, "voice-room", transfer)
    else:
        await _redirect(db, contact, "voice-transfer", transfer)
    return transfer


async def complete(db: AsyncSession, call: Call) -> CallTransfer:
    """Whoever was consulted has the contact, and the member's line ends; raises ``Conflict``."""
    transfer = await open_one(db, call)
    if transfer is None or transfer.state != "consulting":
        raise Conflict("Nobody has been reached whom this call could be left to.")
    return await _leave_to(db, call, transfer)


async def _leave_to(db: AsyncSession, call: Call, transfer: CallTransfer) -> CallTransfer:
    contact, member = await lines(db, call)
    before, call_before = rows.view_of(transfer), rows.view_of(call)
    transfer.state, transfer.ended_at = "completed", now()
    call.answered_by = transfer.to_user_id
    state = rows.state_of(call)
    state.accepted_leg = await db.scalar(
        select(CallLeg.id)
        .where(CallLeg.call_id == call.id, CallLeg.role == "consulted", CallLeg.ended_at.is_(None))
        .order_by(CallLeg.created_at.desc())
        .limit(1)
    )
    rows.keep_state(call, state)
    await rows.tell(db, transfer, before, "completed", call=call)
    await rows.tell(db, call, call_before)
    await _note(db, call, transfer)
    if contact is not None:
        await _redirect(db, contact, "voice-transfer", transfer)
    if member is not None:
        await _end(db, member)
    return transfer


async def cancel(db: AsyncSession, call: Call) -> CallTransfer:
    """The member has the contact back, and nobody else is rung or consulted any more; raises ``Conflict``."""
    transfer = await open_one(db, call)
    _, member = await lines(db, call)
    if transfer is None or (transfer.kind == "blind" and member is None):
        raise Conflict("There is no word with anybody that could be broken off.")
    if transfer.kind == "blind":
        await call_off(db, call, transfer)
    else:
        await give_back(db, call, transfer)
    return transfer


async def is_off(db: AsyncSession, transfer_id: uuid.UUID) -> bool:
    """Whether the contact is not to be taken to anybody else any more."""
    found = await db.get(CallTransfer, (db.info["workspace_id"], transfer_id))
    return found is None or (found.kind == "blind" and found.state not in OPEN)


async def stay(db: AsyncSession, transfer_id: uuid.UUID) -> None:
    """The provider has refused to take a line elsewhere: the contact, if it was theirs, talks on with the member."""
    call_id = await db.scalar(select(CallTransfer.call_id).where(CallTransfer.id == transfer_id))
    call = None if call_id is None else await rows.held(db, call_id)
    transfer = None if call is None else await open_one(db, call)
    if call is not None and transfer is not None and transfer.id == transfer_id and transfer.kind == "blind":
        await call_off(db, call, transfer)


async def call_off(db: AsyncSession, call: Call, transfer: CallTransfer) -> None:
    """The call is not handed over, and that is told."""
    before = rows.view_of(transfer)
    transfer.state, transfer.ended_at = "canceled", now()
    await rows.tell(db, transfer, before, "canceled", call=call)


async def give_back(db: AsyncSession, call: Call, transfer: CallTransfer) -> None:
    """The contact and the member meet again; a contact whose member is gone goes on as if nobody had answered."""
    await call_off(db, call, transfer)
    contact, member = await lines(db, call)
    if contact is not None:
        await _redirect(db, contact, "voice-transfer", transfer)
    if member is not None:
        await _redirect(db, member, "voice-room", transfer)
    consulted = await db.scalars(
        select(CallLeg).where(CallLeg.call_id == call.id, CallLeg.role == "consulted", CallLeg.ended_at.is_(None))
    )
    for leg in consulted:
        await _end(db, leg)
    await progress.withdraw_offers(db, call)


async def reached(db: AsyncSession, call: Call) -> CallTransfer | None:
    """Whoever is to have the call has accepted: of a blind transfer that is all."""
    transfer = await open_one(db, call)
    if transfer is None:
        return None
    before, call_before = rows.view_of(transfer), rows.view_of(call)
    if transfer.kind == "warm":
        transfer.state = "consulting"
        await rows.tell(db, transfer, before, call=call)
        _, member = await lines(db, call)
        return transfer if member is not None else await _leave_to(db, call, transfer)
    transfer.state, transfer.ended_at = "completed", now()
    call.answered_by = transfer.to_user_id
    await rows.tell(db, transfer, before, "completed", call=call)
    await rows.tell(db, call, call_before)
    await _note(db, call, transfer)
    return transfer


async def goes_on(db: AsyncSession, call: Call, world: World, *, transfer_id: uuid.UUID | None) -> Decision | None:
    """What the contact's line does while its call is handed over, or after; None when it is not."""
    transfer = (
        await open_one(db, call)
        if transfer_id is None
        else await db.get(CallTransfer, (call.workspace_id, transfer_id))
    )
    if transfer is None or transfer.call_id != call.id:
        return None
    decision = Decision(rows.state_of(call))
    if transfer.kind == "blind":
        if transfer.state not in OPEN:
            return None
        decision.offer = _offer(world, transfer)
        decision.verbs.append(dial(decision.offer, world))
    elif transfer.state in OPEN:
        decision.verbs.append(v.Join(f"hold-{call.id}", v.place("voice-dial"), begins=False))
    else:
        _, member = await lines(db, call)
        if member is None and transfer.state == "canceled":
            return None
        decision.verbs.append(v.Join(room_of(transfer), v.place("voice-dial", room=TALK), ends=True))
    return decision


def room_of(transfer: CallTransfer) -> str:
    """Where the member and whoever is consulted meet; where the member has the contact back, if they broke it off."""
    return f"{'back' if transfer.state == 'canceled' else 'transfer'}-{transfer.id}"


def meeting(transfer: CallTransfer, leg: CallLeg) -> list[v.Verb]:
    """A line joins the two. A member who consults may leave without ending it; else who has the call ends it."""
    is_back = transfer.state == "canceled"
    is_consulted = leg.created_at >= transfer.created_at
    if is_back and is_consulted:
        return [v.Hangup()]
    then = v.place("voice-done", leg=leg.id, **({"room": TALK} if is_back else {}))
    return [v.Join(room_of(transfer), then, ends=is_back or is_consulted), v.Hangup()]


def has(call: Call, leg: CallLeg) -> bool:
    """Whether the line is that of the member who has the call."""
    accepted = rows.state_of(call).accepted_leg
    return leg.id == accepted or (accepted is None and call.direction == "outbound" and leg.role == "agent")


async def line_over(db: AsyncSession, call: Call, leg: CallLeg) -> None:
    """A line has ended: nobody who hangs up leaves the contact waiting for them. ``call`` is held."""
    transfer = await latest(db, call)
    if transfer is None or transfer.kind != "warm" or call.ended_at is not None:
        return
    if transfer.state in OPEN and leg.role == "consulted" and leg.created_at >= transfer.created_at:
        await give_back(db, call, transfer)
    elif transfer.state == "consulting" and has(call, leg):
        await _leave_to(db, call, transfer)


async def open_one(db: AsyncSession, call: Call) -> CallTransfer | None:
    """The transfer of a call that goes on."""
    query = select(CallTransfer).where(CallTransfer.call_id == call.id, CallTransfer.state.in_(OPEN))
    found: CallTransfer | None = await db.scalar(query.with_for_update())
    return found


async def latest(db: AsyncSession, call: Call) -> CallTransfer | None:
    """The last transfer of a call, whatever has become of it."""
    query = select(CallTransfer).where(CallTransfer.call_id == call.id)
    found: CallTransfer | None = await db.scalar(query.order_by(CallTransfer.created_at.desc()).limit(1))
    return found


async def meeting_of(db: AsyncSession, call: Call, *, was_in: str) -> CallTransfer | None:
    """The transfer for which the member waits in a room: one that goes on, or that was broken off.

    ``was_in`` is the room that the member has come out of: when their talk with the contact is over, it is.
    """
    transfer = await latest(db, call)
    if transfer is None or transfer.kind != "warm" or transfer.state == "completed":
        return None
    return None if transfer.state == "canceled" and was_in == TALK else transfer


async def lines(db: AsyncSession, call: Call) -> tuple[CallLeg | None, CallLeg | None]:
    """The contact's line and the member's, as far as the provider has named them and they go on."""
    there = [leg for leg in await rows.legs_of(db, call.id) if leg.provider_call_id and leg.ended_at is None]
    contact = next((leg for leg in there if leg.role in progress.CONTACTS_LINE), None)
    accepted = rows.state_of(call).accepted_leg
    members = [leg for leg in there if leg.id == accepted]
    if accepted is None and call.direction == "outbound":
        members = [leg for leg in there if leg.role == "agent"]
    return contact, members[0] if members else None


async def _note(db: AsyncSession, call: Call, transfer: CallTransfer) -> None:
    to = await notes.name_of(db, transfer.to_user_id) or transfer.to_address
    await notes.note(db, call, f"{transfer.id}/completed", f"Handed over to {to}")


def _offer(world: World, transfer: CallTransfer) -> Offer:
    target = Target(world.new_id(), transfer.to_address, transfer.to_user_id)
    return Offer(world.new_id(), world.new_token(), (target,), RING_SECONDS, 1)


async def _redirect(db: AsyncSession, leg: CallLeg, kind: str, transfer: CallTransfer) -> None:
    query = {"transfer": str(transfer.id), "leg": str(leg.id)}
    payload = {"workspaceId": leg.workspace_id, "legId": leg.id, "kind": kind, "query": query}
    await jobs.enqueue(db, REDIRECT, [payload])


async def _end(db: AsyncSession, leg: CallLeg) -> None:
    await jobs.enqueue(db, progress.END_LEG, [{"workspaceId": leg.workspace_id, "legId": leg.id}])
