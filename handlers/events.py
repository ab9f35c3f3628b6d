"""The event log, in order."""

import uuid
from typing import Annotated, Any

import msgspec
from litestar import Router, get
from litestar.params import FromQuery, QueryParameter
from sqlalchemy import ColumnElement, and_, func, or_, select

from comms.audience import ADMINISTRATIVE, ADMINISTRATORS, AGENTS, NEEDS, PERSONAL, lacks_of
from comms.credentials import Identity
from comms.errors import Invalid
from handlers import shapes
from handlers.given import Asker, Db, Request
from handlers.guards import reader
from handlers.listing import LIMIT, MOST, Page, refuse_unknown
from models.events import Event, EventView

_KNOWN = dict.fromkeys(("after", "cursor", "limit", "event", "subjectType", "subjectId", "conversationId"))
_BIGGEST = 2**63 - 1


@get("/events", operation_id="list_events", guards=[reader])
async def index(
    request: Request,
    db: Db,
    identity: Asker,
    after: Annotated[int, QueryParameter(ge=0, le=_BIGGEST)] = 0,
    cursor: Annotated[int | None, QueryParameter(ge=0, le=_BIGGEST)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST)] = LIMIT,
    event: FromQuery[str | None] = None,
    subject_type: Annotated[str | None, QueryParameter(name="subjectType")] = None,
    subject_id: Annotated[uuid.UUID | None, QueryParameter(name="subjectId")] = None,
    conversation_id: Annotated[uuid.UUID | None, QueryParameter(name="conversationId")] = None,
) -> Page[EventView]:
    """What became true after the event numbered `after`, oldest first. `nextCursor` is the next `after`."""
    refuse_unknown(request, _KNOWN)
    wanted: dict[str, Any] = {
        "event": event,
        "subject_type": subject_type,
        "subject_id": subject_id,
        "conversation_id": conversation_id,
    }
    for name, value in wanted.items():
        try:
            shapes.refuse_unstorable(value)
        except ValueError as error:
            raise Invalid({name: str(error)}) from None
    conditions = [getattr(Event, name) == value for name, value in wanted.items() if value is not None]
    start = after if cursor is None else cursor
    query = select(Event).where(Event.seq > start, *conditions, *_visible(identity)).order_by(Event.seq)
    rows = (await db.scalars(query.limit(limit + 1))).all()
    items = [msgspec.convert(row, EventView, from_attributes=True) for row in rows[:limit]]
    return Page(items, str(items[-1].seq) if len(rows) > limit else None)


def _visible(identity: Identity) -> list[ColumnElement[bool]]:
    """What ``comms.audience`` says, as the database understands it."""
    mine = and_(Event.subject_type.in_(PERSONAL), Event.data["userId"].as_string() == str(identity.user_id))
    hidden = PERSONAL - ADMINISTRATIVE if identity.role in ADMINISTRATORS else PERSONAL | ADMINISTRATIVE
    lacks = lacks_of(identity.role, identity.permissions)
    closed = [noun for noun, need in NEEDS.items() if need in lacks]
    heard = [or_(Event.subject_type.not_in(hidden), mine), Event.subject_type.not_in(closed)]
    if AGENTS in lacks:
        heard.append(or_(func.split_part(Event.subject_type, "_", 1) != "agent", Event.subject_type.in_(NEEDS)))
    return heard


routes = Router("/", tags=["events"], route_handlers=[index])
