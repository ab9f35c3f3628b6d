"""Two contacts turn out to be one person: everything of the other one follows, and can be parted again for 30 days.

Conversations are locked before the contacts, each in the order of their ids: that is how an inbound message takes them
(its conversation first, then the sender by its foreign key). While the contacts are locked nothing new can refer to
them; a message that finds its contact gone is taken again by its group and finds the one that stayed.
"""

import uuid
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.contacts import fields, joining, references, telling
from comms.contacts.references import Pair
from comms.credentials import Identity
from comms.errors import Conflict, Invalid, Missing
from models.base import new_id, now
from models.crm import Contact, ContactMerge, ContactMergeView, ContactView

UNDOABLE = timedelta(days=30)

POINTS = "contact_points.is_primary"
"""Where ``moved`` keeps which of the contact points that followed were primary."""


async def merge(db: AsyncSession, member: Identity, contact_id: uuid.UUID, other_id: uuid.UUID) -> ContactMerge:
    """Everything of the other contact is this one's, and the other is gone; the merge knows how to part them.

    Raises ``Missing`` for the contact and ``Invalid`` for the other one.
    """
    if contact_id == other_id:
        raise Invalid({"contactId": "is this very contact: name the other one"})
    pair = Pair(member.workspace_id, source=other_id, target=contact_id, at=now())
    kept, other = await _hold(db, pair)
    before, merged = await fields.snapshot(db, kept), await fields.snapshot(db, other)
    other_view = _shown(other)
    seen = await telling.everything_of(db, pair.workspace_id, (pair.source, pair.target))
    joined = await joining.join(db, pair)
    moved, removed = await _move_all(db, pair)
    await db.execute(delete(Contact).where(Contact.workspace_id == pair.workspace_id, Contact.id == other_id))
    db.expunge(other)
    view = _shown(kept)
    await fields.fill(db, kept, merged)
    row = ContactMerge(
        workspace_id=pair.workspace_id,
        id=new_id(),
        contact_id=contact_id,
        merged_contact_id=other_id,
        merged_by=member.user_id,
        kept_before=before,
        kept_after=await fields.snapshot(db, kept),
        merged=merged,
        moved=moved,
        removed=removed,
        joined=joined,
        expires_at=pair.at + UNDOABLE,
    )
    db.add(row)
    await db.flush()
    theirs = await telling.everything_of(db, pair.workspace_id, (pair.source, pair.target))
    telling.tell_everything(db, pair.workspace_id, seen, theirs)
    events.record(db, "contact.deleted", other, other_view)
    await _tell(db, kept, view)
    events.record(db, "contact_merge.created", row, _merge_shown(row))
    return row


async def part(db: AsyncSession, member: Identity, contact_id: uuid.UUID, merge_id: uuid.UUID) -> ContactMerge:
    """The other contact is there again and has what had moved, as far as that is still there and the contact's.

    What was written since stays where it is. Raises ``Missing``, and ``Conflict`` when it is too late or impossible, or
    when who it was merged into has been merged since: that later merge keeps a picture of them as they are here.
    """
    row = await _merge_at(db, member, contact_id, merge_id)
    pair = Pair(member.workspace_id, source=contact_id, target=row.merged_contact_id, at=now())
    kept = await _hold_one(db, pair)
    row = await _merge_at(db, member, contact_id, merge_id, to_change=True)
    if row.undone_at is not None:
        raise Conflict("this merge has been undone already", conflicting_id=row.merged_contact_id)
    if row.expires_at <= pair.at:
        raise Conflict(
            f"a merge can be undone for {UNDOABLE.days} days: this one could until {row.expires_at:%Y-%m-%d}"
        )
    if row.kept_before["id"] != str(contact_id):
        raise Conflict(
            "the contact it was merged into has been merged itself since: undo that first",
            conflicting_id=await _later_merge(db, row),
        )
    view = _shown(kept)
    seen = await telling.everything_of(db, pair.workspace_id, (pair.source, pair.target))
    try:
        await references.put_back(db, "contacts", [row.merged])
        await _give_back_all(db, pair, row)
        await joining.part(db, pair, row.joined)
        await fields.unfill(db, kept, row)
        await fields.settle_points(db, pair)
    except IntegrityError as error:
        raise Conflict("this merge cannot be undone: something it needs has been deleted or taken since") from error
    row.undone_at = pair.at
    await db.flush()
    restored = await db.get_one(Contact, (pair.workspace_id, pair.target), populate_existing=True)
    theirs = await telling.everything_of(db, pair.workspace_id, (pair.source, pair.target))
    telling.tell_everything(db, pair.workspace_id, seen, theirs)
    events.record(db, "contact.restored", restored, _shown(restored))
    await _tell(db, kept, view)
    await db.refresh(row)
    events.record(db, "contact_merge.undone", row, _merge_shown(row))
    return row


async def _hold(db: AsyncSession, pair: Pair) -> tuple[Contact, Contact]:
    """Both contacts and all their conversations are ours until the commit."""
    both = (pair.target, pair.source)
    await joining.hold(db, pair.workspace_id, both)
    found = await db.scalars(
        select(Contact)
        .where(Contact.workspace_id == pair.workspace_id, Contact.id.in_(both))
        .order_by(Contact.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    contacts = {contact.id: contact for contact in found}
    if pair.target not in contacts:
        raise Missing(f"There is no contact {pair.target} in this workspace.")
    if pair.source not in contacts:
        raise Invalid({"contactId": "refers to nothing in this workspace"})
    await joining.hold(db, pair.workspace_id, both)  # those that were begun while we waited for the contacts
    return contacts[pair.target], contacts[pair.source]


async def _hold_one(db: AsyncSession, pair: Pair) -> Contact:
    await joining.hold(db, pair.workspace_id, [pair.source])
    contact = await db.scalar(
        select(Contact)
        .where(Contact.workspace_id == pair.workspace_id, Contact.id == pair.source)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if contact is None:
        raise Missing(f"There is no contact {pair.source} in this workspace.")
    await joining.hold(db, pair.workspace_id, [pair.source])
    return contact


async def _merge_at(
    db: AsyncSession, member: Identity, contact_id: uuid.UUID, merge_id: uuid.UUID, *, to_change: bool = False
) -> ContactMerge:
    query = select(ContactMerge).where(
        ContactMerge.workspace_id == member.workspace_id,
        ContactMerge.id == merge_id,
        ContactMerge.contact_id == contact_id,
    )
    if to_change:
        query = query.with_for_update(key_share=True)
    row: ContactMerge | None = await db.scalar(query.execution_options(populate_existing=True))
    if row is None:
        raise Missing(f"There is no merge {merge_id} of this contact.")
    return row


async def _later_merge(db: AsyncSession, row: ContactMerge) -> uuid.UUID | None:
    """The merge of the contact that ``row`` was merged into."""
    query = select(ContactMerge.id).where(
        ContactMerge.workspace_id == row.workspace_id,
        ContactMerge.merged_contact_id == uuid.UUID(row.kept_before["id"]),
        ContactMerge.undone_at.is_(None),
    )
    found: uuid.UUID | None = await db.scalar(query)
    return found


async def _move_all(db: AsyncSession, pair: Pair) -> tuple[dict[str, list[str]], dict[str, list[dict[str, Any]]]]:
    """Whatever refers to the source refers to the target; what moved, and what could not and is gone."""
    moved: dict[str, list[str]] = {POINTS: await fields.demote(db, pair)}
    removed: dict[str, list[dict[str, Any]]] = {}
    for reference in references.all_of():
        rivals = await references.remove_rivals(db, reference, pair) if reference.laws else []
        if rivals:
            removed.setdefault(reference.table, []).extend(rivals)
        followed = await references.move(db, reference, pair)
        if followed:
            moved[reference.name] = followed
    return moved, removed


async def _give_back_all(db: AsyncSession, pair: Pair, row: ContactMerge) -> None:
    for reference in references.all_of():
        if reference.name in row.moved:
            await references.give_back(db, reference, pair, row.moved[reference.name])
    for table, rows in row.removed.items():
        await references.put_back(db, table, rows)
    await fields.restore_primary(db, pair, row.moved.get(POINTS, []))


async def _tell(db: AsyncSession, contact: Contact, before: ContactView) -> None:
    """``contact.updated`` is told of one that looks otherwise than before, and only that one was changed now."""
    await db.refresh(contact)
    if _shown(contact) != before:
        contact.updated_at = now()
        await db.flush()
        events.record(db, "contact.updated", contact, _shown(contact), before=before)


def _shown(contact: Contact) -> ContactView:
    return msgspec.convert(contact, ContactView, from_attributes=True)


def _merge_shown(row: ContactMerge) -> ContactMergeView:
    return msgspec.convert(row, ContactMergeView, from_attributes=True)
