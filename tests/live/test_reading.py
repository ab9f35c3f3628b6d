"""How far each member has read is seen by the others at once, in every process."""

from collections.abc import AsyncIterator

import pytest

from comms.database import Database
from comms.hub import Hub
from comms.service import Service
from tests.conftest import Client
from tests.screens import application, serving, watching

API = "/api/v1"


@pytest.fixture
async def there(service: Service) -> AsyncIterator[str]:
    """The address of another process."""
    database = Database(service.database.urls, pool_size=2)
    hub = Hub(database)
    await hub.start()
    async with serving(application(database, hub)) as url:
        yield url
    await hub.stop()
    await database.close()


async def test_a_read_position_is_told_and_never_goes_back(owner: Client, member: Client, there: str) -> None:
    talk = (await owner.post(f"{API}/conversations", json={"channel": "email"})).json()["id"]
    address = f"{API}/conversations/{talk}/read-state"
    async with watching(there, owner.token, topics=[f"conversation:{talk}"]) as screen:
        await member.put(address, json={"at": "2026-02-01T00:00:00Z"})
        frame = await screen.next("event")
        assert frame["event"].startswith("conversation_participant.")
        assert (frame["data"]["userId"], frame["data"]["lastReadAt"]) == (str(member.user_id), "2026-02-01T00:00:00Z")
        for at in ("2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z"):
            await member.put(address, json={"at": at})
        again = await screen.next("event")
        assert again["data"]["lastReadAt"] == "2026-03-01T00:00:00Z", "what was read does not become unread"
