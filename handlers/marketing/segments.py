"""Segments: the contacts of whom certain things are true."""

import uuid
from typing import Any

from litestar import post
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from comms import segments as stories
from comms.credentials import Identity
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import writer
from handlers.listing import Page
from handlers.marketing.people import people
from handlers.resource import crud, listed
from models.crm import ContactView
from models.marketing import Segment, SegmentView


async def create_segment(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> Segment:
    """A segment whose rules make sense."""
    return await stories.create(db, identity.workspace_id, values)


async def change_segment(db: AsyncSession, identity: Identity, row: Segment, values: dict[str, Any]) -> None:
    """A segment whose rules still make sense."""
    await stories.change(db, row, values)


segments = crud(
    "/segments",
    Segment,
    SegmentView,
    search=("name", "description"),
    filters=("is_active",),
    create=create_segment,
    change=change_segment,
)


@post("/{row_id:uuid}/calculation", operation_id="calculate_segment", guards=[writer])
async def calculate(db: Db, identity: Asker, row_id: RowId) -> SegmentView:
    """The segment's `contactCount` is the number of contacts it has now, and `lastCalculatedAt` says so."""
    row = await segments.find(db, identity, row_id, to_change=True)
    await stories.calculate(db, row)
    view: SegmentView = await segments.tell(db, identity, "calculated", row)
    return view


@listed(people, "/{segment_id:uuid}/contacts", operation_id="list_contacts_of_segment")
async def contacts_of(
    request: Request, db: Db, identity: Asker, segment_id: FromPath[uuid.UUID], asked: Any
) -> Page[ContactView]:
    """The contacts the segment has now, whatever it had when it was last calculated."""
    segment = await segments.find(db, identity, segment_id)
    return await people.listing.page(db, request, asked, stories.belongs(segment))


routes = [segments.router(calculate, contacts_of)]
