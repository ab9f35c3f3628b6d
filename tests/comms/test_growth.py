"""PostgreSQL knows how large the tables have become before a statement that is planned for good reads them whole."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from comms import growth
from comms.arrivals import known
from comms.database import Database
from comms.groups import SESSION

pytestmark = pytest.mark.alters_the_schema

MANY = 10000
FILL = """
INSERT INTO workspaces (id, name, slug, created_at, updated_at)
    VALUES (gen_random_uuid(), 'Acme', 'acme', now(), now());
INSERT INTO contacts (workspace_id, id, source, created_at, updated_at)
    SELECT w.id, gen_random_uuid(), 'import', now(), now() FROM workspaces w, generate_series(1, {many});
INSERT INTO contact_points (workspace_id, id, contact_id, kind, value, created_at, updated_at)
    SELECT workspace_id, gen_random_uuid(), id, 'phone', '+1415' || (1000000 + row_number() OVER ()), now(), now()
    FROM contacts;
INSERT INTO conversations (workspace_id, id, contact_id, channel, status, created_at, updated_at)
    SELECT workspace_id, gen_random_uuid(), id, 'sms', 'active', now(), now() FROM contacts
"""


async def test_what_has_doubled_is_analyzed_once(database: Database, admin: Any) -> None:
    await growth.keep_up(database)
    await admin.execute(FILL.format(many=MANY))
    assert {"contacts", "contact_points", "conversations"} <= set(await growth.keep_up(database))
    assert await growth.keep_up(database) == []


async def test_what_was_looked_at_while_it_was_empty_is_analyzed_when_it_fills_again(
    database: Database, admin: Any
) -> None:
    await admin.execute(FILL.format(many=1000))
    await growth.keep_up(database)
    await admin.execute("DELETE FROM contact_points")
    await admin.execute("VACUUM (ANALYZE, TRUNCATE off) contact_points")
    assert "contact_points" not in await growth.keep_up(database)
    await admin.execute(
        "INSERT INTO contact_points (workspace_id, id, contact_id, kind, value, created_at, updated_at)"
        " SELECT workspace_id, gen_random_uuid(), id, 'email', id || '@example.com', now(), now() FROM contacts"
    )
    await admin.execute("SELECT pg_stat_force_next_flush()")
    assert "contact_points" in await growth.keep_up(database)
    assert await growth.keep_up(database) == []


async def test_what_cannot_be_analyzed_keeps_no_other_table_from_it(database: Database, admin: Any) -> None:
    await growth.keep_up(database)
    await admin.execute(
        "CREATE FUNCTION picky(uuid) RETURNS uuid IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_setting('comms.sick', true) = 'yes' THEN RAISE 'a page cannot be read'; END IF; RETURN $1; END $$;"
        " CREATE INDEX picky ON contact_points (picky(id))"
    )
    await admin.execute(FILL.format(many=1000))
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {name} SET comms.sick = 'yes'")  # for who connects from now on
    analyzed = await growth.keep_up(database)
    assert {"contacts", "conversations"} <= set(analyzed)
    assert "contact_points" not in analyzed


async def test_what_is_being_filled_is_left_until_that_has_ended(database: Database, admin: Any) -> None:
    await growth.keep_up(database)
    async with admin.transaction():
        await admin.execute(FILL.format(many=1000))
        assert not {"contacts", "contact_points", "conversations"} & set(await growth.keep_up(database))
    assert {"contacts", "contact_points", "conversations"} <= set(await growth.keep_up(database))
    assert await admin.fetchval("SELECT reltuples FROM pg_class WHERE relname = 'contacts'") == 1000


async def test_what_begins_to_be_filled_while_we_look_is_left_until_that_has_ended(
    database: Database, admin: Any
) -> None:
    await growth.keep_up(database)
    first, second, *rest = FILL.format(many=1000).split(";")
    async with admin.transaction():
        for statement in (first, second):
            await admin.execute(statement)
        looking = asyncio.create_task(growth.keep_up(database))
        await asyncio.sleep(growth.LONG_SECONDS / 2)
        for statement in rest:
            await admin.execute(statement)
        assert not {"contacts", "contact_points", "conversations"} & set(await looking)
    assert {"contacts", "contact_points", "conversations"} <= set(await growth.keep_up(database))


@pytest.fixture
async def lane(database: Database) -> AsyncIterator[Any]:
    """A connection as groups of webhooks use it."""
    connection = await database.connect()
    await connection.execute(SESSION)
    yield connection
    await connection.close()


async def test_a_plan_made_for_empty_tables_is_not_kept(database: Database, lane: Any, admin: Any) -> None:
    await lane.execute(f"PREPARE receive AS {known._RECEIVE}")
    assert "value_key" not in await _look_up(lane), "then there is nothing to do here any more"
    await admin.execute(FILL.format(many=MANY))
    await growth.keep_up(database)
    assert "value_key" in await _look_up(lane)


async def _look_up(lane: Any) -> str:
    """By what the addresses of senders are found."""
    count = await lane.fetchval(
        "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'receive'"
    )
    plan = [row[0] for row in await lane.fetch(f"EXPLAIN EXECUTE receive ({', '.join(['NULL'] * count)})")]
    place = next(place for place, line in enumerate(plan) if " on contact_points" in line)
    return plan[place + 1] if "Index Cond" in plan[place + 1] else ""
