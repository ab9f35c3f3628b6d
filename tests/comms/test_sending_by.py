"""By which provider, channel and number a message leaves, and what becomes of it there."""

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from comms import delivery
from comms.directory import Connection
from comms.outbox.sender import TRIAL
from comms.service import Service
from comms.simulators.exchange import Reporting
from models.base import now
from tests.conftest import Client
from tests.make import communications as make
from tests.make.sending import CUSTOMER, HURRY, NONE_WAITS, Outside, outside, until

API = "/api/v1"
SIGNALWIRE = make.SIGNALWIRE | {"apiToken": "PTsimulated", "spaceUrl": "acme.signalwire.com"}
WITH_PASSWORD = SIGNALWIRE | {"basicUser": "comms", "basicPassword": "p@ss/word"}


@pytest.fixture
async def world(service: Service, app: Any, line: Connection, admin: Any) -> AsyncIterator[Outside]:
    await admin.execute("UPDATE workspace_phone_numbers SET segments_per_second = 10000")
    async with outside(service, app, line) as world:
        yield world


async def message(admin: Any, message_id: uuid.UUID) -> Any:
    return await admin.fetchrow("SELECT * FROM conversation_messages WHERE id = $1", message_id)


@pytest.mark.parametrize("secret", [SIGNALWIRE, WITH_PASSWORD], ids=["plain", "with a password in the address"])
async def test_a_text_leaves_by_signalwire_and_is_delivered(
    service: Service, app: Any, workspace_id: uuid.UUID, admin: Any, secret: dict[str, Any]
) -> None:
    await make.number(service, workspace_id, "+14155550101", "signalwire", segments_per_second=100)
    line = await make.connection(service, workspace_id, "signalwire", secret)
    async with outside(service, app, line, numbers=["+14155550101"]) as world:
        said = await world.say(await world.talk())
        async with world.sending():
            await until(admin, "EXISTS (SELECT FROM conversation_messages WHERE status = 'delivered')")
        (taken,) = world.exchange.sent
    row = await message(admin, said.id)
    assert (taken.sender, taken.recipient, taken.body) == ("+14155550101", CUSTOMER, "See you at 7pm")
    assert (row["provider"], row["provider_message_id"], row["error_code"]) == ("signalwire", taken.sid, None)
    assert await admin.fetchval("SELECT count(*) FROM webhook_receipts WHERE state = 'processed'") == 2


@pytest.mark.parametrize("fault", ["lost", "never", "busy", "failing"])
async def test_signalwire_too_is_asked_before_anything_is_sent_again(
    service: Service, app: Any, workspace_id: uuid.UUID, admin: Any, fault: Any
) -> None:
    await make.number(service, workspace_id, "+14155550101", "signalwire", segments_per_second=100)
    line = await make.connection(service, workspace_id, "signalwire", SIGNALWIRE)
    async with outside(service, app, line) as world:
        world.exchange.post = None
        world.exchange.faults.append(fault)
        said = await world.say(await world.talk())
        async with world.sending():
            await until(admin, NONE_WAITS)
        (taken,) = world.exchange.sent
    assert (await message(admin, said.id))["provider_message_id"] == taken.sid


async def test_a_whatsapp_message_leaves_to_the_same_person_and_is_read(world: Outside, admin: Any) -> None:
    world.exchange.reporting = Reporting(statuses=("sent", "delivered", "read"), seconds=0)
    said = await world.say(await world.talk(channel="whatsapp"))
    async with world.sending():
        await until(admin, "EXISTS (SELECT FROM conversation_messages WHERE status = 'read')")
    (taken,) = world.exchange.sent
    assert (taken.sender, taken.recipient) == (f"whatsapp:{make.OUR_NUMBER}", f"whatsapp:{CUSTOMER}")
    row = await message(admin, said.id)
    assert (row["to_address"], row["is_read"]) == (CUSTOMER, True)


async def test_reports_doubled_and_out_of_order_end_at_delivered(world: Outside, admin: Any) -> None:
    world.exchange.reporting = Reporting(
        statuses=("queued", "sending", "sent", "delivered"), seconds=0, doubled=True, shuffled=True
    )
    talks = [await world.talk(f"+1415556{number:04}") for number in range(12)]
    for talk in talks:
        await world.say(talk)
    async with world.sending():
        await until(admin, NONE_WAITS)
        await world.exchange.reported()
    async with world.service.database.alone() as db:  # as the worker does now and then
        await delivery.join_all_parked(db)
    rows = await admin.fetch("SELECT status, sent_at, delivered_at FROM conversation_messages")
    assert {row["status"] for row in rows} == {"delivered"}
    assert all(row["sent_at"] and row["delivered_at"] for row in rows)
    assert await admin.fetchval("SELECT count(*) FROM delivery_reports") == 4 * len(talks)
    assert await admin.fetchval("SELECT count(*) FROM delivery_reports WHERE message_id IS NULL") == 0
    again = await admin.fetchval(
        "SELECT count(*) FROM events a JOIN events b USING (workspace_id, subject_id)"
        " WHERE a.event = 'message.status_changed' AND b.event = a.event AND a.seq < b.seq"
        " AND a.data->>'status' = 'delivered'"
    )
    assert again == 0  # nothing is told after it


async def test_what_a_trial_account_has_put_words_before_is_known_again(world: Outside, admin: Any) -> None:
    prefix = "Sent from your Twilio trial account - "
    assert TRIAL.match(prefix)
    world.exchange.post = None
    world.exchange.faults.append("lost")
    world.exchange.alters = lambda body: prefix + body.replace("\n", "\r\n")
    said = await world.say(await world.talk(), "See you\nat 7pm")
    async with world.sending():
        await until(admin, NONE_WAITS)
    assert world.exchange.creates == 1
    assert (await message(admin, said.id))["provider_message_id"] == world.exchange.sent[0].sid


@pytest.mark.parametrize("change", ["suspended", "removed"])
async def test_a_number_that_may_no_longer_send_ends_it_in_words(world: Outside, admin: Any, change: str) -> None:
    said = await world.say(await world.talk())
    if change == "suspended":
        await admin.execute("UPDATE workspace_phone_numbers SET status = 'suspended'")
    else:
        await admin.execute("DELETE FROM workspace_phone_numbers")
    async with world.sending():
        await until(admin, NONE_WAITS)
    assert world.exchange.creates == 0
    row = await message(admin, said.id)
    assert row["status"] == "failed"
    assert change in row["error_message"]


async def test_a_message_that_waited_for_days_is_not_given_up_at_its_first_try(world: Outside, admin: Any) -> None:
    said = await world.say(await world.talk())
    await admin.execute("UPDATE outgoing_messages SET line_at = now() - interval '2 days'")
    world.exchange.faults.append("busy")
    async with world.sending():
        await until(admin, NONE_WAITS)
    assert (await message(admin, said.id))["provider_message_id"] is not None


async def test_what_nobody_takes_for_a_day_is_given_up_in_words(world: Outside, admin: Any) -> None:
    said = await world.say(await world.talk())
    world.exchange.share_of_faults = {"busy": 1.0}
    async with world.sending(msgspec.structs.replace(HURRY, give_up=0.2)):
        await until(admin, NONE_WAITS)
    row = await message(admin, said.id)
    assert (row["status"], row["error_code"]) == ("failed", "expired")


async def test_messages_said_while_the_provider_is_gone_leave_in_order_once_it_is_back(
    world: Outside, owner: Client, admin: Any
) -> None:
    talks = [await world.talk(f"+1415556{number:04}") for number in range(5)]
    for number in range(4):
        for place, talk in enumerate(talks):
            await world.say(talk, f"{place}:{number}")
    there, world.url = world.url, "http://127.0.0.1:9"
    async with world.sending():
        await until(admin, "(SELECT count(*) FROM outgoing_messages WHERE error LIKE '%cannot be reached%') = 5")
    assert (await owner.get("/readyz")).json()["outboxAgeSeconds"] > 0
    shown = (await owner.get(f"{API}/outgoing-messages")).json()["items"]
    assert len(shown) == 20
    world.url = there
    async with world.sending(HURRY, HURRY):
        await until(admin, NONE_WAITS)
    for place in range(5):
        taken = [one.body for one in world.exchange.sent if one.body.startswith(f"{place}:")]
        assert taken == [f"{place}:{number}" for number in range(4)]


async def test_a_new_conversation_leaves_by_the_number_last_used_with_the_contact(
    service: Service, owner: Client, line: Connection, admin: Any
) -> None:
    other = await make.number(service, owner.workspace_id, "+14155550111")
    await make.number(service, owner.workspace_id, "+14155550112")
    first = await owner.post(f"{API}/messages", json={"to": CUSTOMER, "content": "Hello", "from": "+1 (415) 555-0111"})
    assert first.json()["phoneNumberId"] == str(other.id)
    talk = first.json()["conversationId"]
    await owner.post(f"{API}/conversations/{talk}/closure")
    await admin.execute("UPDATE conversations SET last_message_at = $1", now() - timedelta(days=30))
    later = (await owner.post(f"{API}/messages", json={"to": CUSTOMER, "content": "Hello again"})).json()
    assert later["conversationId"] != talk
    assert later["fromAddress"] == "+14155550111"
    elsewhere = (
        await owner.post(f"{API}/conversations/{talk}/messages", json={"content": "Hi", "channel": "whatsapp"})
    ).json()
    assert elsewhere["fromAddress"] == "+14155550111"
