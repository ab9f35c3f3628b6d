"""What a provider tells of lines, recordings and conferences, with nobody waiting for an answer."""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from comms.calls import notes, progress, queueing, recordings, rows, transfers
from comms.calls.dialogue import call_of
from comms.directory import Connection
from comms.providers.base import Request
from comms.providers.voice import Told
from models.base import now
from models.communications import ENDED, Call, CallLeg


async def take_status(
    db: AsyncSession, connection: Connection, request: Request, told: Told, query: Mapping[str, str], at: datetime
) -> None:
    """A line has come further, is new, or is not known yet: the report of that one is parked.

    A call to one of our numbers that has ended without our ever hearing of it is a missed one.
    """
    leg = await _leg(db, told, query)
    if leg is None and told.direction == "inbound" and told.status in ENDED and told.parent_call_id is None:
        began = (told.at or at) - timedelta(seconds=told.duration_seconds or 0)
        call = await call_of(db, connection, request, told, min(began, now()))
        leg = None if call is None else await rows.leg_called(db, told.provider, told.call_id)
    call = None if leg is None else await rows.held_by(db, leg)
    await progress.take_report(db, call, leg, told)
    if call is not None and leg is not None and leg.ended_at is not None:
        await transfers.line_over(db, call, leg)
        await queueing.line_over(db, call, leg)


async def take_recording(db: AsyncSession, told: Told, kind: str) -> bool:
    """A recording has come further; False when its call is not known."""
    call = await _call(db, told)
    if call is None or told.recording is None:
        return False
    kind = "voicemail" if told.recording.source == "RecordVerb" else kind if kind in recordings.TITLES else "call"
    await recordings.take_recording(db, call, kind, told.recording, line=told.call_id)
    return True


async def take_transcript(db: AsyncSession, told: Told) -> bool:
    """What was said in a recording is known; False when its call is not."""
    call = await _call(db, told)
    if call is None or told.transcript is None:
        return False
    await recordings.take_transcript(db, call, told.transcript, line=told.call_id)
    return True


async def take_detection(db: AsyncSession, told: Told, query: Mapping[str, str]) -> bool:
    """Who or what has picked up is known; False when the line is not."""
    leg = await _leg(db, told, query)
    call = None if leg is None else await rows.held_by(db, leg)
    if leg is None or call is None or told.detected is None:
        return False
    before = rows.view_of(leg)
    leg.detected = told.detected
    if await rows.tell(db, leg, before, call=call) and leg.role == "contact" and told.detected != "human":
        said = "A machine has answered" if told.detected.startswith("machine") else f"Answered by: {told.detected}"
        await notes.note(db, call, f"{leg.id}/detected", said)
    return True


async def take_conference(db: AsyncSession, told: Told) -> bool:
    """Somebody has joined or left a conference, or it is over; False when it is none of ours."""
    call = await _call(db, told) if told.call_id else None
    return call is not None


async def _leg(db: AsyncSession, told: Told, query: Mapping[str, str]) -> CallLeg | None:
    """The line by the provider's id; by ours, which is in the address, where it is the first that is heard of it."""
    leg = await rows.leg_called(db, told.provider, told.call_id)
    if leg is not None:
        return leg
    leg_id = _uuid(query.get("leg", ""))
    leg = None if leg_id is None else await rows.leg_of(db, leg_id)
    if leg is None or leg.provider_call_id not in (None, told.call_id):
        return None
    call = await rows.held_by(db, leg)
    if call is not None:
        await know(db, call, leg, told.call_id)
    return leg


async def know(db: AsyncSession, call: Call, leg: CallLeg, provider_call_id: str) -> None:
    """The line has this name at the provider; what was told of it before moves it on."""
    if leg.provider_call_id is not None:
        return
    before = rows.view_of(leg)
    leg.provider_call_id = provider_call_id
    await rows.tell(db, leg, before, call=call)
    await progress.join_parked(db, call, leg)


async def _call(db: AsyncSession, told: Told) -> Call | None:
    leg = await rows.leg_called(db, told.provider, told.call_id)
    return None if leg is None else await rows.held_by(db, leg)


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
