"""A real PostgreSQL for the session, migrated once; every test that asks gets a database of its own, cloned from it."""

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from comms import credentials, migrations, workspaces
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

# Tests may lose what a power cut would lose; the journeys that kill processes keep the real settings.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}
PUBLIC_URL = "https://hooks.example.com"
TEMPLATE = "comms_template"


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


@pytest.fixture(scope="session")
async def shared(postgres: Embedded) -> AsyncIterator[str]:
    """The name of the database that tests have one after the other, emptied in between: a clone costs half a second."""
    async with clone(postgres) as name:
        yield name


@pytest.fixture
async def urls(request: pytest.FixtureRequest, postgres: Embedded, shared: str) -> AsyncIterator[Urls]:
    """A migrated database without a row; of its own, if the test is marked ``alters_the_schema``."""
    if request.node.get_closest_marker("alters_the_schema"):
        async with clone(postgres) as name:
            yield urls_of(postgres, name)
        return
    yield urls_of(postgres, shared)
    connection = await asyncpg.connect(postgres.dsn("postgres", shared))
    while await connection.fetchval(OTHERS):  # noqa: ASYNC110  # nobody tells when they have gone
        await asyncio.sleep(0.005)
    await connection.execute(EMPTY)
    await connection.close()


@asynccontextmanager
async def clone(postgres: Embedded) -> AsyncIterator[str]:
    """The name of a database like the template, for as long as this lasts."""
    name = f"test_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(postgres.dsn("postgres", "postgres"))
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield name
    await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await admin.close()


# Whoever a test has left behind is sent away; how many there still were.
OTHERS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
EMPTY = """
SET session_replication_role = replica;
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
        WHERE schemaname IN ('public', 'jobs') AND tablename <> 'alembic_version'
    LOOP EXECUTE 'DELETE FROM ' || name; END LOOP;
END $$
"""


@pytest.fixture
async def database(urls: Urls) -> AsyncIterator[Database]:
    """The fresh database, as the program uses it."""
    database = Database(urls, pool_size=4)
    yield database
    await database.close()


@pytest.fixture
async def admin(urls: Urls) -> AsyncIterator[Any]:
    """The fresh database as its superuser, for looking past row security."""
    connection = await asyncpg.connect(urls.owner.plain)
    yield connection
    await connection.close()


@pytest.fixture
def settings(folder: Path) -> Settings:
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
async def service(settings: Settings, urls: Urls) -> AsyncIterator[Service]:
    """A running process without its worker: no job is done behind a test's back."""
    service = Service(settings, urls, worker=False)
    await service.start()
    yield service
    await service.stop()


class Client(httpx.AsyncClient):
    """Somebody who asks, as a member of a workspace."""

    workspace_id: uuid.UUID
    user_id: uuid.UUID
    token: str


@pytest.fixture(scope="session")
def api() -> Any:
    """The API's routes: they are the same in every test."""
    from handlers.app import create_api

    return create_api()


@pytest.fixture
async def app(service: Service, api: Any) -> Any:
    """The application of the running process."""
    from handlers.app import create_app

    return create_app(service, api)


@pytest.fixture
async def workspace_id(service: Service) -> uuid.UUID:
    """The workspace everybody but the stranger belongs to."""
    return await _found(service, "acme", "owner@acme.example")


async def _found(service: Service, slug: str, email: str) -> uuid.UUID:
    async with service.database.everywhere() as db:
        workspace, _ = await workspaces.found(db, name=slug.title(), slug=slug, email=email)
        return workspace.id


async def _client(service: Service, app: Any, workspace_id: uuid.UUID, role: str, email: str) -> Client:
    async with service.database.everywhere() as db:
        member = await workspaces.find_member(db, workspace_id, email) or await workspaces.enter(
            db, workspace_id, email=email, role=role
        )
        _, token = await credentials.issue(db, member)
    client = Client(
        transport=httpx.ASGITransport(app), base_url=PUBLIC_URL, headers={"Authorization": f"Bearer {token}"}
    )
    client.workspace_id, client.user_id, client.token = workspace_id, member.user_id, token
    return client


def _member(name: str, role: str) -> Any:
    """A fixture: somebody with that role in the workspace."""

    @pytest.fixture(name=name)
    async def client(service: Service, app: Any, workspace_id: uuid.UUID) -> AsyncIterator[Client]:
        async with await _client(service, app, workspace_id, role, f"{role}@acme.example") as client:
            yield client

    return client


owner = _member("owner", "owner")
admin_member = _member("admin_member", "admin")
member = _member("member", "member")
viewer = _member("viewer", "viewer")


@pytest.fixture
async def stranger(service: Service, app: Any) -> AsyncIterator[Client]:
    """The owner of another workspace."""
    other = await _found(service, "rival", "owner@rival.example")
    async with await _client(service, app, other, "owner", "owner@rival.example") as client:
        yield client


@pytest.fixture
async def line(service: Service, workspace_id: uuid.UUID) -> Connection:
    """A Twilio connection of the workspace, and a number on it."""
    await make.number(service, workspace_id)
    return await make.connection(service, workspace_id)


@pytest.fixture
async def anonymous(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC_URL) as client:
        yield client


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The journeys kill processes and watch clocks: they run one after another, on one of xdist's workers."""
    for item in items:
        if "journeys" in item.path.parts:
            item.add_marker(pytest.mark.xdist_group("journeys"))
