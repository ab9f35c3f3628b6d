"""Deals move from stage to stage, are won or lost, and taken up again; every step is kept."""

import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.credentials import Identity
from comms.errors import Conflict, Invalid
from models.base import new_id, now
from models.crm import Deal, DealStageChange

Outcome = Literal["won", "lost"]

PROBABILITY: Mapping[str, int] = {
    "qualification": 10,
    "discovery": 25,
    "proposal": 50,
    "negotiation": 75,
    "closed_won": 100,
    "closed_lost": 0,
}
"""What a deal's chance is taken to be at a stage, until somebody knows better."""

CLOSED = ("closed_won", "closed_lost")


class DealClosed(Conflict):
    """This deal is closed."""

    def __init__(self, deal: Deal) -> None:
        super().__init__(f"this deal is {deal.stage}: reopen it first with DELETE /api/v1/deals/{deal.id}/closure")


def begin(workspace_id: uuid.UUID, values: Mapping[str, Any]) -> Deal:
    """A deal at an open stage, as likely as the stage is unless its probability is given."""
    given = dict(values)
    stage = given.get("stage", "qualification")
    if stage in CLOSED:
        raise Invalid({"stage": "must be an open one: a deal is closed with POST /deals/{id}/closure"})
    if given.get("probability") is None:
        given["probability"] = PROBABILITY[stage]
    return Deal(workspace_id=workspace_id, id=new_id(), **given)


def move(db: AsyncSession, member: Identity, deal: Deal, stage: str) -> bool:
    """The deal is at this open stage and as likely as it says; whether that is a step. Raises ``DealClosed``."""
    if deal.stage in CLOSED:
        raise DealClosed(deal)
    if deal.stage == stage:
        return False
    _step(db, member, deal, stage, PROBABILITY[stage])
    return True


def close(
    db: AsyncSession, member: Identity, deal: Deal, outcome: Outcome, lost_reason: str | None, on: date | None
) -> None:
    """The deal is won or lost, as of a date (today unless given). Raises ``DealClosed`` and ``Invalid``."""
    if deal.stage in CLOSED:
        raise DealClosed(deal)
    if outcome == "lost" and not (lost_reason or "").strip():
        raise Invalid({"lostReason": "is required when a deal is lost"})
    if outcome == "won" and lost_reason is not None:
        raise Invalid({"lostReason": "is only for a deal that is lost"})
    if on is not None and on > _today():
        raise Invalid({"actualCloseDate": "is in the future: a deal is closed on the day it is won or lost"})
    stage = f"closed_{outcome}"
    _step(db, member, deal, stage, PROBABILITY[stage])
    deal.lost_reason = lost_reason
    deal.actual_close_date = on or datetime.now(UTC).date()


def change(deal: Deal, values: Mapping[str, Any]) -> None:
    """The deal has these values; how likely a closed one is, is settled: ``DealClosed``."""
    if deal.stage in CLOSED and values.get("probability", deal.probability) != deal.probability:
        raise DealClosed(deal)
    for name, value in values.items():
        setattr(deal, name, value)


def _today() -> date:
    """The latest date it is anywhere: somebody's today may be our tomorrow."""
    return (datetime.now(UTC) + timedelta(hours=14)).date()


async def reopen(db: AsyncSession, member: Identity, deal: Deal) -> None:
    """The deal is where it stood before it was closed; nothing of the closure is left but its step in the history."""
    if deal.stage not in CLOSED:
        raise Conflict(f"this deal is not closed: it is at {deal.stage}")
    closing = await db.scalar(
        select(DealStageChange)
        .where(
            DealStageChange.workspace_id == deal.workspace_id,
            DealStageChange.deal_id == deal.id,
            DealStageChange.to_stage == deal.stage,
        )
        .order_by(DealStageChange.created_at.desc(), DealStageChange.id.desc())
        .limit(1)
    )
    if closing is None:
        stage, probability = "qualification", PROBABILITY["qualification"]
    else:
        stage, probability = closing.from_stage, closing.from_probability
    _step(db, member, deal, stage, probability)
    deal.lost_reason = None
    deal.actual_close_date = None


def _step(db: AsyncSession, member: Identity, deal: Deal, stage: str, probability: int) -> None:
    at = now()
    db.add(
        DealStageChange(
            workspace_id=deal.workspace_id,
            id=new_id(),
            deal_id=deal.id,
            from_stage=deal.stage,
            to_stage=stage,
            from_probability=deal.probability,
            to_probability=probability,
            changed_by=member.user_id,
            created_at=at,
            updated_at=at,
        )
    )
    deal.stage = stage
    deal.probability = probability
