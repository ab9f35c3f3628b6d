"""The caller's line: each time the provider asks what is next, the call is held, decided on and answered, once a turn.

A request that is repeated is told what it was told before; one that came too late, what the line was told last.
"""

import re
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from comms import jobs
from comms.calls import arrival, offers, progress, queueing, recordings, rows, transfers
from comms.calls import flow as flows
from comms.calls import verbs as v
from comms.calls.core import (
    Began,
    Chose,
    Decision,
    HandedOver,
    LeftMessage,
    Lost,
    Rang,
    Turn,
    Waited,
    World,
    decide,
    hold,
)
from comms.calls.progress import REMOVE_QUEUE, RING, Report
from comms.calls.twiml import Line, written
from comms.directory import Connection
from comms.providers.base import Request
from comms.providers.voice import Told
from models.base import now
from models.communications import ENDED, Call

Query = Mapping[str, str]
TOO_LATE = timedelta(minutes=10)
NOT_IN_SERVICE = "The number you have called is not in service."
_NOTHING: tuple[v.Verb, ...] = ()


async def answer(
    db: AsyncSession, line: Line, kind: str, connection: Connection, request: Request, told: Told, query: Query
) -> tuple[str, str | None]:
    """What the caller's line is told now, and why the call became none of ours, if so."""
    begun = await _first_heard(db, kind, connection, request, told)
    call = begun.call if begun is not None else await call_of(db, connection, request, told)
    if call is None:
        return written(line, [v.Say(NOT_IN_SERVICE), v.Hangup()]), _unmapped(told)
    flow = flows.recall(call.flow)
    line = Line(line.provider, line.base_url, flow.language, flow.voice, call.turn + 1)
    asked = int(query["turn"]) if re.fullmatch("[0-9]{1,9}", query.get("turn", "")) else 0
    repeats = asked != call.turn and kind not in ("voice-fallback", "voice-transfer") and "lost" not in query
    if repeats and call.answer is not None:
        return call.answer, None
    if kind == "voice-queue" and told.queue_id is not None:
        queue = {"connectionId": connection.id, "provider": connection.provider, "queueId": told.queue_id}
        await jobs.enqueue(db, REMOVE_QUEUE, [queue])
    turn = await _turn(db, kind, call, told, query)
    if turn is None:
        return written(line, _NOTHING), None
    world = await offers.world_of(db, call, flow)
    decision = await _handed_over(db, kind, call, turn, world, query)
    if decision is None:
        decision = decide(flow, rows.state_of(call), turn, world)
    said = written(line, decision.verbs)
    await _keep(db, call, decision, said, begun)
    return said, None


async def _first_heard(
    db: AsyncSession, kind: str, connection: Connection, request: Request, told: Told
) -> arrival.Begun | None:
    """A call that nothing was heard of before, to be kept with what is decided on it; None for any other."""
    if kind != "voice" or told.status != "ringing" or told.direction != "inbound" or told.parent_call_id is not None:
        return None
    if await rows.leg_called(db, told.provider, told.call_id) is not None:
        return None
    begun = await arrival.begin(db, connection, request, told, now())
    if begun is not None and begun.is_spoken_of:
        await arrival.keep(db, begun)
        await progress.join_parked(db, begun.call, begun.leg)
    return begun


async def meanwhile(db: AsyncSession, line: Line, told: Told) -> str:
    """What somebody who waits hears: their place, and music."""
    leg = await rows.leg_called(db, told.provider, told.call_id)
    call = None if leg is None else await rows.held_by(db, leg)
    is_taken = call is not None and call.queue is None and call.answered_at is not None and call.ended_at is None
    if call is not None and is_taken and not await queueing.is_forsaken(db, call):
        return written(line, [v.Pause(2)])  # somebody has accepted, and is about to be put through
    if call is None or call.queue is None or call.waiting_since is None:
        return written(line, [v.Leave()])
    flow = flows.recall(call.flow)
    step = flow.steps.get(call.queue)
    if not isinstance(step, flows.Queue):
        return written(line, [v.Leave()])
    position = await offers.waiting_before(db, call) + 1
    waited = (now() - call.waiting_since).total_seconds()
    line = Line(line.provider, line.base_url, flow.language, flow.voice, call.turn)
    return written(line, hold(step, rows.state_of(call), position=position, waited_seconds=waited))


async def remember(db: AsyncSession, connection: Connection, request: Request, told: Told, at: datetime) -> str | None:
    """A call that could not be answered when it was to be is kept as it came; the reason if it is none of ours.

    One that has lain too long for its end to be told any more is over.
    """
    call = await call_of(db, connection, request, told, at)
    if call is None:
        return _unmapped(told)
    leg = await rows.leg_called(db, told.provider, told.call_id)
    if told.recording is not None and told.recording.url:
        kind = "voicemail" if call.answered_at is None else "call"
        await recordings.take_recording(db, call, kind, told.recording, line=told.call_id)
    if leg is not None and call.turn == 0 and call.ended_at is None and at < now() - TOO_LATE:
        await progress.move(db, call, leg, Report("completed", at=at))
    return None


async def call_of(
    db: AsyncSession, connection: Connection, request: Request, told: Told, at: datetime | None = None
) -> Call | None:
    """The call whose line this is, held, with what the provider says of the line; a new one if it is heard of first."""
    leg = await rows.leg_called(db, told.provider, told.call_id)
    if leg is None:
        if told.direction != "inbound" or told.parent_call_id is not None:
            return None
        begun = await arrival.begin(db, connection, request, told, at or now())
        if begun is None:
            return None
        await arrival.keep(db, begun)
        await progress.join_parked(db, begun.call, begun.leg)
        leg = begun.leg
        call: Call | None = begun.call
    else:
        call = await rows.held_by(db, leg)
    if call is not None and told.status is not None:
        await progress.move(db, call, leg, Report(told.status, at=told.at, duration_seconds=told.duration_seconds))
    return call


async def _turn(db: AsyncSession, kind: str, call: Call, told: Told, query: Query) -> Turn | None:
    """What the caller, or the people who were rung, have done; None when there is nothing to decide."""
    is_gone = told.status in ENDED
    match kind:
        case "voice":
            return Began()
        case "voice-step":
            return Chose(told.digits, told.speech)
        case "voice-message":
            if told.recording is not None:
                await recordings.take_recording(db, call, "voicemail", told.recording, line=told.call_id)
            return LeftMessage()
        case "voice-dial" if query.get("room"):
            return Rang(was_put_through=True, is_gone=is_gone)
        case "voice-dial":
            return await _rang(db, call, told, is_gone=is_gone)
        case "voice-transfer":  # it is not handed over any more, and goes on as if nobody had answered
            step = flows.recall(call.flow).steps.get(rows.state_of(call).step)
            return Waited(is_gone=is_gone) if isinstance(step, flows.Queue) else Rang(is_gone=is_gone)
        case "voice-queue":
            return _waited(told, is_gone=is_gone)
        case "voice-relay":
            failed = told.session is None or told.session.status == "failed"
            return HandedOver() if failed or (told.session and told.session.handover) else Waited(was_put_through=True)
        case "voice-refer":
            return Waited(was_put_through=told.refer_status == "completed", is_gone=is_gone)
    return Lost()


async def _rang(db: AsyncSession, call: Call, told: Told, *, is_gone: bool) -> Rang:
    if told.recording is not None and told.recording.url:
        await recordings.take_recording(db, call, "call", told.recording, line=told.call_id)
    offer = await offers.latest(db, call, "ring")
    if offer is None:
        return Rang(was_put_through=told.was_bridged is True, is_gone=is_gone)
    accepted = offer.state == "accepted"
    spoke = told.was_bridged if told.was_bridged is not None else told.dial_status in ("completed", "in_progress")
    is_meeting = await transfers.parted_for(db, call, was_in="") is not None  # who accepted was taken elsewhere
    but = rows.state_of(call).accepted_leg if is_meeting else None
    unreached = await offers.end_rung(db, call, offer, but=but)
    if offer.state == "offered":
        await offers.expire(db, call, offer)
    if accepted and not spoke:
        await _unanswer(db, call)
    return Rang(was_put_through=accepted and spoke, is_gone=is_gone, unreached=tuple(unreached))


async def _unanswer(db: AsyncSession, call: Call) -> None:
    """Somebody accepted, and was gone before the two could speak."""
    before = rows.view_of(call)
    call.answered_at = call.answered_by = None
    await rows.tell(db, call, before)


def _waited(told: Told, *, is_gone: bool) -> Waited | None:
    result = told.queue_result or ""
    if result.startswith("redirected"):
        return None  # the line was taken elsewhere, and has its answer from there
    return Waited(was_put_through=result.startswith("bridg"), is_gone=is_gone or result == "hangup")


async def _handed_over(
    db: AsyncSession, kind: str, call: Call, turn: Turn, world: World, query: Query
) -> Decision | None:
    """What the line does because its call is handed to somebody else."""
    if kind == "voice-transfer":
        return await transfers.goes_on(db, call, world, transfer_id=_uuid(query.get("transfer", "")))
    if not isinstance(turn, Rang | Waited) or turn.is_gone:
        return None
    apart = await transfers.parted_for(db, call, was_in=query.get("room", ""))
    if apart is not None:
        return await transfers.goes_on(db, call, world, transfer_id=apart.id)
    transfer = await transfers.open_one(db, call)
    if transfer is not None and transfer.kind == "blind":  # nobody has taken it: it goes on as if nobody had answered
        await transfers.call_off(db, call, transfer)
    return None


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


async def _keep(db: AsyncSession, call: Call, decision: Decision, said: str, begun: arrival.Begun | None) -> None:
    """What was decided is so."""
    is_new = begun is not None and not begun.is_spoken_of
    before = None if is_new else rows.view_of(call)
    rows.keep_state(call, decision.state)
    call.turn, call.answer = call.turn + 1, said
    if call.ended_at is None:
        call.queue = decision.waits_in
        call.waiting_since = None if decision.waits_in is None else now()
    if begun is not None and is_new:
        await arrival.keep(db, begun)
    else:
        await rows.tell(db, call, before)
    if decision.offer is not None and call.ended_at is None:
        await offers.make(db, call, decision.offer, "ring")
    if decision.waits_in is not None and call.ended_at is None:
        await jobs.enqueue(db, RING, [{"workspaceId": call.workspace_id, "callId": call.id}])
    elif before is not None and before.queue is not None:
        await progress.withdraw_offers(db, call)


def _unmapped(told: Told) -> str:
    number = told.called.value or told.called.raw or "an empty address"
    return f"{number} is not a number of this workspace: add it, then replay this webhook"
