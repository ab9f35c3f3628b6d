"""Members are rung for a call, and the first who presses the key has it.

An offer is a row before any phone rings: its time runs out, its token goes with the phones it was made for, and who
has it is decided under the call's lock. A caller is offered once at a time.
"""

import hmac
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.calls import flow as flows
from comms.calls import rows
from comms.calls.core import Offer, World
from comms.calls.flow import Flow
from comms.calls.progress import end_legs
from comms.calls.rows import keep_state, state_of
from comms.providers.addresses import read_address
from models.base import now
from models.communications import Call, CallLeg, CallOffer, TeamChannelMember, WorkspacePhoneNumber
from models.core import Workspace, WorkspaceMember

DECIDES = timedelta(seconds=30)
"""How long whoever has picked up may listen to who calls, and press the key."""
GRACE = timedelta(seconds=10)
"""How long after its phones have stopped an offer may still be accepted: the key was pressed before."""


async def world_of(
    db: AsyncSession, call: Call, flow: Flow, *, at: datetime | None = None, besides: Iterable[uuid.UUID] = ()
) -> World:
    """What a decision about this call needs to know of the house."""
    users, channels = flows.people_of(flow)
    belonging: dict[uuid.UUID, list[uuid.UUID]] = {}
    if channels:
        members = await db.execute(
            select(TeamChannelMember.channel_id, TeamChannelMember.user_id)
            .where(TeamChannelMember.channel_id.in_(channels))
            .order_by(TeamChannelMember.created_at, TeamChannelMember.id)
        )
        for channel_id, user_id in members:
            belonging.setdefault(channel_id, []).append(user_id)
    everybody = users.union(*belonging.values(), besides)
    phones = await phones_of(db, everybody)
    named = {number for step in flow.steps.values() if isinstance(step, flows.People) for number in step.numbers}
    # Every look costs the caller a moment of silence: only what the flow asks for.
    asks_zone = flow.timezone is None and any(isinstance(step, flows.Hours) for step in flow.steps.values())
    settings = None
    if asks_zone:
        settings = await db.scalar(select(Workspace.settings).where(Workspace.id == call.workspace_id))
    waiting = (
        await waiting_before(db, call) if any(isinstance(step, flows.Queue) for step in flow.steps.values()) else 0
    )
    return World(
        at=at or now(),
        timezone=(settings or {}).get("timezone") or "UTC",
        phones=phones,
        channels=belonging,
        busy=await busy(db, phones, call),
        ours=await ours_among(db, named),
        waiting=waiting,
        queue=f"call-{call.id}",
        caller_id=_shown(call),
    )


def _shown(call: Call) -> str | None:
    """The number that phones show: the caller's own, which is the provider's default, or ours."""
    if call.direction == "outbound":
        return call.from_address
    return None if read_address(call.from_address or "").is_identity else call.to_address


async def phones_of(db: AsyncSession, users: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    """The phones of those among these who are active members and have one.

    A number of the workspace's is nobody's phone: it would be called by its own call, and that one by the next.
    """
    wanted = list(users)
    if not wanted:
        return {}
    is_ours = exists().where(
        WorkspacePhoneNumber.workspace_id == WorkspaceMember.workspace_id,
        WorkspacePhoneNumber.phone_number == WorkspaceMember.phone,
    )
    found = await db.execute(
        select(WorkspaceMember.user_id, WorkspaceMember.phone).where(
            WorkspaceMember.user_id.in_(wanted), WorkspaceMember.is_active, WorkspaceMember.phone.is_not(None), ~is_ours
        )
    )
    return {user_id: phone for user_id, phone in found if phone is not None}


async def ours_among(db: AsyncSession, numbers: Iterable[str]) -> frozenset[str]:
    """Those among these that are numbers of the workspace's: to ring one is to call ourselves."""
    wanted = list(numbers)
    if not wanted:
        return frozenset()
    found = await db.scalars(
        select(WorkspacePhoneNumber.phone_number).where(WorkspacePhoneNumber.phone_number.in_(wanted))
    )
    return frozenset(found)


async def busy(db: AsyncSession, users: Iterable[uuid.UUID], call: Call) -> frozenset[uuid.UUID]:
    """Those among these whose phone rings, or who talk, for another call."""
    wanted = list(users)
    if not wanted:
        return frozenset()
    found = await db.scalars(
        select(CallLeg.user_id)
        .join(Call, (Call.workspace_id == CallLeg.workspace_id) & (Call.id == CallLeg.call_id))
        .where(
            CallLeg.user_id.in_(wanted),
            CallLeg.ended_at.is_(None),
            CallLeg.call_id != call.id,
            Call.ended_at.is_(None),
        )
    )
    return frozenset(user_id for user_id in found if user_id is not None)


async def waiting_before(db: AsyncSession, call: Call) -> int:
    """How many wait on the same number already, longer than this call does."""
    query = select(Call.id).where(
        Call.phone_number_id == call.phone_number_id, Call.queue.is_not(None), Call.id != call.id
    )
    if call.queue is not None:
        query = query.where(Call.queue == call.queue, Call.waiting_since < call.waiting_since)
    return len((await db.scalars(query)).all())


async def make(db: AsyncSession, call: Call, offer: Offer, origin: str) -> CallOffer:
    """The offer is there, and the lines of its phones. ``call`` is held; an offer of it before this one is over."""
    earlier = await db.scalars(
        select(CallOffer).where(CallOffer.call_id == call.id, CallOffer.state == "offered").with_for_update()
    )
    for row in earlier:
        await expire(db, call, row)
    made = CallOffer(
        workspace_id=call.workspace_id,
        id=offer.id,
        call_id=call.id,
        origin=origin,
        round=offer.round,
        user_ids=[target.user_id for target in offer.targets if target.user_id is not None],
        seconds=offer.seconds,
        expires_at=now() + timedelta(seconds=offer.seconds) + GRACE,
        token=offer.token,
    )
    await rows.told_new(db, made, call=call)
    for target in offer.targets:
        leg = CallLeg(
            workspace_id=call.workspace_id,
            id=target.leg_id,
            call_id=call.id,
            offer_id=offer.id,
            user_id=target.user_id,
            role="consulted" if origin == "transfer" else "agent",
            provider=call.provider,
            to_address=target.phone,
        )
        await rows.told_new(db, leg, call=call)
    return made


async def accept(db: AsyncSession, call: Call, leg: CallLeg, token: str) -> CallOffer | None:
    """Whoever holds this line has the call; None when somebody else has it, or it is too late. ``call`` is held.

    The same key pressed twice is one acceptance.
    """
    if leg.offer_id is None:
        return None
    query = select(CallOffer).where(CallOffer.id == leg.offer_id).with_for_update()
    offer: CallOffer | None = await db.scalar(query.execution_options(populate_existing=True))
    if offer is None or not hmac.compare_digest(offer.token.encode(), token.encode()):
        return None
    state = state_of(call)
    if offer.state == "accepted":
        return offer if state.accepted_leg == leg.id or offer.origin == "transfer" else None
    if offer.state != "offered" or call.ended_at is not None or offer.expires_at < now():
        return None
    before, call_before = rows.view_of(offer), rows.view_of(call)
    offer.state, offer.accepted_by, offer.accepted_at = "accepted", leg.user_id, now()
    await rows.tell(db, offer, before, "accepted", call=call)
    if offer.origin != "transfer":
        state.accepted_leg = leg.id
        keep_state(call, state)
        call.answered_by, call.answered_at = leg.user_id, call.answered_at or offer.accepted_at
        call.queue = call.waiting_since = None
        await rows.tell(db, call, call_before, "answered")
    await end_legs(db, offer, but=leg.id)
    return offer


async def give_time(db: AsyncSession, call: Call, leg: CallLeg) -> None:
    """Somebody has picked up: the offer stands while they decide. ``call`` is held."""
    query = select(CallOffer).where(CallOffer.id == leg.offer_id, CallOffer.state == "offered").with_for_update()
    offer: CallOffer | None = await db.scalar(query.execution_options(populate_existing=True))
    if offer is not None:
        before = rows.view_of(offer)
        offer.expires_at = max(offer.expires_at, now() + DECIDES)
        await rows.tell(db, offer, before, call=call)


async def expire(db: AsyncSession, call: Call, offer: CallOffer) -> None:
    """The offer's time is over. Lines of it that nobody has spoken of since will be heard of no more."""
    if offer.state != "offered":
        return
    before = rows.view_of(offer)
    offer.state = "expired"
    await rows.tell(db, offer, before, "expired", call=call)
    await end_legs(db, offer)


async def latest(db: AsyncSession, call: Call, origin: str) -> CallOffer | None:
    """The last offer of a call that was made for this."""
    query = select(CallOffer).where(CallOffer.call_id == call.id, CallOffer.origin == origin)
    query = query.order_by(CallOffer.created_at.desc()).limit(1).with_for_update()
    found: CallOffer | None = await db.scalar(query.execution_options(populate_existing=True))
    return found


async def end_rung(db: AsyncSession, call: Call, offer: CallOffer, *, but: uuid.UUID | None = None) -> Sequence[str]:
    """The lines of an offer whose <Dial> is over have ended; the phones that were cut short by another's picking up."""
    legs = list(await db.scalars(select(CallLeg).where(CallLeg.offer_id == offer.id).order_by(CallLeg.created_at)))
    all_rang = offer.created_at + timedelta(seconds=offer.seconds - 2)
    was_cut_short = any(leg.answered_at is not None and leg.answered_at < all_rang for leg in legs)
    for leg in legs:
        if leg.ended_at is None and leg.id != but:
            before = rows.view_of(leg)
            leg.status = "completed" if leg.answered_at is not None else "no_answer"
            leg.ended_at = now()
            await rows.tell(db, leg, before, call=call)
    return [leg.to_address or "" for leg in legs if was_cut_short and leg.answered_at is None]
