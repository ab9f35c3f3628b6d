"""Who wrote: the contact behind an address, made if nobody has it yet."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from comms.providers.base import Address, AddressKind
from models.base import new_id
from models.types import address_key_sql

_MEET = f"""
WITH n AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[],
                         $8::text[], $9::timestamptz[], $10::text[])
        AS n (workspace_id, contact_id, point_id, kind, value, phone, first_name, source, at, email)
),
won AS (
    INSERT INTO contact_points (workspace_id, id, contact_id, kind, value, is_primary, created_at, updated_at)
    SELECT workspace_id, point_id, contact_id, kind, value, true, at, at
    FROM n ORDER BY workspace_id, kind, {address_key_sql("kind", "value")}
    ON CONFLICT (workspace_id, kind, value_key) DO NOTHING
    RETURNING workspace_id, contact_id
)
INSERT INTO contacts (workspace_id, id, phone, email, first_name, source, created_at, updated_at)
SELECT n.workspace_id, n.contact_id, n.phone, n.email, n.first_name, n.source, n.at, n.at
FROM n JOIN won USING (workspace_id, contact_id)
RETURNING id
"""

_KNOWN = f"""
SELECT n.workspace_id, n.kind, n.value, p.contact_id
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS n (workspace_id, kind, value)
JOIN contact_points p ON p.workspace_id = n.workspace_id AND p.kind = n.kind
    AND p.value_key = {address_key_sql("n.kind", "n.value")}
"""


class Stranger(msgspec.Struct, frozen=True):
    """An address nobody in the workspace had when we looked."""

    workspace_id: uuid.UUID
    address: Address
    name: str | None
    source: str
    at: datetime

    @property
    def phone(self) -> str | None:
        """The address, where it is a phone number."""
        return self.address.value if self.address.kind is AddressKind.PHONE else None

    @property
    def email(self) -> str | None:
        """The address, where it is one of e-mail."""
        return self.address.value if self.address.kind is AddressKind.EMAIL else None


class Met(msgspec.Struct, frozen=True):
    """The contact of a ``Stranger``, and whether it is ours or somebody was quicker."""

    contact_id: uuid.UUID
    is_new: bool


async def meet(db: Any, strangers: Sequence[Stranger]) -> list[Met]:
    """Each stranger is a contact: a new one, or the one somebody else made in the same instant."""
    ids = [new_id() for _ in strangers]
    made = {
        row["id"]
        for row in await db.fetch(
            _MEET,
            [stranger.workspace_id for stranger in strangers],
            ids,
            [new_id() for _ in strangers],
            [stranger.address.kind for stranger in strangers],
            [stranger.address.value for stranger in strangers],
            [stranger.phone for stranger in strangers],
            [stranger.name for stranger in strangers],
            [stranger.source for stranger in strangers],
            [stranger.at for stranger in strangers],
            [stranger.email for stranger in strangers],
        )
    }
    late = [stranger for stranger, id_ in zip(strangers, ids, strict=True) if id_ not in made]
    theirs: dict[tuple[uuid.UUID, str, str], uuid.UUID] = {}
    if late:
        rows = await db.fetch(
            _KNOWN,
            [stranger.workspace_id for stranger in late],
            [stranger.address.kind for stranger in late],
            [stranger.address.value for stranger in late],
        )
        theirs = {(row["workspace_id"], row["kind"], row["value"]): row["contact_id"] for row in rows}
    return [
        Met(id_, is_new=True)
        if id_ in made
        else Met(theirs[stranger.workspace_id, stranger.address.kind, stranger.address.value], is_new=False)
        for stranger, id_ in zip(strangers, ids, strict=True)
    ]
