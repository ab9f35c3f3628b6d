"""The people a business talks to."""

import uuid
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, post
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms import contacts as stories
from comms.credentials import Identity
from comms.errors import Invalid
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
    """The contact is also found by this address. Its own phone and e-mail address are set on the contact itself."""
    contact = await db.get(Contact, (identity.workspace_id, data.contact_id))
    if contact is None:
        raise Invalid({"contactId": "refers to nothing in this workspace"})
    row = await stories.add_point(db, contact, data.kind, data.value, data.label)
    view: ContactPointView = await points.tell(db, identity, "created", row)
    return view


@delete("/{row_id:uuid}", operation_id="delete_contact_point", guards=[writer])
async def remove_point(db: Db, identity: Asker, row_id: RowId) -> None:
    """The contact is no longer found by this address."""
    stories.refuse_own(await points.find(db, identity, row_id, to_change=True))
    await points.remove(db, identity, row_id)


routes = Router("/", tags=["crm"], route_handlers=[contacts.router(), points.router(add_point, remove_point)])
