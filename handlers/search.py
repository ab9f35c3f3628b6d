"""One search over messages, conversations, contacts and what the team says."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Router, get
from litestar.params import QueryParameter
from sqlalchemy import ARRAY, ColumnElement, Uuid, any_, cast, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from comms import reading, search
from comms.credentials import Identity
from comms.errors import Forbidden, Invalid
from comms.search import KINDS, Found, Kind, Place, Question, Texts
from handlers.given import Asker, Db, Request
from handlers.guards import reader
from handlers.listing import LIMIT, MOST, Page, bookmark, bookmarked, refuse_unknown
from handlers.resource import RESOURCES, Resource

ResultType = Literal["message", "conversation", "contact", "team_message"]
TYPES: tuple[ResultType, ...] = ("message", "conversation", "contact", "team_message")
LONGEST = 500
_KNOWN = dict.fromkeys(("q", "types", "limit", "cursor"))


class Highlight(msgspec.Struct, rename="camel"):
    """Where the words are: HTML, escaped, with `<mark>` around what was meant."""

    field: Annotated[str, msgspec.Meta(description="The field they are in.", examples=["content"])]
    html: Annotated[
        str,
        msgspec.Meta(description="Some of the field's text.", examples=["Is the 3pm <mark>slot</mark> still open?"]),
    ]


class SearchResult(msgspec.Struct, rename="camel"):
    """A row in which all the words are; `id` is the message's, conversation's, contact's or team message's."""

    type: ResultType
    id: uuid.UUID
    conversation_id: uuid.UUID | None
    channel_id: Annotated[uuid.UUID | None, msgspec.Meta(description="The team channel it was said in.")]
    at: datetime
    highlights: Annotated[list[Highlight], msgspec.Meta(description="The fields in which the words are.")]


@get("/search", operation_id="search", guards=[reader], by_keys=True)
async def find(
    request: Request,
    db: Db,
    identity: Asker,
    q: Annotated[str, QueryParameter(min_length=1, max_length=LONGEST, description="The words.")],
    types: Annotated[
        str | None, QueryParameter(description="Some of message, conversation, contact, team_message; by comma.")
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST, description="How many at most.")] = LIMIT,
    cursor: Annotated[
        str | None, QueryParameter(description="The `nextCursor` of the page before, with the same `q` and `types`.")
    ] = None,
) -> Page[SearchResult]:
    """Messages, conversations (by their subjects), contacts and team messages in which all the words are, latest first.

    The last word may be the beginning of one. Case and accents do not matter, numbers are found however they are
    written, and nothing in `q` is syntax. A page may hold fewer than `limit` and still have a `nextCursor`: a search
    does not take longer than some milliseconds.
    """
    refuse_unknown(request, _KNOWN)
    wanted = _types(types)
    try:
        reading.refuse_unstorable(q)
    except ValueError as error:
        raise Invalid({"q": str(error)}) from None
    resources: dict[str, Resource] = {kind: _resource(KINDS[kind], identity) for kind in wanted}
    question = search.read(q)
    if question is None:
        return Page([])
    bound_to = msgspec.json.encode([q, wanted])
    after = None if cursor is None else bookmarked(cursor, bound_to, Place)
    found, rest = await search.find(db, question, wanted, limit, after, asker=identity.user_id)
    hidden = await _hidden(db, identity, resources, found)
    texts = await search.texts_of(db, [row for row in found if row.id not in hidden])
    items = [_shown(row, texts[row.id], question) for row in found if row.id in texts]
    return Page(items, None if rest is None else bookmark(rest, bound_to))


def _types(types: str | None) -> list[ResultType]:
    if types is None:
        return list(TYPES)
    asked = {name.strip() for name in types.split(",")}
    if not asked <= set(TYPES):
        raise Invalid({"types": f"is some of {', '.join(TYPES)}, separated by commas"})
    return [name for name in TYPES if name in asked]


def _resource(kind: Kind, identity: Identity) -> Resource:
    """The declared list of those rows, whose rules of visibility hold here too."""
    resource = next(resource for resource in RESOURCES if resource.table is kind.table)
    if not resource.who_reads.admits(identity):
        raise Forbidden(f"A workspace's {identity.role} may not read {kind.rows}: it takes {resource.who_reads}.")
    return resource


async def _hidden(
    db: AsyncSession, identity: Identity, resources: Mapping[str, Resource], found: Sequence[Found]
) -> set[uuid.UUID]:
    """What was found and the asker's lists would not show."""
    limited: dict[str, tuple[list[uuid.UUID], list[ColumnElement[bool]]]] = {}
    for kind, resource in resources.items():
        ids, conditions = [row.id for row in found if row.kind == kind], resource.visible(identity)
        if ids and conditions:
            limited[kind] = ids, conditions
    if not limited:
        return set()
    columns = {kind: resources[kind].table.id for kind in limited}
    shown = union_all(
        *(
            select(columns[kind]).where(columns[kind] == any_(cast(ids, ARRAY(Uuid))), *conditions)
            for kind, (ids, conditions) in limited.items()
        )
    )
    return {one for ids, _ in limited.values() for one in ids}.difference(await db.scalars(shown))


def _shown(row: Found, texts: Texts, question: Question) -> SearchResult:
    kind: Any = row.kind
    marked = {field: search.highlight(question, text) for field, text in texts.of.items() if text}
    if marked.get("email") or marked.get("phone"):
        marked.pop("contactPoints", None)  # they are among them
    highlights = [Highlight(field, html) for field, html in marked.items() if html]
    return SearchResult(kind, row.id, texts.conversation_id, texts.channel_id, texts.at, highlights)


routes = Router("/", tags=["search"], route_handlers=[find])
