"""A real PostgreSQL for the session, migrated once; every test that asks gets a database of its own, cloned from it."""

import asyncio
import gc
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import structlog
import uvloop

from comms import events
from comms.database import Database, Urls
from comms.directory import Connection
from comms.embedded import Embedded
from comms.events import Fact
from comms.happenings import doubt
from comms.service import Service
from comms.settings import (
    DatabaseSettings,
    MediaSettings,
    SecuritySettings,
    ServerSettings,
    Settings,
)
from models.communications import Conversation
from tests.grounds import Ground, ground_on, make_template
from tests.make import communications as make
from tests.make import ownership, people

# Tests may lose what a power cut would lose; the journeys that kill processes keep the real settings.
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "max_wal_size": "64MB",
}
MEMORY, ROOM = Path("/dev/shm"), 2 << 30
PUBLIC_URL = "https://hooks.example.com"
# A line for every request would be formatted twice, and read by nobody.
for name in ("httpx", "httpcore"):
    logging.getLogger(name).setLevel(logging.WARNING)
# Nor is an error drawn with every variable of every frame, as it would be for a developer.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)
_ask_for_types = asyncpg.Connection._introspect_types
_known_types: dict[frozenset[int], Any] = {}


async def _types(connection: Any, oids: Any, seconds: Any) -> Any:
    """What PostgreSQL's own types are, such as ``uuid[]``, is asked once: every connection would, and take 10 ms."""
    wanted = frozenset(oids)
    if any(oid >= 16384 for oid in wanted):  # FirstNormalObjectId: somebody has made it, and in one database
        return await _ask_for_types(connection, oids, seconds)
    if wanted not in _known_types:
        _known_types[wanted] = await _ask_for_types(connection, oids, seconds)
    return _known_types[wanted]


asyncpg.Connection._introspect_types = _types
_arguments = events.arguments
INVENTED = {"anything.new", "deal.won", "deal_note.created"}
"""What happens in tests alone."""


def _of_known_kinds(facts: Sequence[Fact]) -> tuple[list[Any], ...]:
    """What is told has its line in ``comms/happenings.py``, or nobody could wait for it."""
    for fact in facts:
        assert fact.event in INVENTED or (fact.event[-1] != "." and doubt(fact.event) is None), fact.event
    return _arguments(facts)


events.arguments = _of_known_kinds
LONGEST = ("test_any_request.py", "test_adding_a_field.py")
LONGEST_NAME = 80


def short_folder() -> Path:
    """A new folder that PostgreSQL's user may enter, unlike pytest's own; in memory where there is room.

    A database has a thousand files: to make one on a disk takes a third of a second of computing, five times as much.
    What a killed process has written is there after it all the same.
    """
    is_roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM
    path = Path(tempfile.mkdtemp(prefix="comms-", dir=MEMORY if is_roomy else None))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Where the session's server and its files are."""
    path = short_folder()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(folder: Path) -> Iterator[Embedded]:
    """The session's server, with the template database at the newest schema."""
    with Embedded(folder / "db", options=FAST) as server:
        asyncio.run(make_template(server))
        yield server


@pytest.fixture(scope="session")
async def served_ground(postgres: Embedded) -> AsyncIterator[Ground]:
    """The database of the tests that ask a running process."""
    async with ground_on(postgres) as ground:
        yield ground


@pytest.fixture(scope="session")
async def other_ground(postgres: Embedded) -> AsyncIterator[Ground]:
    """The database of the other tests, which may end any connection to it."""
    async with ground_on(postgres) as ground:
        yield ground


@pytest.fixture
async def ground(
    request: pytest.FixtureRequest, postgres: Embedded, served_ground: Ground, other_ground: Ground
) -> AsyncIterator[Ground]:
    """A migrated database without a row; of its own, if the test is marked ``alters_the_schema``."""
    if request.node.get_closest_marker("alters_the_schema"):
        async with ground_on(postgres, is_shared=False) as ground:
            yield ground
        return
    is_served = "service" in request.fixturenames
    ground = served_ground if is_served else other_ground
    yield ground
    await ground.empty(is_served=is_served)


@pytest.fixture
def urls(ground: Ground) -> Urls:
    """The addresses of the test's database."""
    return ground.urls


@pytest.fixture
async def database(ground: Ground) -> Database:
    """The fresh database, as the program uses it."""
    return ground.database()


@pytest.fixture
async def admin(ground: Ground) -> Any:
    """The fresh database as its superuser, for looking past row security."""
    return await ground.desk()


@pytest.fixture(scope="session")
def shared_settings(folder: Path) -> Settings:
    """What a process is told."""
    media = folder / "media" / uuid.uuid4().hex
    return Settings(
        data_dir=folder,
        database=DatabaseSettings(pool_size=4),
        server=ServerSettings(public_url=PUBLIC_URL),
        security=SecuritySettings(keys=(("test", b"k" * 32),)),
        media=MediaSettings(url=media.as_uri()),
    )


@pytest.fixture
def settings(shared_settings: Settings) -> Settings:
    """What this test's process is told: a module that wants it otherwise has a fixture of this name."""
    return shared_settings


@pytest.fixture(scope="session")
async def shared_service(shared_settings: Settings, served_ground: Ground) -> AsyncIterator[Service]:
    """The process that all tests ask which want no other: a new one would make six connections."""
    async with _started(Service(shared_settings, served_ground.staying, worker=False)) as service:
        yield service


@pytest.fixture
async def service(
    settings: Settings, shared_settings: Settings, ground: Ground, shared_service: Service
) -> AsyncIterator[Service]:
    """A running process without its worker: no job is done behind a test's back.

    It is the test's own where its settings or its database are.
    """
    if settings is shared_settings and ground.is_shared:
        yield shared_service
        return
    async with _started(Service(settings, ground.urls, worker=False)) as service:
        yield service


@asynccontextmanager
async def _started(service: Service) -> AsyncIterator[Service]:
    await service.start()
    yield service
    await service.stop()


class Client(httpx.AsyncClient):
    """Somebody who asks, as a member of a workspace."""

    workspace_id: uuid.UUID
    user_id: uuid.UUID
    token: str


@pytest.fixture
def app(service: Service) -> Any:
    """The application of the running process."""
    from handlers.app import create_app
    from tests.handlers.descriptions import api

    return create_app(service, api())


@pytest.fixture
async def workspace_id(service: Service, ground: Ground) -> uuid.UUID:
    """The workspace everybody but the stranger belongs to."""
    return await people.workspace(await ground.hand(), "acme")


async def _client(ground: Ground, app: Any, workspace_id: uuid.UUID, role: str, email: str) -> Client:
    user_id, token = await people.member(await ground.hand(), workspace_id, role, email)
    client = Client(
        transport=httpx.ASGITransport(app), base_url=PUBLIC_URL, headers={"Authorization": f"Bearer {token}"}
    )
    client.workspace_id, client.user_id, client.token = workspace_id, user_id, token
    return client


def _member(name: str, role: str) -> Any:
    """A fixture: somebody with that role in the workspace."""

    @pytest.fixture(name=name)
    async def client(ground: Ground, app: Any, workspace_id: uuid.UUID) -> AsyncIterator[Client]:
        async with await _client(ground, app, workspace_id, role, f"{role}@acme.example") as client:
            yield client

    return client


owner = _member("owner", "owner")
admin_member = _member("admin_member", "admin")
member = _member("member", "member")
viewer = _member("viewer", "viewer")


@pytest.fixture
async def stranger(ground: Ground, app: Any) -> AsyncIterator[Client]:
    """The owner of another workspace."""
    other = await people.workspace(await ground.hand(), "rival")
    async with await _client(ground, app, other, "owner", "owner@rival.example") as client:
        yield client


@pytest.fixture
async def line(service: Service, workspace_id: uuid.UUID) -> Connection:
    """A Twilio connection of the workspace, and a number on it."""
    await make.number(service, workspace_id)
    return await make.connection(service, workspace_id)


@pytest.fixture
async def talk(service: Service, workspace_id: uuid.UUID, line: Connection) -> Conversation:
    """A conversation that nobody has, with somebody who has a phone."""
    return await ownership.talk(service, workspace_id)


@pytest.fixture
async def ada(service: Service, workspace_id: uuid.UUID) -> uuid.UUID:
    """An active agent."""
    return await ownership.agent(service, workspace_id)


@pytest.fixture
async def bob(service: Service, workspace_id: uuid.UUID) -> uuid.UUID:
    """Another one."""
    return await ownership.agent(service, workspace_id, "Bob")


@pytest.fixture
async def mailbox(service: Service, workspace_id: uuid.UUID) -> Connection:
    """A SendGrid connection of the workspace, and a mail address on it."""
    connection = await make.sendgrid_connection(service, workspace_id)
    await make.mail_address(service, workspace_id, connection_id=connection.id)
    return connection


@pytest.fixture
async def anonymous(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC_URL) as client:
        yield client


def pytest_asyncio_loop_factories() -> dict[str, Any]:
    """The loop that the program has, which is the quicker one besides."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What has been imported and collected stays: it is left out of collections, which would be a fifth of a second."""
    gc.freeze()


def pytest_make_parametrize_id(val: object) -> str | None:
    """What is long is called by how it begins: every worker tells the name of every test, with each of its reports."""
    if isinstance(val, str | bytes) and len(val) > LONGEST_NAME:
        begins = val[:LONGEST_NAME].decode("latin-1") if isinstance(val, bytes) else val[:LONGEST_NAME]
        return f"{begins.encode('unicode_escape').decode()}...{len(val)}"
    return None


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around xdist, which looks for the marks, and pytest, which sorts too
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """The journeys kill processes and watch clocks: they run one after another, on one of xdist's workers.

    And who takes longest begins first, so that in the end nobody waits for it.
    """
    for item in items:
        if "journeys" in item.path.parts:
            item.add_marker(pytest.mark.xdist_group("journeys"))
    yield
    items.sort(key=lambda item: item.path.name not in LONGEST and "journeys" not in item.path.parts)
