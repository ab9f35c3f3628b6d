"""Prospects, their stages and what they become."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Router, post, put
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms import prospects as stories
from comms.credentials import Identity
from handlers import shapes
from handlers.crm.deals import deals
from handlers.given import Asker, Db, RowId
from handlers.guards import writer
from handlers.resource import crud
from models.business import Customer, CustomerView
from models.crm import Contact, Prospect, ProspectStage, ProspectView


class ProspectMove(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The stage a prospect goes to."""

    stage: ProspectStage


class ProspectConversion(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What a prospect becomes; it is called after its contact unless a ``name`` is given."""

    to: Literal["deal", "customer"]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)] | None = None


async def create_prospect(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> Prospect:
    """As likely as its stage."""
    prospect = stories.begin(identity.workspace_id, values)
    db.add(prospect)
    return prospect


async def change_prospect(db: AsyncSession, identity: Identity, row: Prospect, values: dict[str, Any]) -> None:
    """As likely as it turned out, once it is won or lost."""
    stories.change(row, values)


prospects = crud(
    "/prospects",
    Prospect,
    ProspectView,
    search=("notes", "source"),
    filters=("contact_id", "stage", "owner_id", "source", "currency", "deal_id", "customer_id"),
    create=create_prospect,
    change=change_prospect,
)
prospects.edit = shapes.change_shape(Prospect, ProspectView, without=("stage",))


@put("/{row_id:uuid}/stage", operation_id="move_prospect", guards=[writer])
async def move(db: Db, identity: Asker, row_id: RowId, data: JSONBody[ProspectMove]) -> ProspectView:
    """The prospect is at this stage, and its `probability` is the stage's. A converted one does not move."""
    prospect = await prospects.find(db, identity, row_id, to_change=True)
    is_news = stories.move(prospect, data.stage)
    view: ProspectView = await prospects.tell_if(is_news, db, identity, "stage_changed", prospect)
    return view


@post("/{row_id:uuid}/conversion", operation_id="convert_prospect", guards=[writer])
async def convert(db: Db, identity: Asker, row_id: RowId, data: JSONBody[ProspectConversion]) -> ProspectView:
    """There is a deal, or a customer, with what the prospect knew; the prospect names it and is won.

    Only once, even if that is deleted later: `409` after that, with its `conflictingId` while it is there. A lost
    prospect is moved to another stage first.
    """
    prospect = await prospects.find(db, identity, row_id, to_change=True)
    contact = None
    if prospect.contact_id is not None:
        contact = await db.get(Contact, (identity.workspace_id, prospect.contact_id))
    if data.to == "deal":
        await deals.tell(db, identity, "created", stories.become_deal(db, prospect, contact, data.name))
    else:
        customer = stories.become_customer(db, prospect, contact, data.name)
        await db.flush()
        events.record(db, "customer.created", customer, _shown(customer))
    view: ProspectView = await prospects.tell(db, identity, "converted", prospect)
    return view


def _shown(customer: Customer) -> CustomerView:
    return msgspec.convert(customer, CustomerView, from_attributes=True)


routes: list[Router] = [prospects.router(move, convert)]
