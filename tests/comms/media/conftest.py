"""The world that attachments come from."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from comms.service import Service
from comms.simulators.media import media_server
from tests.comms.media.worlds import SID, TOKEN, World, served
from tests.make import communications as make


@pytest.fixture
async def world(service: Service, workspace_id: uuid.UUID, tmp_path: Path) -> AsyncIterator[World]:
    server = media_server(SID, TOKEN, cdn_base="")
    async with served(server) as port:
        server.cdn_base = f"http://localhost:{port}"
        world = World(service, workspace_id, server, port, (tmp_path / "kept here").as_uri())
        world.connection_id = (await make.connection(service, workspace_id)).id
        yield world
