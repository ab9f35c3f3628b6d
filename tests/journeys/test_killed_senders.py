"""A process that sends is killed between what the provider took and what we kept of it."""

import asyncio
from typing import Any

import httpx

from tests.journeys.offices import CUSTOMER, Office
from tests.journeys.waiting import until


async def test_a_worker_killed_between_accept_and_commit_sends_once(office: Office) -> None:
    office.exchange.faults.append("lost")  # it is taken, and the answer does not come before the process is gone
    dying = office.begin()
    await asyncio.to_thread(dying.await_start)
    async with office.desk.client(dying.url) as agent:
        said = await agent.post("/api/v1/messages", json={"to": CUSTOMER, "content": "See you at 7pm"})
        assert said.status_code == 201, said.text
        await agent.post(f"/api/v1/conversations/{said.json()['conversationId']}/messages", json={"content": "And 8pm"})

    async def taken() -> bool:
        return len(office.exchange.sent) == 1

    await until(taken, within=10)
    dying.kill()
    assert await office.books.fetchval("SELECT count(*) FROM outgoing_messages WHERE state = 'sending'") == 1

    # The time of its lease has passed.
    await office.books.execute("UPDATE outgoing_messages SET next_attempt_at = now() WHERE state = 'sending'")
    heir = office.begin()
    await asyncio.to_thread(heir.await_start)

    async def all_gone() -> bool:
        return bool(await office.books.fetchval("SELECT NOT EXISTS (SELECT FROM outgoing_messages)"))

    await until(all_gone, within=15)
    assert [taken.body for taken in office.exchange.sent] == ["See you at 7pm", "And 8pm"]
    async with office.desk.client(heir.url) as agent:
        shown = await _message(agent, said.json()["id"])
    assert (shown["status"], shown["providerMessageId"]) == ("sending", office.exchange.sent[0].sid)


async def _message(agent: httpx.AsyncClient, message_id: str) -> dict[str, Any]:
    row: dict[str, Any] = (await agent.get(f"/api/v1/conversation-messages/{message_id}")).json()
    return row
