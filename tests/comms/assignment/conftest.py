"""A team that is given conversations."""

import pytest

from comms.service import Service
from tests.conftest import Client
from tests.make.routing import Desk


@pytest.fixture
async def desk(service: Service, owner: Client) -> Desk:
    """A team with a rule that sends it everything."""
    desk = Desk(service, owner)
    await desk.open()
    return desk
