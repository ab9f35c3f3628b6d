"""Callers who wait: whoever has waited longest is offered first, again and again, to those who are free."""

import uuid
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import jobs
from comms.calls import flow as flows
from comms.calls import offers, rows, transfers
from comms.calls.core import offer_of
from comms.calls.progress import DIAL, RING
from comms.database import Database
from models.base import now
from models.communications import Call, CallLeg, CallOffer

PUT_THROUGH = timedelta(seconds=15)
"""How long it may take from the key to the first word."""


async def ring(database: Database, workspace_id: uuid.UUID, call_id: uuid.UUID) -> None:
    """People are rung for a caller who waits, unless they are already, or everybody is busy, or others wait longer."""
    async with database.workspace(workspace_id) as db:
        call = await rows.held(db, call_id)
        if call is None or call.queue is None or await _is_offered(db, call) or await _others_first(db, call):
            return
        step = flows.recall(call.flow).steps.get(call.queue)
        if not isinstance(step, flows.Queue):
            return
        state = rows.state_of(call)
        world = await offers.world_of(db, call, flows.recall(call.flow))
        offer = offer_of(step, state, world)
        if offer is None and state.rung:  # each was rung once: from the beginning
            state.rung = []
            offer = offer_of(step, state, world)
        if offer is None:
            return
        state.offers += 1
        if step.order == "in_order":
            state.rung += [target.phone for target in offer.targets]
        rows.keep_state(call, state)
        await offers.make(db, call, offer, "queue")
        await jobs.enqueue(
            db, DIAL, [{"workspaceId": workspace_id, "legId": target.leg_id} for target in offer.targets]
        )


async def put_back(db: AsyncSession, call: Call, leg: CallLeg) -> None:
    """Whoever accepted was gone before they could be put through: the caller waits as before. ``call`` is held."""
    state = rows.state_of(call)
    step = flows.recall(call.flow).steps.get(state.step)
    if call.ended_at is not None or state.accepted_leg != leg.id or not isinstance(step, flows.Queue):
        return
    before = rows.view_of(call)
    state.accepted_leg = None
    rows.keep_state(call, state)
    call.answered_at = call.answered_by = None
    call.queue, call.waiting_since = state.step, call.created_at  # as long as they have waited, they come first
    await rows.tell(db, call, before)
    await jobs.enqueue(db, RING, [{"workspaceId": call.workspace_id, "callId": call.id}])


async def line_over(db: AsyncSession, call: Call, leg: CallLeg) -> None:
    """A line has ended: where people are rung one after the other, the next is rung at once. ``call`` is held.

    Whoever was rung already has to wait for the time of the offer, or a phone that is off would be dialled for ever.
    """
    flow = flows.recall(call.flow)
    step = None if call.queue is None else flow.steps.get(call.queue)
    if leg.offer_id is None or not isinstance(step, flows.Queue) or step.order != "in_order":
        return
    offer = await offers.latest(db, call, "queue")
    if offer is None or offer.id != leg.offer_id or offer.state != "offered":
        return
    if offer_of(step, rows.state_of(call), await offers.world_of(db, call, flow)) is not None:
        await offers.expire(db, call, offer)
        await jobs.enqueue(db, RING, [{"workspaceId": call.workspace_id, "callId": call.id}])


async def is_forsaken(db: AsyncSession, call: Call) -> bool:
    """Whether the caller waits although somebody has accepted, who is gone or never came: they wait as before."""
    accepted = rows.state_of(call).accepted_leg
    leg = None if accepted is None else await rows.leg_of(db, accepted)
    if leg is None or call.answered_at is None:
        return False
    if leg.ended_at is None and call.answered_at > now() - PUT_THROUGH:
        return False
    await put_back(db, call, leg)
    return call.queue is not None


IS_DUE = """
EXISTS (SELECT FROM calls WHERE queue IS NOT NULL)
OR EXISTS (SELECT FROM call_offers WHERE state = 'offered' AND expires_at < now())
"""
"""When there is somebody to ring for, or an offer to end, as PostgreSQL says it."""


async def ring_waiting(database: Database, *, most: int = 200) -> None:
    """Nobody who waits is forgotten, and no offer outlives its time; the longest waiting come first."""
    await expire_offers(database)
    async with database.everywhere() as db:
        waiting = (
            await db.execute(
                select(Call.workspace_id, Call.id)
                .where(Call.queue.is_not(None))
                .order_by(Call.waiting_since)
                .limit(most)
            )
        ).all()
    for workspace_id, call_id in waiting:
        await ring(database, workspace_id, call_id)


async def expire_offers(database: Database, *, most: int = 200) -> None:
    """Offers whose time has run out, and that no provider has told the end of, are over."""
    async with database.everywhere() as db:
        due = (
            await db.execute(
                select(CallOffer.workspace_id, CallOffer.call_id, CallOffer.id)
                .where(CallOffer.state == "offered", CallOffer.expires_at < now())
                .order_by(CallOffer.expires_at)
                .limit(most)
            )
        ).all()
    for workspace_id, call_id, offer_id in due:
        async with database.workspace(workspace_id) as db:
            call = await rows.held(db, call_id)
            offer = await db.get(CallOffer, (workspace_id, offer_id))
            if call is not None and offer is not None:
                await offers.expire(db, call, offer)
                await offers.end_rung(db, call, offer)
                for leg in await rows.legs_of(db, call_id):
                    if leg.offer_id == offer_id and leg.ended_at is not None:
                        await transfers.line_over(db, call, leg)


async def _is_offered(db: AsyncSession, call: Call) -> bool:
    """Whether people are rung for this call; an offer whose time is over does not count."""
    offer = await offers.latest(db, call, "queue")
    if offer is None or offer.state != "offered":
        return False
    if offer.expires_at > now():
        return True
    await offers.expire(db, call, offer)
    await offers.end_rung(db, call, offer)
    return False


async def _others_first(db: AsyncSession, call: Call) -> bool:
    """Whether somebody in the same queue has waited longer, and nobody is rung for them."""
    offered = select(CallOffer.call_id).where(CallOffer.state == "offered")
    older = select(Call.id).where(
        Call.phone_number_id == call.phone_number_id,
        Call.queue == call.queue,
        Call.waiting_since < call.waiting_since,
        Call.id.not_in(offered),
    )
    return await db.scalar(older.limit(1)) is not None
