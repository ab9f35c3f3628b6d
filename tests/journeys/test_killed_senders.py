"""A process that sends is killed between what the provider took and what we kept of it."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from comms.database import Database
from comms.embedded import Embedded
from comms.providers.twilio import TwilioCredentials
from comms.simulators.exchange import Exchange
from comms.simulators.server import Server
from tests.conftest import PUBLIC_URL, clone, urls_of
from tests.journeys import processes
from tests.journeys.conftest import KEY, found_desk
from tests.journeys.desks import Desk
from tests.journeys.processes import Process
from tests.journeys.waiting import until
from tests.make.communications import TWILIO
from tests.screens import serving

CUSTOMER = "+14155550199"


class Office:
    """A workspace in a database of its own, its provider, and processes that are begun and killed."""

    def __init__(self, desk: Desk, exchange: Exchange, books: Any, folder: Path, variables: dict[str, str]) -> None:
        self.desk = desk
        self.exchange = exchange
        self.books = books
        self._folder = folder
        self._variables = variables
        self.url = variables["DATABASE_URL"]
        self.begun: list[Process] = []

    def begin(self) -> Process:
        """Another process serves and sends."""
        process = processes.begin("serve", folder=self._folder, **self._variables)
        self.begun.append(process)
        return process


@pytest.fixture
async def office(postgres: Embedded, place: Path) -> AsyncIterator[Office]:
    exchange = Exchange(TwilioCredentials(TWILIO["accountSid"], TWILIO["authToken"]))
    async with clone(postgres) as name, serving(Server(exchange.routes)) as address:
        database = Database(urls_of(postgres, name), pool_size=2)
        desk = await found_desk(database, 0)
        await database.close()
        variables = {
            "DATABASE_URL": database.urls.owner.plain,
            "COMMS_SECRET_KEY": f"test:{base64.b64encode(KEY).decode()}",
            "COMMS_DATA_DIR": str(place / "office"),
            "COMMS_LOG_LEVEL": "warning",
            "COMMS_TWILIO_URL": address.replace("ws://", "http://").removesuffix("/ws"),
            "PUBLIC_URL": PUBLIC_URL,
        }
        books = await asyncpg.connect(database.urls.owner.plain)
        office = Office(desk, exchange, books, place, variables)
        try:
            yield office
        finally:
            for process in office.begun:
                process.kill()
            await books.close()


async def test_a_worker_killed_between_accept_and_commit_sends_once(office: Office) -> None:
    office.exchange.faults.append("lost")  # it is taken, and the answer does not come before the process is gone
    dying = office.begin()
    await asyncio.to_thread(dying.await_start)
    async with office.desk.client(dying.url) as agent:
        said = await agent.post("/api/v1/messages", json={"to": CUSTOMER, "content": "See you at 7pm"})
        assert said.status_code == 201, said.text
        await agent.post(f"/api/v1/conversations/{said.json()['conversationId']}/messages", json={"content": "And 8pm"})

    async def taken() -> bool:
        return len(office.exchange.sent) == 1

    await until(taken, within=10)
    dying.kill()
    assert await office.books.fetchval("SELECT count(*) FROM outgoing_messages WHERE state = 'sending'") == 1

    # The time of its lease has passed.
    await office.books.execute("UPDATE outgoing_messages SET next_attempt_at = now() WHERE state = 'sending'")
    heir = office.begin()
    await asyncio.to_thread(heir.await_start)

    async def all_gone() -> bool:
        return bool(await office.books.fetchval("SELECT NOT EXISTS (SELECT FROM outgoing_messages)"))

    await until(all_gone, within=15)
    assert [taken.body for taken in office.exchange.sent] == ["See you at 7pm", "And 8pm"]
    async with office.desk.client(heir.url) as agent:
        shown = await _message(agent, said.json()["id"])
    assert (shown["status"], shown["providerMessageId"]) == ("sending", office.exchange.sent[0].sid)


async def _message(agent: httpx.AsyncClient, message_id: str) -> dict[str, Any]:
    row: dict[str, Any] = (await agent.get(f"/api/v1/conversation-messages/{message_id}")).json()
    return row
