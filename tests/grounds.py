"""The databases of the tests: a template, migrated once, its clones, and those that tests have one after the other."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import asyncpg

from comms import migrations
from comms.database import Database, Urls, as_role
from comms.embedded import Embedded
from comms.settings import Secret
from models.tenancy import WEB, WORKER

TEMPLATE = "comms_template"
# The service that all tests share stays, and so do we; how many others there still were, or were at work for it.
STAYS = "stays"
OTHERS = """
SELECT count(CASE WHEN application_name <> $1 THEN pg_terminate_backend(pid) ELSE true END) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
AND (application_name <> $1 OR state <> 'idle')
"""
# What a test has invented is no row's, and has no id. Where something is made, nothing was before, and that is what is
# told of it first, by whatever name: docs/events.md has those. Who is left out of a channel is told of its end, and not
# what has changed. Where something else is changed, at least one field is.
UNTOLD = """
SELECT DISTINCT event FROM events e WHERE (changes IS NULL OR changes::text = '{}') AND data->>'id' IS NOT NULL
    AND event NOT LIKE ALL (ARRAY['%.created', '%.deleted', '%.installed', 'consent.%'])
    AND event NOT IN ('message.received', 'message.queued', 'message.scheduled', 'contact.restored',
        'agent_shared_memory.expired', 'team_channel.closed')
    AND EXISTS (SELECT FROM events b WHERE b.workspace_id = e.workspace_id AND b.subject_id = e.subject_id
        AND b.seq < e.seq)
"""
TABLES = """
SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
WHERE schemaname IN ('public', 'jobs') AND tablename <> 'alembic_version'
"""


async def make_template(server: Embedded) -> None:
    """The server has the template, at the newest schema."""
    connection = await asyncpg.connect(server.dsn("postgres", "postgres"))
    await connection.execute(f"CREATE DATABASE {TEMPLATE}")
    await connection.close()
    await migrations.upgrade(urls_of(server, TEMPLATE))


def urls_of(server: Embedded, name: str) -> Urls:
    """The three addresses of one database of a server."""
    owner = Secret(server.dsn("postgres", name))
    return Urls(owner=owner, web=as_role(owner, WEB), worker=as_role(owner, WORKER))


@asynccontextmanager
async def clone(postgres: Embedded) -> AsyncIterator[str]:
    """The name of a database like the template, for as long as this lasts."""
    name = f"test_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(postgres.dsn("postgres", "postgres"))
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield name
    await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await admin.close()


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

        Where the program was at work, everything that is no beginning and no end has said what it has changed.
        """
        if self._desk is not None and not self._desk.is_closed():
            await self._desk.reset()
        # A connection of its own: whoever changes the role of a session makes PostgreSQL forget every plan of it.
        self._broom = await self._open(self._broom, session_replication_role="replica")
        async with asyncio.timeout(30):  # or the service that stays has left a transaction open
            while await self._broom.fetchval(OTHERS, STAYS):
                await self._broom.execute("SELECT pg_sleep(0.005)")  # nobody tells when they have gone
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
async def ground_on(postgres: Embedded, *, is_shared: bool = True) -> AsyncIterator[Ground]:
    """A database for tests, as long as this lasts."""
    async with clone(postgres) as name:
        ground = Ground(postgres, name, is_shared=is_shared)
        yield ground
        await ground.close()
