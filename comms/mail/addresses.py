"""Our own mail addresses: through whom their mail leaves."""

import uuid

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Invalid
from models.core import WorkspaceApiKey

SENDERS = ("sendgrid", "smtp")
"""The providers that carry mail."""


async def expect_sender(db: AsyncSession, connection_id: uuid.UUID | None) -> None:
    """The connection is one that carries mail; ``Invalid`` names it when it is not, or not there."""
    if connection_id is None:
        return
    found = await db.scalar(select(WorkspaceApiKey.provider).where(WorkspaceApiKey.id == connection_id))
    if found is None:
        raise Invalid({"connectionId": "refers to nothing in this workspace"})
    if found not in SENDERS:
        raise Invalid({"connectionId": f"is a connection to {found}, which carries no mail"})
