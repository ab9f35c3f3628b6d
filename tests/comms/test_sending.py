"""What has been said leaves, once and in order, whatever the provider and the network do."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from comms import growth
from comms.directory import Connection
from comms.outbox import Intent, put_all
from comms.service import Service
from comms.simulators.exchange import MAGIC, Fault, Reporting
from tests.conftest import Client
from tests.make import communications as make
from tests.make.sending import CUSTOMER, HURRY, NONE_WAITS, Outside, outside, until
from tests.screens import eventually

API = "/api/v1"


@pytest.fixture
async def world(service: Service, app: Any, line: Connection, admin: Any) -> AsyncIterator[Outside]:
    # Not at the pace of a long code: one segment a second.
    await admin.execute("UPDATE workspace_phone_numbers SET segments_per_second = 10000")
    async with outside(service, app, line) as world:
        yield world


async def message(admin: Any, message_id: uuid.UUID) -> Any:
    return await admin.fetchrow("SELECT * FROM conversation_messages WHERE id = $1", message_id)


async def told(admin: Any, message_id: uuid.UUID) -> list[str]:
    rows = await admin.fetch("SELECT event FROM events WHERE subject_id = $1 ORDER BY seq", message_id)
    return [row["event"] for row in rows]


async def test_a_text_leaves_and_is_delivered(world: Outside, owner: Client, admin: Any) -> None:
    talk = await world.talk()
    said = await world.say(talk)
    async with world.sending():
        await until(admin, "EXISTS (SELECT FROM conversation_messages WHERE status = 'delivered')")
    (taken,) = world.exchange.sent
    assert (taken.sender, taken.recipient, taken.body) == (make.OUR_NUMBER, CUSTOMER, "See you at 7pm")
    assert taken.overrides == "rc=3&rp=4xx,5xx,ct,rt"  # or a report that fails here would not be tried again
    shown = (await owner.get(f"{API}/conversation-messages/{said.id}")).json()
    assert (shown["status"], shown["providerMessageId"], shown["segments"]) == ("delivered", taken.sid, 1)
    assert None not in (shown["sentAt"], shown["deliveredAt"])
    events = await told(admin, said.id)
    assert events[0] == "message.queued"
    assert events[1] == "message.sent"
    assert set(events[2:]) == {"message.status_changed"}
    assert await admin.fetchval(f"SELECT {NONE_WAITS}")


async def test_a_report_that_comes_before_the_answer_is_joined(world: Outside, admin: Any) -> None:
    world.exchange.reporting = Reporting(seconds=0, before_answer=True)
    said = await world.say(await world.talk())
    async with world.sending():
        await until(admin, NONE_WAITS)
    assert (await message(admin, said.id))["status"] == "delivered"
    assert await told(admin, said.id) == ["message.queued", "message.sent", "message.status_changed"]


@pytest.mark.parametrize("fault", ["lost", "broken", "overloaded"])
@pytest.mark.parametrize("reports", [True, False])
async def test_what_the_provider_took_without_saying_so_is_sent_once(
    world: Outside, admin: Any, fault: Fault, reports: bool
) -> None:
    if not reports:
        world.exchange.post = None
    world.exchange.faults.append(fault)
    said = await world.say(await world.talk())
    async with world.sending():
        await until(admin, NONE_WAITS)
        await world.exchange.reported()
    assert world.exchange.creates == 1
    row = await message(admin, said.id)
    assert row["provider_message_id"] == world.exchange.sent[0].sid
    assert row["status"] == ("delivered" if reports else "sending")


@pytest.mark.parametrize("fault", ["never", "failing", "busy"])
async def test_what_the_provider_did_not_take_is_sent_again(world: Outside, admin: Any, fault: Fault) -> None:
    world.exchange.faults.append(fault)
    said = await world.say(await world.talk())
    async with world.sending():
        await until(admin, NONE_WAITS)
    assert world.exchange.creates == 2
    assert len(world.exchange.sent) == 1
    assert (await message(admin, said.id))["provider_message_id"] == world.exchange.sent[0].sid


async def test_the_same_words_twice_are_two_messages_even_if_both_are_unclear(world: Outside, admin: Any) -> None:
    world.exchange.post = None
    world.exchange.faults.extend(["lost", "lost"])
    talk = await world.talk()
    said = [await world.say(talk, "OK"), await world.say(talk, "OK")]
    async with world.sending():
        await until(admin, NONE_WAITS)
    assert world.exchange.creates == 2
    ids = [(await message(admin, one.id))["provider_message_id"] for one in said]
    assert ids == [taken.sid for taken in world.exchange.sent]


@pytest.mark.parametrize("recipient", MAGIC)
async def test_a_permanent_refusal_ends_it_with_a_reason_in_words(world: Outside, admin: Any, recipient: str) -> None:
    talk = await world.talk(recipient)
    refused, after = await world.say(talk), await world.say(talk, "still there?", to=CUSTOMER)
    async with world.sending():
        await until(admin, NONE_WAITS)
    row = await message(admin, refused.id)
    assert (row["status"], row["error_code"]) == ("failed", str(MAGIC[recipient][0]))
    assert len(row["error_message"]) > 20
    assert await told(admin, refused.id) == ["message.queued", "message.failed"]
    assert (await message(admin, after.id))["provider_message_id"] is not None  # nobody behind it waits for ever


async def test_messages_wait_while_the_provider_is_down(world: Outside, admin: Any) -> None:
    world.exchange.faults.extend(["busy"] * 4)
    said = await world.say(await world.talk())
    async with world.sending():
        await until(admin, "EXISTS (SELECT FROM outgoing_messages WHERE attempts > 2)")
        waiting = await admin.fetchrow("SELECT error, state FROM outgoing_messages")
        assert waiting["error"]
        await until(admin, NONE_WAITS)
    assert (await message(admin, said.id))["provider_message_id"] is not None


async def test_a_connection_that_nobody_answers_is_busy_and_not_unclear(
    world: Outside, admin: Any, service: Service
) -> None:
    await world.say(await world.talk())
    world.url = "http://127.0.0.1:9"
    async with world.sending():
        await until(admin, "EXISTS (SELECT FROM outgoing_messages WHERE error LIKE '%cannot be reached%')")
        assert await admin.fetchval("SELECT state FROM outgoing_messages") in ("queued", "sending")


async def test_what_was_leased_by_a_process_that_died_is_looked_up_first(world: Outside, admin: Any) -> None:
    """It died after the provider took the message: the row is as a killed process leaves it."""
    said = await world.say(await world.talk())
    dying = world.sender()
    await dying.start()
    await until(admin, NONE_WAITS)
    await dying.stop()
    sid = world.exchange.sent[0].sid
    await admin.execute("UPDATE conversation_messages SET provider_message_id = NULL, status = 'queued'")
    await admin.execute("DELETE FROM delivery_reports")
    await admin.execute(
        "INSERT INTO outgoing_messages (workspace_id, id, conversation_id, connection_id, phone_number_id, provider,"
        " state, is_head, line_at, next_attempt_at, attempts, attempted_at, created_at, updated_at)"
        " SELECT workspace_id, id, conversation_id, connection_id, phone_number_id, provider, 'sending', true,"
        " created_at, now(), 1, created_at, now(), now() FROM conversation_messages"
    )
    async with world.sending():
        await until(admin, NONE_WAITS)
    assert world.exchange.creates == 1
    assert (await message(admin, said.id))["provider_message_id"] == sid


async def test_an_unreadable_secret_or_a_connection_gone_ends_it_in_words(world: Outside, admin: Any) -> None:
    said = await world.say(await world.talk())
    await admin.execute("UPDATE workspace_api_keys SET is_active = false")
    await world.service.directory.load()
    async with world.sending():
        await until(admin, NONE_WAITS)
    row = await message(admin, said.id)
    assert row["status"] == "failed"
    assert "switched off" in row["error_message"]


async def test_a_number_with_another_to_fall_back_on_falls_over(
    world: Outside, admin: Any, service: Service, workspace_id: uuid.UUID
) -> None:
    other_account = {"accountSid": "AC" + "b" * 32, "authToken": "another-token"}
    other_line = await make.connection(service, workspace_id, secret=other_account)
    other = await make.number(
        service, workspace_id, "+14155550111", connection_id=other_line.id, segments_per_second=99
    )
    await admin.execute("UPDATE workspace_phone_numbers SET fallback_number_id = $1 WHERE id <> $1", other.id)
    await admin.execute("UPDATE workspace_phone_numbers SET connection_id = $1 WHERE id <> $2", world.line.id, other.id)
    said = await world.say(await world.talk())
    world.exchange.faults.extend(["busy"] * 3)
    async with outside(service, world.app, other_line) as elsewhere:
        rest = elsewhere.sender()._transports["twilio"]

        class Both:
            """Each account at its own exchange."""

            async def send(self, outgoing: Any, connection: Connection) -> Any:
                mine = world_rest if connection.id == world.line.id else rest
                return await mine.send(outgoing, connection)

            async def close(self) -> None:
                await rest.close()

        world_rest = world.sender()._transports["twilio"]
        sender = world.sender(twilio=Both())
        await sender.start()
        await until(admin, NONE_WAITS)
        await sender.stop()
        await world_rest.close()
        assert [taken.sender for taken in elsewhere.exchange.sent] == ["+14155550111"]
    assert world.exchange.sent == []
    row = await message(admin, said.id)
    assert (row["from_address"], row["phone_number_id"], row["connection_id"]) == (
        "+14155550111",
        other.id,
        other_line.id,
    )


async def test_a_number_sends_no_faster_than_it_may(world: Outside, admin: Any) -> None:
    await admin.execute("UPDATE workspace_phone_numbers SET segments_per_second = 10")
    talks = [await world.talk(f"+1415556{n:04}") for n in range(8)]
    for talk in talks:
        await world.say(talk)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with world.sending(HURRY, HURRY):
        await until(admin, NONE_WAITS)
    assert 0.65 < loop.time() - began < 4
    times = [taken.at for taken in world.exchange.sent]
    assert (times[-1] - times[0]).total_seconds() > 0.4


async def test_two_workers_keep_order_double_nothing_and_lose_nothing(world: Outside, admin: Any) -> None:
    """50 conversations of 40 messages, and one request in twenty goes wrong."""
    world.exchange.post = None
    world.exchange.share_of_faults = {"busy": 0.02, "lost": 0.01, "failing": 0.01, "broken": 0.01}
    talks = [await world.talk(f"+1415556{n:04}") for n in range(50)]
    for batch in range(4):
        async with world.service.database.alone() as db:
            await put_all(
                db,
                [
                    Intent(
                        workspace_id=talk.workspace_id,
                        conversation_id=talk.id,
                        content=f"{talks.index(talk)}:{batch * 10 + n}",
                        sender_type="user",
                    )
                    for n in range(10)
                    for talk in talks
                ],
            )
    await growth.keep_up(world.service.database)  # as the worker does every second
    async with world.sending(HURRY, HURRY):
        await until(admin, NONE_WAITS, within=40)
    taken: dict[str, list[int]] = {}
    for one in world.exchange.sent:
        who, number = one.body.split(":")
        taken.setdefault(who, []).append(int(number))
    assert len(taken) == 50
    assert all(numbers == list(range(40)) for numbers in taken.values())
    rows = await admin.fetch("SELECT provider_message_id FROM conversation_messages")
    assert {row["provider_message_id"] for row in rows} == {one.sid for one in world.exchange.sent}
    assert len(rows) == 2000


async def test_an_answer_that_cannot_be_kept_now_is_looked_up_later(world: Outside, admin: Any) -> None:
    """The row is locked by somebody for longer than a group waits."""
    said = await world.say(await world.talk())
    async with admin.transaction(), world.sending(msgspec.structs.replace(HURRY, lease=1.5)):
        await eventually(lambda: bool(world.exchange.sent))
        await admin.execute("SELECT FROM conversation_messages FOR UPDATE")
        await asyncio.sleep(0.3)
    async with world.sending():
        await until(admin, NONE_WAITS, within=15)
    assert world.exchange.creates == 1
    assert (await message(admin, said.id))["provider_message_id"] == world.exchange.sent[0].sid
