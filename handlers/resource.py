"""Resources that only need to be listed, read, made, changed and deleted: declared in one line each.

    contacts = crud("/contacts", Contact, ContactView, search=("first_name", …), filters=("status", …))

What a resource needs beyond these options is a handler of its own beside it, made of ``find``, ``shown`` and ``tell``.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events, mentions
from comms.credentials import Identity
from comms.errors import Missing
from handlers import conflicts, preconditions, shapes
from handlers.batches import Many, batched
from handlers.given import Asker, Db, Request, RowId
from handlers.guards import Right, reader, writer
from handlers.listing import Listing, Page, page_of
from handlers.signatures import own_of, sent, taking
from models.base import Base, View, noun_of

Verb = Literal["list", "get", "create", "change", "delete"]
READ: tuple[Verb, ...] = ("list", "get")
ALL: tuple[Verb, ...] = ("list", "get", "create", "change", "delete")

Create = Callable[[AsyncSession, Identity, dict[str, Any]], Awaitable[Any]]
CreateAll = Callable[[AsyncSession, Identity, Many], Awaitable[Sequence[Any]]]
Change = Callable[[AsyncSession, Identity, Any, dict[str, Any]], Awaitable[None]]

RESOURCES: "list[Resource]" = []
"""Every declared resource, for the contract test."""


TOLD: dict[type[Base], type[View]] = {}
"""What events hold of tables that are no resource: of what there is one of for each member."""


class Resource:
    """A table as the API offers it."""

    def __init__(self, path: str, table: type[Base], view: type[View], listing: Listing) -> None:
        self.path = path
        self.table: Any = table
        self.view = view
        self.listing = listing
        self.name = re.sub(r"(?<!^)(?=[A-Z])", "_", view.__name__.removesuffix("View")).lower()
        self.new = shapes.create_shape(table, view)
        self.edit = shapes.change_shape(table, view)
        self.page = page_of(view)
        preconditions.versioned(table, view)
        self.verbs: tuple[Verb, ...] = ALL
        self.who_reads: Right = reader
        self.who_writes: Right = writer
        self.whose: Callable[[Identity], ColumnElement[bool]] | None = None
        self.create: Create = self._create
        self.create_all: CreateAll = self._create_all
        self.change: Change = self._change

    def visible(self, identity: Identity) -> list[ColumnElement[bool]]:
        """What limits the rows further than the workspace does."""
        return [] if self.whose is None else [self.whose(identity)]

    async def find(self, db: AsyncSession, identity: Identity, row_id: Any, *, to_change: bool = False) -> Any:
        """The row of that id; raises ``Missing``.

        If it is to be changed it is held until the commit; ``Stale`` when the request means another version of it.
        """
        query = select(self.table).where(self.table.id == row_id, *self.visible(identity))
        query = query.options(*self.listing.options).execution_options(populate_existing=True)
        row = await db.scalar(query.with_for_update(key_share=True) if to_change else query)
        if row is None:
            raise Missing(f"There is no {self.name.replace('_', ' ')} {row_id} in this workspace.")
        if to_change:
            view = self.shown(row)
            preconditions.check(db, row.id, view)
            self._before(db).setdefault(row.id, view)
        return row

    def shown(self, row: Any) -> Any:
        """The row as everyone sees it."""
        return msgspec.convert(row, self.view, from_attributes=True)

    async def tell(self, db: AsyncSession, identity: Identity, what: str, row: Any, before: Any = None) -> Any:
        """``<noun>.<what>`` is recorded about the row as it now stands in the database, and that view returned.

        What has changed is told too: since ``before``, or since the row was found to be changed.
        """
        await db.flush()
        view = self.shown(await self.find(db, identity, row.id))
        seen = self._before(db).get(row.id)
        events.record(db, f"{noun_of(self.table)}.{what}", row, view, before=before or seen)
        if seen is not None:
            self._before(db)[row.id] = view
        return view

    async def tell_if(self, is_news: bool, db: AsyncSession, identity: Identity, what: str, row: Any) -> Any:
        """The row as it looks now; told of only if that is news."""
        return await self.tell(db, identity, what, row) if is_news else self.shown(row)

    async def tell_all(
        self, db: AsyncSession, identity: Identity, what: str | Callable[[Any], str], rows: Sequence[Any]
    ) -> list[Any]:
        """The same of many rows, in their order, with one look at them all."""
        await db.flush()
        query = select(self.table).where(self.table.id.in_([row.id for row in rows]), *self.visible(identity))
        query = query.options(*self.listing.options).execution_options(populate_existing=True)
        views = {row.id: self.shown(row) for row in await db.scalars(query)} if rows else {}
        for row in rows:
            became = what if isinstance(what, str) else what(row)
            events.record(db, f"{noun_of(self.table)}.{became}", row, views[row.id])
        return [views[row.id] for row in rows]

    async def make(self, db: AsyncSession, identity: Identity, values: dict[str, Any]) -> Any:
        """A new row with these values, of which nothing is told yet; ``Conflict`` names the row in its way."""
        await self._expect_assignable(db, identity, values)
        async with conflicts.naming(db, self.table, self.visible(identity), values):
            row = await self.create(db, identity, values)
            await db.flush()
        return row

    async def update(self, db: AsyncSession, identity: Identity, row_id: Any, values: dict[str, Any]) -> Any:
        """The row has these values."""
        row = await self.find(db, identity, row_id, to_change=True)
        before = self.shown(row)
        now = {name: getattr(before, name) for name in before.__struct_fields__}
        news = {name: value for name, value in values.items() if name in now and value != now[name]}
        await self._expect_assignable(db, identity, news)
        async with conflicts.naming(db, self.table, self.visible(identity), now | values):
            await self.change(db, identity, row, values)
            await db.flush()
        return await self.settle(db, identity, row, before)

    async def settle(
        self, db: AsyncSession, identity: Identity, row: Any, before: Any, unshown: Sequence[str] = ()
    ) -> Any:
        """``updated`` is told of a row that looks different than ``before``, or of which something ``unshown`` is new.

        Returns how it looks.
        """
        await db.flush()
        after = self.shown(await self.find(db, identity, row.id))
        if after != before or unshown:
            events.record(db, f"{noun_of(self.table)}.updated", row, after, before=before, unshown=unshown)
        return after

    async def remove(self, db: AsyncSession, identity: Identity, row_id: Any) -> None:
        """The row is gone."""
        row = await self.find(db, identity, row_id, to_change=True)
        view = self.shown(row)
        await db.delete(row)
        await db.flush()
        events.record(db, f"{noun_of(self.table)}.deleted", row, view)

    async def _expect_assignable(self, db: AsyncSession, identity: Identity, values: dict[str, Any]) -> None:
        [wrong] = await mentions.unassignable(db, identity.workspace_id, self.table, [values])
        if wrong is not None:
            raise wrong

    async def _create(self, db: AsyncSession, identity: Identity, values: dict[str, Any]) -> Any:
        row = self.table(workspace_id=identity.workspace_id, **values)
        db.add(row)
        return row

    async def _create_all(self, db: AsyncSession, identity: Identity, many: Many) -> Sequence[Any]:
        return [await self.create(db, identity, values) for values in many]

    async def _change(self, db: AsyncSession, identity: Identity, row: Any, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(row, name, value)

    def _before(self, db: AsyncSession) -> dict[Any, Any]:
        """How rows looked that were found to be changed in this unit of work."""
        looked: dict[Any, Any] = db.info.setdefault("before", {}).setdefault(self.path, {})
        return looked

    def router(self, *more: HTTPRouteHandler) -> Router:
        """The resource's routes, and those written by hand beside it."""
        made = [handler(self) for verb, handlers in _HANDLERS.items() if verb in self.verbs for handler in handlers]
        return Router(self.path, route_handlers=[*made, *more])


def crud(
    path: str,
    table: type[Base],
    view: type[View],
    *,
    search: Sequence[str] = (),
    filters: Sequence[str] = (),
    verbs: tuple[Verb, ...] = ALL,
    who_reads: Right = reader,
    who_writes: Right = writer,
    whose: Callable[[Identity], ColumnElement[bool]] | None = None,
    create: Create | None = None,
    change: Change | None = None,
) -> Resource:
    """``table`` is offered at ``path`` in the shape of ``view``.

    ``search`` and ``filters`` name columns; ``verbs`` are what can be done, ``who_reads`` and ``who_writes`` the
    guards of those that read and write; ``whose`` hides rows from some members; ``create`` and ``change`` are stories
    that do the write instead. Where rows by the hundred must not be a story each, its ``create_all`` is another.
    """
    resource = Resource(path, table, view, Listing(table, view, search, filters))
    resource.verbs, resource.whose = verbs, whose
    resource.who_reads, resource.who_writes = who_reads, who_writes
    resource.create = create or resource.create
    resource.change = change or resource.change
    RESOURCES.append(resource)
    return resource


def listed(
    resource: Resource, path: str = "/", *, operation_id: str | None = None
) -> Callable[[Callable[..., Awaitable[Page[Any]]]], HTTPRouteHandler]:
    """A GET that lists ``resource``: the decorated function is called with its own parameters and ``asked``."""

    def decorate(fn: Callable[..., Awaitable[Page[Any]]]) -> HTTPRouteHandler:
        async def index(**given: Any) -> Any:
            asked = {name: given.pop(name) for name in list(given) if name.startswith("by_")}
            return await fn(**given, asked=asked)

        parameters = [*own_of(fn, without="asked"), *resource.listing.parameters.values()]
        taking(index, parameters, resource.page, fn.__doc__ or resource.view.__doc__)
        name = operation_id or f"list{resource.path.replace('/', '_').replace('-', '_')}"
        return get(path, operation_id=name, guards=[resource.who_reads], summary=_said(name))(index)

    return decorate


def _list(resource: Resource) -> HTTPRouteHandler:
    @listed(resource)
    async def index(request: Request, db: Db, identity: Asker, asked: Any) -> Page[Any]:
        return await resource.listing.page(db, request, asked, *resource.visible(identity))

    return index


def _get(resource: Resource) -> HTTPRouteHandler:
    async def read(db: Db, identity: Asker, row_id: RowId) -> Any:
        return resource.shown(await resource.find(db, identity, row_id))

    return _declared(get, resource, "get", read, guards=[resource.who_reads])


def _create(resource: Resource) -> HTTPRouteHandler:
    async def create(db: Db, identity: Asker, data: Any) -> Any:
        row = await resource.make(db, identity, shapes.given(data))
        return await resource.tell(db, identity, "created", row)

    return _declared(post, resource, "create", create, resource.new, path="/", guards=[resource.who_writes])


def _create_all(resource: Resource) -> HTTPRouteHandler:
    @batched(resource)
    async def create_all(db: Db, identity: Asker, many: Many) -> Sequence[Any]:
        return await resource.create_all(db, identity, many)

    return create_all


def _change(resource: Resource) -> HTTPRouteHandler:
    async def change(db: Db, identity: Asker, row_id: RowId, data: Any) -> Any:
        return await resource.update(db, identity, row_id, shapes.given(data))

    return _declared(patch, resource, "change", change, resource.edit, guards=[resource.who_writes])


def _delete(resource: Resource) -> HTTPRouteHandler:
    @delete(
        "/{row_id:uuid}",
        operation_id=f"delete_{resource.name}",
        summary=_said(f"delete_{resource.name}"),
        description=f"The {resource.name.replace('_', ' ')} is gone.",
        guards=[resource.who_writes],
    )
    async def remove(db: Db, identity: Asker, row_id: RowId) -> None:
        await resource.remove(db, identity, row_id)

    return remove


def _declared(
    method: Any,
    resource: Resource,
    verb: str,
    fn: Any,
    data: Any = None,
    *,
    guards: list[Right],
    path: str = "/{row_id:uuid}",
) -> HTTPRouteHandler:
    """``fn`` as the handler of a verb, sent ``data`` of that shape and answering with the resource's view."""
    fn.__annotations__["return"] = resource.view
    if data is not None:
        fn.__annotations__["data"] = sent(data)
    name = f"{verb}_{resource.name}"
    handler: HTTPRouteHandler = method(
        path, operation_id=name, summary=_said(name), description=resource.view.__doc__, guards=guards
    )(fn)
    return handler


def _said(name: str) -> str:
    return name.replace("_", " ").capitalize()


_HANDLERS: dict[Verb, tuple[Callable[[Resource], HTTPRouteHandler], ...]] = {
    "list": (_list,),
    "get": (_get,),
    "create": (_create, _create_all),
    "change": (_change,),
    "delete": (_delete,),
}
