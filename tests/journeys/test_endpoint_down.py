"""An endpoint is down for an hour, and whoever tells it is killed when it is back: everything arrives, in order."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from comms.embedded import Embedded
from tests.journeys import processes
from tests.journeys.conftest import grounds
from tests.journeys.desks import Desk
from tests.make.hooks import NOTHING_WAITS, Sink, is_signed, sink
from tests.make.sending import until

API = "/api/v1"
PAUSED = "EXISTS (SELECT FROM webhook_endpoints WHERE paused_until > now())"


class Shop:
    """A workspace in a database of its own, and who is told what happens there."""

    def __init__(self, desk: Desk, sink: Sink, books: Any, folder: Path, variables: dict[str, str]) -> None:
        self.desk = desk
        self.sink = sink
        self.books = books
        self._folder = folder
        self._variables = variables
        self.begun: list[processes.Process] = []

    async def begin(self) -> processes.Process:
        """Another process serves and tells."""
        process = processes.begin("serve", folder=self._folder, **self._variables)
        self.begun.append(process)
        await asyncio.to_thread(process.await_start)
        return process


@pytest.fixture
async def shop(postgres: Embedded, place: Path) -> AsyncIterator[Shop]:
    async with (
        sink() as there,
        grounds(postgres, place / "shop", COMMS_WEBHOOK_HOSTS=there.host) as (desk, books, variables),
    ):
        made = Shop(desk, there, books, place, variables)
        try:
            yield made
        finally:
            for process in made.begun:
                process.kill()


async def an_hour_passes(shop: Shop) -> None:
    """What was to be tried again later may be now, and leases of who is gone have run out."""
    await shop.books.execute("UPDATE webhook_lines SET next_attempt_at = next_attempt_at - interval '1 hour'")
    await shop.books.execute(
        "UPDATE webhook_endpoints SET failing_since = failing_since - interval '1 hour', paused_until = now()"
    )


async def test_an_endpoint_is_down_for_an_hour_and_then_hears_everything_in_order(shop: Shop) -> None:
    shop.sink.status = 503
    dying = await shop.begin()
    async with shop.desk.client(dying.url) as agent:
        body = {"name": "shop", "url": shop.sink.url(), "events": ["contact."]}
        made = (await agent.post(f"{API}/webhook-endpoints", json=body)).json()
        people = [(await agent.post(f"{API}/contacts", json={"firstName": "Ada"})).json()["id"] for _ in range(6)]
        for number in range(3):
            for person in people:
                answer = await agent.patch(f"{API}/contacts/{person}", json={"lastName": f"of {number}"})
                assert answer.status_code == 200
    await until(shop.books, f"{PAUSED} AND (SELECT count(*) FROM webhook_deliveries) = 24")
    await until(shop.books, "NOT EXISTS (SELECT FROM webhook_lines WHERE is_taken)")
    shop.sink.heard.clear()
    shop.sink.status = 200
    shop.sink.afterwards = dying.child.kill  # it is answered, and nobody keeps that
    await an_hour_passes(shop)
    await asyncio.to_thread(dying.child.join, 10)
    assert not dying.is_alive
    states = await shop.books.fetch("SELECT DISTINCT state FROM webhook_deliveries")
    assert ([row["state"] for row in states], len(shop.sink.heard)) == (["waiting"], 1)
    await shop.begin()
    await an_hour_passes(shop)
    await until(shop.books, NOTHING_WAITS)
    lines = shop.sink.lines()
    assert set(lines) == set(people)
    [once, again] = [heard for heard in shop.sink.heard if heard.told["seq"] == shop.sink.said()[0]]
    assert (once.headers["webhook-id"], once.body) == (again.headers["webhook-id"], again.body)
    assert all(said == sorted(said) and len(set(said)) == 4 for said in lines.values())
    assert len(shop.sink.heard) == 25
    assert all(is_signed(heard, made["secret"]) for heard in shop.sink.heard)
    states = await shop.books.fetch("SELECT DISTINCT state FROM webhook_deliveries")
    assert [row["state"] for row in states] == ["delivered"]
