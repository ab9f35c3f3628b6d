"""How far a line has come: told in any order, kept once each, only ever forward; and what a call came to in the end.

The provider's own count decides between two ends; a line that has ended rings no more, whoever says so late.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import jobs
from comms.calls import notes, rows
from comms.providers.voice import Told, status_of
from models.base import new_id, now
from models.communications import ENDED, Call, CallLeg, CallOffer, CallReport, CallTransfer, Recording

RANK: Mapping[str, int] = {"queued": 0, "initiated": 1, "ringing": 2, "in_progress": 3} | dict.fromkeys(ENDED, 4)
# What is done afterwards, outside of any transaction.
DIAL = "calls.dial"
REDIRECT = "calls.redirect"
END_LEG = "calls.end_leg"
RING = "calls.ring"
TEXT_BACK = "calls.text_back"
REMOVE_QUEUE = "calls.remove_queue"
CONTACTS_LINE = ("caller", "contact")
"""The lines whose end is the call's."""


class Report(msgspec.Struct, frozen=True):
    """A status of a line, as a provider counts and tells it."""

    status: str
    sequence: int = -1
    at: datetime | None = None
    duration_seconds: int | None = None
    error_code: str | None = None


def moves(status: str, sequence: int, report: Report) -> bool:
    """Whether a line in ``status``, after the report numbered ``sequence``, goes on to what ``report`` says."""
    if RANK[report.status] != RANK[status]:
        return RANK[report.status] > RANK[status]
    return report.status != status and report.sequence > sequence


async def take_report(db: AsyncSession, call: Call | None, leg: CallLeg | None, told: Told) -> bool:
    """The report is kept once, and the line moved on by it; one of an unknown line is parked. Whether it was news."""
    kept = await db.scalar(
        insert(CallReport)
        .values(
            workspace_id=db.info["workspace_id"],
            id=new_id(),
            leg_id=None if leg is None else leg.id,
            provider=told.provider,
            provider_call_id=told.call_id,
            reported=told.reported,
            sequence=told.sequence,
            duration_seconds=told.duration_seconds,
            error_code=told.error_code,
            reported_at=told.at or now(),
        )
        .on_conflict_do_nothing(constraint="uq_call_reports_once")
        .returning(CallReport.id)
    )
    if kept is None:
        return False
    if call is not None and leg is not None and told.status is not None:
        report = Report(told.status, told.sequence, told.at, told.duration_seconds, told.error_code)
        await move(db, call, leg, report)
    return True


async def join_parked(db: AsyncSession, call: Call, leg: CallLeg) -> None:
    """Reports that came before their line was known move it on."""
    parked = await db.scalars(
        update(CallReport)
        .where(
            CallReport.workspace_id == leg.workspace_id,
            CallReport.provider == leg.provider,
            CallReport.provider_call_id == leg.provider_call_id,
            CallReport.leg_id.is_(None),
        )
        .values(leg_id=leg.id)
        .returning(CallReport)
        .execution_options(synchronize_session=False)
    )
    for report in sorted(parked, key=lambda report: report.sequence):
        status = status_of(report.reported)
        if status is not None:
            told = Report(status, report.sequence, report.reported_at, report.duration_seconds, report.error_code)
            await move(db, call, leg, told)


async def move(db: AsyncSession, call: Call, leg: CallLeg, report: Report) -> None:
    """The line is as the report says, if that is further than it was, and the call with it. ``call`` is held."""
    before = rows.view_of(leg)
    if moves(leg.status, leg.sequence, report):
        leg.status = report.status
        at = max(report.at or now(), leg.created_at)
        if report.status == "in_progress" or (report.status == "completed" and leg.answered_at is None):
            leg.answered_at = leg.answered_at or at
        if report.status in ENDED:
            leg.ended_at = max(at, leg.answered_at or leg.created_at)  # the provider tells whole seconds
            leg.error_code = report.error_code
    if report.status == leg.status and report.duration_seconds is not None:
        leg.duration_seconds = report.duration_seconds
    leg.sequence = max(leg.sequence, report.sequence)
    if not await rows.tell(db, leg, before, call=call):
        return
    if leg.role in CONTACTS_LINE:
        await _follow(db, call, leg)
    elif leg.role == "agent" and call.direction == "outbound" and leg.ended_at is not None:
        await _give_up(db, call, leg)


async def _follow(db: AsyncSession, call: Call, leg: CallLeg) -> None:
    """The call stands where the contact's line does; with it, it ends."""
    if leg.ended_at is not None:
        if call.direction == "outbound" and leg.answered_at is not None:
            call.answered_at = call.answered_at or leg.answered_at  # that it was answered may be told late, or never
        await end(db, call, leg.status, leg.ended_at, leg.duration_seconds)
        return
    before = rows.view_of(call)
    call.status = leg.status
    if call.direction == "outbound" and leg.status == "in_progress" and call.answered_at is None:
        call.answered_at = leg.answered_at
        await rows.tell(db, call, before, "answered")
        return
    await rows.tell(db, call, before)


async def _give_up(db: AsyncSession, call: Call, leg: CallLeg) -> None:
    """Whoever wanted to call has hung up, or never picked up: before the contact was dialled that ends the call."""
    dialled = await db.scalar(select(CallLeg.id).where(CallLeg.call_id == call.id, CallLeg.role == "contact"))
    if dialled is None:
        await end(db, call, "canceled", leg.ended_at or now(), 0)


async def end(db: AsyncSession, call: Call, status: str, at: datetime, seconds: int | None) -> None:
    """The call is over, once: nobody is rung for it any more, and its conversation says what came of it."""
    before = rows.view_of(call)
    was_over = call.ended_at is not None
    call.status, call.queue, call.waiting_since = status, None, None
    call.ended_at = call.ended_at or at
    call.duration_seconds = seconds if seconds is not None else call.duration_seconds
    if not was_over:
        call.outcome = await _outcome(db, call)
    await rows.tell(db, call, before, "updated" if was_over else "ended")
    if was_over:
        return
    await withdraw_offers(db, call)
    await _end_transfers(db, call)
    await notes.note_end(db, call)
    if call.outcome in ("missed", "after_hours", "voicemail"):
        await jobs.enqueue(db, TEXT_BACK, [{"workspaceId": call.workspace_id, "callId": call.id}])


async def withdraw_offers(db: AsyncSession, call: Call) -> None:
    """Nobody is rung for the call any more."""
    offers = await db.scalars(
        select(CallOffer).where(CallOffer.call_id == call.id, CallOffer.state == "offered").with_for_update()
    )
    for offer in offers:
        before = rows.view_of(offer)
        offer.state = "withdrawn"
        await rows.tell(db, offer, before, "withdrawn", call=call)
        await end_legs(db, offer)


async def end_legs(db: AsyncSession, offer: CallOffer, *, but: uuid.UUID | None = None) -> None:
    """The phones that ring for an offer by our own dialling stop; those of a <Dial> end with it."""
    if offer.origin == "ring":
        return
    legs = await db.scalars(
        select(CallLeg.id).where(
            CallLeg.offer_id == offer.id, CallLeg.ended_at.is_(None), CallLeg.dialled_at.is_not(None)
        )
    )
    await jobs.enqueue(
        db, END_LEG, [{"workspaceId": offer.workspace_id, "legId": leg_id} for leg_id in legs if leg_id != but]
    )


async def _end_transfers(db: AsyncSession, call: Call) -> None:
    """Nobody waits in a room any more for a contact who is gone."""
    transfers = (await db.scalars(select(CallTransfer).where(CallTransfer.call_id == call.id).with_for_update())).all()
    for transfer in transfers:
        if transfer.ended_at is None:
            before = rows.view_of(transfer)
            transfer.state, transfer.ended_at = "canceled", now()
            await rows.tell(db, transfer, before, "canceled", call=call)
    if transfers:
        left = [leg.id for leg in await rows.legs_of(db, call.id) if leg.ended_at is None and leg.provider_call_id]
        await jobs.enqueue(db, END_LEG, [{"workspaceId": call.workspace_id, "legId": leg_id} for leg_id in left])


async def _outcome(db: AsyncSession, call: Call) -> Any:
    if call.answered_at is not None:
        return "answered"
    if call.direction == "outbound":
        return "unreached"
    voicemails = select(func.count()).where(Recording.call_id == call.id, Recording.kind == "voicemail")
    if await db.scalar(voicemails.where(Recording.state != "absent")):
        return "voicemail"
    return "after_hours" if rows.state_of(call).is_closed else "missed"
