"""Contacts and their addresses: whoever has a phone or an e-mail address is found by it when they write to us."""

import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.contacts import telling
from comms.contacts.claims import Claim, claim, found_by, owners
from comms.errors import Conflict, Invalid, Refused
from models.base import new_id, now
from models.crm import Contact, ContactPoint, ContactView
from models.types import Email, Phone

PRIMARY = ("phone", "email")
"""The contact's own fields that are also its primary contact points."""

_OPAQUE = re.compile(r"\S{1,255}")
_SHAPES = {
    "short_code": (re.compile(r"[0-9]{3,8}"), "is not a short code: 3 to 8 digits, such as 72345"),
    "alphanumeric": (
        re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 &+._-]{1,11}"),
        "is not the name of a sender: up to 11 letters and digits, such as ACME Bank",
    ),
    "messenger": (_OPAQUE, "is not an address of this channel: it has no blanks"),
    "rcs": (_OPAQUE, "is not an address of this channel: it has no blanks"),
}

_FOLLOW = text(
    """
    UPDATE contacts c SET phone = coalesce(n.phone, c.phone), email = coalesce(n.email, c.email), updated_at = :at
    FROM (
        SELECT id, max(phone) AS phone, max(email) AS email
        FROM jsonb_to_recordset(CAST(:own AS jsonb)) AS p (id uuid, phone text, email text) GROUP BY id
    ) n
    WHERE c.workspace_id = :workspace AND c.id = n.id
    """
)


class AddressTaken(Conflict):
    """Another contact of this workspace has this address."""

    def __init__(self, kind: str, value: str, contact_id: uuid.UUID | None) -> None:
        super().__init__(f"another contact of this workspace has the {kind} {value}", conflicting_id=contact_id)


async def create(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> Contact:
    """The contact exists and is found by its phone and e-mail address; ``AddressTaken`` when another one is."""
    [contact] = await create_all(db, workspace_id, [values])
    if isinstance(contact, AddressTaken):
        raise contact
    return contact


async def create_all(
    db: AsyncSession, workspace_id: uuid.UUID, many: Sequence[Mapping[str, Any]]
) -> list[Contact | AddressTaken]:
    """Each of these contacts exists and is found by its addresses, unless another is: of two here, the first one.

    A few statements, however many they are.
    """
    contacts = [Contact(workspace_id=workspace_id, id=new_id(), **values) for values in many]
    own = {contact.id: [(kind, getattr(contact, kind)) for kind in PRIMARY] for contact in contacts}
    own = {row_id: [point for point in points if point[1] is not None] for row_id, points in own.items()}
    taken = await owners(db, workspace_id, [found_by(*point) for points in own.values() for point in points])
    outcome: list[Contact | AddressTaken] = []
    claims = []
    for contact in contacts:
        there = next((point for point in own[contact.id] if found_by(*point) in taken), None)
        if there is not None:
            outcome.append(AddressTaken(*there, taken[found_by(*there)]))
            continue
        mine = [Claim(contact.id, *point) for point in own[contact.id]]
        taken |= {one.address: contact.id for one in mine}
        claims += mine
        outcome.append(contact)
    await _win(db, workspace_id, claims)
    db.add_all(contact for contact in outcome if isinstance(contact, Contact))
    await db.flush()
    if claims:
        points = await telling.points_of(db, workspace_id, {one.contact_id for one in claims})
        telling.tell_points(db, workspace_id, {}, points)
    return outcome


async def change(db: AsyncSession, contact: Contact, values: Mapping[str, Any]) -> None:
    """The contact has the new values, and is found by its new addresses instead of its old ones."""
    moved = [kind for kind in PRIMARY if kind in values and values[kind] != getattr(contact, kind)]
    before = await telling.points_of(db, contact.workspace_id, [contact.id]) if moved else {}
    for kind in moved:
        await _make_primary(db, contact, kind, values[kind])
    for name, value in values.items():
        setattr(contact, name, value)
    await db.flush()
    if moved:
        after = await telling.points_of(db, contact.workspace_id, [contact.id])
        telling.tell_points(db, contact.workspace_id, before, after)


async def _make_primary(db: AsyncSession, contact: Contact, kind: str, value: str | None) -> None:
    """``value`` is the contact's primary address of its kind; the one before it is free for others again."""
    own = (ContactPoint.workspace_id == contact.workspace_id, ContactPoint.contact_id == contact.id)
    key = None if value is None else found_by(kind, value)[1]
    await db.execute(
        delete(ContactPoint).where(
            *own, ContactPoint.kind == kind, ContactPoint.is_primary, ContactPoint.value_key.is_distinct_from(key)
        )
    )
    if value is None:
        return
    at = now()
    claimed = (
        insert(ContactPoint)
        .values(
            workspace_id=contact.workspace_id,
            id=new_id(),
            contact_id=contact.id,
            kind=kind,
            value=value,
            is_primary=True,
            created_at=at,
            updated_at=at,
        )
        .on_conflict_do_update(
            index_elements=["workspace_id", "kind", "value_key"],
            set_={"value": value, "is_primary": True, "updated_at": at},
            where=ContactPoint.contact_id == contact.id,
        )
        .returning(ContactPoint.id)
    )
    if await db.scalar(claimed) is None:
        address = found_by(kind, value)
        there = await owners(db, contact.workspace_id, [address])
        raise AddressTaken(kind, value, there.get(address))


async def add_points(
    db: AsyncSession, workspace_id: uuid.UUID, many: Sequence[Mapping[str, Any]]
) -> list[ContactPoint | Refused]:
    """Each of these contacts is also found by this address, its primary one if it is the first of its kind.

    Refused is what is no address, what another contact has (of two here, the second one), and what its own has already.
    A contact whose phone or e-mail address it has become is told of.
    """
    contacts = await _held(db, workspace_id, {values["contact_id"] for values in many})
    wanted = [_wanted(values, contacts) for values in many]
    taken = await owners(db, workspace_id, [one.address for one in wanted if isinstance(one, Claim)])
    outcome: list[Claim | Refused] = []
    for one in wanted:
        if isinstance(one, Claim):
            there = taken.get(one.address)
            outcome.append(one if there is None else _refusal(one, there))
            taken.setdefault(one.address, one.contact_id)
        else:
            outcome.append(one)
    claims = [one for one in outcome if isinstance(one, Claim)]
    await _win(db, workspace_id, claims)
    these = (ContactPoint.workspace_id == workspace_id, ContactPoint.id.in_([one.id for one in claims]))
    points = {point.id: point for point in await db.scalars(select(ContactPoint).where(*these))}
    await _follow_all(db, contacts, points.values())
    return [points[one.id] if isinstance(one, Claim) else one for one in outcome]


def _wanted(values: Mapping[str, Any], contacts: Mapping[uuid.UUID, Contact]) -> Claim | Refused:
    kind, value = values["kind"], values["value"]
    if values["contact_id"] not in contacts:
        return Invalid({"contactId": "refers to nothing in this workspace"})
    try:
        value = {"phone": Phone(), "email": Email()}[kind].normalise(value) if kind in PRIMARY else _named(kind, value)
    except ValueError as error:
        return Invalid({"value": str(error)})
    return Claim(values["contact_id"], kind, value, values["label"])


def _named(kind: str, value: str) -> str:
    """The address as webhooks name it; ``ValueError`` says what one of this kind looks like."""
    shape, said = _SHAPES[kind]
    named = value.strip().removeprefix(f"{kind}:")
    if not shape.fullmatch(named):
        raise ValueError(said)
    return named


def _refusal(one: Claim, there: uuid.UUID) -> Conflict:
    if there != one.contact_id:
        return AddressTaken(one.kind, one.value, there)
    return Conflict(f"this contact already has the {one.kind} {one.value}", conflicting_id=there)


async def _held(
    db: AsyncSession, workspace_id: uuid.UUID, contact_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, Contact]:
    """These contacts, as far as they are there, held until the commit."""
    query = select(Contact).where(Contact.workspace_id == workspace_id, Contact.id.in_(contact_ids))
    query = query.order_by(Contact.id).execution_options(populate_existing=True)
    return {contact.id: contact for contact in await db.scalars(query.with_for_update(key_share=True))}


async def _win(db: AsyncSession, workspace_id: uuid.UUID, claims: Sequence[Claim]) -> None:
    """The addresses are these contacts'; ``AddressTaken`` when somebody has taken one since we looked."""
    won = await claim(db, workspace_id, claims)
    lost = next((one for one in claims if one.id not in won), None)
    if lost is not None:
        there = await owners(db, workspace_id, [lost.address])
        raise AddressTaken(lost.kind, lost.value, there.get(lost.address))


async def _follow_all(
    db: AsyncSession, contacts: Mapping[uuid.UUID, Contact], points: Collection[ContactPoint]
) -> None:
    """The contacts whose own phone or e-mail address is among these points have it, and are told of."""
    followed = [point for point in points if point.is_primary and point.kind in PRIMARY]
    if not followed:
        return
    before = {point.contact_id: _shown(contacts[point.contact_id]) for point in followed}
    own = msgspec.json.encode([{"id": point.contact_id, point.kind: point.value} for point in followed]).decode()
    workspace_id = followed[0].workspace_id
    await db.execute(_FOLLOW, {"workspace": workspace_id, "own": own, "at": now()})
    for contact in (await _held(db, workspace_id, before)).values():
        events.record(db, "contact.updated", contact, _shown(contact), before=before[contact.id])


def _shown(contact: Contact) -> ContactView:
    return msgspec.convert(contact, ContactView, from_attributes=True)


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
