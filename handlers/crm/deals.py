"""Deals, their stages and how they end."""

import uuid
from datetime import date
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, post, put
from litestar.params import FromPath, JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms import deals as stories
from comms.credentials import Identity
from handlers import shapes
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import writer
from handlers.listing import Page
from handlers.resource import READ, crud, listed
from models.crm import Deal, DealStageChange, DealStageChangeView, DealView, OpenDealStage


class DealMove(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The stage a deal goes to."""

    stage: OpenDealStage


class DealClosure(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """How a deal ended; ``lostReason`` is required when it is lost, ``actualCloseDate`` is today unless given."""

    outcome: stories.Outcome
    lost_reason: Annotated[str, msgspec.Meta(max_length=1_000)] | None = None
    actual_close_date: date | None = None


async def create_deal(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> Deal:
    """At an open stage."""
    deal = stories.begin(identity.workspace_id, values)
    db.add(deal)
    return deal


async def change_deal(db: AsyncSession, identity: Identity, row: Deal, values: dict[str, Any]) -> None:
    """As likely as it turned out, once it is closed."""
    stories.change(row, values)


deals = crud(
    "/deals",
    Deal,
    DealView,
    search=("name", "notes"),
    filters=("contact_id", "stage", "priority", "owner_id", "currency", "source", "expected_close_date"),
    create=create_deal,
    change=change_deal,
)
deals.edit = shapes.change_shape(Deal, DealView, without=("stage",))
changes = crud(
    "/deal-stage-changes",
    DealStageChange,
    DealStageChangeView,
    filters=("deal_id", "from_stage", "to_stage", "changed_by"),
    verbs=READ,
)


@put("/{row_id:uuid}/stage", operation_id="move_deal", guards=[writer])
async def move(db: Db, identity: Asker, row_id: RowId, data: JSONBody[DealMove]) -> DealView:
    """The deal is at this stage, its `probability` is the stage's, and the step is kept in its stage changes.

    A closed deal does not move: `DELETE …/closure` reopens it.
    """
    deal = await deals.find(db, identity, row_id, to_change=True)
    is_news = stories.move(db, identity, deal, data.stage)
    view: DealView = await deals.tell_if(is_news, db, identity, "stage_changed", deal)
    return view


@post(
    "/{row_id:uuid}/closure",
    operation_id="close_deal",
    guards=[writer],
    example={"outcome": "lost", "lostReason": "The budget was cut.", "actualCloseDate": "2026-03-31"},
)
async def close(db: Db, identity: Asker, row_id: RowId, data: JSONBody[DealClosure]) -> DealView:
    """The deal is won or lost."""
    deal = await deals.find(db, identity, row_id, to_change=True)
    stories.close(db, identity, deal, data.outcome, data.lost_reason, data.actual_close_date)
    view: DealView = await deals.tell(db, identity, "closed", deal)
    return view


@delete("/{row_id:uuid}/closure", operation_id="reopen_deal", guards=[writer], status_code=200)
async def reopen(db: Db, identity: Asker, row_id: RowId) -> DealView:
    """The deal is open again, at the stage and with the probability it had, without reason and date of its closure."""
    deal = await deals.find(db, identity, row_id, to_change=True)
    await stories.reopen(db, identity, deal)
    view: DealView = await deals.tell(db, identity, "reopened", deal)
    return view


@listed(changes, "/{deal_id:uuid}/stage-changes", operation_id="list_stage_changes_of_deal")
async def of_deal(
    request: Request, db: Db, identity: Asker, deal_id: FromPath[uuid.UUID], asked: Any
) -> Page[DealStageChangeView]:
    """The steps a deal has taken from stage to stage."""
    await deals.find(db, identity, deal_id)
    return await changes.listing.page(db, request, asked, DealStageChange.deal_id == deal_id)


routes: list[Router] = [deals.router(move, close, reopen, of_deal), changes.router()]
