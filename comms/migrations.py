"""The schema, brought to a version: all of it or nothing, by one process at a time."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

import models
from comms.database import Database, Urls, as_role, role_password
from comms.errors import CannotRun
from models.tenancy import WEB, WORKER

_LOCK = 0x636F6D6D73  # "comms": one number for every process that migrates
PATIENCE_SECONDS = 30  # with whoever else migrates, or holds a table
_FOLDER = Path(models.__file__).parent / "migrations"


class SchemaUnusable(CannotRun):
    """The database cannot be brought to the version asked for."""


def head() -> str:
    """The newest version this program knows."""
    newest = ScriptDirectory(str(_FOLDER)).get_current_head()
    assert newest is not None
    return newest


@cache
def _known() -> frozenset[str]:
    return frozenset(script.revision for script in ScriptDirectory(str(_FOLDER)).walk_revisions())


async def upgrade(urls: Urls, revision: str = "head") -> str:
    """The roles exist and the schema is at ``revision``; returns the version reached."""
    return await _run(urls, lambda config: command.upgrade(config, revision))


async def downgrade(urls: Urls, revision: str) -> str:
    """The schema is back at ``revision`` (``-1`` for one step, ``base`` for nothing)."""
    return await _run(urls, lambda config: command.downgrade(config, revision))


async def is_current(database: Database) -> bool:
    """Whether the database has the schema this program was written for, or a newer one: a release comes from ahead."""
    async with database.everywhere() as db:
        if await db.scalar(text("SELECT to_regclass('alembic_version')::text")) is None:
            return False
        version: str | None = await db.scalar(text("SELECT version_num FROM alembic_version"))
        return version == head() or (version is not None and version not in _known())


async def _run(urls: Urls, step: Callable[[Config], None]) -> str:
    async def connect() -> object:
        try:
            return await asyncpg.connect(urls.owner.plain, timeout=10)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise SchemaUnusable(
                f"The database in DATABASE_URL does not answer: {error or type(error).__name__}."
                " Is the address right, and is the server up?"
            ) from error

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect)
    try:
        async with engine.begin() as connection:
            # Held by the transaction: a release that starts twice migrates once, and PgBouncer is no obstacle.
            await connection.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE_SECONDS}s'"))
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            await connection.run_sync(_refuse_newer)
            for statement in _roles(urls):
                await connection.execute(text(statement))
            reached = await connection.run_sync(_step, step)
            await connection.execute(text(f"GRANT SELECT ON alembic_version TO {WEB}, {WORKER}"))
            return reached
    except CommandError as error:
        raise SchemaUnusable(f"The schema cannot be brought to that revision: {error}.") from error
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == "55P03":
            raise SchemaUnusable(
                f"For {PATIENCE_SECONDS} s another comms has been migrating this database, or somebody has held its"
                " tables: nothing was changed, try again once they are done."
            ) from error
        if "insufficient_privilege" in str(error.orig) or "permission denied" in str(error.orig):
            raise SchemaUnusable(
                f"The owner in DATABASE_URL may not do this: {error.orig}. It needs CREATEROLE, or create the roles"
                f" {WEB} and {WORKER} yourself and set DATABASE_WEB_URL and DATABASE_WORKER_URL."
            ) from error
        raise
    finally:
        await engine.dispose()


def _roles(urls: Urls) -> list[str]:
    """The two roles exist, may sign in, and own nothing. One with an address of its own is somebody else's making."""
    statements = []
    for role, url in ((WEB, urls.web), (WORKER, urls.worker)):
        statements.append(f"GRANT USAGE ON SCHEMA public TO {role}")
        if url.plain != as_role(urls.owner, role).plain:
            continue
        password = role_password(urls.owner, role)
        given = f" PASSWORD '{password}'" if password else ""
        statements.append(
            f"DO $$ BEGIN CREATE ROLE {role} LOGIN NOSUPERUSER NOBYPASSRLS{given};"
            f" EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        )
        if password:
            statements.append(f"ALTER ROLE {role} PASSWORD '{password}'")
    return sorted(statements, key=lambda statement: statement.startswith("GRANT"))


def _refuse_newer(connection: Connection) -> None:
    version = MigrationContext.configure(connection).get_current_revision()
    if version is not None and version not in _known():
        raise SchemaUnusable(
            f"The database was written by a newer comms (schema {re.sub('[^0-9a-z_]', '', version)!r} is unknown here):"
            " run that version, or downgrade the schema with it first."
        )


def _step(connection: Connection, step: Callable[[Config], None]) -> str:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = connection
    step(config)
    return MigrationContext.configure(connection).get_current_revision() or "base"
