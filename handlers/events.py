"""The event log: what happens next, and what has happened, to whom and by whom."""

import re
import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Router, get
from litestar.params import QueryParameter
from sqlalchemy import ColumnElement, bindparam, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Invalid
from comms.heard import heard_by
from handlers.given import Asker, Db, Request
from handlers.guards import reader
from handlers.listing import LIMIT, MOST, Page, refuse_unknown
from models.core import WorkspaceMember
from models.events import Event, EventView

_BIGGEST = 2**63 - 1
_KIND = re.compile(r"[a-z][a-z0-9_]*\.[a-z0-9_]*")
_NOUN = re.compile(r"[a-z][a-z0-9_]*")
_KNOWN = dict.fromkeys(
    (
        "after",
        "cursor",
        "limit",
        "sort",
        "event",
        "subjectType",
        "subjectId",
        "actorType",
        "actorId",
        "conversationId",
        "from",
        "until",
    )
)


@get("/events", operation_id="list_events", guards=[reader])
async def index(
    request: Request,
    db: Db,
    identity: Asker,
    after: Annotated[int, QueryParameter(ge=0, le=_BIGGEST, description="Only what came after this `seq`.")] = 0,
    cursor: Annotated[
        int | None, QueryParameter(ge=0, le=_BIGGEST, description="The `nextCursor` of the page before.")
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST, description="How many events at most.")] = LIMIT,
    sort: Annotated[
        Literal["seq", "-seq"], QueryParameter(description="Oldest first, or `-seq`: newest first.")
    ] = "seq",
    event: Annotated[
        str | None,
        QueryParameter(description="Kinds, separated by commas: `deal.updated`, or `deal.` for all about deals."),
    ] = None,
    subject_type: Annotated[
        str | None, QueryParameter(name="subjectType", description="What it is about: `contact`, `deal`.")
    ] = None,
    subject_id: Annotated[
        uuid.UUID | None, QueryParameter(name="subjectId", description="The row it is about.")
    ] = None,
    actor_type: Annotated[
        str | None,
        QueryParameter(name="actorType", description="Who did it: `user`, `contact`, `agent`, `workflow`, `system`."),
    ] = None,
    actor_id: Annotated[
        uuid.UUID | None, QueryParameter(name="actorId", description="The user, contact or agent who did it.")
    ] = None,
    conversation_id: Annotated[
        uuid.UUID | None, QueryParameter(name="conversationId", description="The conversation it belongs to.")
    ] = None,
    at_from: Annotated[
        datetime | None, QueryParameter(name="from", description="Only what happened at this time or later.")
    ] = None,
    until: Annotated[datetime | None, QueryParameter(description="Only what happened before this time.")] = None,
) -> Page[EventView]:
    """Everything that became true, with what changed, by whom, and the resource as its GET shows it.

    Oldest first it is a feed to follow: `nextCursor`, or the last `seq` you saw, is the next `after`. With `sort=-seq`
    it is the activity of late, and the audit trail.
    """
    refuse_unknown(request, _KNOWN)
    equal = {Event.subject_id: subject_id, Event.actor_id: actor_id, Event.conversation_id: conversation_id}
    conditions: list[ColumnElement[bool]] = [column == value for column, value in equal.items() if value is not None]
    conditions += _kinds(event, subject_type, actor_type)
    conditions += _times(at_from, until)
    if actor_id is not None and actor_type is None and await _is_member(db, actor_id):
        conditions.append(Event.actor_type != _spelt("contact"))  # as ix_events_actor has it
    if sort == "seq":
        conditions.append(Event.seq > (after if cursor is None else cursor))
    else:
        conditions += [Event.seq > after, Event.seq < (_BIGGEST if cursor is None else cursor)]
    order = Event.seq if sort == "seq" else Event.seq.desc()
    query = select(Event).where(*conditions, *heard_by(identity)).order_by(order)
    rows = (await db.scalars(query.limit(limit + 1))).all()
    items = [msgspec.convert(row, EventView, from_attributes=True) for row in rows[:limit]]
    return Page(items, str(items[-1].seq) if len(rows) > limit else None)


def _kinds(event: str | None, subject_type: str | None, actor_type: str | None) -> list[ColumnElement[bool]]:
    """Events of these kinds. A kind begins with the type of its subject, which is what the index knows."""
    kinds = [] if event is None else event.split(",")
    errors = {}
    if not all(_KIND.fullmatch(kind) for kind in kinds):
        errors["event"] = "must be kinds such as deal.updated, or deal. for all about deals, separated by commas"
    for name, noun in (("subjectType", subject_type), ("actorType", actor_type)):
        if noun is not None and not _NOUN.fullmatch(noun):
            errors[name] = "must be a noun, such as contact"
    if errors:
        raise Invalid(errors)
    conditions: list[ColumnElement[bool]] = []
    if kinds:
        subjects = sorted({kind.partition(".")[0] for kind in kinds})
        conditions.append(or_(*(Event.subject_type == _spelt(subject) for subject in subjects)))
        exactly = [kind for kind in kinds if not kind.endswith(".")]
        wholly = [kind.removesuffix(".") for kind in kinds if kind.endswith(".")]
        conditions.append(or_(Event.event.in_(exactly), Event.subject_type.in_(wholly)))
    if subject_type is not None:
        conditions.append(Event.subject_type == _spelt(subject_type))
    if actor_type is not None:
        conditions.append(Event.actor_type == _spelt(actor_type))
    return conditions


def _times(since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    conditions = [] if since is None else [Event.at >= since]
    return conditions if until is None else [*conditions, Event.at < until]


def _spelt(noun: str) -> Any:
    """The noun in the statement itself: a partial index is only used where the plan can see which value is meant."""
    return bindparam(None, noun, literal_execute=True)


async def _is_member(db: AsyncSession, user_id: uuid.UUID) -> bool:
    return await db.scalar(select(WorkspaceMember.id).where(WorkspaceMember.user_id == user_id)) is not None


routes = Router("/", tags=["events"], route_handlers=[index])
