"""PostgreSQL is killed, or neither answers nor refuses, while providers post."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from comms.providers.base import Request
from tests.journeys import books as promise
from tests.journeys import processes
from tests.journeys.desks import phone
from tests.journeys.house import House
from tests.journeys.lines import Line, Load
from tests.journeys.waiting import until

MANY = 3000
PROVIDERS_PATIENCE = 5.0


@pytest.mark.parametrize("victim", ["the server", "a backend"])
async def test_a_killed_postgres_loses_nothing_and_the_service_recovers_by_itself(house: House, victim: str) -> None:
    process = await house.up()
    texts = house.desk.texts(MANY, senders=60)
    load = Load([process.port], texts, lines=32)
    await load.until_acknowledged(400)
    async with _asking(house) as statuses:
        pid = processes.postmaster(house.data_dir) if victim == "the server" else await _a_busy_backend(house)
        os.kill(pid, signal.SIGKILL)
        before = len(load.acknowledged)
        await asyncio.sleep(0.5)
        await load.until_acknowledged(before + 400)
    load.stop()
    await load.over()
    assert process.is_alive
    assert load.unanswered == {}
    assert not load.refused
    assert set(load.answers.values()) <= {200, 503}
    assert load.slowest < PROVIDERS_PATIENCE
    assert {200} <= statuses <= {200, 503}

    async with house.books() as books:
        kept = await promise.hold(books, house.desk.workspace_id, load.acknowledged)
        refused = {sid: texts[sid] for sid in load.answers if sid not in kept}
        again = Load([process.port], refused)
        await again.over()
        assert again.acknowledged == set(refused)
        await promise.hold(books, house.desk.workspace_id, load.answers)


async def test_a_silent_database_gets_503_in_time_and_webhooks_are_taken_again_when_it_speaks(house: House) -> None:
    process = await house.up()
    desk = house.desk
    assert await Line(process.port).post(desk.text(phone(1))) == 200  # the lanes are connected
    texts = desk.texts(60, senders=20)
    with processes.held_still(house.data_dir):
        silent_since = time.monotonic()
        # Not all in the first instant: those that come while the lanes are stuck must not wait for them either.
        expected, posts = [], []
        for text in texts.values():
            for status, request in ((503, text), (404, desk.misdirected(phone(1))), (403, desk.forged(phone(1)))):
                expected.append(status)
                posts.append(asyncio.create_task(_answer_in_time(process.port, request)))
            await asyncio.sleep(0.05)
        assert await asyncio.gather(*posts) == expected
        await asyncio.sleep(max(0, silent_since + 6 - time.monotonic()))
    pid = process.pid

    async def takes_texts() -> bool:
        return await _answer_in_time(process.port, desk.text(phone(1))) == 200

    await until(takes_texts, within=10)
    again = Load([process.port], texts)
    await again.over()
    assert again.acknowledged == set(texts)
    assert (await house.up()).pid == pid
    async with house.books() as books:
        await promise.hold(books, desk.workspace_id, texts)


async def _answer_in_time(port: int, request: Request) -> int | None:
    """The answer, unless the provider has given up before."""
    line = Line(port)
    try:
        async with asyncio.timeout(PROVIDERS_PATIENCE):
            return await line.post(request)
    except TimeoutError:
        return None
    finally:
        line.close()


async def _a_busy_backend(house: House) -> int:
    """The process of a connection that commits messages."""
    async with house.books() as books:
        return int(
            await books.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE usename = 'comms_worker' AND backend_type = 'client backend'"
                " ORDER BY state = 'active' DESC, xact_start DESC NULLS LAST LIMIT 1"
            )
        )


@asynccontextmanager
async def _asking(house: House) -> AsyncIterator[set[int]]:
    """An agent goes on asking for conversations; which statuses they saw."""
    statuses: set[int] = set()

    async def ask() -> None:
        async with house.desk.client(house.process.url) as client:
            while True:
                statuses.add((await client.get("/api/v1/conversations", params={"limit": "1"})).status_code)
                await asyncio.sleep(0.05)

    asking = asyncio.create_task(ask())
    try:
        yield statuses
        assert not asking.done(), asking.exception()
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
