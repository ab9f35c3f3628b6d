"""The addresses people write to, and messages as the mails they are."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from comms.credentials import Identity
from comms.mail import addresses
from handlers.guards import administrator
from handlers.resource import READ, crud
from models.communications import (
    Mail,
    MailEvent,
    MailEventView,
    MailView,
    WorkspaceMailAddress,
    WorkspaceMailAddressView,
)


async def create_address(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> WorkspaceMailAddress:
    """An address whose mails can be sent by its connection."""
    await addresses.expect_sender(db, values["connection_id"])
    row = WorkspaceMailAddress(workspace_id=identity.workspace_id, **values)
    db.add(row)
    return row


async def change_address(
    db: AsyncSession, identity: Identity, row: WorkspaceMailAddress, values: dict[str, Any]
) -> None:
    """As before, an address whose mails can be sent by its connection."""
    await addresses.expect_sender(db, values.get("connection_id"))
    for name, value in values.items():
        setattr(row, name, value)


mail_addresses = crud(
    "/workspace-mail-addresses",
    WorkspaceMailAddress,
    WorkspaceMailAddressView,
    search=("address", "friendly_name"),
    filters=("address", "status", "connection_id"),
    who_writes=administrator,
    create=create_address,
    change=change_address,
)

mails = crud(
    "/mails",
    Mail,
    MailView,
    search=("subject",),
    filters=("message_id", "mail_address_id", "rfc_message_id", "sender_address", "is_verified", "automatic"),
    verbs=READ,
)

events = crud(
    "/mail-events",
    MailEvent,
    MailEventView,
    filters=("message_id", "kind", "address", "provider_message_id", "connection_id"),
    verbs=READ,
)

routes = [mail_addresses.router(), mails.router(), events.router()]
