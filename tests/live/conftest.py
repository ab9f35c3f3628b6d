"""A hub, the address of its websocket, and a workspace whose events it tells."""

from collections.abc import AsyncIterator

import pytest

from comms.database import Database
from comms.hub import Hub
from tests.screens import Office, application, office, serving


@pytest.fixture
async def hub(database: Database) -> AsyncIterator[Hub]:
    hub = Hub(database)
    await hub.start()
    database.on_told = hub.told
    yield hub
    await hub.stop()


@pytest.fixture
async def url(database: Database, hub: Hub) -> AsyncIterator[str]:
    async with serving(application(database, hub)) as url:
        yield url


@pytest.fixture
async def acme(database: Database) -> AsyncIterator[Office]:
    acme = await office(database)
    yield acme
    await acme.close()
