"""Whether we have all that the providers of our numbers have in their own logs."""

import uuid

from litestar import Router, get, post
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.credentials import Identity
from comms.errors import Missing
from handlers.communications.numbers import numbers
from handlers.given import Asker, Db, Here, RowId
from handlers.guards import reader, writer
from handlers.resource import READ, crud
from models.communications import NumberSweep, NumberSweepView

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


routes = [sweeps.router(), Router("/workspace-phone-numbers", route_handlers=[standing, sweep])]
