"""Mail addresses: whose one is, and through whom the mail of our own leaves."""

import uuid

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Conflict, Invalid
from comms.providers.base import Address, AddressKind
from models.communications import WorkspaceMailAddress
from models.core import WorkspaceApiKey
from models.types import Email, spelt

SENDERS = ("sendgrid", "smtp")
"""The providers that carry mail."""


def email_address(raw: str) -> Address:
    """The e-mail address behind ``raw`` as it is kept; ``RAW``, which identifies nobody, when it is none."""
    try:
        return Address(AddressKind.EMAIL, Email().normalise(raw), raw)
    except ValueError:
        return Address(AddressKind.RAW, raw, raw)


async def expect_free(db: AsyncSession, row: WorkspaceMailAddress) -> None:
    """No other address of the workspace gets the mail of this one, however both are written; ``Conflict`` names it."""
    with db.no_autoflush:
        there = await db.scalar(
            select(WorkspaceMailAddress.id).where(
                WorkspaceMailAddress.workspace_id == row.workspace_id,
                WorkspaceMailAddress.route_key == spelt(row.inbound_address or row.address).lower(),
                WorkspaceMailAddress.id.is_distinct_from(row.id),
            )
        )
    if there is not None:
        field = "address" if row.inbound_address is None else "inboundAddress"
        raise Conflict("mail to this address is another one's of this workspace", fields=[field], conflicting_id=there)


async def expect_sender(db: AsyncSession, connection_id: uuid.UUID | None) -> None:
    """The connection is one that carries mail; ``Invalid`` names it when it is not, or not there."""
    if connection_id is None:
        return
    found = await db.scalar(select(WorkspaceApiKey.provider).where(WorkspaceApiKey.id == connection_id))
    if found is None:
        raise Invalid({"connectionId": "refers to nothing in this workspace"})
    if found not in SENDERS:
        raise Invalid({"connectionId": f"is a connection to {found}, which carries no mail"})
