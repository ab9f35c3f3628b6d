"""An office with telephones."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from comms.directory import Connection
from comms.service import Service
from comms.simulators.telephone import Person
from tests.comms.calls.people import MEMBER, OWNER
from tests.conftest import Client
from tests.make import calls as make
from tests.make import communications
from tests.make.calls import Network, network


@pytest.fixture
def provider() -> str:
    """Whose lines they are; journeys that both providers make name both."""
    return "twilio"


@pytest.fixture
async def line(service: Service, workspace_id: uuid.UUID, provider: str) -> Connection:
    """A connection to that provider, and a number on it."""
    await communications.number(service, workspace_id, provider=provider)
    secret = communications.SECRETS[provider]
    if provider == "signalwire":
        secret = secret | {"apiToken": "PTtest", "spaceUrl": "acme.signalwire.com"}
    return await communications.connection(service, workspace_id, provider, secret)


@pytest.fixture
async def net(service: Service, app: Any, line: Connection, owner: Client, member: Client) -> AsyncIterator[Network]:
    await make.phone(service, line.workspace_id, owner.user_id, OWNER)
    await make.phone(service, line.workspace_id, member.user_id, MEMBER)
    people = {
        OWNER: Person(after=3, keys=("1",)),
        MEMBER: Person(after=8, keys=("1",)),
        "+14155550120": Person(after=2, mailbox=True),
    }
    async with network(service, app, line, people=people) as made:
        yield made
