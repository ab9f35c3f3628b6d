"""A real PostgreSQL for the session, migrated once; every test that asks gets a database of its own, cloned from it."""

import asyncio
import gc
import logging
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import pytest
import structlog
import uvloop

from comms import migrations
from comms.database import Database, Urls, as_role
from comms.directory import Connection
from comms.embedded import Embedded
from comms.service import Service
from comms.settings import (
    DatabaseSettings,
    MediaSettings,
    Secret,
    SecuritySettings,
    ServerSettings,
    Settings,
)
from models.tenancy import WEB, WORKER
from tests.make import communications as make
from tests.make import people

# Tests may lose what a power cut would lose; the journeys that kill processes keep the real settings.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}
PUBLIC_URL = "https://hooks.example.com"
TEMPLATE = "comms_template"
# Most of what is imported and collected stays: to look through it as often as usual is a tenth of all the work.
gc.set_threshold(100_000, 20, 20)
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
LONGEST = ("test_any_request.py", "test_adding_a_field.py")


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A short folder that PostgreSQL's user may enter, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="comms-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(folder: Path) -> Iterator[Embedded]:
    """The session's server, with the template database at the newest schema."""
    with Embedded(folder / "db", options=FAST) as server:
        asyncio.run(_make_template(server))
        yield server


async def _make_template(server: Embedded) -> None:
    connection = await asyncpg.connect(server.dsn("postgres", "postgres"))
    await connection.execute(f"CREATE DATABASE {TEMPLATE}")
    await connection.close()
    await migrations.upgrade(urls_of(server, TEMPLATE))


def urls_of(server: Embedded, name: str) -> Urls:
    """The three addresses of one database of a server."""
    owner = Secret(server.dsn("postgres", name))
    return Urls(owner=owner, web=as_role(owner, WEB), worker=as_role(owner, WORKER))


class Ground:
    """A database that tests have one after the other: a clone costs half a second, and so does a new service."""

    def __init__(self, server: Embedded, name: str, *, is_shared: bool) -> None:
        self.urls = urls_of(server, name)
        self.is_shared = is_shared
        named = Secret(f"{self.urls.owner.plain}&application_name={quote(STAYS)}")
        self.staying = Urls(owner=named, web=as_role(named, WEB), worker=as_role(named, WORKER))
        self._database: Database | None = None
        self._desk: Any = None
        self._broom: Any = None
        self._find_rows = ""

    async def desk(self) -> Any:
        """The one connection of the superuser, as if it were new."""
        self._desk = await self._open(self._desk)
        await self._desk.reset()
        return self._desk

    async def hand(self) -> Any:
        """The same connection as it is: for fixtures, which ask nothing else of it."""
        self._desk = await self._open(self._desk)
        return self._desk

    def database(self) -> Database:
        """The one that stays: to connect and to word every statement anew takes a test longer than what it asks."""
        if self._database is None:
            self._database = Database(self.staying, pool_size=4)
        self._database.on_told = lambda told: None
        return self._database

    async def empty(self, *, is_served: bool) -> None:
        """No table has a row, and nobody is at work: whoever a test has left behind is sent away.

        Where the program was at work, every update has said what it has changed.
        """
        if self._desk is not None and not self._desk.is_closed():
            await self._desk.reset()
        # A connection of its own: whoever changes the role of a session makes PostgreSQL forget every plan of it.
        self._broom = await self._open(self._broom, session_replication_role="replica")
        async with asyncio.timeout(30):  # or the service that stays has left a transaction open
            while await self._broom.fetchval(OTHERS, STAYS):  # noqa: ASYNC110  # nobody tells when they have gone
                await asyncio.sleep(0.005)
        if not self._find_rows:
            tables = [row["name"] for row in await self._broom.fetch(TABLES)]
            # The names are the catalogue's own.
            self._find_rows = " UNION ALL ".join(f"SELECT '{n}' AS name WHERE EXISTS (SELECT FROM {n})" for n in tables)
        written = await self._broom.fetch(self._find_rows)
        untold = [row["event"] for row in await self._broom.fetch(UNTOLD)] if is_served else []
        if written:
            await self._broom.execute(";".join(f"DELETE FROM {row['name']}" for row in written))
        assert not untold, f"these events do not say what has changed: {untold}"

    async def close(self) -> None:
        if self._database is not None:
            await self._database.close()
        for connection in (self._desk, self._broom):
            if connection is not None:
                await connection.close()

    async def _open(self, connection: Any, **settings: str) -> Any:
        if connection is None or connection.is_closed():
            settings["application_name"] = STAYS
            connection = await asyncpg.connect(self.urls.owner.plain, server_settings=settings)
        return connection


@asynccontextmanager
async def _ground(postgres: Embedded, *, is_shared: bool = True) -> AsyncIterator[Ground]:
    async with clone(postgres) as name:
        ground = Ground(postgres, name, is_shared=is_shared)
        yield ground
        await ground.close()


@pytest.fixture(scope="session")
async def served_ground(postgres: Embedded) -> AsyncIterator[Ground]:
    """The database of the tests that ask a running process."""
    async with _ground(postgres) as ground:
        yield ground


@pytest.fixture(scope="session")
async def other_ground(postgres: Embedded) -> AsyncIterator[Ground]:
    """The database of the other tests, which may end any connection to it."""
    async with _ground(postgres) as ground:
        yield ground


@pytest.fixture
async def ground(
    request: pytest.FixtureRequest, postgres: Embedded, served_ground: Ground, other_ground: Ground
) -> AsyncIterator[Ground]:
    """A migrated database without a row; of its own, if the test is marked ``alters_the_schema``."""
    if request.node.get_closest_marker("alters_the_schema"):
        async with _ground(postgres, is_shared=False) as ground:
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


@asynccontextmanager
async def clone(postgres: Embedded) -> AsyncIterator[str]:
    """The name of a database like the template, for as long as this lasts."""
    name = f"test_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(postgres.dsn("postgres", "postgres"))
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield name
    await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await admin.close()


# The service that all tests share stays, and so do we; how many others there still were, or were at work for it.
STAYS = "stays"
OTHERS = """
SELECT count(CASE WHEN application_name <> $1 THEN pg_terminate_backend(pid) ELSE true END) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
AND (application_name <> $1 OR state <> 'idle')
"""
# What a test has invented is no row's, and has no id.
UNTOLD = """
SELECT DISTINCT event FROM events WHERE event LIKE '%.updated' AND changes IS NULL AND data->>'id' IS NOT NULL
"""
TABLES = """
SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
WHERE schemaname IN ('public', 'jobs') AND tablename <> 'alembic_version'
"""


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
