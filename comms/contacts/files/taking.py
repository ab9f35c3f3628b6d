"""One batch of a file's rows becomes contacts, in a handful of statements whatever its length."""

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from comms import events
from comms.contacts import claims, telling
from comms.contacts.claims import Address, Claim
from comms.contacts.files.reading import Row
from models.base import new_id, now
from models.crm import Contact, ContactView

SOURCE = "import"


class Overtaken(Exception):
    """Somebody took an address between our look and our use of it: do it again."""


class Taken(msgspec.Struct):
    """What became of a batch; ``refused`` has a row's number, the field and the reason."""

    created: int = 0
    updated: int = 0
    duplicates: int = 0
    failed: int = 0
    refused: list[tuple[int, str | None, str]] = []


_COLUMNS = (
    "first_name",
    "last_name",
    "email",
    "phone",
    "company",
    "job_title",
    "source",
    "status",
    "lead_score",
    "tags",
    "custom_fields",
)

_CREATE = text(
    f"""
    INSERT INTO contacts (workspace_id, id, {", ".join(_COLUMNS)}, created_at, updated_at)
    SELECT :workspace, c.id, {", ".join(f"c.{name}" for name in _COLUMNS)}, :at, :at
    FROM jsonb_populate_recordset(NULL::contacts, CAST(:rows AS jsonb)) c
    """
)

_CHANGE = text(
    f"""
    UPDATE contacts c SET {", ".join(f"{name} = v.{name}" for name in _COLUMNS)}, updated_at = :at
    FROM jsonb_populate_recordset(NULL::contacts, CAST(:rows AS jsonb)) v
    WHERE c.workspace_id = :workspace AND c.id = v.id
    """
)


async def take(db: AsyncSession, workspace_id: uuid.UUID, rows: Sequence[Row], *, update_existing: bool) -> Taken:
    """Each row is a new contact, has changed the one it is found to be, or is refused; raises ``Overtaken``."""
    taken = Taken()
    found = await known(db, workspace_id, rows)
    new: list[Row] = []
    changes: dict[uuid.UUID, list[Row]] = {}
    for row in rows:
        owners = sorted({found[address] for address in row.addresses if address in found})
        if row.errors:
            taken.failed += 1
            taken.refused += [(row.number, field, reason) for field, reason in row.errors]
        elif row.twin is not None:
            taken.duplicates += 1
            taken.refused.append((row.number, None, f"has the same phone or email as row {row.twin}"))
        elif len(owners) > 1:
            taken.failed += 1
            named = " and ".join(map(str, owners))
            taken.refused.append((row.number, None, f"has addresses of several contacts: {named}"))
        elif not owners:
            taken.created += 1
            new.append(row)
        elif update_existing:
            taken.updated += 1
            changes.setdefault(owners[0], []).append(row)
        else:
            taken.duplicates += 1
            taken.refused.append((row.number, None, f"is the contact {owners[0]} already"))
    if new:
        await _create(db, workspace_id, new)
    if changes:
        await _change(db, workspace_id, changes, found)
    return taken


async def known(db: AsyncSession, workspace_id: uuid.UUID, rows: Sequence[Row]) -> dict[Address, uuid.UUID]:
    """Whose the addresses of these rows are already."""
    return await claims.owners(
        db, workspace_id, [address for row in rows if not row.errors for address in row.addresses]
    )


async def _create(db: AsyncSession, workspace_id: uuid.UUID, rows: Sequence[Row]) -> None:
    at = now()
    empty: dict[str, Any] = dict.fromkeys(_COLUMNS)
    empty |= {"source": SOURCE, "status": "lead", "tags": [], "custom_fields": {}}
    made = [empty | row.values | {"id": new_id()} for row in rows]
    pairs = zip(made, rows, strict=True)
    await _claim(db, workspace_id, [(values["id"], point) for values, row in pairs for point in row.points])
    await db.execute(_CREATE, {"workspace": workspace_id, "rows": _json(made), "at": at})
    telling.tell_points(
        db, workspace_id, {}, await telling.points_of(db, workspace_id, [values["id"] for values in made])
    )
    for values in made:
        view = ContactView(**values, created_at=at, updated_at=at)
        events.record(db, "contact.created", Contact(workspace_id=workspace_id, id=values["id"]), view)


async def _change(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    changes: dict[uuid.UUID, list[Row]],
    found: dict[Address, uuid.UUID],
) -> None:
    """What a row says replaces what the contact said; its tags, custom fields and addresses are more of them."""
    query = (
        select(Contact)
        .where(Contact.workspace_id == workspace_id, Contact.id.in_(changes))
        .order_by(Contact.id)
        .execution_options(populate_existing=True)
    )
    contacts = (await db.scalars(query.with_for_update(key_share=True))).all()
    if len(contacts) < len(changes):
        raise Overtaken
    before = {contact.id: _shown(contact) for contact in contacts}
    written = [_changed(contact, changes[contact.id], found) for contact in contacts]
    further = [
        (contact_id, point)
        for contact_id, rows in changes.items()
        for row in rows
        for address, point in zip(row.addresses, row.points, strict=True)
        if address not in found
    ]
    if further:
        found_already = await telling.points_of(db, workspace_id, changes)
        await _claim(db, workspace_id, further)
        telling.tell_points(db, workspace_id, found_already, await telling.points_of(db, workspace_id, changes))
    different = [
        values for values in written if any(values[name] != getattr(before[values["id"]], name) for name in _COLUMNS)
    ]
    if not different:
        return
    await db.execute(_CHANGE, {"workspace": workspace_id, "rows": _json(different), "at": now()})
    for contact in await db.scalars(query.where(Contact.id.in_([values["id"] for values in different]))):
        events.record(db, "contact.updated", contact, _shown(contact), before=before[contact.id])


def _changed(contact: Contact, rows: Sequence[Row], found: dict[Address, uuid.UUID]) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(contact, name) for name in _COLUMNS} | {"id": contact.id}
    for row in rows:
        for name, said in row.values.items():
            match name:
                case "tags":
                    values["tags"] = [*values["tags"], *(tag for tag in said if tag not in values["tags"])]
                case "custom_fields":
                    values["custom_fields"] = values["custom_fields"] | said
                case "phone" | "email":
                    if claims.found_by(name, said) not in found:
                        values[name] = values[name] or said
                case _:
                    values[name] = said
    return values


async def _claim(db: AsyncSession, workspace_id: uuid.UUID, points: Sequence[tuple[uuid.UUID, Address]]) -> None:
    """These addresses are these contacts', the first of a kind that had none the primary one; raises ``Overtaken``."""
    wanted = [Claim(contact_id, kind, value) for contact_id, (kind, value) in points]
    if len(await claims.claim(db, workspace_id, wanted)) < len(wanted):
        raise Overtaken


def _shown(contact: Contact) -> ContactView:
    return msgspec.convert(contact, ContactView, from_attributes=True)


def _json(rows: Sequence[dict[str, Any]]) -> str:
    return msgspec.json.encode(rows).decode()
