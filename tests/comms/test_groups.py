"""Group commit, with a story of one statement."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from comms import groups
from comms.database import Database
from comms.events import Told
from comms.groups import Groups, Unavailable
from tests.dying import dying
from tests.make.sending import until

pytestmark = pytest.mark.alters_the_schema


async def _apply(db: Any, items: Sequence[int]) -> tuple[list[str], Told]:
    if 13 in items:
        await db.execute("SELECT 1 / 0")
    await db.execute("INSERT INTO items SELECT unnest($1::int[]), $2", list(items), len(items))
    return [f"kept {item}" for item in items], []


async def _spoil(db: Any, item: int, error: Exception) -> tuple[list[str], Told]:
    await db.execute("INSERT INTO items VALUES ($1, 0)", -item)
    return [f"spoilt by {type(error).__name__}"], []


@pytest.fixture
async def lanes(database: Database, admin: Any) -> AsyncIterator[Groups[int, str]]:
    await admin.execute("CREATE TABLE items (item int PRIMARY KEY, company int)")
    await admin.execute("GRANT ALL ON items TO comms_worker")
    lanes: Groups[int, str] = Groups("items", database, _apply, _spoil)
    await lanes.start()
    yield lanes
    await lanes.stop()


async def test_an_item_alone_leaves_alone(lanes: Groups[int, str], admin: Any) -> None:
    assert await lanes.add(1) == "kept 1"
    assert await admin.fetchval("SELECT company FROM items") == 1


async def test_what_gathers_while_the_lanes_are_busy_leaves_together(lanes: Groups[int, str], admin: Any) -> None:
    outcomes = await asyncio.gather(*(lanes.add(item) for item in range(100, 400)))
    assert outcomes == [f"kept {item}" for item in range(100, 400)]
    assert await admin.fetchval("SELECT max(company) FROM items") > 50


@asynccontextmanager
async def _under_way(lanes: Groups[int, str], admin: Any) -> AsyncIterator["asyncio.Future[str]"]:
    """One lane is committing, and is not done before the block is."""
    async with admin.transaction():
        await admin.execute("INSERT INTO items VALUES (1, 0)")
        held = lanes.add(1)
        await until(admin, "EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        yield held
        assert not held.done()
        await admin.execute("DELETE FROM items WHERE item = 1")
    assert await held == "kept 1"


async def test_few_wait_for_what_is_under_way_and_leave_together(
    lanes: Groups[int, str], admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "WORTH_WAITING_SECONDS", 60.0)
    async with _under_way(lanes, admin):
        few = [lanes.add(item) for item in range(2, 2 + groups.WORTH - 1)]
        await asyncio.wait(few, timeout=0.1)
        assert not any(one.done() for one in few)
    await asyncio.gather(*few)
    assert await admin.fetchval("SELECT min(company) FROM items WHERE item > 1") == groups.WORTH - 1


async def test_enough_of_them_wait_for_nothing(
    lanes: Groups[int, str], admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "WORTH_WAITING_SECONDS", 60.0)
    async with _under_way(lanes, admin):
        few = [lanes.add(item) for item in range(2, 2 + groups.WORTH - 1)]
        await asyncio.sleep(0.01)
        await asyncio.gather(*few, lanes.add(99))


async def test_few_wait_for_nobody_who_takes_long(lanes: Groups[int, str], admin: Any) -> None:
    async with _under_way(lanes, admin):
        await asyncio.gather(lanes.add(2), lanes.add(3))
    assert await admin.fetchval("SELECT min(company) FROM items WHERE item > 1") == 2


async def test_a_poisoned_item_fails_alone(lanes: Groups[int, str], admin: Any) -> None:
    outcomes = await asyncio.gather(*(lanes.add(item) for item in range(10, 20)))
    assert outcomes[3] == "spoilt by DivisionByZeroError"
    assert [outcome for outcome in outcomes if outcome.startswith("kept")] == [
        f"kept {item}" for item in range(10, 20) if item != 13
    ]
    assert await admin.fetchval("SELECT array_agg(item ORDER BY item) FROM items") == [
        -13, *(item for item in range(10, 20) if item != 13)
    ]  # fmt: skip


async def test_a_lost_connection_is_made_again_and_nothing_is_lost(lanes: Groups[int, str], admin: Any) -> None:
    assert await lanes.add(1) == "kept 1"
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'comms_worker'")
    assert await asyncio.gather(*(lanes.add(item) for item in range(2, 9))) == [f"kept {i}" for i in range(2, 9)]


async def test_a_database_that_stays_away_is_told_to_the_caller_in_time(
    lanes: Groups[int, str], admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "PATIENCE_SECONDS", 0.3)
    await admin.execute("ALTER ROLE comms_worker CONNECTION LIMIT 0")
    try:
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'comms_worker'")
        with pytest.raises(Unavailable):
            await lanes.add(1)
    finally:
        await admin.execute("ALTER ROLE comms_worker CONNECTION LIMIT -1")
    assert await lanes.add(2) == "kept 2"


async def test_a_server_that_lets_us_in_and_says_its_last_word_ends_no_lane(
    database: Database, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "PATIENCE_SECONDS", 0.3)
    await admin.execute("CREATE TABLE items (item int PRIMARY KEY, company int)")
    await admin.execute("GRANT ALL ON items TO comms_worker")
    async with dying() as (urls, came):
        elsewhere = Database(urls)
        lanes: Groups[int, str] = Groups("items", elsewhere, _apply, _spoil, lanes=1)
        await lanes.start()
        with pytest.raises(Unavailable):
            await lanes.add(1)
        assert came.is_set()
    elsewhere.urls = database.urls
    assert await lanes.add(2) == "kept 2"
    await lanes.stop()


async def test_what_waits_at_the_end_is_committed_before_the_lanes_close(lanes: Groups[int, str], admin: Any) -> None:
    waiting = [lanes.add(item) for item in range(100, 150)]
    await lanes.stop()
    assert [await outcome for outcome in waiting] == [f"kept {item}" for item in range(100, 150)]
    with pytest.raises(Unavailable):
        await lanes.add(200)
