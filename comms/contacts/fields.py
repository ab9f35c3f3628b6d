"""What a contact says of itself, when two become one and when they part: its fields and its primary addresses."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from comms.contacts.references import Pair
from models.crm import Contact, ContactMerge

_OWN = frozenset({"workspace_id", "id", "phone", "email", "last_contacted_at"})
_FILLED = tuple(
    column.name
    for column in Contact.__table__.columns
    if column.nullable and column.name not in _OWN and column.computed is None
)
"""What the one that stays takes from the other where it says nothing itself."""

_SNAPSHOT = text("SELECT to_jsonb(c) AS row FROM contacts c WHERE workspace_id = :workspace AND id = :id").columns(
    row=JSONB
)
_UNITE = text(
    """
    UPDATE contacts SET
        last_contacted_at = greatest(last_contacted_at, CAST(:last AS timestamptz)),
        tags = tags || CAST(:tags AS text[]),
        custom_fields = CAST(:fields AS jsonb) || custom_fields
    WHERE workspace_id = :workspace AND id = :id
    """
)
_PRIMARY = text("SELECT id FROM contact_points WHERE workspace_id = :workspace AND contact_id = :source AND is_primary")
_DEMOTE = text(
    """
    UPDATE contact_points o SET is_primary = false
    WHERE o.workspace_id = :workspace AND o.contact_id = :source AND o.is_primary AND EXISTS (
        SELECT FROM contact_points k WHERE k.workspace_id = :workspace AND k.contact_id = :target AND k.is_primary
            AND k.kind = o.kind)
    """
)
_NONE_PRIMARY = text(
    "UPDATE contact_points SET is_primary = false WHERE workspace_id = :workspace AND contact_id = :target"
)
_THESE_PRIMARY = text(
    "UPDATE contact_points SET is_primary = true WHERE workspace_id = :workspace AND contact_id = :target"
    " AND id = ANY(CAST(:ids AS uuid[]))"
)
_PROMOTE = text(
    """
    UPDATE contact_points p SET is_primary = true WHERE p.workspace_id = :workspace AND p.id IN (
        SELECT DISTINCT ON (kind) id FROM contact_points q
        WHERE workspace_id = :workspace AND contact_id = :contact AND NOT EXISTS (
            SELECT FROM contact_points r WHERE r.workspace_id = q.workspace_id AND r.contact_id = q.contact_id
                AND r.kind = q.kind AND r.is_primary)
        ORDER BY kind, created_at, id
    )
    """
)
_FOLLOW = text(
    """
    UPDATE contacts c SET
        phone = (SELECT p.value FROM contact_points p WHERE p.workspace_id = c.workspace_id AND p.contact_id = c.id
            AND p.kind = 'phone' AND p.is_primary),
        email = (SELECT p.value FROM contact_points p WHERE p.workspace_id = c.workspace_id AND p.contact_id = c.id
            AND p.kind = 'email' AND p.is_primary)
    WHERE c.workspace_id = :workspace AND c.id = :contact
    """
)


async def snapshot(db: AsyncSession, contact: Contact) -> dict[str, Any]:
    """The contact's row as it is in the database now."""
    row: dict[str, Any] = (
        await db.execute(_SNAPSHOT, {"workspace": contact.workspace_id, "id": contact.id})
    ).scalar_one()
    return row


async def fill(db: AsyncSession, kept: Contact, merged: dict[str, Any]) -> None:
    """What the contact did not know of itself it has from the other one; tags and custom fields are united.

    Its status, its primary addresses and what it says differently stay its own.
    """
    empty = [name for name in _FILLED if getattr(kept, name) in (None, "") and merged.get(name) is not None]
    await _set(db, kept, empty, merged)
    last = merged.get("last_contacted_at")
    await db.execute(
        _UNITE,
        {
            "last": None if last is None else datetime.fromisoformat(last),
            "tags": [tag for tag in merged["tags"] if tag not in kept.tags],
            "fields": msgspec.json.encode(merged["custom_fields"]).decode(),
            "workspace": kept.workspace_id,
            "id": kept.id,
        },
    )
    await _follow(db, kept.workspace_id, kept.id)


async def unfill(db: AsyncSession, kept: Contact, merge: ContactMerge) -> None:
    """What the merge had put into the contact is out of it, except where it was changed since."""
    before, after, current = merge.kept_before, merge.kept_after, await snapshot(db, kept)
    gone = [
        name
        for name in (*_FILLED, "last_contacted_at")
        if before.get(name) != after.get(name) and current.get(name) == after.get(name)
    ]
    await _set(db, kept, gone, before)
    await db.refresh(kept)
    came = set(after["tags"]) - set(before["tags"])
    kept.tags = [tag for tag in kept.tags if tag not in came]
    kept.custom_fields = {
        name: value
        for name, value in kept.custom_fields.items()
        if name in before["custom_fields"]
        or name not in after["custom_fields"]
        or value != after["custom_fields"][name]
    }
    await db.flush()


async def demote(db: AsyncSession, pair: Pair) -> list[str]:
    """The source's primary addresses are further ones where the target has its own; returns all that were primary."""
    primary = await db.execute(_PRIMARY, {"workspace": pair.workspace_id, "source": pair.source})
    row_ids = [str(row_id) for row_id in primary.scalars()]
    await db.execute(_DEMOTE, pair.parameters)
    return row_ids


async def restore_primary(db: AsyncSession, pair: Pair, row_ids: Sequence[str]) -> None:
    """Of the target's addresses, these are primary and no others."""
    target = {"workspace": pair.workspace_id, "target": pair.target}
    await db.execute(_NONE_PRIMARY, target)
    await db.execute(_THESE_PRIMARY, target | {"ids": list(row_ids)})


async def settle_points(db: AsyncSession, pair: Pair) -> None:
    """Either contact that has lost its primary address has its oldest one as such, and says so itself."""
    for contact_id in (pair.source, pair.target):
        await db.execute(_PROMOTE, {"workspace": pair.workspace_id, "contact": contact_id})
        await _follow(db, pair.workspace_id, contact_id)


async def _follow(db: AsyncSession, workspace_id: uuid.UUID, contact_id: uuid.UUID) -> None:
    await db.execute(_FOLLOW, {"workspace": workspace_id, "contact": contact_id})


async def _set(db: AsyncSession, contact: Contact, names: Sequence[str], values: dict[str, Any]) -> None:
    """These columns of the contact are as they are in a snapshot."""
    if not names:
        return
    assigned = ", ".join(f"{name} = b.{name}" for name in names)
    await db.execute(
        text(
            f"UPDATE contacts c SET {assigned}"
            " FROM jsonb_populate_record(NULL::contacts, CAST(:row AS jsonb)) b"
            " WHERE c.workspace_id = :workspace AND c.id = :id"
        ),
        {
            "row": msgspec.json.encode({name: values.get(name) for name in names}).decode(),
            "workspace": contact.workspace_id,
            "id": contact.id,
        },
    )
