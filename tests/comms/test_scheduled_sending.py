"""What is called off or changed in the instant in which it is to leave either leaves as it was, or never does."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from comms.directory import Connection
from comms.outbox import lines
from comms.service import Service
from models.base import now
from tests.conftest import Client
from tests.make.sending import HURRY, NONE_WAITS, Outside, outside, until

API = "/api/v1"
MANY = 24


@pytest.fixture
async def world(service: Service, app: Any, line: Connection, admin: Any) -> AsyncIterator[Outside]:
    await admin.execute("UPDATE workspace_phone_numbers SET segments_per_second = 10000")
    async with outside(service, app, line) as world:
        world.exchange.post = None
        yield world


async def scheduled(world: Outside, admin: Any) -> list[uuid.UUID]:
    """Messages that are all due now, two in each conversation, and not released yet."""
    at = now() + timedelta(hours=1)
    said = []
    for number in range(MANY // 2):
        talk = await world.talk(f"+1415556{number:04}")
        said += [await world.say(talk, f"{number}:{place}", scheduled_at=at) for place in range(2)]
    await admin.execute(
        "UPDATE outgoing_messages SET (line_at, next_attempt_at) = (now() - interval '1 second', now())"
    )
    return [one.id for one in said]


async def released(service: Service) -> None:
    for _ in range(20):
        await lines.release(service.database)
        await asyncio.sleep(0.005)


async def test_what_is_called_off_as_it_leaves_is_sent_or_canceled_and_never_both(
    world: Outside, owner: Client, admin: Any
) -> None:
    ids = await scheduled(world, admin)
    room = asyncio.Semaphore(3)

    async def call_off(id_: uuid.UUID) -> int:
        async with room:
            return (await owner.delete(f"{API}/scheduled-messages/{id_}")).status_code

    asked = ids[:1:-1]  # but for the first conversation's, which leave for certain
    told = {asked[0]: await call_off(asked[0])}
    async with world.sending(HURRY, HURRY):
        *answers, _ = await asyncio.gather(*map(call_off, asked[1:]), released(world.service))
        await until(admin, NONE_WAITS)
    told |= dict(zip(asked[1:], answers, strict=True))
    rows = await admin.fetch("SELECT id, content, status FROM conversation_messages")
    sent = [one.body for one in world.exchange.sent]
    assert len(sent) == len(set(sent))
    for row in rows:
        is_canceled = row["status"] == "canceled"
        assert is_canceled == (row["content"] not in sent)
        assert told.get(row["id"], 409) == (200 if is_canceled else 409)
    assert 2 <= len(sent) < MANY


async def test_what_is_changed_as_it_leaves_says_what_was_answered(world: Outside, owner: Client, admin: Any) -> None:
    ids = await scheduled(world, admin)
    room = asyncio.Semaphore(3)

    async def reword(id_: uuid.UUID) -> int:
        async with room:
            answer = await owner.patch(f"{API}/scheduled-messages/{id_}", json={"content": f"new {id_}"})
            return answer.status_code

    async with world.sending(HURRY, HURRY):
        *answers, _ = await asyncio.gather(*map(reword, ids), released(world.service))
        await until(admin, NONE_WAITS)
    rows = {row["id"]: row for row in await admin.fetch("SELECT * FROM conversation_messages")}
    sent = {one.sid: one.body for one in world.exchange.sent}
    assert len(sent) == MANY
    for id_, answer in zip(ids, answers, strict=True):
        said = sent[rows[id_]["provider_message_id"]]
        assert said == rows[id_]["content"]
        assert (said == f"new {id_}") == (answer == 200)
        assert answer in (200, 409)


async def test_many_first_messages_to_a_stranger_at_once_are_one_conversation(
    world: Outside, owner: Client, admin: Any
) -> None:
    async def say(number: int) -> Any:
        return await owner.post(f"{API}/messages", json={"to": "+14155550123", "content": str(number)})

    answers = await asyncio.gather(*map(say, range(10)))
    assert [answer.status_code for answer in answers] == [201] * 10, [answer.text for answer in answers]
    assert len({answer.json()["conversationId"] for answer in answers}) == 1
    assert await admin.fetchval("SELECT count(*) FROM contacts") == 1
    async with world.sending(HURRY, HURRY):
        await until(admin, NONE_WAITS)
    order = await admin.fetch("SELECT content FROM conversation_messages ORDER BY created_at")
    assert {one.body for one in world.exchange.sent} == {row["content"] for row in order}
    assert len(world.exchange.sent) == 10
