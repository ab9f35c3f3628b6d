"""What happened with a contact."""

import uuid
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Router, get
from litestar.params import QueryParameter

from comms.contacts import timeline
from comms.contacts.timeline import NEWEST, SORTS, Sort
from comms.errors import Invalid
from handlers.crm.contacts import contacts
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import reader, reads
from handlers.listing import LIMIT, MOST, bookmark, bookmarked, refuse_unknown
from models.communications import ConversationMessageView
from models.crm import ContactMergeView, CrmInteractionView, DealView
from models.finance import InvoiceView

billing = reads("billing")


class TimelineMessage(msgspec.Struct, rename="camel", tag_field="type", tag="message"):
    """Something was said."""

    at: datetime
    data: ConversationMessageView


class TimelineInteraction(msgspec.Struct, rename="camel", tag_field="type", tag="interaction"):
    """Something was done, or is planned."""

    at: datetime
    data: CrmInteractionView


class TimelineDeal(msgspec.Struct, rename="camel", tag_field="type", tag="deal"):
    """A deal was begun."""

    at: datetime
    data: DealView


class TimelineInvoice(msgspec.Struct, rename="camel", tag_field="type", tag="invoice"):
    """An invoice was made out."""

    at: datetime
    data: InvoiceView


class TimelineMerge(msgspec.Struct, rename="camel", tag_field="type", tag="merge"):
    """Another contact became part of this one."""

    at: datetime
    data: ContactMergeView


TimelineItem = TimelineMessage | TimelineInteraction | TimelineDeal | TimelineInvoice | TimelineMerge
ITEMS: dict[Sort, Any] = {
    "message": TimelineMessage,
    "interaction": TimelineInteraction,
    "deal": TimelineDeal,
    "invoice": TimelineInvoice,
    "merge": TimelineMerge,
}


class Timeline(msgspec.Struct, rename="camel"):
    """The newest first; ``nextCursor`` asks for what came before, null when there is nothing."""

    items: list[TimelineItem]
    next_cursor: str | None = None


@get("/{row_id:uuid}/timeline", operation_id="get_timeline_of_contact", guards=[reader])
async def of_contact(
    request: Request,
    db: Db,
    identity: Asker,
    row_id: RowId,
    types: Annotated[
        str | None,
        QueryParameter(name="types", description=f"Only these, separated by commas: {', '.join(SORTS)}."),
    ] = None,
    limit: Annotated[int, QueryParameter(name="limit", ge=1, le=MOST, description="How many at most.")] = LIMIT,
    cursor: Annotated[
        str | None, QueryParameter(name="cursor", description="The `nextCursor` of the page before, same `types`.")
    ] = None,
) -> Timeline:
    """Messages, interactions, deals, invoices and merges of the contact in one list, the newest first.

    A message and a deal stand where they were made, an interaction where it `occurredAt`, which may be in the future.
    Invoices are those of customers whose `contactId` this is, for members who may read billing.
    """
    refuse_unknown(request, {"types": None, "limit": None, "cursor": None})
    sorts = _sorts(types)
    bound_to = msgspec.json.encode([str(row_id), sorted(sorts)])
    after = NEWEST if cursor is None else bookmarked(cursor, bound_to, tuple[datetime, uuid.UUID])
    await contacts.find(db, identity, row_id)
    if not billing.admits(identity):
        sorts = [sort for sort in sorts if sort != "invoice"]
    found = await timeline.of(db, identity.workspace_id, row_id, sorts, after, limit=limit + 1)
    items = [ITEMS[moment.type](moment.at, moment.view) for moment in found[:limit]]
    if len(found) <= limit:
        return Timeline(items)
    last = found[limit - 1]
    return Timeline(items, bookmark([last.at, last.id], bound_to))


def _sorts(types: str | None) -> list[Sort]:
    if types is None:
        return list(SORTS)
    named = [name.strip() for name in types.split(",")]
    if unknown := [name for name in named if name not in SORTS]:
        raise Invalid({"types": f"knows no {unknown[0][:80]!r}: it takes {', '.join(SORTS)}"})
    return [sort for sort in SORTS if sort in named]


routes: list[Router] = [Router("/contacts", route_handlers=[of_contact])]
