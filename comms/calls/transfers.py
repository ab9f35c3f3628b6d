"""A call is handed to somebody else: at once, or after a word with them.

Blind: the contact's line is taken to the new phone, and the member's ends. Warm: the contact hears music, the member
and whoever is consulted meet in a room; nobody is rung for it before the member is there. Then the contact joins them
and the member leaves, or the two who spoke before meet in another room: whoever was consulted ends the first one by
leaving. A member who hangs up meanwhile leaves the contact to whoever is consulted.

A contact who hears music asks again when it is over, and is then where they belong, should the provider not take them
there when we ask for it.
"""

import uuid
from datetime import timedelta

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
BEARABLE = timedelta(seconds=30)
"""How long a contact may wait for a provider who does not take lines where we ask it to."""
A_MOMENT_SECONDS = 3.0


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
            raise Invalid({"userId": "is no active member with a phone that is no number of this workspace"})
    if to is None or (user_id is not None and phone is not None):
        raise Invalid({"userId": "or else phoneNumber says to whom: one of the two"})
    await _expect_elsewhere(db, call, "phoneNumber" if user_id is None else "userId", to)
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
        await _redirect(db, call, contact, "voice-transfer", transfer)
        return transfer
    assert member is not None
    # Whichever line hangs on the other is taken away; the other goes on by itself, at the end of its <Dial>.
    if call.direction == "inbound" or rows.state_of(call).contact_dials:
        await _redirect(db, call, member, "voice-room", transfer)
    else:
        await _redirect(db, call, contact, "voice-transfer", transfer)
    return transfer


async def _expect_elsewhere(db: AsyncSession, call: Call, field: str, to: str) -> None:
    """``Invalid`` for a number of ours and for a phone that talks in this call; ``Conflict`` for one that just ends."""
    if await offers.ours_among(db, [to]):
        raise Invalid({field: "is a number of this workspace itself"})
    there = [leg for leg in await rows.legs_of(db, call.id) if leg.ended_at is None and leg.to_address == to]
    before = await latest(db, call)
    is_left = before is not None and before.state == "completed"
    talking = [
        leg
        for leg in there
        if leg.role in progress.CONTACTS_LINE or has(call, leg) or (is_left and leg.role == "consulted")
    ]
    if talking or to == call.from_address:
        raise Invalid({field: "is a phone of this call already"})
    if there:
        raise Conflict("That phone's line in this call is about to end: try again.")


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
        await _redirect(db, call, contact, "voice-transfer", transfer)
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


async def leaves(db: AsyncSession, call: Call, transfer_id: uuid.UUID, kind: str, turn: int) -> bool:
    """Whether a line is to be taken elsewhere still: then it counts as under way. ``call`` is held.

    A contact who has asked since ``turn`` was told where to go, and so was a member who has been sent to the room.
    """
    transfer = await db.get(CallTransfer, (call.workspace_id, transfer_id))
    if transfer is None or call.ended_at is not None:
        return False
    state = rows.state_of(call)
    if call.turn != turn if kind == "voice-transfer" else state.room == room_of(transfer):
        return False
    if transfer.kind == "blind" or transfer.state not in OPEN:
        return transfer.state in OPEN or state.parted_for == transfer.id
    state.parted_for = transfer.id
    rows.keep_state(call, state)
    return True


async def stays(db: AsyncSession, call: Call, transfer_id: uuid.UUID) -> CallTransfer | None:
    """The provider has not taken a line elsewhere: those whom it was to part, if any, are not; their transfer."""
    transfer = await db.get(CallTransfer, (call.workspace_id, transfer_id))
    state = rows.state_of(call)
    if transfer is None or (transfer.kind == "warm" and state.room in _rooms_of(transfer)):
        return None
    if state.parted_for == transfer.id:
        state.parted_for = None
        rows.keep_state(call, state)
    return transfer


async def give_up(db: AsyncSession, call: Call, transfer_id: uuid.UUID) -> None:
    """The provider will not take a line elsewhere: a contact who talks with the member talks on, and it is said why."""
    transfer = await stays(db, call, transfer_id)
    if transfer is not None and transfer.state in OPEN and call.ended_at is None:
        await call_off(db, call, transfer)
        said = f"Not handed over to {await _name(db, transfer)}: the provider did not put the call through"
        await notes.note(db, call, f"{transfer.id}/refused", said)


async def call_off(db: AsyncSession, call: Call, transfer: CallTransfer) -> None:
    """The call is not handed over, and that is told."""
    before = rows.view_of(transfer)
    transfer.state, transfer.ended_at = "canceled", now()
    await rows.tell(db, transfer, before, "canceled", call=call)


async def give_back(db: AsyncSession, call: Call, transfer: CallTransfer) -> None:
    """The contact and the member meet again; a contact whose member is gone goes on as if nobody had answered.

    Two who are not parted yet talk on; a member who is on the way to the room is told when they get there.
    """
    await call_off(db, call, transfer)
    state = rows.state_of(call)
    contact, member = await lines(db, call)
    if member is not None and state.room in _rooms_of(transfer):
        await _redirect(db, call, member, "voice-room", transfer)
    elif member is None and contact is not None and state.parted_for == transfer.id:
        await _redirect(db, call, contact, "voice-transfer", transfer)
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
    state = rows.state_of(call)
    state.contact_dials = True
    rows.keep_state(call, state)
    await rows.tell(db, transfer, before, "completed", call=call)
    await rows.tell(db, call, call_before)
    await _note(db, call, transfer)
    return transfer


async def goes_on(db: AsyncSession, call: Call, world: World, *, transfer_id: uuid.UUID | None) -> Decision | None:
    """What the contact's line does while its call is handed over, or after; None when it is not."""
    transfer = None if transfer_id is None else await db.get(CallTransfer, (call.workspace_id, transfer_id))
    if transfer is None or transfer.call_id != call.id:
        return None
    decision = Decision(rows.state_of(call))
    if transfer.kind == "blind":
        if transfer.state not in OPEN:
            return None
        decision.offer = _offer(world, transfer)
        decision.verbs.append(dial(decision.offer, world))
    elif await _waits(db, call, transfer):
        decision.verbs += [v.Music(), v.Redirect(v.place("voice-transfer", transfer=transfer.id))]
    elif await _is_awaited(db, call, transfer):
        room = room_of(transfer)
        decision.verbs.append(v.Join(room, v.place("voice-dial", room=room), ends=True))
    else:
        decision.state.parted_for = None
        rows.keep_state(call, decision.state)
        return None
    return decision


async def _waits(db: AsyncSession, call: Call, transfer: CallTransfer) -> bool:
    """Whether the contact hears music: until it is known who has them, or the member is there to have them back."""
    if transfer.state != "canceled" or transfer.ended_at is None:
        return transfer.state in OPEN
    _, member = await lines(db, call)
    is_back = rows.state_of(call).room == room_of(transfer)
    return member is not None and not is_back and now() - transfer.ended_at < BEARABLE


async def _is_awaited(db: AsyncSession, call: Call, transfer: CallTransfer) -> bool:
    """Whether somebody is in the room that the contact is to join."""
    _, member = await lines(db, call)
    return member is not None and (transfer.state == "completed" or rows.state_of(call).room == room_of(transfer))


def room_of(transfer: CallTransfer) -> str:
    """Where the member and whoever is consulted meet; where the member has the contact back, if they broke it off."""
    return _rooms_of(transfer)[transfer.state == "canceled"]


def _rooms_of(transfer: CallTransfer) -> tuple[str, str]:
    return f"transfer-{transfer.id}", f"back-{transfer.id}"


async def meeting(db: AsyncSession, call: Call, transfer: CallTransfer, leg: CallLeg) -> list[v.Verb]:
    """A line joins the two. A member who consults may leave without ending it; else who has the call ends it."""
    is_back = transfer.state == "canceled"
    is_consulted = leg.created_at >= transfer.created_at
    if is_back and is_consulted:
        return [v.Hangup()]
    room = room_of(transfer)
    if not is_consulted:
        await _enter(db, call, transfer, room)
    then = v.place("voice-done", leg=leg.id, **({"room": room} if is_back else {}))
    return [v.Join(room, then, ends=is_back or is_consulted), v.Hangup()]


async def _enter(db: AsyncSession, call: Call, transfer: CallTransfer, room: str) -> None:
    """The member is in the room: whoever is to be consulted is rung, or the contact comes back. Once, if told twice."""
    state = rows.state_of(call)
    if state.room == room:
        return
    state.room = room
    rows.keep_state(call, state)
    contact, _ = await lines(db, call)
    if transfer.state == "canceled" and contact is not None:
        await _redirect(db, call, contact, "voice-transfer", transfer)
    elif transfer.state == "ringing":
        offer = _offer(await offers.world_of(db, call, flows.recall(call.flow)), transfer)
        await offers.make(db, call, offer, "transfer")
        await jobs.enqueue(db, DIAL, [{"workspaceId": call.workspace_id, "legId": offer.targets[0].leg_id}])


def has(call: Call, leg: CallLeg) -> bool:
    """Whether the line is that of the member who has the call."""
    accepted = rows.state_of(call).accepted_leg
    return leg.id == accepted or (accepted is None and call.direction == "outbound" and leg.role == "agent")


async def line_over(db: AsyncSession, call: Call, leg: CallLeg) -> None:
    """A line has ended: nobody who hangs up leaves the contact waiting for them. ``call`` is held."""
    transfer = await latest(db, call)
    if transfer is None or transfer.kind != "warm" or call.ended_at is not None:
        return
    state = rows.state_of(call)
    if transfer.state in OPEN and leg.role == "consulted" and leg.created_at >= transfer.created_at:
        await give_back(db, call, transfer)
    elif not has(call, leg):
        return
    elif transfer.state == "consulting":
        await _leave_to(db, call, transfer)
    elif transfer.state == "ringing":
        if state.room != room_of(transfer):  # nobody has been rung yet
            await give_back(db, call, transfer)
    elif state.parted_for == transfer.id:
        contact, _ = await lines(db, call)
        if contact is not None:  # who talked with them is told the end of it; who came too late is alone
            await _redirect(db, call, contact, "voice-transfer", transfer, delay_seconds=A_MOMENT_SECONDS)


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


async def parted_for(db: AsyncSession, call: Call, *, was_in: str) -> CallTransfer | None:
    """The transfer for which the contact and the member were taken apart: one that goes on, or that was broken off.

    ``was_in`` is the room that a line has come out of: when the talk of those who met again is over, it is.
    """
    transfer = await latest(db, call)
    if transfer is None or transfer.kind != "warm" or transfer.state == "completed":
        return None
    is_over = transfer.state == "canceled" and was_in == room_of(transfer)
    return None if is_over or rows.state_of(call).parted_for != transfer.id else transfer


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
    await notes.note(db, call, f"{transfer.id}/completed", f"Handed over to {await _name(db, transfer)}")


async def _name(db: AsyncSession, transfer: CallTransfer) -> str:
    return await notes.name_of(db, transfer.to_user_id) or transfer.to_address


def _offer(world: World, transfer: CallTransfer) -> Offer:
    target = Target(world.new_id(), transfer.to_address, transfer.to_user_id)
    return Offer(world.new_id(), world.new_token(), (target,), RING_SECONDS, 1)


async def _redirect(
    db: AsyncSession, call: Call, leg: CallLeg, kind: str, transfer: CallTransfer, *, delay_seconds: float = 0
) -> None:
    payload = {"workspaceId": leg.workspace_id, "legId": leg.id, "kind": kind, "transferId": transfer.id}
    payload |= {"turn": call.turn, "since": now() + timedelta(seconds=delay_seconds)}
    await jobs.enqueue(db, REDIRECT, [payload], delay_seconds=delay_seconds)


async def _end(db: AsyncSession, leg: CallLeg) -> None:
    await jobs.enqueue(db, progress.END_LEG, [{"workspaceId": leg.workspace_id, "legId": leg.id}])
