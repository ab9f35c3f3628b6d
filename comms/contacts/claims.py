"""Addresses as contacts claim them: whose each is, and which of those that are claimed at once are won."""

import uuid
from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import new_id, now
from models.types import address_key

Address = tuple[str, str]
"""The kind and what an address of it is found by, however it is written."""


def found_by(kind: str, value: str) -> Address:
    """The address that this value is one way to write."""
    return (kind, address_key(kind, value))


class Claim(msgspec.Struct, frozen=True):
    """A contact that is to be found by an address; ``id`` is the point's if it is."""

    contact_id: uuid.UUID
    kind: str
    value: str
    label: str | None = None
    id: uuid.UUID = msgspec.field(default_factory=new_id)

    @property
    def address(self) -> Address:
        return found_by(self.kind, self.value)


_OWNERS = text(
    """
    SELECT p.kind, p.value_key, p.contact_id
    FROM unnest(CAST(:kinds AS text[]), CAST(:keys AS text[])) AS i (kind, key)
    JOIN contact_points p ON p.workspace_id = :workspace AND p.kind = i.kind AND p.value_key = i.key
    """
)

# In the order in which whoever meets a stranger takes them too: nobody waits for each other.
_CLAIM = text(
    """
    INSERT INTO contact_points (workspace_id, id, contact_id, kind, value, label, is_primary, created_at, updated_at)
    SELECT :workspace, p.id, p.contact_id, p.kind, p.value, p.label, p.is_first AND NOT EXISTS (
        SELECT FROM contact_points q WHERE q.workspace_id = :workspace AND q.contact_id = p.contact_id
            AND q.kind = p.kind AND q.is_primary
    ), :at, :at
    FROM jsonb_to_recordset(CAST(:points AS jsonb))
        AS p (id uuid, contact_id uuid, kind text, value text, key text, label text, is_first boolean)
    ORDER BY p.kind, p.key COLLATE "C"
    ON CONFLICT (workspace_id, kind, value_key) DO NOTHING
    RETURNING id
    """
)


async def owners(db: AsyncSession, workspace_id: uuid.UUID, addresses: Iterable[Address]) -> dict[Address, uuid.UUID]:
    """Whose these addresses are; those that are nobody's are not among them."""
    asked = list(addresses)
    if not asked:
        return {}
    kinds, keys = [kind for kind, _ in asked], [key for _, key in asked]
    found = await db.execute(_OWNERS, {"workspace": workspace_id, "kinds": kinds, "keys": keys})
    return {(row.kind, row.value_key): row.contact_id for row in found}


async def claim(db: AsyncSession, workspace_id: uuid.UUID, claims: Sequence[Claim]) -> set[uuid.UUID]:
    """The ids of the claims that are won: these contacts have these addresses, which nobody else can.

    The first of a kind that a contact had none of is its primary one. The contacts may be made after it.
    """
    if not claims:
        return set()
    seen: set[tuple[uuid.UUID, str]] = set()
    rows = []
    for one in claims:
        is_first = (one.contact_id, one.kind) not in seen
        seen.add((one.contact_id, one.kind))
        rows.append(msgspec.structs.asdict(one) | {"key": one.address[1], "is_first": is_first})
    points = msgspec.json.encode(rows).decode()
    return set(await db.scalars(_CLAIM, {"workspace": workspace_id, "points": points, "at": now()}))
