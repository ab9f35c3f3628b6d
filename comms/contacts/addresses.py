"""Contacts and their addresses: whoever has a phone or an e-mail address is found by it when they write to us."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Conflict, Invalid
from models.base import new_id
from models.crm import Contact, ContactPoint
from models.types import Email, Phone

PRIMARY = ("phone", "email")
"""The contact's own fields that are also its primary contact points."""


class AddressTaken(Conflict):
    """Another contact of this workspace has this address."""

    def __init__(self, kind: str, value: str, contact_id: uuid.UUID | None) -> None:
        super().__init__(f"another contact of this workspace has the {kind} {value}", conflicting_id=contact_id)


async def create(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> Contact:
    """The contact exists and is found by its phone and e-mail address; ``AddressTaken`` when another one is."""
    contact = Contact(workspace_id=workspace_id, id=new_id(), **values)
    db.add(contact)
    await db.flush()
    for kind in PRIMARY:
        await _make_primary(db, contact, kind, getattr(contact, kind))
    return contact


async def change(db: AsyncSession, contact: Contact, values: Mapping[str, Any]) -> None:
    """The contact has the new values, and is found by its new addresses instead of its old ones."""
    for kind in PRIMARY:
        if kind in values and values[kind] != getattr(contact, kind):
            await _make_primary(db, contact, kind, values[kind])
    for name, value in values.items():
        setattr(contact, name, value)
    await db.flush()


async def _make_primary(db: AsyncSession, contact: Contact, kind: str, value: str | None) -> None:
    """``value`` is the contact's primary address of its kind; the one before it is free for others again."""
    own = (ContactPoint.workspace_id == contact.workspace_id, ContactPoint.contact_id == contact.id)
    await db.execute(
        delete(ContactPoint).where(
            *own, ContactPoint.kind == kind, ContactPoint.is_primary, ContactPoint.value.is_distinct_from(value)
        )
    )
    if value is None:
        return
    await _claim(db, contact.workspace_id, contact.id, kind, value, label=None)
    await db.execute(
        update(ContactPoint)
        .where(*own, ContactPoint.kind == kind, ContactPoint.value == value)
        .values(is_primary=True)
        .execution_options(synchronize_session=False)
    )


async def add_point(
    db: AsyncSession, contact: Contact, kind: str, value: str, label: str | None = None
) -> ContactPoint:
    """The contact is also found by this address, its primary one if it is the first of its kind.

    ``AddressTaken`` when another contact is. The caller holds the contact.
    """
    try:
        value = {"phone": Phone(), "email": Email()}[kind].normalise(value) if kind in PRIMARY else value
    except ValueError as error:
        raise Invalid({"value": str(error)}) from None
    point_id = new_id()
    if await _claim(db, contact.workspace_id, contact.id, kind, value, label, point_id) != point_id:
        raise Conflict(f"this contact already has the {kind} {value}", conflicting_id=contact.id)
    point = await db.get_one(ContactPoint, (contact.workspace_id, point_id))
    if await _primary_of(db, contact, kind) is None:
        point.is_primary = True
        _follow(contact, point)
        await db.flush()
    return point


async def switch_primary(db: AsyncSession, contact: Contact, point: ContactPoint) -> ContactPoint | None:
    """``point`` is the contact's primary one of its kind, and its phone or e-mail address; returns the one before it.

    The caller holds both.
    """
    before = await _primary_of(db, contact, point.kind)
    if before is point:
        return None
    if before is not None:
        before.is_primary = False
        await db.flush()  # first: there is one primary at any time
    point.is_primary = True
    _follow(contact, point)
    await db.flush()
    return before


async def _primary_of(db: AsyncSession, contact: Contact, kind: str) -> ContactPoint | None:
    point: ContactPoint | None = await db.scalar(
        select(ContactPoint)
        .where(
            ContactPoint.workspace_id == contact.workspace_id,
            ContactPoint.contact_id == contact.id,
            ContactPoint.kind == kind,
            ContactPoint.is_primary,
        )
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return point


def _follow(contact: Contact, point: ContactPoint) -> None:
    if point.kind in PRIMARY:
        setattr(contact, point.kind, point.value)


def refuse_own(point: ContactPoint) -> None:
    """``Conflict`` when this is a contact's own phone or e-mail address: those are cleared on the contact itself."""
    if point.is_primary and point.kind in PRIMARY:
        raise Conflict(f"this is the contact's own {point.kind}: change or clear it on the contact")


async def _claim(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    contact_id: uuid.UUID,
    kind: str,
    value: str,
    label: str | None,
    point_id: uuid.UUID | None = None,
) -> uuid.UUID:
    """The id of the contact's point with this address, which nobody else can have; raises ``AddressTaken``."""
    claimed = (
        insert(ContactPoint)
        .values(
            workspace_id=workspace_id,
            id=point_id or new_id(),
            contact_id=contact_id,
            kind=kind,
            value=value,
            label=label,
        )
        .on_conflict_do_update(
            index_elements=["workspace_id", "kind", "value"],
            set_={"value": value},  # changes nothing: it locks the row and returns it
            where=ContactPoint.contact_id == contact_id,
        )
        .returning(ContactPoint.id)
    )
    mine = await db.scalar(claimed)
    if mine is None:
        theirs = select(ContactPoint.contact_id).where(
            ContactPoint.workspace_id == workspace_id, ContactPoint.kind == kind, ContactPoint.value == value
        )
        raise AddressTaken(kind, value, await db.scalar(theirs))
    return mine
