"""Contacts and the addresses they are found by."""

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, post, put
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms import contacts as stories
from comms.credentials import Identity
from comms.errors import Conflict, Refused
from handlers import shapes
from handlers.batches import Many, batched
from handlers.given import Asker, Db, RowId
from handlers.guards import writer
from handlers.resource import crud
from models.crm import Contact, ContactPoint, ContactPointKind, ContactPointView, ContactView


class NewContactPoint(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A further address of a contact."""

    contact_id: uuid.UUID
    kind: ContactPointKind
    value: Annotated[str, msgspec.Meta(min_length=1, max_length=320)]
    label: Annotated[str, msgspec.Meta(max_length=200)] | None = None


async def create_contact(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> Contact:
    """Made with its contact points."""
    return await stories.create(db, identity.workspace_id, values)


async def create_contacts(db: AsyncSession, identity: Identity, many: Many) -> Sequence[Any]:
    """Made with their contact points."""
    return await stories.create_all(db, identity.workspace_id, many)


async def change_contact(db: AsyncSession, identity: Identity, row: Contact, values: dict[str, Any]) -> None:
    """Changed with its contact points."""
    await stories.change(db, row, values)


contacts = crud(
    "/contacts",
    Contact,
    ContactView,
    search=("first_name", "last_name", "email", "phone", "company"),
    filters=("status", "owner_id", "email", "phone", "source", "tags"),
    create=create_contact,
    change=change_contact,
)
contacts.create_all = create_contacts
points = crud(
    "/contact-points",
    ContactPoint,
    ContactPointView,
    search=("value",),
    filters=("contact_id", "kind", "value"),
    verbs=("list", "get", "change"),
)
points.new = NewContactPoint


@post("/", operation_id="create_contact_point", guards=[writer])
async def add_point(db: Db, identity: Asker, data: JSONBody[NewContactPoint]) -> ContactPointView:
    """The contact is also found by this address, which becomes its own if it had none of this kind."""
    [row] = await stories.add_points(db, identity.workspace_id, [shapes.given(data)])
    if isinstance(row, Refused):
        raise row
    view: ContactPointView = await points.tell(db, identity, "created", row)
    return view


@batched(points)
async def add_points(db: Db, identity: Asker, many: Many) -> Sequence[Any]:
    """These contacts are also found by these addresses: up to 500, each added or refused by itself."""
    return await stories.add_points(db, identity.workspace_id, many)


@delete("/{row_id:uuid}", operation_id="delete_contact_point", guards=[writer])
async def remove_point(db: Db, identity: Asker, row_id: RowId) -> None:
    """The contact is no longer found by this address."""
    stories.refuse_own(await points.find(db, identity, row_id, to_change=True))
    await points.remove(db, identity, row_id)


@put("/{row_id:uuid}/primary", operation_id="make_contact_point_primary", guards=[writer])
async def make_primary(db: Db, identity: Asker, row_id: RowId) -> ContactPointView:
    """The contact's own address of this kind is this one; the one before it stays a further one.

    The contact's `phone` or `email` follows.
    """
    # The contact first, as in every story about its addresses: of two at once, one is the later.
    contact_id = (await points.find(db, identity, row_id)).contact_id
    contact = await contacts.find(db, identity, contact_id, to_change=True)
    row = await points.find(db, identity, row_id, to_change=True)
    if row.contact_id != contact.id:
        raise Conflict("the address has just gone to another contact: try again", conflicting_id=row.contact_id)
    before, contact_before = points.shown(row), contacts.shown(contact)
    other = await stories.switch_primary(db, contact, row)
    if other is not None:
        await points.tell(db, identity, "updated", other)
    view: ContactPointView = await points.settle(db, identity, row, before)
    await contacts.settle(db, identity, contact, contact_before)
    return view


routes: list[Router] = [contacts.router(), points.router(add_point, add_points, remove_point, make_primary)]
