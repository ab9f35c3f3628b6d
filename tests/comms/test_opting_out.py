"""Opting out, from the customer's STOP to what the provider was asked to send."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import msgspec
import pytest

from comms.consent import answers
from comms.consent.hearing import ANSWER
from comms.directory import Connection
from comms.outbox.rest import Rest
from comms.providers import rest, signalwire
from comms.service import Service
from models.base import now
from models.core import Workspace
from tests.conftest import Client
from tests.handlers.webhooks import post, text
from tests.make import communications as make
from tests.make.communications import SIGNALWIRE
from tests.make.sending import CUSTOMER, HURRY, NONE_WAITS, Outside, outside, until

API = "/api/v1"


@pytest.fixture
async def line(service: Service, workspace_id: uuid.UUID) -> Connection:
    """SignalWire leaves opt-outs to us."""
    await make.number(service, workspace_id, provider="signalwire")
    secret = SIGNALWIRE | {"apiToken": "PTtest", "spaceUrl": "acme.signalwire.com"}
    return await make.connection(service, workspace_id, "signalwire", secret)


@pytest.fixture
async def world(service: Service, app: Any, line: Connection, admin: Any) -> AsyncIterator[Outside]:
    await admin.execute("UPDATE workspace_phone_numbers SET segments_per_second = 10000")
    async with outside(service, app, line) as world:
        yield world


@asynccontextmanager
async def sending(world: Outside) -> AsyncIterator[None]:
    """A sender that knows SignalWire works."""
    speaks = Rest(rest.Messages(signalwire.account_at), world.url)
    sender = world.sender(HURRY, signalwire=speaks)
    await sender.start()
    try:
        yield
    finally:
        await sender.stop(2)


async def says(client: httpx.AsyncClient, line: Connection, *bodies: str) -> None:
    for body in bodies:
        assert (await post(client, text(line, sender=CUSTOMER, body=body))).status_code == 200


async def answer_all(service: Service, admin: Any) -> None:
    """What a worker does with the jobs that are due."""
    for row in await admin.fetch("SELECT payload FROM jobs.pgqueuer WHERE entrypoint = $1 ORDER BY id", ANSWER):
        job = msgspec.json.decode(row["payload"])
        await answers.answer(service.database, uuid.UUID(job["workspaceId"]), uuid.UUID(job["entryId"]))


async def test_who_has_said_stop_gets_one_confirmation_and_nothing_else_until_they_say_start(
    world: Outside, service: Service, owner: Client, anonymous: httpx.AsyncClient, line: Connection, admin: Any
) -> None:
    await says(anonymous, line, "Hello")
    (talk,) = (await owner.get(f"{API}/conversations")).json()["items"]
    path = f"{API}/conversations/{talk['id']}/messages"
    waiting = (await owner.post(path, json={"content": "queued before they said stop"})).json()
    assert waiting["metadata"]["consent"]["decision"] == "allowed"
    await says(anonymous, line, "STOP", "stop", "STOP")

    refused = await owner.post(path, json={"content": "one more thing"})
    assert refused.status_code == 422
    assert "do not want to hear" in refused.json()["detail"]
    await answer_all(service, admin)
    async with sending(world):
        await until(admin, NONE_WAITS)
    (confirmed,) = world.exchange.sent
    assert confirmed.body == "Acme: You are unsubscribed and will get no more messages. Reply START to resubscribe."
    assert confirmed.recipient == CUSTOMER
    held = (await owner.get(f"{API}/conversation-messages/{waiting['id']}")).json()
    assert (held["status"], held["errorCode"]) == ("failed", "opted_out")
    assert held["metadata"]["consent"]["decision"] == "opted_out"
    assert held["metadata"]["consent"]["entryId"] is not None

    await says(anonymous, line, "START")
    again = await owner.post(path, json={"content": "welcome back"})
    assert again.status_code == 201, again.text
    async with sending(world):
        await until(admin, NONE_WAITS)
    assert [taken.body for taken in world.exchange.sent][-1] == "welcome back"


async def test_a_provider_that_refuses_because_they_opted_out_is_believed(
    world: Outside, owner: Client, anonymous: httpx.AsyncClient, line: Connection, admin: Any
) -> None:
    world.exchange.opted_out.add((CUSTOMER, make.OUR_NUMBER))
    await says(anonymous, line, "Hello")
    (talk,) = (await owner.get(f"{API}/conversations")).json()["items"]
    path = f"{API}/conversations/{talk['id']}/messages"
    sent = (await owner.post(path, json={"content": "Hi"})).json()
    async with sending(world):
        await until(admin, NONE_WAITS)
    failed = (await owner.get(f"{API}/conversation-messages/{sent['id']}")).json()
    assert (failed["status"], failed["errorCode"]) == ("failed", "21610")
    (stands,) = (await owner.get(f"{API}/consents")).json()["items"]
    assert (stands["state"], stands["source"]) == ("opted_out", "carrier")
    assert (await owner.post(path, json={"content": "Hi again"})).status_code == 422
    assert world.exchange.creates == 1


async def test_what_leaves_days_after_they_wrote_is_no_answer(
    world: Outside, owner: Client, anonymous: httpx.AsyncClient, line: Connection, admin: Any
) -> None:
    always = {"settings": {"quietHours": {"start": "00:01", "end": "00:00"}}}
    assert (await owner.patch(f"{API}/workspaces/{owner.workspace_id}", json=always)).status_code == 200
    await says(anonymous, line, "Remind me, please")
    (talk,) = (await owner.get(f"{API}/conversations")).json()["items"]
    path = f"{API}/conversations/{talk['id']}/messages"
    soon, late = (now() + timedelta(hours=hours) for hours in (2, 72))
    decided = []
    for at in (soon, late):
        sent = await owner.post(path, json={"content": "Tomorrow at 9", "scheduledAt": at.isoformat()})
        assert sent.status_code == 201, sent.text
        decided.append(sent.json()["metadata"]["consent"]["decision"])
    assert decided == ["allowed", "quiet_hours"]
    # Put off, the first is no answer any more either.
    first = await admin.fetchval("SELECT id FROM outgoing_messages ORDER BY line_at LIMIT 1")
    assert await admin.fetchval("SELECT is_reply FROM outgoing_messages WHERE id = $1", first)
    put_off = await owner.patch(f"{API}/scheduled-messages/{first}", json={"scheduledAt": late.isoformat()})
    assert put_off.status_code == 200, put_off.text
    assert not await admin.fetchval("SELECT is_reply FROM outgoing_messages WHERE id = $1", first)


async def test_what_is_no_answer_waits_for_the_morning(
    world: Outside, service: Service, owner: Client, admin: Any
) -> None:
    # Whatever the time is here, it is night in California for another hour.
    local = now().astimezone(ZoneInfo("America/Los_Angeles"))
    quiet = {"start": f"{local - timedelta(hours=2):%H:%M}", "end": f"{local + timedelta(hours=1, minutes=2):%H:%M}"}
    async with service.database.everywhere() as db:
        workspace = await db.get_one(Workspace, world.line.workspace_id)
        workspace.settings = {"quietHours": quiet}
    talk = await world.talk()
    first = await world.say(talk, "Are you still interested?", is_reply=False)
    async with sending(world):
        await asyncio.sleep(0.5)
    assert world.exchange.creates == 0
    row = await admin.fetchrow("SELECT status, metadata FROM conversation_messages WHERE id = $1", first.id)
    explained = msgspec.json.decode(row["metadata"])["consent"]
    assert (row["status"], explained["decision"]) == ("queued", "quiet_hours")
    due = await admin.fetchval("SELECT next_attempt_at FROM outgoing_messages WHERE id = $1", first.id)
    assert datetime.fromisoformat(explained["notBefore"]) == due.replace(microsecond=0)
    assert timedelta(minutes=50) < due - now() < timedelta(hours=2, minutes=5)
    # Until then it can be seen, and called off.
    (held,) = (await owner.get(f"{API}/scheduled-messages")).json()["items"]
    assert (held["id"], held["metadata"]["consent"]) == (str(first.id), explained)
    told = await admin.fetch("SELECT event, data FROM events WHERE subject_id = $1 ORDER BY seq", first.id)
    assert [row["event"] for row in told] == ["message.queued", "message.updated"]
    assert msgspec.json.decode(told[1]["data"])["metadata"]["consent"] == explained
    assert (await owner.delete(f"{API}/scheduled-messages/{first.id}")).status_code in (200, 204)
    assert (await owner.get(f"{API}/scheduled-messages")).json()["items"] == []
