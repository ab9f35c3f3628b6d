"""The numbers people reach a business on."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from comms import connections
from comms.credentials import Identity
from handlers.guards import administrator
from handlers.resource import crud
from models.communications import WorkspacePhoneNumber, WorkspacePhoneNumberView


async def create_number(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> WorkspacePhoneNumber:
    """A number of the provider its connection is to."""
    await connections.expect(db, values["connection_id"], values["provider"])
    row = WorkspacePhoneNumber(workspace_id=identity.workspace_id, **values)
    db.add(row)
    return row


async def change_number(
    db: AsyncSession, identity: Identity, row: WorkspacePhoneNumber, values: dict[str, Any]
) -> None:
    """As before, a number of the provider its connection is to."""
    for name, value in values.items():
        setattr(row, name, value)
    await connections.expect(db, row.connection_id, row.provider)


numbers = crud(
    "/workspace-phone-numbers",
    WorkspacePhoneNumber,
    WorkspacePhoneNumberView,
    search=("phone_number", "friendly_name"),
    filters=("phone_number", "provider", "status", "connection_id"),
    who_writes=administrator,
    create=create_number,
    change=change_number,
)

routes = [numbers.router()]
