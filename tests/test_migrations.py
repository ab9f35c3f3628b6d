"""The schema's way up and down."""

import asyncio
from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

from comms import migrations
from comms.database import Database, Urls
from comms.migrations import SchemaUnusable
from models import Base

pytestmark = pytest.mark.alters_the_schema


async def test_the_migrated_schema_is_the_one_the_models_declare(urls: Urls) -> None:
    async def connect() -> Any:
        return await asyncpg.connect(urls.owner.plain)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect)
    async with engine.connect() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync, opts={"compare_type": True}), Base.metadata)
        )
    await engine.dispose()
    assert differences == []


async def test_all_the_way_down_and_up_again(urls: Urls, database: Database) -> None:
    assert await migrations.downgrade(urls, "base") == "base"
    assert await migrations.upgrade(urls) == migrations.head()
    assert await migrations.is_current(database)


async def test_two_that_migrate_at_once_migrate_once(urls: Urls) -> None:
    await migrations.downgrade(urls, "base")
    assert await asyncio.gather(*(migrations.upgrade(urls) for _ in range(3))) == [migrations.head()] * 3


async def test_a_migration_that_fails_leaves_nothing(urls: Urls, admin: Any) -> None:
    await migrations.downgrade(urls, "base")
    await admin.execute("CREATE TABLE webhook_receipts ()")  # in the way of the migration, late in its course
    with pytest.raises(Exception, match="webhook_receipts"):
        await migrations.upgrade(urls)
    left = await admin.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    assert [row[0] for row in left] == ["alembic_version", "webhook_receipts"]


async def test_a_schema_of_a_newer_comms_is_refused_in_a_sentence(urls: Urls, admin: Any) -> None:
    await admin.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaUnusable, match="newer comms"):
        await migrations.upgrade(urls)
