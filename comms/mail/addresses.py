"""Mail addresses: whose one is, and through whom the mail of our own leaves."""

import uuid

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Invalid
from comms.providers.base import Address, AddressKind
from models.core import WorkspaceApiKey
from models.types import Email

SENDERS = ("sendgrid", "smtp")
"""The providers that carry mail."""


def email_address(raw: str) -> Address:
    """The e-mail address behind ``raw`` as it is kept; ``RAW``, which identifies nobody, when it is none."""
    try:
        return Address(AddressKind.EMAIL, Email().normalise(raw), raw)
    except ValueError:
        return Address(AddressKind.RAW, raw, raw)


async def expect_sender(db: AsyncSession, connection_id: uuid.UUID | None) -> None:
    """The connection is one that carries mail; ``Invalid`` names it when it is not, or not there."""
    if connection_id is None:
        return
    found = await db.scalar(select(WorkspaceApiKey.provider).where(WorkspaceApiKey.id == connection_id))
    if found is None:
        raise Invalid({"connectionId": "refers to nothing in this workspace"})
    if found not in SENDERS:
        raise Invalid({"connectionId": f"is a connection to {found}, which carries no mail"})
