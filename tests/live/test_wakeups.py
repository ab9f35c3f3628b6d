"""Words between processes, where the one that speaks loses its server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from comms.database import Database, Urls
from comms.settings import Secret
from comms.wakeups import EVENTS, PostgresWakeups
from models.base import new_id
from tests.screens import eventually

FAREWELL = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"


class Passage:
    """A way to the server on which the server's last word can be heard, and its end not yet."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._clients: list[asyncio.StreamWriter] = []

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_unix_connection(self._server)
        self._clients.append(writer)
        await asyncio.gather(_carry(reader, there[1]), _carry(there[0], writer))

    def bid_farewell(self) -> None:
        """As PostgreSQL does when it is told to stop."""
        for client in self._clients:
            client.write(b"E" + (len(FAREWELL) + 4).to_bytes(4, "big") + FAREWELL)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


class Deaf:
    """Hears nothing."""

    def news(self, workspace_id: Any, seq: int) -> None: ...
    def overheard(self, whisper: str) -> None: ...
    def missed(self) -> None: ...


@pytest.fixture
async def passage(urls: Urls, tmp_path: Path) -> AsyncIterator[tuple[Passage, Database]]:
    [folder] = parse_qs(urlsplit(urls.worker.plain).query)["host"]
    passage = Passage(f"{folder}/.s.PGSQL.5432")
    server = await asyncio.start_unix_server(passage.take, tmp_path / ".s.PGSQL.5432")
    through = Secret(urls.worker.plain.replace(folder, str(tmp_path)))
    database = Database(msgspec.structs.replace(urls, web=through, worker=through))
    yield passage, database
    server.close()
    await database.close()


async def test_who_spoke_to_a_server_that_is_leaving_is_heard_again(
    passage: tuple[Passage, Database], admin: Any
) -> None:
    way, database = passage
    wakeups, workspace_id, heard = PostgresWakeups(database), new_id(), list[str]()
    await admin.add_listener(EVENTS, lambda *words: heard.append(words[-1]))
    await wakeups.start(Deaf())
    wakeups.tell(workspace_id, 1)
    await eventually(lambda: f"{workspace_id}:1" in heard)
    way.bid_farewell()
    await asyncio.sleep(0.05)
    wakeups.tell(workspace_id, 2)
    await eventually(lambda: f"{workspace_id}:2" in heard, within=4)
    await wakeups.stop()
