"""Units of work: each opens as its workspace's, whatever its connection was used for before."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from comms.database import Database, attempt, driver_of
from comms.service import Service

OURS, THEIRS = uuid.uuid4(), uuid.uuid4()


@pytest.fixture
async def single(service: Service) -> AsyncIterator[Database]:
    """A database that is used over one connection, as long as one is enough."""
    database = Database(service.database.urls, pool_size=1)
    yield database
    await database.close()


async def whose(db: AsyncSession) -> str | None:
    place: str | None = await db.scalar(text("SELECT current_setting('app.workspace_id', true)"))
    return place


async def test_each_unit_of_work_is_its_own_workspaces_whatever_was_before(single: Database) -> None:
    async with single.workspace(OURS) as db:
        assert await whose(db) == OURS.hex
    async with single.workspace(THEIRS):
        pass  # it has done nothing
    async with single.workspace(OURS) as db:
        with pytest.raises(DBAPIError):
            async with attempt(db):
                await db.execute(text("SELECT 1 / 0"))
        assert await whose(db) == OURS.hex
    with pytest.raises(DBAPIError):
        async with single.workspace(THEIRS) as db:
            await db.execute(text("SELECT 1 / 0"))
    async with single.workspace(OURS) as db, db.begin_nested():
        assert await whose(db) == OURS.hex


async def test_where_it_is_takes_no_round_trip_of_its_own(single: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with single.workspace(THEIRS) as db:
        assert await whose(db) == THEIRS.hex
    said: list[str] = []
    execute = asyncpg.Connection.execute

    async def listened(self: Any, query: str, *args: Any, **options: Any) -> Any:
        said.append(query.partition(" ")[0])
        return await execute(self, query, *args, **options)

    monkeypatch.setattr(asyncpg.Connection, "execute", listened)
    async with single.workspace(OURS) as db:
        assert await whose(db) == OURS.hex
    assert said == ["BEGIN;", "COMMIT;"]


async def test_the_driver_is_given_in_the_transaction_even_before_its_first_statement(single: Database) -> None:
    async with single.workspace(OURS) as db:
        driver = await driver_of(db)
        assert await driver.fetchval("SELECT current_setting('app.workspace_id')") == OURS.hex
        assert driver.is_in_transaction()
