"""The numbers people reach a business on."""

import uuid
from typing import Any

from litestar import get, post
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import connections
from comms.credentials import Identity
from comms.errors import Missing
from handlers.given import Asker, Db, Here, RowId
from handlers.guards import administrator, reader, writer
from handlers.resource import READ, crud
from models.communications import NumberSweep, NumberSweepView, WorkspacePhoneNumber, WorkspacePhoneNumberView


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

sweeps = crud(
    "/number-sweeps",
    NumberSweep,
    NumberSweepView,
    filters=("phone_number_id", "missing"),
    verbs=READ,
)


async def _standing(db: AsyncSession, identity: Identity, number_id: uuid.UUID) -> NumberSweepView:
    await numbers.find(db, identity, number_id)
    row = await db.scalar(select(NumberSweep).where(NumberSweep.phone_number_id == number_id))
    if row is None:
        raise Missing("This number has not been compared yet: POST here to do it now.")
    view: NumberSweepView = sweeps.shown(row)
    return view


@get("/{row_id:uuid}/sweep", operation_id="get_sweep_of_number", guards=[reader])
async def standing(db: Db, identity: Asker, row_id: RowId) -> NumberSweepView:
    """Whether we have all messages that the number's provider has in its own log, and as of when.

    404 while it has not been compared yet: that is done every 15 minutes.
    """
    return await _standing(db, identity, row_id)


@post(
    "/{row_id:uuid}/sweep",
    operation_id="sweep_number",
    status_code=200,
    guards=[writer],
    problems={409: "The number is not active, and nothing comes in by it."},
)
async def sweep(service: Here, identity: Asker, row_id: RowId) -> NumberSweepView:
    """Compare the number with its provider's log now, and fill in what is lacking, as if its webhooks had come.

    `error` says so when the provider cannot be asked.
    """
    await service.sweeps.sweep(identity.workspace_id, row_id)
    async with service.database.workspace(identity.workspace_id) as db:
        return await _standing(db, identity, row_id)


routes = [numbers.router(standing, sweep), sweeps.router()]
