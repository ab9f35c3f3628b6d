"""Real processes for the journeys: two that share the session's database, and one with a durable one of its own."""

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from comms import connections, credentials, workspaces
from comms.database import Database
from comms.embedded import Embedded
from comms.providers.twilio import TwilioCredentials
from comms.settings import SecuritySettings
from comms.simulators.exchange import Exchange
from comms.simulators.server import Server
from comms.vault import Vault
from models.communications import WorkspacePhoneNumber
from tests.conftest import PUBLIC_URL, short_folder
from tests.grounds import TEMPLATE, clone, urls_of
from tests.journeys import processes
from tests.journeys.desks import Desk
from tests.journeys.house import House
from tests.journeys.offices import Office
from tests.journeys.processes import Process
from tests.make.communications import TWILIO
from tests.screens import serving

KEY = b"j" * 32
NUMBERS = ["+14155550100", "+14155550101"]
DESKS = 20


class Pair:
    """Two web processes over one database; every journey gets a workspace of its own."""

    def __init__(self, one: Process, other: Process, owner_url: str, desks: list[Desk]) -> None:
        self.one = one
        self.other = other
        self.ports = [one.port, other.port]
        self.owner_url = owner_url
        self._desks = iter(desks)

    def desk(self) -> Desk:
        """A workspace nobody has used yet."""
        return next(self._desks)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that PostgreSQL's user may enter; what still runs over its ``data`` is ended."""
    path = short_folder()
    yield path
    processes.end_postgres(path / "data")
    shutil.rmtree(path)


@pytest.fixture(scope="session")
async def pair(postgres: Embedded, folder: Path) -> AsyncIterator[Pair]:
    """Two ``comms serve`` over a database of the session's server."""
    admin = await asyncpg.connect(postgres.dsn("postgres", "postgres"))
    await admin.execute(f"CREATE DATABASE journeys TEMPLATE {TEMPLATE}")
    await admin.close()
    database = Database(urls_of(postgres, "journeys"), pool_size=2)
    desks = [await found_desk(database, index) for index in range(DESKS)]
    await database.close()
    variables = {
        "DATABASE_URL": database.urls.owner.plain,
        "COMMS_SECRET_KEY": f"test:{base64.b64encode(KEY).decode()}",
        "COMMS_DATA_DIR": str(folder / "pair"),
        "COMMS_LOG_LEVEL": "warning",
        "PUBLIC_URL": PUBLIC_URL,
    }
    begun = [processes.begin("serve", folder=folder, **variables) for _ in range(2)]
    try:
        for process in begun:
            await asyncio.to_thread(process.await_start)
        yield Pair(*begun, database.urls.owner.plain, desks)
    finally:
        for process in begun:
            process.end()


async def found_desk(database: Database, index: int) -> Desk:
    """A workspace with a Twilio connection and two numbers."""
    async with database.everywhere() as db:
        workspace, member = await workspaces.found(
            db, name=f"Desk {index}", slug=f"desk-{index}", email=f"owner@desk{index}.example"
        )
        _, token = await credentials.issue(db, member)
        connection = await connections.connect(
            db,
            Vault(SecuritySettings(keys=(("test", KEY),))),
            workspace_id=workspace.id,
            provider="twilio",
            name="twilio",
            secret=TWILIO,
        )
        db.add_all(
            WorkspacePhoneNumber(workspace_id=workspace.id, phone_number=number, provider="twilio")
            for number in NUMBERS
        )
    return Desk(
        workspace_id=workspace.id,
        token=token,
        connection_id=connection.id,
        secret=TWILIO,
        numbers=NUMBERS,
        public_url=PUBLIC_URL,
    )


@pytest.fixture
def desk(pair: Pair) -> Desk:
    """A fresh workspace of the two processes'."""
    return pair.desk()


@pytest.fixture
async def books(pair: Pair) -> AsyncIterator[Any]:
    """The two processes' database, as its superuser."""
    connection = await asyncpg.connect(pair.owner_url)
    yield connection
    await connection.close()


@pytest.fixture
async def agent(pair: Pair, desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """The owner of the fresh workspace, asking the first process."""
    async with desk.client(pair.one.url) as client:
        yield client


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    """``comms up`` over a data folder of its own, with a database that keeps what it has committed."""
    path = short_folder()
    house = House(path)
    try:
        yield house
    finally:
        house.end()
        shutil.rmtree(path)


@asynccontextmanager
async def grounds(postgres: Embedded, folder: Path, **more: str) -> AsyncIterator[tuple[Desk, Any, dict[str, str]]]:
    """A workspace in a database of its own, that database, and the variables of processes that are begun over it."""
    async with clone(postgres) as name:
        database = Database(urls_of(postgres, name), pool_size=2)
        desk = await found_desk(database, 0)
        await database.close()
        variables = {
            "DATABASE_URL": database.urls.owner.plain,
            "COMMS_SECRET_KEY": f"test:{base64.b64encode(KEY).decode()}",
            "COMMS_DATA_DIR": str(folder),
            "COMMS_LOG_LEVEL": "warning",
            "PUBLIC_URL": PUBLIC_URL,
        }
        books = await asyncpg.connect(database.urls.owner.plain)
        try:
            yield desk, books, variables | more
        finally:
            await books.close()


@pytest.fixture
async def office(postgres: Embedded, place: Path) -> AsyncIterator[Office]:
    """A workspace whose provider is a simulator."""
    exchange = Exchange(TwilioCredentials(TWILIO["accountSid"], TWILIO["authToken"]))
    async with serving(Server(exchange.routes)) as address:
        twilio = address.replace("ws://", "http://").removesuffix("/ws")
        async with grounds(postgres, place / "office", COMMS_TWILIO_URL=twilio) as (desk, books, variables):
            office = Office(desk, exchange, books, place, variables)
            try:
                yield office
            finally:
                for process in office.begun:
                    process.kill()
